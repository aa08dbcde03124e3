"""The objects of a video: numbered tracks, and a sequence that does not hold a tensor a frame.

Shape letters: B boxes of a frame, K foreground classes, M objects of a frame. Boxes are xyxy in
pixels of the frame. All is on the CPU. A frame without boxes has no objects; no frames give an
empty sequence. Which frames are finished is ``video_rescorer.py``'s.
"""

from collections.abc import Callable, Collection, Sequence
from copy import copy
from typing import NamedTuple, overload

import numpy as np
import torch

from .host_frames import flatten_masks, mask_starts, unflatten_masks
from .open_part import RescoredFrame
from .rescoring import TrackedObjects
from .spool import Spool, Spooling

FRAMES_OF_BLOCK = 64
_FORGET_FROM = 10_000  # track numbers, before those of paths that are over are forgotten


class TrackNumbers:
    """Track ids 0, 1, 2, ... in the order in which best-class paths appear: by frame, then box.

    Args:
        score_threshold: objects of a lower score are left out, and their paths are not numbered.
        labels: the same for objects of other classes; None takes all.
    """

    def __init__(self, score_threshold: float = 0.0, labels: Collection[int] | None = None):
        self.score_threshold = score_threshold
        self.labels = None if labels is None else sorted(labels)
        self._num_tracks = 0
        self._known: dict[int, int] = {}  # path to track
        self._forget_at = _FORGET_FROM

    def objects(self, frame: RescoredFrame) -> TrackedObjects:
        """An object for each box that is kept for any class, under its best class; next frame.

        Of classes that are equally good the first. What is asked for is asked of the best class.
        """
        rows, classes = self._wanted(frame, *_best_classes(frame))
        ids = [self._number(path) for path in frame.paths[rows, classes].tolist()]
        self._forget(frame)
        return TrackedObjects(
            torch.from_numpy(frame.boxes[rows]),
            torch.from_numpy(frame.scores[rows, classes]),
            torch.from_numpy(classes),
            torch.tensor(ids, dtype=torch.int64),
            None if frame.masks is None else torch.from_numpy(frame.masks[rows]),
        )

    def _wanted(
        self, frame: RescoredFrame, rows: np.ndarray, classes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        wanted = frame.scores[rows, classes] >= self.score_threshold
        if self.labels is not None:
            wanted &= np.isin(classes, self.labels)
        return rows[wanted], classes[wanted]

    def _number(self, path: int) -> int:
        if path < 0:
            return -1
        if path not in self._known:
            self._known[path] = self._num_tracks
            self._num_tracks += 1
        return self._known[path]

    def _forget(self, frame: RescoredFrame) -> None:
        """Now and then, let go of the paths that are over: a path is in frame after frame."""
        if len(self._known) >= self._forget_at:
            present = set(frame.paths.ravel().tolist())
            self._known = {path: track for path, track in self._known.items() if path in present}
            self._forget_at = _FORGET_FROM + 2 * len(self._known)


def _best_classes(frame: RescoredFrame) -> tuple[np.ndarray, np.ndarray]:
    """The boxes that are kept for any class, (M,) indices, and the best of these classes, (M,)."""
    rows = np.flatnonzero(frame.kept.any(axis=1))
    if len(rows) == 0:
        return rows, rows
    return rows, np.where(frame.kept[rows], frame.scores[rows], -np.inf).argmax(axis=1)


class _Block(NamedTuple):
    """Some frames; arrays are numbers in the spool."""

    ends: np.ndarray  # (F + 1,) objects before each frame, and in all
    mask_starts: np.ndarray  # (F + 1,)
    mask_sides: np.ndarray  # (F,)
    boxes: int
    scores: int
    classes: int
    track_ids: int
    masks: int


class TrackedVideo(Sequence[TrackedObjects]):
    """The objects of every frame, in order; tensors are made when a frame is asked for.

    Args:
        spooling: when and where arrays go to disk; None keeps them in memory.
    """

    def __init__(self, spooling: Spooling | None):
        self._spool = Spool(spooling)
        self._blocks: list[_Block] = []
        self._latest: list[TrackedObjects] = []  # not yet in a block
        self._change: Callable[[TrackedObjects], TrackedObjects] | None = None

    @property
    def bytes_on_disk(self) -> int:
        return self._spool.bytes_on_disk

    def append(self, objects: TrackedObjects) -> None:
        """Take the next frame."""
        self._latest.append(objects)
        if len(self._latest) == FRAMES_OF_BLOCK:
            latest, self._latest = self._latest, []
            self._blocks.append(self._pack(latest))

    def map(self, change: Callable[[TrackedObjects], TrackedObjects]) -> "TrackedVideo":
        """The same frames, changed when they are asked for; nothing is copied."""
        mapped, before = copy(self), self._change
        mapped._change = change if before is None else lambda objects: change(before(objects))
        return mapped

    def __len__(self) -> int:
        return FRAMES_OF_BLOCK * len(self._blocks) + len(self._latest)

    @overload
    def __getitem__(self, index: int) -> TrackedObjects: ...

    @overload
    def __getitem__(self, index: slice) -> list[TrackedObjects]: ...

    def __getitem__(self, index):
        frames = range(len(self))[index]  # with the errors of a list
        if isinstance(index, slice):
            return [self[frame] for frame in frames]
        block, place = divmod(frames, FRAMES_OF_BLOCK)
        stored = block < len(self._blocks)
        objects = self._unpack(self._blocks[block], place) if stored else self._latest[place]
        return objects if self._change is None else self._change(objects)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        if len(self) != len(other):
            return False
        return all(_are_equal(*pair) for pair in zip(self, other, strict=True))

    def _pack(self, frames: list[TrackedObjects]) -> _Block:
        ends = np.cumsum([0, *(len(o.boxes) for o in frames)])
        masks = [None if o.masks is None else o.masks.numpy() for o in frames]
        cells, sides = flatten_masks(masks)
        fields = (
            np.concatenate([getattr(o, name).numpy() for o in frames])
            for name in ("boxes", "scores", "classes", "track_ids")
        )
        boxes, scores, classes, track_ids = fields
        add = self._spool.append
        return _Block(
            ends,
            mask_starts(np.diff(ends), sides),
            sides,
            add(boxes),
            add(scores),
            add(classes.astype(np.int32)),
            add(track_ids.astype(np.int32)),
            add(cells),
        )

    def _unpack(self, block: _Block, place: int) -> TrackedObjects:
        first, end = block.ends[place : place + 2].tolist()
        cells = self._spool.read(block.masks, *block.mask_starts[place : place + 2].tolist())
        masks = unflatten_masks(cells, end - first, int(block.mask_sides[place]))
        numbers = (block.boxes, block.scores, block.classes, block.track_ids)
        boxes, scores, *labels = (self._spool.read(number, first, end) for number in numbers)
        return TrackedObjects(
            torch.tensor(boxes),
            torch.tensor(scores),
            *(torch.tensor(values, dtype=torch.int64) for values in labels),
            None if masks is None else torch.tensor(masks),
        )


def _are_equal(objects: TrackedObjects, other: object) -> bool:
    """Whether all fields of two frames are equal."""
    if not isinstance(other, TrackedObjects):
        return False
    return all(
        a is b if a is None or b is None else torch.equal(a, b)
        for a, b in zip(objects, other, strict=True)
    )
