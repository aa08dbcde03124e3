"""COCO-VID: COCO's JSON with ``videos``, ``video_id`` and ``frame_id``, and ``instance_id``.

A file is an object of lists: ``videos`` (id; name), ``categories`` (id, name), ``images`` (id,
video_id, frame_id from 0, file_name, height and width, unless the video has them) and
``annotations`` (id, image_id, category_id, bbox ``[x, y, width, height]``, instance_id or
track_id; iscrowd, area, segmentation). Images may come in any order and without annotations;
``frame_id`` is a record's ``frame_index``, and need not be without gaps.

What is bad is a problem and left out, with what belongs to it; nothing at all is a ``UserError``.
"""

from collections.abc import Iterator
from pathlib import Path

from ...outputs import write_json
from ..limits import LARGE
from ..problems import Problems
from ..tables.frame_store import BBOX_MODE, Record
from .entries import (
    BadEntry,
    Entry,
    Id,
    StrPath,
    box_xyxy,
    entries,
    file_name,
    identifier,
    image_size,
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

_EXTRAS = ("id", "area", "segmentation")


def read_coco_vid(
    path: StrPath, problems: Problems, images: StrPath | None = None, data: Entry | None = None
) -> VideoSet:
    """Read a file.

    Args:
        path: the JSON file.
        problems: is told what is left out.
        images: the folder that file names are relative to; the file's own where None.
        data: the object in the file, where it has been read already.

    Raises:
        UserError: no JSON file, or one without these lists or without categories.
    """
    data = load_json(path) if data is None else data
    categories = read_categories(path, data, problems)
    videos = _read_videos(path, data, problems)
    folder = Path(path).parent if images is None else images
    records = _read_images(path, data, problems, videos, folder)
    labels = {number: label for label, number in enumerate(categories)}
    _add_annotations(path, data, problems, records, labels)
    order = {video: rank for rank, video in enumerate(videos)}
    kept = [record for record in records.values() if record is not None]
    kept.sort(key=lambda r: (order[r["video_id"]], r["frame_index"]))
    _set_lengths(kept)
    names = {i: v["name"] for i, v in videos.items() if v and isinstance(v.get("name"), str)}
    return VideoSet(kept, categories, names)


def _read_videos(path: StrPath, data: Entry, problems: Problems) -> dict[Id, Entry]:
    videos: dict[Id, Entry] = {}
    ids = UniqueIds("repeated videos")
    for where, entry in entries(path, data, "videos", problems):
        with noted(problems):
            video = identifier(where, entry)
            ids.add(where, video)
            videos[video] = entry
    return videos


def _read_images(
    path: StrPath, data: Entry, problems: Problems, videos: dict[Id, Entry], folder: StrPath
) -> dict[Id, Record | None]:
    """By image id; None is one that was left out, whose annotations are no further problem."""
    records: dict[Id, Record | None] = {}
    frames: set[tuple[Id, int]] = set()
    for where, entry in entries(path, data, "images", problems):
        with noted(problems):
            image = identifier(where, entry)
            if image in records:
                raise BadEntry("repeated images", f"{where}: expected each id once")
            records[image] = None
            record = _record(where, entry, videos, folder)
            frame = record["video_id"], record["frame_index"]
            if frame in frames:
                message = f"{where}: expected each frame_id of a video once, found {frame[1]} again"
                raise BadEntry("repeated frames", message)
            frames.add(frame)
            records[image] = record
    return records


def _record(where: str, entry: Entry, videos: dict[Id, Entry], folder: StrPath) -> Record:
    video = identifier(where, entry, "video_id")
    if video not in videos:
        message = f"{where}: expected a video_id of videos, found {video!r}"
        raise BadEntry("images of unknown videos", message)
    sizes = {key: videos[video][key] for key in ("height", "width") if key in videos[video]}
    return {
        "file_name": full_name(folder, file_name(where, entry)),
        **image_size(where, {**sizes, **entry}),
        "image_id": entry["id"],
        "video_id": video,
        "frame_index": whole(where, entry, "frame_id", least=0, below=LARGE),
        "annotations": [],
    }


def _add_annotations(
    path: StrPath,
    data: Entry,
    problems: Problems,
    records: dict[Id, Record | None],
    labels: dict[int, int],
) -> None:
    for where, entry in entries(path, data, "annotations", problems):
        with noted(problems):
            image = identifier(where, entry, "image_id")
            if image not in records:
                message = f"{where}: expected an image_id of images, found {image!r}"
                raise BadEntry("annotations of unknown images", message)
            record = records[image]
            if record is not None:
                annotation = _annotation(where, entry, record, labels)
                record["annotations"].append(annotation)


def _annotation(where: str, entry: Entry, record: Record, labels: dict[int, int]) -> Entry:
    category = whole(where, entry, "category_id")
    if category not in labels:
        message = f"{where}: expected a category_id of categories, found {category}"
        raise BadEntry("annotations of unknown categories", message)
    track = whole(where, entry, "instance_id" if "instance_id" in entry else "track_id")
    if any(track == a["track_id"] for a in record["annotations"]):
        message = f"{where}: expected each object once in an image, found instance {track} again"
        raise BadEntry("repeated objects", message)
    return {
        "bbox": box_xyxy(where, entry.get("bbox"), (record["height"], record["width"])),
        "bbox_mode": BBOX_MODE,
        "category_id": labels[category],
        "iscrowd": read_iscrowd(where, entry),
        "track_id": track,
        **{key: entry[key] for key in _EXTRAS if key in entry},
    }


def _set_lengths(records: list[Record]) -> None:
    """The highest ``frame_index`` and one: frames may be a sample of the video's."""
    lengths: dict[Id, int] = {}
    for record in records:
        lengths[record["video_id"]] = record["frame_index"] + 1  # the last one stays
    for record in records:
        record["video_length"] = lengths[record["video_id"]]


def write_coco_vid(path: StrPath, videos: VideoSet) -> None:
    """Write a file whole or not at all; file names become relative to its folder.

    Ids are those of the records where they are whole numbers and differ, and count from 1
    otherwise; a video without a name has its id as one. Videos without frames are not written.

    Raises:
        UserError: the place cannot be written.
    """
    by_id = videos_of(videos.records)
    video_ids = dict(zip(by_id, unique_ids(by_id), strict=True))
    records = [record for frames in by_id.values() for record in frames]
    image_ids = unique_ids(record["image_id"] for record in records)
    annotations = list(_written_annotations(records, image_ids, list(videos.categories)))
    ids = unique_ids(annotation.get("id") for annotation in annotations)
    data = {
        "videos": [{"id": video_ids[v], "name": videos.name_of(v)} for v in by_id],
        "categories": [{"id": i, "name": name} for i, name in videos.categories.items()],
        "images": [
            {
                "id": image,
                "video_id": video_ids[record["video_id"]],
                "frame_id": record["frame_index"],
                "file_name": relative_name(Path(path), record["file_name"]),
                "height": record["height"],
                "width": record["width"],
            }
            for image, record in zip(image_ids, records, strict=True)
        ],
        "annotations": [{**a, "id": i} for i, a in zip(ids, annotations, strict=True)],
    }
    write_json(path, data)


def _written_annotations(
    records: list[Record], image_ids: list[int], category_ids: list[int]
) -> Iterator[Entry]:
    for image, record in zip(image_ids, records, strict=True):
        for annotation in record["annotations"]:
            box = box_xywh(annotation["bbox"])
            yield {
                "area": box[2] * box[3],
                **{key: annotation[key] for key in _EXTRAS if key in annotation},
                "image_id": image,
                "category_id": category_ids[annotation["category_id"]],
                "instance_id": annotation["track_id"],
                "bbox": box,
                "iscrowd": annotation["iscrowd"],
            }
