"""Annotated videos as JSON files hold them: records, categories and the names of videos.

Shared by ``coco_vid.py`` and ``youtube_vis.py``, which read and write a :class:`VideoSet`. Records
are as ``imagenet/records.py`` documents them; ``video_id`` is the file's own id, labels count the
categories from 0 in order of their ids, and annotations may have the further keys ``id``, ``area``
and ``segmentation`` as they were found. Boxes are xyxy here and ``[x, y, width, height]`` in files.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UserError
from ..problems import Problems
from ..tables.frame_store import Record
from .entries import BadEntry, Entry, Id, StrPath, entries, noted, text, whole


@dataclass
class VideoSet:
    """Videos one after another, the frames of each by ``frame_index``.

    Args:
        records: of every frame.
        categories: id in files: name, in the order of labels.
        video_names: of the videos that have one beside their id.
    """

    records: Sequence[Record]
    categories: dict[int, str]
    video_names: dict[Id, str] = field(default_factory=dict)

    @property
    def class_names(self) -> list[str]:
        """In label order."""
        return list(self.categories.values())

    def name_of(self, video: Id) -> str:
        """Its name, or else its id."""
        return self.video_names.get(video, str(video))


def read_categories(path: StrPath, data: Entry, problems: Problems) -> dict[int, str]:
    """Id to name, in order of id, which is the order of labels.

    Raises:
        UserError: no such list, or nothing in it.
    """
    categories: dict[int, str] = {}
    for where, entry in entries(path, data, "categories", problems):
        with noted(problems):
            number, name = whole(where, entry, "id"), text(where, entry, "name")
            if number in categories or name in categories.values():
                message = f"{where}: expected each id and each name once, found {name!r} again"
                raise BadEntry("repeated categories", message)
            categories[number] = name
    if not categories:
        raise UserError(f"{path}: expected at least one category in categories, found none")
    return dict(sorted(categories.items()))


class UniqueIds:
    """Refuses an id that was there before, 7 and "7" being the same: names are made of them.

    Args:
        kind: of the problem.
    """

    def __init__(self, kind: str):
        self._kind = kind
        self._texts: set[str] = set()

    def add(self, where: str, identifier: Id) -> None:
        """Take note of one, or raise a BadEntry."""
        if str(identifier) in self._texts:
            raise BadEntry(self._kind, f"{where}: expected each id once")
        self._texts.add(str(identifier))


def read_iscrowd(where: str, entry: Entry) -> int:
    """0 or 1; 0 where it is not said."""
    if "iscrowd" not in entry:
        return 0
    value = int(entry["iscrowd"]) if type(entry["iscrowd"]) is bool else entry["iscrowd"]
    if value not in (0, 1):
        message = f"{where}: expected 0 or 1 in iscrowd, found {value!r:.80}"
        raise BadEntry("entries with missing or bad keys", message)
    return int(value)


def full_name(folder: StrPath, file_name: str) -> str:
    """A file name of a JSON file as one that can be opened: below ``folder`` unless absolute."""
    return os.path.normpath(os.path.join(folder, file_name))


def relative_name(json_path: Path, file_name: str) -> str:
    """A file name as it is written: relative to the JSON file's folder."""
    return Path(os.path.relpath(file_name, json_path.parent)).as_posix()


def unique_ids(ids: Iterable[object]) -> list[int]:
    """The ids themselves where all are whole numbers and differ, or else numbers from 1."""
    ids = list(ids)
    if all(type(i) is int for i in ids) and len(set(ids)) == len(ids):
        return ids
    return list(range(1, len(ids) + 1))


def videos_of(records: Iterable[Record]) -> dict[Id, list[Record]]:
    """The records by video, in order of first appearance, each by ``frame_index``."""
    videos: dict[Id, list[Record]] = {}
    for record in records:
        videos.setdefault(record["video_id"], []).append(record)
    for frames in videos.values():
        frames.sort(key=lambda frame: frame["frame_index"])
    return videos


def box_xywh(box: Sequence[float]) -> list[float]:
    """xyxy as ``[x, y, width, height]``."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
