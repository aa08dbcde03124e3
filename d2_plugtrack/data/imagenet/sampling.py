"""Making the list files that the community shares, from the folders as unpacked.

``VID_train_15frames.txt`` (15 evenly spaced frames of each training video),
``VID_val_videos.txt`` and ``VID_val_frames.txt`` (every frame of the validation videos) and
``DET_train_30classes.txt`` (a seeded draw of at most 2,000 images of each class of VID). The same
folders and seed give the same lists, in whatever order the file system hands out its files. They
are read in ``lists.py``.
"""

import hashlib
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from pathlib import Path

from tqdm import tqdm

from ...errors import UserError
from ...outputs import atomic_output, ensure_writable, os_errors_name
from ..problems import Problems
from .classes import VID_CLASSES
from .frame_files import frame_numbers
from .roots import find_imagenet, search_imagenet
from .xml_file import StrPath

FRAMES_PER_VIDEO = 15
IMAGES_PER_CLASS = 2000

VIDEO_LISTS = ("VID_train_15frames.txt", "VID_val_videos.txt", "VID_val_frames.txt")
STILL_LIST = "DET_train_30classes.txt"

_ANY_ID = re.compile("|".join(VID_CLASSES).encode())
# What a name could be written with so that its id is not in the file: references, comments and
# other markup inside it, two bytes a letter.
_HIDING = re.compile(rb"[&\0]|<!|<\?(?!xml\s)")


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


def make_lists(
    root: Path, output: Path | None, seed: int, *, overwrite: bool
) -> tuple[dict[Path, int], Problems]:
    """Write the lists of whatever is unpacked under ``root``.

    Args:
        root: what ``DETECTRON2_DATASETS`` may be, see ``roots.py``.
        output: the folder for the lists, made where absent; where None, each goes to the
            ``ImageSets`` beside its data, where the datasets look for it.
        seed: of the draw of stills.
        overwrite: replace lists that are there; otherwise they stay, and only others are made.

    Returns:
        The files with their numbers of rows, and what was bad and left out: videos without
        frames, malformed annotation files, annotations without an image.

    Raises:
        UserError: nothing unpacked, nothing to list, or all lists are there already.
    """
    problems = Problems(strict=False)
    parts = {
        "VID/train": (VIDEO_LISTS[:1], lambda base: [_sample_rows(base, problems)]),
        "VID/val": (VIDEO_LISTS[1:], lambda base: _val_rows(base, problems)),
        "DET/train": ((STILL_LIST,), lambda base: [_still_rows(base, seed, problems)]),
    }
    bases = {part: search_imagenet(root, part) for part in parts}
    if not any(bases.values()):
        find_imagenet(root, "VID")  # says where it was looked for
    work, there = [], []
    for part, (names, make_rows) in parts.items():
        if base := bases[part]:
            paths = [_writable((output or base / "ImageSets") / name) for name in names]
            if overwrite or not all(path.exists() for path in paths):
                work.append((paths, make_rows, base))
            else:
                there += paths
    if not work:
        raise UserError(
            f"{there[0]}: is there already, as are all others; --overwrite replaces them"
        )
    written = {}
    for paths, make_rows, base in work:
        for path, rows in zip(paths, make_rows(base), strict=True):
            if overwrite or not path.exists():
                _write(path, rows, base)
                written[path] = len(rows)
    return written, problems


def _sample_rows(root: Path, problems: Problems) -> list[str]:
    base = root / "Data/VID"
    chunks = [f"train/{chunk}" for chunk in _folders(base / "train")]
    videos = [f"{chunk}/{video}" for chunk in chunks for video in _folders(base / chunk)]
    return [
        f"{video} 1 {number} {length}"
        for video, length in _count_frames(base, videos, problems).items()
        for number in sample_evenly(length, FRAMES_PER_VIDEO)
    ]


def _val_rows(root: Path, problems: Problems) -> tuple[list[str], list[str]]:
    """Of the list of videos and of that of frames; both number the frames on from 1."""
    base = root / "Data/VID"
    videos = [f"val/{video}" for video in _folders(base / "val")]
    video_rows, frame_rows = [], []
    for video, length in _count_frames(base, videos, problems).items():
        first = len(frame_rows) + 1
        video_rows.append(f"{video} {first} 0 {length}")
        frame_rows += [f"{video} {first + number} {number} {length}" for number in range(length)]
    return video_rows, frame_rows


def _still_rows(root: Path, seed: int, problems: Problems) -> list[str]:
    return [f"{image} 1" for image in draw_images(_images_by_class(root, problems), seed)]


def draw_images(
    images: Mapping[str, Iterable[str]], seed: int, count: int = IMAGES_PER_CLASS
) -> list[str]:
    """At most ``count`` images of each class, together, sorted, each once.

    Args:
        images: class to its images; an image may have several classes.
        seed: of the draw, which depends on nothing but the seed and the names.
        count: of each class.
    """

    def rank(name: str, image: str) -> bytes:
        return hashlib.sha256(f"{seed} {name} {image}".encode()).digest()

    drawn: set[str] = set()
    for name, members in images.items():
        drawn.update(sorted(members, key=lambda image, name=name: rank(name, image))[:count])
    return sorted(drawn)


def find_classes(path: StrPath, problems: Problems) -> set[str]:
    """The WordNet ids, of VID's 30, that objects of an annotation file have.

    Most files of DET have none of them in their text, and are not parsed. A file that cannot be
    read goes to ``problems`` and has no class.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.read()
        if not _ANY_ID.search(text) and not _HIDING.search(text):
            return set()
        names = {(e.text or "").strip() for e in ET.XML(text).iterfind("object/name")}
    except (OSError, ET.ParseError, LookupError, ValueError) as error:
        line = error.position[0] if isinstance(error, ET.ParseError) else 1
        problems.report(
            "malformed annotation files",
            f"{path}, line {line}: expected well-formed XML, found {error}",
        )
        return set()
    return names & VID_CLASSES.keys()


def _images_by_class(root: Path, problems: Problems) -> dict[str, list[str]]:
    """WordNet id to the images that have it; images without an annotation file have none."""
    annotations = root / "Annotations/DET"
    files = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(annotations / "train", followlinks=True)
        for name in names
        if name.endswith(".xml")
    ]
    images: dict[str, list[str]] = {name: [] for name in VID_CLASSES}
    for file in tqdm(files, "Reading classes", unit=" files", disable=None):
        classes = find_classes(file, problems)
        if not classes:
            continue
        image = Path(file).relative_to(annotations).with_suffix("").as_posix()
        if not _can_be_listed(annotations, image, problems):
            continue
        if not os.path.isfile(root / "Data/DET" / f"{image}.JPEG"):
            problems.report(
                "missing images",
                f"{file}, line 1: expected an image {image}.JPEG in Data/DET, found none",
            )
            continue
        for name in classes:
            images[name].append(image)
    return images


def _count_frames(base: Path, videos: list[str], problems: Problems) -> dict[str, int]:
    """Video to its number of frames, which its last frame says, as frames may be missing."""
    lengths = {}
    for video in tqdm(videos, "Counting frames", unit=" videos", disable=None):
        if not _can_be_listed(base, video, problems):
            continue
        numbers = frame_numbers(base / video)
        if numbers:
            lengths[video] = max(numbers) + 1
        else:
            problems.report("videos without frames", f"{base / video}: expected frames, found none")
    return lengths


def _can_be_listed(base: Path, name: str, problems: Problems) -> bool:
    """Whether a row can begin with this path: in UTF-8, without white space; else a problem."""
    if name.split() == [name] and not any("\ud800" <= c <= "\udfff" for c in name):
        return True
    message = f"{base / name}: expected a path in UTF-8 without white space, for a list"
    problems.report("paths that no list can hold", message)
    return False


def _folders(path: Path) -> list[str]:
    """The names of the folders in a folder, sorted."""
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    except OSError as error:
        raise UserError(f"{path}: expected a folder, found {error.strerror}") from None


def _writable(path: Path) -> Path:
    with os_errors_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return ensure_writable(path)


def _write(path: Path, rows: list[str], source: Path) -> None:
    if not rows:
        raise UserError(f"{source}: expected something to list in {path.name}, found nothing")
    with os_errors_name(path), atomic_output(path) as temporary:
        temporary.write_text("\n".join(rows) + "\n", encoding="utf-8")
