"""Reading ImageNet VID and DET as downloaded, into detectron2-style records.

``ROOT/{Data,Annotations}/{VID,DET}/<path>`` hold ``.JPEG`` and ``.xml`` files; list files, one row
a video, frame or image, are in ``ROOT/ImageSets``. Any data set of this layout can be read: the
classes are an argument, WordNet id to name, and their order gives the category ids from 0.

A frame is a dict with ``file_name``, ``height``, ``width``, ``image_id`` (its path below
``Data/VID``, without ending), ``video_id``, ``frame_index`` (from 0), ``video_length`` and
``annotations``; a DET still has no ``video_id``, ``frame_index`` and ``video_length``. An
annotation is ``{"bbox", "bbox_mode", "category_id", "track_id", "iscrowd"}``, a still's without
``track_id``. Boxes are xyxy in absolute pixels, floats exactly as in the XML, neither shifted nor
clipped. Images are not opened, only looked for.

Frames without objects are kept, with no annotations; objects of other classes are left out. A
list that names nothing, and whatever is missing or malformed, is a ``UserError``. Registering
with detectron2 is in ``plugin.py``, drawing pairs in ``pair_mapper.py``.
"""

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any, TypeVar

from tqdm import tqdm

from ..errors import UserError

Record = dict[str, Any]
StrPath = str | os.PathLike[str]
_Item = TypeVar("_Item")
_Number = TypeVar("_Number", int, float)

BBOX_MODE = 0  # detectron2's BoxMode.XYXY_ABS, an IntEnum, without importing detectron2

_VIDEO_ROW = "val/ILSVRC2015_val_00000000 1 0 464"
_FRAME_ROW = "train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000 1 10 300"
_IMAGE_ROW = "train/ILSVRC2014_train_0000/ILSVRC2014_train_00000663 1"

# fmt: off
VID_CLASSES: dict[str, str] = {  # in the community's, alphabetical, order
    "n02691156": "airplane", "n02419796": "antelope", "n02131653": "bear",
    "n02834778": "bicycle", "n01503061": "bird", "n02924116": "bus",
    "n02958343": "car", "n02402425": "cattle", "n02084071": "dog",
    "n02121808": "domestic_cat", "n02503517": "elephant", "n02118333": "fox",
    "n02510455": "giant_panda", "n02342885": "hamster", "n02374451": "horse",
    "n02129165": "lion", "n01674464": "lizard", "n02484322": "monkey",
    "n03790512": "motorcycle", "n02324045": "rabbit", "n02509815": "red_panda",
    "n02411705": "sheep", "n01726692": "snake", "n02355227": "squirrel",
    "n02129604": "tiger", "n04468005": "train", "n01662784": "turtle",
    "n04530566": "watercraft", "n02062744": "whale", "n02391049": "zebra",
}
# fmt: on


def load_vid_videos(root: StrPath, video_list: StrPath, classes: Mapping[str, str]) -> list[Record]:
    """Every frame of the videos of a list as in ``VID_val_videos.txt``, in order."""
    base = _checked_root(root, "VID")
    return _load_frames(base, _every_frame(read_video_list(video_list)), classes)


def load_sampled_videos(
    root: StrPath, frame_list: StrPath, classes: Mapping[str, str]
) -> list[Record]:
    """Every frame of the videos that a list as in ``VID_train_15frames.txt`` samples, in order."""
    base = _checked_root(root, "VID")
    videos = {video: length for video, _, length in read_frame_list(frame_list)}
    return _load_frames(base, _every_frame(videos.items()), classes)


def _every_frame(videos: Iterable[tuple[str, int]]) -> list[tuple[str, int, int]]:
    return [(video, number, length) for video, length in videos for number in range(length)]


def load_vid_frames(root: StrPath, frame_list: StrPath, classes: Mapping[str, str]) -> list[Record]:
    """Only the frames of a list as in ``VID_train_15frames.txt``, in order."""
    base = _checked_root(root, "VID")
    return _load_frames(base, read_frame_list(frame_list), classes)


def load_det_images(root: StrPath, image_list: StrPath, classes: Mapping[str, str]) -> list[Record]:
    """The stills of a list as in ``DET_train_30classes.txt``, in order, each once."""
    base = _checked_root(root, "DET")
    ids = {name: index for index, name in enumerate(classes)}
    return _read_all(read_image_list(image_list), lambda image: _record(base, "DET", image, ids))


def group_by_video(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Frame records as ``{"video_id", "frames"}`` a video, in order of first appearance.

    ``frames`` are the records given, not copies, ordered by ``frame_index``. No records, no videos.
    """
    videos: dict[str, list[Record]] = {}
    for record in records:
        videos.setdefault(record["video_id"], []).append(record)
    return [
        {"video_id": video, "frames": sorted(frames, key=lambda frame: frame["frame_index"])}
        for video, frames in videos.items()
    ]


def sample_evenly(length: int, count: int) -> list[int]:
    """The middles, rounded down, of ``count`` equal parts of a video of ``length`` frames.

    A video of ``length <= count`` frames gives every frame; no number repeats. This is how the 15
    frames of ``VID_train_15frames.txt`` are spaced: of its 57,834 rows 57,339 are the same and the
    others one less, all of them where the middle is a whole number.
    """
    if length < 0 or count < 0:
        raise ValueError(f"expected length >= 0 and count >= 0, found {length} and {count}")
    parts = min(length, count)
    return [(2 * part + 1) * length // (2 * parts) for part in range(parts)]


def read_video_list(path: StrPath) -> list[tuple[str, int]]:
    """Rows ``path id start length`` to (video path, number of frames); ``start`` must be 0."""
    videos: dict[str, int] = {}
    for line, video, (_, start, length) in _read_rows(path, _VIDEO_ROW):
        if start != 0 or length < 1:
            raise UserError(
                f"{path}, line {line}: expected start 0 and a length of at least 1, "
                f"found {start} and {length}"
            )
        if video in videos:
            raise UserError(f"{path}, line {line}: expected each video once, found {video} again")
        videos[video] = length
    return list(videos.items())


def read_frame_list(path: StrPath) -> list[tuple[str, int, int]]:
    """Rows ``path id frame length``, each once, to (video path, frame from 0, video length)."""
    frames: dict[tuple[str, int, int], None] = {}
    for line, video, (_, number, length) in _read_rows(path, _FRAME_ROW):
        if not 0 <= number < length:
            raise UserError(
                f"{path}, line {line}: expected a frame number from 0 and below the video's "
                f"length, found {number} of {length}"
            )
        frames[video, number, length] = None
    return list(frames)


def read_image_list(path: StrPath) -> list[str]:
    """Rows ``path id`` to image paths, each once, in order of first appearance."""
    return list(dict.fromkeys(image for _, image, _ in _read_rows(path, _IMAGE_ROW)))


def read_annotation(
    path: StrPath, class_ids: Mapping[str, int], *, tracks: bool = True
) -> dict[str, Any]:
    """The ``height``, ``width`` and ``annotations`` of one XML file.

    Args:
        path: the XML file.
        class_ids: WordNet id to category id; objects of other names are left out.
        tracks: every object must have a ``trackid`` (VID), which becomes its ``track_id``; without
            (DET) annotations have no ``track_id``.
    """
    tree = _parse_xml(path)
    width, height = (_number(path, tree, int, "size", side) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise UserError(f"{path}: expected a size of at least 1x1, found {width}x{height}")
    annotations = []
    for position, element in enumerate(tree.findall("object"), start=1):
        name = (element.findtext("name") or "").strip()
        if not name:
            raise UserError(f"{path}, object {position}: expected a name, found none")
        if name in class_ids:
            where = f"{path}, object {position}"
            annotations.append(_annotation(where, element, class_ids[name], tracks))
    return {"height": height, "width": width, "annotations": annotations}


def _annotation(where: str, element: ET.Element, category: int, tracks: bool) -> dict[str, Any]:
    sides = ("xmin", "ymin", "xmax", "ymax")
    box = [_number(where, element, float, "bndbox", side) for side in sides]
    if not (-inf < box[0] < box[2] < inf and -inf < box[1] < box[3] < inf):
        raise UserError(
            f"{where}: expected finite xmin < xmax and ymin < ymax, "
            f"found {box} as [xmin, ymin, xmax, ymax]"
        )
    annotation = {"bbox": box, "bbox_mode": BBOX_MODE, "category_id": category, "iscrowd": 0}
    if tracks:
        annotation["track_id"] = _number(where, element, int, "trackid")
    return annotation


def _number(
    where: StrPath, element: ET.Element, kind: Callable[[str], _Number], *tags: str
) -> _Number:
    """The number in the element that ``tags`` lead to; ``where`` begins the message if none is."""
    inner: ET.Element | None = element
    for tag in tags:
        inner = None if inner is None else inner.find(tag)
    text = None if inner is None else inner.text or ""
    try:
        return kind(text)
    except (TypeError, ValueError):
        expected = "a whole number" if kind is int else "a number"
        found = "no such element" if text is None else repr(text)
        raise UserError(
            f"{where}: expected {expected} in {'/'.join(tags)}, found {found}"
        ) from None


def _parse_xml(path: StrPath) -> ET.Element:
    try:
        return ET.parse(path).getroot()
    except OSError as error:
        raise UserError(f"{path}: expected an annotation file, found {error.strerror}") from None
    except ET.ParseError as error:
        reason = str(error).split(":")[0]
        raise UserError(
            f"{path}, line {error.position[0]}: expected well-formed XML, found {reason}"
        ) from None
    except (LookupError, ValueError) as error:  # a declared encoding that expat does not know
        raise UserError(f"{path}, line 1: expected XML in UTF-8, found {error}") from None


def _load_frames(
    base: str, frames: Sequence[tuple[str, int, int]], classes: Mapping[str, str]
) -> list[Record]:
    ids = {name: index for index, name in enumerate(classes)}
    return _read_all(frames, lambda frame: _frame(base, *frame, ids))


def _read_all(items: Sequence[_Item], read: Callable[[_Item], Record]) -> list[Record]:
    """Read one record after another; the one place to decide what becomes of a bad one."""
    return [read(item) for item in tqdm(items, "Reading annotations", unit=" files", disable=None)]


def _frame(base: str, video: str, number: int, length: int, ids: Mapping[str, int]) -> Record:
    record = _record(base, "VID", f"{video}/{number:06d}", ids)
    return {**record, "video_id": video, "frame_index": number, "video_length": length}


def _record(base: str, kind: str, image_id: str, ids: Mapping[str, int]) -> Record:
    image = f"{base}/Data/{kind}/{image_id}.JPEG"
    if not os.path.isfile(image):
        folder = os.path.dirname(image)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        count = sum(name.endswith(".JPEG") for name in names)
        raise UserError(f"{image}: expected an image, found none (of {count} in its folder)")
    xml = f"{base}/Annotations/{kind}/{image_id}.xml"
    annotation = read_annotation(xml, ids, tracks=kind == "VID")
    return {"file_name": image, "image_id": image_id, **annotation}


def _checked_root(root: StrPath, kind: str) -> str:
    """``root`` as a plain string, when it holds ``Data/KIND`` and ``Annotations/KIND``."""
    base = os.path.normpath(root)
    if not os.path.isdir(base):
        raise UserError(f"{base}: expected a folder with Data/{kind} in it, found no such folder")
    for side in ("Data", "Annotations"):
        if not os.path.isdir(f"{base}/{side}/{kind}"):
            inner = f"{base}/{side}" if os.path.isdir(f"{base}/{side}") else base
            found = ", ".join(sorted(os.listdir(inner))[:10]) or "nothing"
            raise UserError(f"{base}: expected {side}/{kind} in it, found in {inner}: {found}")
    return base


def _read_rows(path: StrPath, example: str) -> list[tuple[int, str, list[int]]]:
    """(line number, path, the row's numbers) of each row that is not blank; ``example`` is one."""
    rows = []
    for line, text in enumerate(_read_text(path).split("\n"), start=1):
        fields = text.split()
        if not fields:
            continue
        try:
            numbers = [int(field) for field in fields[1:]]
        except ValueError:
            numbers = []
        if len(numbers) != len(example.split()) - 1:
            raise UserError(
                f"{path}, line {line}: expected a row as '{example}', found {text[:80]!r}"
            )
        rows.append((line, fields[0], numbers))
    if not rows:
        raise UserError(f"{path}: expected rows as '{example}', found none")
    return rows


def _read_text(path: StrPath) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:  # -sig: some editors put a mark first
            return file.read()
    except OSError as error:
        raise UserError(f"{path}: expected a list file, found {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected text in UTF-8, found {error.reason}") from None
