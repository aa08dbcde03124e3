"""YouTube-VIS: JSON of videos and of tracks, which hold a box or null for every frame.

A file is an object of lists: ``videos`` (id, file_names, height, width; length), ``categories``
(id, name) and ``annotations``, a track each (id, video_id, category_id, bboxes ``[x, y, width,
height]`` or null; areas, segmentations, iscrowd). Frames are numbered as ``file_names`` lists
them, and a track's id is its objects' ``track_id``.

What is bad is a problem and left out, with what belongs to it; nothing at all is a ``UserError``.
A video's folder, if all of its files are in one, is taken as its name.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from ...outputs import write_json
from ..problems import Problems, shown
from ..tables.frame_store import BBOX_MODE, Record
from .entries import (
    BadEntry,
    Entry,
    Id,
    StrPath,
    box_xyxy,
    entries,
    identifier,
    image_size,
    is_file_name,
    listed,
    load_json,
    noted,
    whole,
)
from .video_set import (
    UniqueIds,
    VideoSet,
    box_xywh,
    full_name,
    read_categories,
    read_iscrowd,
    relative_name,
    unique_ids,
    videos_of,
)

#: a track's list: the key of the same in the annotation of one frame
_EXTRAS = {"areas": "area", "segmentations": "segmentation"}


def read_youtube_vis(
    path: StrPath, problems: Problems, images: StrPath | None = None, data: Entry | None = None
) -> VideoSet:
    """Read a file; arguments and errors are those of ``coco_vid.read_coco_vid``."""
    data = load_json(path) if data is None else data
    categories = read_categories(path, data, problems)
    folder = Path(path).parent if images is None else images
    videos: dict[Id, list[Record] | None] = {}
    names: dict[Id, str] = {}
    ids = UniqueIds("repeated videos")
    for where, entry in entries(path, data, "videos", problems):
        with noted(problems):
            video = identifier(where, entry)
            ids.add(where, video)
            videos[video] = None
            videos[video] = _frames(where, entry, video, folder)
            names |= _folder_name(video, entry["file_names"])
    labels = {number: label for label, number in enumerate(categories)}
    _add_tracks(path, data, problems, videos, labels)
    records = [record for frames in videos.values() for record in frames or []]
    return VideoSet(records, categories, _differing(names))


def _frames(where: str, entry: Entry, video: Id, folder: StrPath) -> list[Record]:
    files = listed(where, entry, "file_names")
    if not all(map(is_file_name, files)):
        message = f"{where}: expected texts in file_names, found {shown(files)}"
        raise BadEntry("entries with missing or bad keys", message)
    if entry.get("length", len(files)) != len(files):
        length = shown(entry["length"])
        message = f"{where}: expected {length} file_names as in length, found {len(files)}"
        raise BadEntry("videos of another length than they say", message)
    size = image_size(where, entry)
    return [
        {
            "file_name": full_name(folder, name),
            **size,
            "image_id": f"{video}/{index:06d}",
            "video_id": video,
            "frame_index": index,
            "video_length": len(files),
            "annotations": [],
        }
        for index, name in enumerate(files)
    ]


def _folder_name(video: Id, files: list[str]) -> dict[Id, str]:
    folders = {os.path.dirname(name) for name in files}
    return {video: folders.pop()} if len(folders) == 1 and "" not in folders else {}


def _differing(names: dict[Id, str]) -> dict[Id, str]:
    """None at all where some videos share one, as videos of one folder do."""
    return names if len(set(names.values())) == len(names) else {}


def _add_tracks(
    path: StrPath,
    data: Entry,
    problems: Problems,
    videos: dict[Id, list[Record] | None],
    labels: dict[int, int],
) -> None:
    tracks: set[int] = set()
    for where, entry in entries(path, data, "annotations", problems):
        with noted(problems):
            video = identifier(where, entry, "video_id")
            if video not in videos:
                message = f"{where}: expected a video_id of videos, found {video!r}"
                raise BadEntry("tracks of unknown videos", message)
            frames = videos[video]
            if frames is None:
                continue
            track = whole(where, entry, "id")
            if track in tracks:
                raise BadEntry("repeated tracks", f"{where}: expected each id once")
            tracks.add(track)
            _add_track(where, {**entry, "id": track}, frames, labels, problems)


def _add_track(
    where: str, entry: Entry, frames: list[Record], labels: dict[int, int], problems: Problems
) -> None:
    category = whole(where, entry, "category_id")
    if category not in labels:
        message = f"{where}: expected a category_id of categories, found {category}"
        raise BadEntry("tracks of unknown categories", message)
    iscrowd = read_iscrowd(where, entry)
    lists = {"bboxes": listed(where, entry, "bboxes")}
    lists |= {key: listed(where, entry, key) for key in _EXTRAS if entry.get(key) is not None}
    for key, values in lists.items():
        if len(values) != len(frames):
            message = f"{where}: expected {len(frames)} {key}, one a frame, found {len(values)}"
            raise BadEntry("tracks whose lists are not as long as the video", message)
    for index, (frame, box) in enumerate(zip(frames, lists["bboxes"], strict=True)):
        if box is None:
            continue
        with noted(problems):
            size = frame["height"], frame["width"]
            annotation = {
                "bbox": box_xyxy(f"{where}, bboxes[{index}]", box, size),
                "bbox_mode": BBOX_MODE,
                "category_id": labels[category],
                "iscrowd": iscrowd,
                "track_id": entry["id"],
            }
            extras = {_EXTRAS[k]: lists[k][index] for k in _EXTRAS if k in lists}
            annotation |= {k: value for k, value in extras.items() if value is not None}
            frame["annotations"].append(annotation)


def write_youtube_vis(path: StrPath, videos: VideoSet, problems: Problems) -> None:
    """Write a file whole or not at all; file names become relative to its folder.

    Ids are those of the records where they are whole numbers and differ, and count from 1
    otherwise. Gaps between frames close. An object that changes its category is several tracks,
    and videos without frames and tracks without boxes are not written.

    Args:
        problems: is told of videos whose frames differ in size, which the format cannot say.

    Raises:
        UserError: the place cannot be written.
    """
    by_id = {
        video: frames
        for video, frames in videos_of(videos.records).items()
        if _has_one_size(video, frames, problems)
    }
    ids = dict(zip(by_id, unique_ids(by_id), strict=True))
    tracks = [
        {**track, "video_id": ids[video]}
        for video, frames in by_id.items()
        for track in _tracks(frames, list(videos.categories))
    ]
    numbers = unique_ids(track["id"] for track in tracks)
    data = {
        "videos": [_written_video(Path(path), ids[v], frames) for v, frames in by_id.items()],
        "categories": [{"id": i, "name": name} for i, name in videos.categories.items()],
        "annotations": [{**t, "id": i} for i, t in zip(numbers, tracks, strict=True)],
    }
    write_json(path, data)


def _has_one_size(video: Id, frames: list[Record], problems: Problems) -> bool:
    sizes = {(frame["width"], frame["height"]) for frame in frames}
    if len(sizes) > 1:
        found = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        message = f"video {video}: expected frames of one size for YouTube-VIS, found {found}"
        problems.report("videos whose frames differ in size", message)
    return len(sizes) == 1


def _written_video(path: Path, number: int, frames: list[Record]) -> Entry:
    return {
        "id": number,
        "file_names": [relative_name(path, frame["file_name"]) for frame in frames],
        "length": len(frames),
        "height": frames[0]["height"],
        "width": frames[0]["width"],
    }


def _tracks(frames: list[Record], category_ids: list[int]) -> Iterator[Entry]:
    tracks: dict[tuple[int, int, int], Entry] = {}
    for index, frame in enumerate(frames):
        for annotation in frame["annotations"]:
            key = annotation["track_id"], annotation["category_id"], annotation["iscrowd"]
            if key not in tracks:
                tracks[key] = {
                    "id": key[0],
                    "category_id": category_ids[key[1]],
                    "iscrowd": key[2],
                    "height": frame["height"],
                    "width": frame["width"],
                    "bboxes": [None] * len(frames),
                    "areas": [None] * len(frames),
                    "segmentations": [None] * len(frames),
                }
            box = box_xywh(annotation["bbox"])
            tracks[key]["bboxes"][index] = box
            tracks[key]["areas"][index] = annotation.get("area", box[2] * box[3])
            tracks[key]["segmentations"][index] = annotation.get("segmentation")
    for track in tracks.values():
        if not any(track["segmentations"]):
            del track["segmentations"]
        yield track
