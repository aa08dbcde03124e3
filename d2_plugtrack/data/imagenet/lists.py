"""Reading the community's list files: one row a video, a frame or an image.

Every row comes with its line, so that what it names and is not there can be reported with it.
A byte order mark, carriage returns and blank lines are ordinary. A bad row goes to a ``Problems``
and is left out; a list that is not there, is not text, or has no good row is a ``UserError``.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from ...errors import UserError
from ..limits import LARGE
from ..problems import Problems
from ..text_file import read_text
from .numbers import parse_whole
from .xml_file import StrPath

_VIDEO_ROW = "val/ILSVRC2015_val_00000000 1 0 464"
_FRAME_ROW = "train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000 1 10 300"
_SHORT_FRAME_ROW = "val/ILSVRC2015_val_00000000/000000 1"
_IMAGE_ROW = "train/ILSVRC2014_train_0000/ILSVRC2014_train_00000663 1"


class VideoRow(NamedTuple):
    """A video and how many frames it has."""

    video: str
    length: int
    line: int


class FrameRow(NamedTuple):
    """A frame, numbered from 0, of a video of so many frames."""

    video: str
    number: int
    length: int
    line: int


class ImageRow(NamedTuple):
    """An image."""

    image: str
    line: int


class _BadRow(Exception):
    """What is wrong with a row: a kind of problem, and what was expected and found."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


_Row = TypeVar("_Row", VideoRow, FrameRow, ImageRow)


def read_video_list(path: StrPath, problems: Problems | None = None) -> list[VideoRow]:
    """Rows ``path id start length``, as in ``VID_val_videos.txt``; ``start`` must be 0.

    Args:
        path: the list file.
        problems: takes malformed rows and repeated videos; where None, they are errors.
    """
    videos: set[str] = set()

    def parse(line: int, fields: list[str]) -> VideoRow:
        video, (_, start, length) = fields[0], _numbers(fields, _VIDEO_ROW)
        if start != 0 or not 1 <= length < LARGE:
            raise _BadRow(
                "rows of impossible videos",
                f"expected start 0 and a length of at least 1 and below {LARGE}, "
                f"found {start} and {length}",
            )
        if video in videos:
            raise _BadRow("repeated videos", f"expected each video once, found {video} again")
        videos.add(video)
        return VideoRow(video, length, line)

    return _read_rows(path, parse, _VIDEO_ROW, problems)


def read_frame_list(path: StrPath, problems: Problems | None = None) -> list[FrameRow]:
    """Rows ``path id frame length``, each frame once, as in ``VID_train_15frames.txt``.

    Rows ``path/frame id``, the other form of ``VID_val_frames.txt``, name no length: there a video
    ends with its last frame listed.

    Args:
        path: the list file.
        problems: takes malformed rows, frames beyond the length and a second length of a video;
            where None, they are errors.
    """
    lengths: dict[str, int] = {}
    ends: dict[str, int] = {}  # of videos in the short form

    def parse(line: int, fields: list[str]) -> FrameRow:
        if len(fields) == 2:
            video, number = _split_frame(fields)
            ends[video] = max(number + 1, ends.get(video, 0))
            return FrameRow(video, number, 0, line)
        video, (_, number, length) = fields[0], _numbers(fields, _FRAME_ROW)
        if not 0 <= number < length < LARGE:
            raise _BadRow(
                "rows of impossible frames",
                "expected a frame number from 0 and below the video's length, and that below "
                f"{LARGE}, found {number} of {length}",
            )
        if lengths.setdefault(video, length) != length:
            raise _BadRow(
                "rows of impossible frames",
                f"expected the length {lengths[video]} of the video's first row, found {length}",
            )
        return FrameRow(video, number, length, line)

    rows: dict[tuple[str, int], FrameRow] = {}
    for row in _read_rows(path, parse, _FRAME_ROW, problems):
        length = row.length or ends[row.video]
        rows.setdefault((row.video, row.number), row._replace(length=length))
    return list(rows.values())


def read_image_list(path: StrPath, problems: Problems | None = None) -> list[ImageRow]:
    """Rows ``path id``, as in ``DET_train_30classes.txt``; each image once, where it comes first.

    Args:
        path: the list file.
        problems: takes malformed rows; where None, they are errors.
    """

    def parse(line: int, fields: list[str]) -> ImageRow:
        _numbers(fields, _IMAGE_ROW)
        return ImageRow(fields[0], line)

    rows: dict[str, ImageRow] = {}
    for row in _read_rows(path, parse, _IMAGE_ROW, problems):
        rows.setdefault(row.image, row)
    return list(rows.values())


def _read_rows(
    path: StrPath,
    parse: Callable[[int, list[str]], _Row],
    example: str,
    problems: Problems | None,
) -> list[_Row]:
    """What ``parse`` makes of every row; it is called with the row's line and its fields."""
    problems = Problems() if problems is None else problems
    rows: list[_Row] = []
    for line, text in _lines(path):
        try:
            rows.append(parse(line, text.split()))
        except _BadRow as bad:
            problems.report(bad.kind, f"{path}, line {line}: {bad}")
    if not rows:
        found = problems.summary().replace("\n", "; ") or "none"
        raise UserError(f"{path}: expected rows as '{example}', found {found}")
    return rows


def _numbers(fields: list[str], example: str) -> list[int]:
    """The numbers after a row's path, as many as in the example."""
    try:
        numbers = [parse_whole(field) for field in fields[1:]]
    except ValueError:
        numbers = []
    if len(numbers) != len(example.split()) - 1:
        raise _malformed(fields, f"'{example}'")
    return numbers


def _split_frame(fields: list[str]) -> tuple[str, int]:
    """(video, frame) of a row in the short form."""
    _numbers(fields, _SHORT_FRAME_ROW)
    video, _, name = fields[0].rpartition("/")
    if not video or len(name) != 6 or not (name.isascii() and name.isdecimal()):
        raise _malformed(fields, f"'{_FRAME_ROW}' or '{_SHORT_FRAME_ROW}'")
    return video, int(name)


def _malformed(fields: list[str], expected: str) -> _BadRow:
    return _BadRow(
        "malformed rows", f"expected a row as {expected}, found {' '.join(fields)[:80]!r}"
    )


def _lines(path: StrPath) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1."""
    text = read_text(path, "a list file", "text")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line
