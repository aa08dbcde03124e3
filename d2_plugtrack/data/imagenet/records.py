"""Reading ImageNet VID and DET as downloaded, into detectron2-style records.

``ROOT/{Data,Annotations}/{VID,DET}/<path>`` hold ``.JPEG`` and ``.xml`` files; which videos, frames
or images are read is said by a list file. Any data set of this layout can be read: the classes are
an argument, WordNet id to name, and their order gives the category ids from 0.

A frame is a dict with ``file_name``, ``height``, ``width``, ``image_id`` (its path below
``Data/VID``, without ending), ``video_id``, ``frame_index`` (from 0), ``video_length`` and
``annotations``; a DET still has no ``video_id``, ``frame_index`` and ``video_length``. An
annotation is ``{"bbox", "bbox_mode", "category_id", "track_id", "iscrowd"}``, a still's without
``track_id``. Boxes are as in ``xml_file.py``. Images are not opened, only looked for.

Frames without objects are kept, with no annotations. Bad objects, frames and rows go to a
``Problems`` and are left out; where a loader is called without one, they are errors. A root or a
list that is not there, and nothing left to read, are errors always. Rows are read in
``lists.py``; registering with detectron2 is in ``plugin.py``, drawing pairs in
``pair_mapper.py``.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from ...errors import UserError
from ..problems import Problems
from ..tables.frame_table import FrameTable
from .lists import (
    FrameRow,
    ImageRow,
    VideoRow,
    read_frame_list,
    read_image_list,
    read_video_list,
)
from .xml_file import StrPath, read_annotation

Record = dict[str, Any]


def load_vid_videos(
    root: StrPath,
    video_list: StrPath,
    classes: Mapping[str, str],
    *,
    other_names: Collection[str] = (),
    problems: Problems | None = None,
) -> FrameTable:
    """Every frame of the videos of a list as in ``VID_val_videos.txt``, in order.

    Args:
        root: the folder that holds Data and Annotations.
        video_list: the list file.
        classes: WordNet id to class name, in label order.
        other_names: WordNet ids whose objects are left out without a word; objects of names that
            are in neither are a problem.
        problems: takes what is bad; where None, that is an error.

    Raises:
        UserError: no root, no list or nothing left; anything bad where ``problems`` is strict.
    """
    reader = _Reader.of("VID", root, video_list, classes, other_names, problems)
    rows = read_video_list(video_list, reader.problems)
    return _collect(reader, _every_frame(rows), sum(row.length for row in rows))


def load_sampled_videos(
    root: StrPath,
    frame_list: StrPath,
    classes: Mapping[str, str],
    *,
    other_names: Collection[str] = (),
    problems: Problems | None = None,
) -> FrameTable:
    """Every frame of the videos that a list as in ``VID_train_15frames.txt`` samples, in order.

    Arguments and errors as of :func:`load_vid_videos`.
    """
    reader = _Reader.of("VID", root, frame_list, classes, other_names, problems)
    videos: dict[str, VideoRow] = {}
    for row in read_frame_list(frame_list, reader.problems):
        videos.setdefault(row.video, VideoRow(row.video, row.length, row.line))
    total = sum(row.length for row in videos.values())
    return _collect(reader, _every_frame(videos.values()), total)


def load_vid_frames(
    root: StrPath,
    frame_list: StrPath,
    classes: Mapping[str, str],
    *,
    other_names: Collection[str] = (),
    problems: Problems | None = None,
) -> FrameTable:
    """Only the frames of a list as in ``VID_train_15frames.txt`` or ``VID_val_frames.txt``.

    They are in the list's order; arguments and errors as of :func:`load_vid_videos`.
    """
    reader = _Reader.of("VID", root, frame_list, classes, other_names, problems)
    rows = read_frame_list(frame_list, reader.problems)
    return _collect(reader, rows, len(rows))


def load_det_images(
    root: StrPath,
    image_list: StrPath,
    classes: Mapping[str, str],
    *,
    other_names: Collection[str] = (),
    problems: Problems | None = None,
) -> FrameTable:
    """The stills of a list as in ``DET_train_30classes.txt``, in order, each once.

    Arguments and errors as of :func:`load_vid_videos`.
    """
    reader = _Reader.of("DET", root, image_list, classes, other_names, problems)
    rows = read_image_list(image_list, reader.problems)
    return _collect(reader, rows, len(rows))


def group_by_video(records: Sequence[Record]) -> Sequence[dict[str, Any]]:
    """Frame records as ``{"video_id", "frames"}`` a video, in order of first appearance.

    ``frames`` are the records given, not copies, ordered by ``frame_index``. No records, no videos.
    """
    if isinstance(records, FrameTable):
        return records.videos()
    videos: dict[str, list[Record]] = {}
    for record in records:
        videos.setdefault(record["video_id"], []).append(record)
    return [
        {"video_id": video, "frames": sorted(frames, key=lambda frame: frame["frame_index"])}
        for video, frames in videos.items()
    ]


def _every_frame(videos: Iterable[VideoRow]) -> Iterator[FrameRow]:
    for video, length, line in videos:
        for number in range(length):
            yield FrameRow(video, number, length, line)


def _collect(
    reader: "_Reader", rows: Iterable[FrameRow] | Iterable[ImageRow], total: int
) -> FrameTable:
    """All records of a dataset: the one place where they come together, one after another."""
    bar = tqdm(rows, "Reading annotations", total, unit=" files", disable=None)
    records = FrameTable.from_records(reader.read(bar))
    if not records:
        found = reader.problems.summary().replace("\n", "; ")
        raise UserError(f"{reader.list_file}: expected rows of files that are there, found {found}")
    return records


@dataclass
class _Reader:
    """Reads the records of one list, and holds what is the same for all of its rows."""

    base: str
    kind: str  # VID or DET
    list_file: StrPath
    class_ids: Mapping[str, int]
    other_names: Collection[str]
    problems: Problems
    has_folders: dict[str, bool] = field(default_factory=dict)  # of each video
    image_counts: dict[str, int] = field(default_factory=dict)  # of folders that miss some

    @classmethod
    def of(cls, kind, root, list_file, classes, other_names, problems) -> "_Reader":
        """The reader for a loader's arguments."""
        class_ids = {name: index for index, name in enumerate(classes)}
        problems = Problems() if problems is None else problems
        return cls(
            _checked_root(root, kind), kind, list_file, class_ids, frozenset(other_names), problems
        )

    def read(self, rows: Iterable[FrameRow] | Iterable[ImageRow]) -> Iterator[Record]:
        """One record after another, without those of bad rows."""
        for row in rows:
            record = self._frame(row) if isinstance(row, FrameRow) else self._image(*row)
            if record is not None:
                yield record

    def _frame(self, row: FrameRow) -> Record | None:
        if row.video not in self.has_folders:
            self.has_folders[row.video] = self._find_folders(row)
        if not self.has_folders[row.video]:  # one problem, not one a frame
            return None
        record = self._image(f"{row.video}/{row.number:06d}", row.line)
        if record is not None:
            record["video_id"] = row.video
            record["frame_index"] = row.number
            record["video_length"] = row.length
        return record

    def _find_folders(self, row: FrameRow) -> bool:
        for side in ("Data", "Annotations"):
            folder = f"{self.base}/{side}/{self.kind}/{row.video}"
            if not os.path.isdir(folder):
                where = f"{self.list_file}, line {row.line}"
                message = f"{where}: {folder}: expected a video's folder, found none"
                self.problems.report("missing videos", message)
                return False
        return True

    def _image(self, image_id: str, line: int) -> Record | None:
        where = f"{self.list_file}, line {line}"
        image = f"{self.base}/Data/{self.kind}/{image_id}.JPEG"
        if not os.path.isfile(image):
            found = f"none (of {self._count_images(os.path.dirname(image))} in its folder)"
            message = f"{where}: {image}: expected an image, found {found}"
            self.problems.report("missing images", message)
            return None
        annotation = read_annotation(
            f"{self.base}/Annotations/{self.kind}/{image_id}.xml",
            self.class_ids,
            tracks=self.kind == "VID",
            other_names=self.other_names,
            problems=self.problems,
            named_by=where,
        )
        return annotation and {"file_name": image, "image_id": image_id, **annotation}

    def _count_images(self, folder: str) -> int:
        if folder not in self.image_counts:  # a folder may miss thousands, and be large
            names = os.listdir(folder) if os.path.isdir(folder) else []
            self.image_counts[folder] = sum(name.endswith(".JPEG") for name in names)
        return self.image_counts[folder]


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
