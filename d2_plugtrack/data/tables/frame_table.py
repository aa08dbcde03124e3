"""Records of a dataset in a few arrays, built as dicts when they are asked for.

A million records as dicts take gigabytes and are copied to every loader worker; here they take a
tenth of that, in arrays that forked workers share (``frame_store.py``). What comes out equals what
went in: records as ``imagenet/records.py`` documents them, of frames and of stills. N records.

Annotations keep what training a tracker and evaluating it need: other keys that JSON files may
have (``segmentation``, ``area``) are not kept. An empty table is a table.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import eq
from typing import Any

import numpy as np

from .frame_store import Record, Store, StoreBuilder, VideoId

Video = dict[str, Any]


class FrameTable(Sequence):
    """A sequence of records, or a view of some of another's.

    Slices, ``select`` and ``videos`` give views: they hold row numbers and share everything else.

    Args:
        store: what all views share.
        rows: (N,) rows of ``store``.
        last: (N,) what records say as ``last``; without, they do not have that key.
    """

    def __init__(self, store: Store, rows: np.ndarray, last: np.ndarray | None = None):
        self._store, self._rows, self._last = store, rows, last

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> "FrameTable":
        """Take records one after another; none is held on to. A table is returned as it is.

        Raises:
            ValueError: boxes that are not xyxy, or a record with some keys of a video's frame only.
        """
        if isinstance(records, FrameTable):
            return records
        builder = StoreBuilder()
        for record in records:
            builder.add(record)
        return cls.whole(builder.finish())

    @classmethod
    def whole(cls, store: Store) -> "FrameTable":
        """All of a store's records, in order."""
        return cls(store, np.arange(len(store.files), dtype=np.int32))

    @property
    def store(self) -> Store:
        """The arrays behind exactly these records in this order, for a file of them."""
        if np.array_equal(self._rows, np.arange(len(self._store.files))):
            return self._store
        return FrameTable.from_records(iter(self))._store

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice) -> "Record | FrameTable":
        if isinstance(index, slice):
            return self.select(index)
        record = self._store.record(int(self._rows[index]))
        if self._last is not None:
            record["last"] = bool(self._last[index])
        return record

    def __eq__(self, other: object) -> bool:
        """Record by record, with lists as with other tables."""
        if not isinstance(other, FrameTable | list):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None

    def select(self, indices: slice | Sequence[int] | np.ndarray) -> "FrameTable":
        """A view of these records in this order; indices as numpy's, or a mask."""
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            indices = indices if indices.size else indices.astype(np.int64)  # [] is of floats
        last = None if self._last is None else self._last[indices]
        return FrameTable(self._store, self._rows[indices], last)

    @property
    def has_objects(self) -> np.ndarray:
        """(N,) whether each record has annotations, crowds apart, without building any."""
        counts = self._store.object_counts
        return counts[self._rows + 1] > counts[self._rows]

    @property
    def has_videos(self) -> bool:
        """Whether all records are frames of videos; of no records they are."""
        return bool((self._videos >= 0).all())

    @property
    def video_ids(self) -> list[VideoId]:
        """Of every record, without building any; a still's is None."""
        names = [*self._store.video_ids, None]  # None is at -1
        return [names[video] for video in self._videos.tolist()]

    def file_names(self) -> Iterator[str]:
        """Of every record, without building any."""
        return (self._store.files[row] for row in self._rows.tolist())

    @property
    def _videos(self) -> np.ndarray:
        return self._store.arrays["video"][self._rows]

    def mark_last(self) -> "FrameTable":
        """The frames video after video, each in order, as a view whose records have ``last``.

        Raises:
            ValueError: a record is a still.
        """
        frames = self.videos().frames
        videos = frames._videos
        last = np.ones(len(videos), dtype=bool)
        last[:-1] = videos[1:] != videos[:-1]
        return FrameTable(self._store, frames._rows, last)

    def videos(self) -> "VideoTable":
        """The videos in order of first appearance, each with its frames by ``frame_index``.

        Raises:
            ValueError: a record is a still.
        """
        if not self.has_videos:
            raise ValueError("expected frames of videos, found stills")
        _, first, inverse = np.unique(self._videos, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))[inverse.reshape(-1)]
        order = np.lexsort((self._store.arrays["frame_index"][self._rows], rank))
        ends = np.concatenate([[0], np.cumsum(np.bincount(rank, minlength=len(first)))])
        return VideoTable(self.select(order), np.stack([ends[:-1], ends[1:]], axis=1))


class VideoTable(Sequence):
    """``{"video_id", "frames": FrameTable}`` a video; for loaders, in place of a list of them.

    Args:
        frames: a video's in a row.
        spans: (V, 2) where each video starts and ends.
    """

    def __init__(self, frames: FrameTable, spans: np.ndarray):
        self.frames, self._spans = frames, spans

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int | slice) -> "Video | VideoTable":
        if isinstance(index, slice):
            return self.select(index)
        start, end = self._spans[index].tolist()
        frames = self.frames[start:end]
        return {"video_id": frames[:1].video_ids[0], "frames": frames}

    def select(self, indices: slice | Sequence[int] | np.ndarray) -> "VideoTable":
        """A view of these videos in this order."""
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            indices = indices if indices.size else indices.astype(np.int64)
        return VideoTable(self.frames, self._spans[indices])


def joined(parts: Sequence[Sequence[Record]]) -> Sequence[Record]:
    """The records of several datasets one after another: a :class:`FrameTable` where all are."""
    if len(parts) == 1:
        return parts[0]
    records = chain.from_iterable(parts)
    if all(isinstance(part, FrameTable) for part in parts):
        return FrameTable.from_records(records)
    return list(records)


def has_videos(records: Sequence[Record]) -> bool:
    """Whether all records are frames of videos, and none a still."""
    if isinstance(records, FrameTable):
        return records.has_videos
    return all("video_id" in r for r in records)


def video_ids(records: Sequence[Record]) -> list[VideoId]:
    """Of every record of videos."""
    if isinstance(records, FrameTable):
        return records.video_ids
    return [r["video_id"] for r in records]


def has_objects(records: Sequence[Record]) -> np.ndarray:
    """(N,) whether each record has annotations that are no crowd.

    Of a :class:`FrameTable` without building any.
    """
    if isinstance(records, FrameTable):
        return records.has_objects
    return np.array([_has_object(r) for r in records], dtype=bool)


def with_objects(records: Sequence[Record]) -> Sequence[Record]:
    """The records that have annotations that are no crowd: of a :class:`FrameTable` a view."""
    if isinstance(records, FrameTable):
        return records.select(np.flatnonzero(records.has_objects))
    return [r for r in records if _has_object(r)]


def _has_object(record: Record) -> bool:
    return any(not a.get("iscrowd") for a in record["annotations"])
