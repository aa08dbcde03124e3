"""The arrays behind a ``FrameTable``, a record built from them, and how they are filled.

N records, G objects of all of them; boxes are xyxy in pixels, in float32 where that loses nothing.
"""

from array import array
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .packed_names import Arrays, NamePacker, PackedNames, packed_array

Record = dict[str, Any]
VideoId = str | int

BBOX_MODE = 0  # detectron2's BoxMode.XYXY_ABS
_OF_VIDEOS = ("video_id", "frame_index", "video_length")


@dataclass(frozen=True)
class Store:
    """``arrays``: of records ``height``, ``width``, ``video`` (-1 a still's), ``frame_index``,
    ``video_length`` (N,) and ``object_ends`` (N + 1,); of objects ``box`` (G, 4), ``category``,
    ``iscrowd``, ``track``, ``has_track`` (G,).
    """

    files: PackedNames
    image_ids: PackedNames
    video_ids: list[VideoId]
    arrays: Arrays

    @cached_property
    def object_counts(self) -> np.ndarray:
        """(N + 1,) how many objects there are before each record, and in all; without crowds."""
        before = np.concatenate([[0], np.cumsum(self.arrays["iscrowd"] == 0)])
        return before[self.arrays["object_ends"]]

    def record(self, row: int) -> Record:
        """As it went in."""
        arrays = self.arrays
        record = {
            "file_name": self.files[row],
            "height": int(arrays["height"][row]),
            "width": int(arrays["width"][row]),
            "image_id": self.image_ids[row],
        }
        video = int(arrays["video"][row])
        if video >= 0:
            record["video_id"] = self.video_ids[video]
            record["frame_index"] = int(arrays["frame_index"][row])
            record["video_length"] = int(arrays["video_length"][row])
        start, end = arrays["object_ends"][row : row + 2].tolist()
        record["annotations"] = self._annotations(slice(start, end))
        return record

    def _annotations(self, objects: slice) -> list[dict[str, Any]]:
        names = ("box", "category", "iscrowd", "track", "has_track")
        columns = [self.arrays[name][objects].tolist() for name in names]
        annotations = []
        for box, category, iscrowd, track, has_track in zip(*columns, strict=True):
            annotation = {
                "bbox": box,
                "bbox_mode": BBOX_MODE,
                "category_id": category,
                "iscrowd": iscrowd,
            }
            if has_track:
                annotation["track_id"] = track
            annotations.append(annotation)
        return annotations


class StoreBuilder:
    """Takes records one after another; ``finish`` ends it."""

    def __init__(self):
        self._files, self._image_ids = NamePacker(), NamePacker()
        self._videos: dict[VideoId, int] = {}
        integers = ("height", "width", "video", "frame_index", "video_length", "category")
        self._columns = {name: array("i") for name in integers}
        self._columns |= {"iscrowd": array("b"), "has_track": array("b"), "track": array("q")}
        self._columns |= {"box": array("d"), "object_ends": array("q", [0])}

    def add(self, record: Record) -> None:
        """Take over what the record holds; a ValueError as ``FrameTable.from_records`` says."""
        found = [key for key in _OF_VIDEOS if key in record]
        if 0 < len(found) < len(_OF_VIDEOS):
            raise ValueError(f"expected all of {_OF_VIDEOS} or none, found {found}")
        columns = self._columns
        self._files.append(record["file_name"])
        self._image_ids.append(record["image_id"])
        columns["height"].append(record["height"])
        columns["width"].append(record["width"])
        video = self._videos.setdefault(record["video_id"], len(self._videos)) if found else -1
        columns["video"].append(video)
        columns["frame_index"].append(record.get("frame_index", 0))
        columns["video_length"].append(record.get("video_length", 0))
        for annotation in record["annotations"]:
            self._add_object(annotation)
        columns["object_ends"].append(len(columns["category"]))

    def _add_object(self, annotation: dict[str, Any]) -> None:
        if annotation["bbox_mode"] != BBOX_MODE or len(annotation["bbox"]) != 4:
            raise ValueError(f"expected a box as xyxy (bbox_mode 0), found {annotation}")
        columns = self._columns
        columns["box"].extend(annotation["bbox"])
        columns["category"].append(annotation["category_id"])
        columns["iscrowd"].append(annotation["iscrowd"])
        columns["track"].append(annotation.get("track_id", 0))
        columns["has_track"].append("track_id" in annotation)

    def finish(self) -> Store:
        """The store of all records so far; this builder is done with."""
        arrays = {name: packed_array(column) for name, column in self._columns.items()}
        arrays["has_track"] = arrays["has_track"].astype(bool)
        arrays["box"] = _narrowed(arrays["box"]).reshape(-1, 4)
        return Store(self._files.pack(), self._image_ids.pack(), list(self._videos), arrays)


def _narrowed(values: np.ndarray) -> np.ndarray:
    """In float32 where every value survives that."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values) else values
