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
``lists.py``, records one by one in ``record_reader.py``; registering with detectron2 is in
``plugin.py``, drawing pairs in ``pair_mapper.py``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
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
from .record_reader import Record, RecordReader
from .xml_file import StrPath


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
    reader = RecordReader.of("VID", root, video_list, classes, other_names, problems)
    rows = read_video_list(video_list, reader.problems)
    return _collect(reader, reader.every_frame(rows), sum(row.length for row in rows))


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
    reader = RecordReader.of("VID", root, frame_list, classes, other_names, problems)
    videos: dict[str, VideoRow] = {}
    for row in read_frame_list(frame_list, reader.problems):
        videos.setdefault(row.video, VideoRow(row.video, row.length, row.line))
    total = sum(row.length for row in videos.values())
    return _collect(reader, reader.every_frame(videos.values()), total)


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
    reader = RecordReader.of("VID", root, frame_list, classes, other_names, problems)
    rows = read_frame_list(frame_list, reader.problems)
    return _collect(reader, rows, len(rows))


def load_listed_videos(
    root: StrPath,
    frame_list: StrPath,
    classes: Mapping[str, str],
    *,
    other_names: Collection[str] = (),
    problems: Problems | None = None,
) -> FrameTable:
    """Whole videos by a list of all of their frames, as ``VID_val_frames.txt`` is one.

    A frame that the list leaves out is a problem: its neighbours would pass for consecutive ones.
    Otherwise as :func:`load_vid_frames`.
    """
    reader = RecordReader.of("VID", root, frame_list, classes, other_names, problems)
    rows = read_frame_list(frame_list, reader.problems)
    _report_gaps(rows, frame_list, reader.problems)
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
    reader = RecordReader.of("DET", root, image_list, classes, other_names, problems)
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


def _report_gaps(rows: Sequence[FrameRow], frame_list: StrPath, problems: Problems) -> None:
    """The frames that a list of whole videos does not have, a problem a video."""
    videos: dict[str, list[FrameRow]] = {}
    for row in rows:
        videos.setdefault(row.video, []).append(row)
    for video, listed in videos.items():
        numbers = sorted(row.number for row in listed)
        length, line = listed[0].length, listed[0].line
        if len(numbers) < length:
            gap = next((i for i, number in enumerate(numbers) if i != number), len(numbers))
            message = (
                f"{frame_list}, line {line}: expected a row for each of the {length} frames of "
                f"{video}, found none for frame {gap}"
            )
            problems.report("frames that are not listed", message, length - len(numbers))


def _collect(
    reader: RecordReader, rows: Iterable[FrameRow] | Iterable[ImageRow], total: int
) -> FrameTable:
    """All records of a dataset: the one place where they come together, one after another."""
    bar = tqdm(rows, "Reading annotations", total, unit=" files", disable=None)
    records = FrameTable.from_records(reader.read(bar))
    if not records:
        found = reader.problems.summary().replace("\n", "; ")
        raise UserError(f"{reader.list_file}: expected rows of files that are there, found {found}")
    return records
