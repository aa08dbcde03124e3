"""One record of ImageNet VID or DET after another, as the rows of a list say.

What a record is stands in ``records.py``. A row, a frame or a video that is bad is reported to a
``Problems`` and left out.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import UserError
from ..problems import Problems
from .frame_files import frame_numbers
from .lists import FrameRow, ImageRow, VideoRow
from .xml_file import StrPath, read_annotation

Record = dict[str, Any]


@dataclass
class RecordReader:
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
    def of(cls, kind, root, list_file, classes, other_names, problems) -> "RecordReader":
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

    def every_frame(self, videos: Iterable[VideoRow]) -> Iterator[FrameRow]:
        """A row a frame of whole videos; frames behind a video's last image are one problem."""
        for video in videos:
            if not self._has_folders(video):
                continue
            numbers = frame_numbers(f"{self.base}/Data/{self.kind}/{video.video}")
            there = max(numbers, default=-1) + 1
            for number in range(min(there, video.length)):
                yield FrameRow(video.video, number, video.length, video.line)
            if there < video.length:
                image_id = f"{video.video}/{there:06d}"
                self._report_missing_image(image_id, video.line, video.length - there)

    def _has_folders(self, row: FrameRow | VideoRow) -> bool:
        """Whether there is such a video at all; otherwise that is one problem, not one a frame."""
        if row.video not in self.has_folders:
            self.has_folders[row.video] = self._find_folders(row)
        return self.has_folders[row.video]

    def _frame(self, row: FrameRow) -> Record | None:
        if not self._has_folders(row):
            return None
        record = self._image(f"{row.video}/{row.number:06d}", row.line)
        if record is not None:
            record["video_id"] = row.video
            record["frame_index"] = row.number
            record["video_length"] = row.length
        return record

    def _find_folders(self, row: FrameRow | VideoRow) -> bool:
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
        image = self._image_file(image_id)
        if not os.path.isfile(image):
            self._report_missing_image(image_id, line)
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

    def _image_file(self, image_id: str) -> str:
        return f"{self.base}/Data/{self.kind}/{image_id}.JPEG"

    def _report_missing_image(self, image_id: str, line: int, count: int = 1) -> None:
        image = self._image_file(image_id)
        found = f"none (of {self._count_images(os.path.dirname(image))} in its folder)"
        message = f"{self.list_file}, line {line}: {image}: expected an image, found {found}"
        self.problems.report("missing images", message, count)

    def _count_images(self, folder: str) -> int:
        if folder not in self.image_counts:  # a folder may miss thousands, and be large
            try:
                names = os.listdir(folder)
            except (OSError, ValueError):  # not there, not to be read, or not a name at all
                names = []
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
