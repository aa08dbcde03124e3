"""Ground truth and detections of many frames in few arrays, as the metrics go through them.

Shape letters: F frames, G ground-truth boxes and D detections of all of them, K classes. Boxes
are (.., 4) xyxy in pixels; labels run from 0 to K - 1. A frame may hold nothing, and so may the
set. Frames are taken one after another and none is held on to: 300 detections in each of 176,126
frames are 1.4 GB here.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

BLOCK = 2**20  # detections that are split by class at a time


class TruthColumns(NamedTuple):
    """The objects of all frames, frame after frame."""

    starts: np.ndarray  # (F + 1,) int64, the first object of every frame, and G
    boxes: np.ndarray  # (G, 4) float64
    labels: np.ndarray  # (G,) int64

    @property
    def empty_frames(self) -> int:
        """How many frames have no object."""
        return int(np.count_nonzero(np.diff(self.starts) == 0))


class ClassRows(NamedTuple):
    """The detections of one class, frame after frame, each frame's in their order."""

    frames: np.ndarray  # (D,) int32
    boxes: np.ndarray  # (D, 4), float32 where that is what was given
    scores: np.ndarray  # (D,), likewise


def stack_truth(
    per_frame: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int, names: Sequence[Any]
) -> TruthColumns:
    """Put (boxes (G, 4), labels (G,)) of every frame into one table.

    Args:
        names: of the frames, for errors.

    Raises:
        ValueError: shapes that do not fit, a value that is not finite, a label that is no class;
            the frame is named.
    """
    boxes, labels, starts = [np.zeros((0, 4))], [np.zeros(0, dtype=np.int64)], [0]
    for name, columns in zip(names, per_frame, strict=True):
        _check_shapes(f"ground truth, frame {name}", columns, ((4,), ()))
        boxes.append(columns[0])
        labels.append(columns[1])
        starts.append(starts[-1] + len(columns[1]))
    table = TruthColumns(
        np.array(starts, dtype=np.int64),
        np.concatenate(boxes, dtype=np.float64),
        np.concatenate(labels).astype(np.int64),
    )
    frames = np.repeat(np.arange(len(starts) - 1), np.diff(table.starts))
    where = _Where("ground truth", frames, names)
    where.check(table.boxes, np.zeros(len(frames)), table.labels, num_classes)
    return table


class DetectionColumns:
    """Takes the detections of one frame after another; each class's are given out once.

    Args:
        names: of the frames, for errors.
    """

    def __init__(self, num_classes: int, names: Sequence[Any]):
        self._num_classes, self._names = num_classes, names
        self._parts: list[list[ClassRows]] = [[] for _ in range(num_classes)]
        self._open: list[tuple[np.ndarray, ...]] = []  # frames that are not split by class yet
        self._open_rows = self._frames = 0

    def add(self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        """Take the next frame's boxes (D, 4), scores (D,) and labels (D,).

        Raises:
            ValueError: as of :func:`stack_truth`, about this frame or one shortly before it.
        """
        columns = boxes, scores, labels
        _check_shapes(f"detections, frame {self._names[self._frames]}", columns, ((4,), (), ()))
        if len(labels):  # arrays of nothing are of any type, and would widen the others
            self._open.append((np.full(len(labels), self._frames, dtype=np.int32), *columns))
            self._open_rows += len(labels)
        self._frames += 1
        if self._open_rows >= BLOCK:
            self._split()

    def take(self, label: int) -> ClassRows:
        """The detections of a class, which are forgotten here."""
        self._split()
        parts, self._parts[label] = self._parts[label], []
        if not parts:
            return ClassRows(np.zeros(0, dtype=np.int32), np.zeros((0, 4)), np.zeros(0))
        return ClassRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _split(self) -> None:
        """Move the frames that are open to their classes."""
        if not self._open:
            return
        columns = (np.concatenate(column) for column in zip(*self._open, strict=True))
        frames, boxes, scores, labels = columns
        self._open, self._open_rows = [], 0
        _Where("detections", frames, self._names).check(boxes, scores, labels, self._num_classes)
        labels = labels.astype(np.min_scalar_type(self._num_classes))  # small types sort fast
        order = np.argsort(labels, kind="stable")
        counts = np.bincount(labels, minlength=self._num_classes)
        for label, rows in enumerate(np.split(order, np.cumsum(counts)[:-1])):
            if len(rows):
                self._parts[label].append(ClassRows(frames[rows], boxes[rows], scores[rows]))


def _check_shapes(
    where: str, columns: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]]
) -> None:
    num_boxes = len(columns[-1])
    if any(
        np.shape(column) != (num_boxes, *shape)
        for column, shape in zip(columns, shapes, strict=True)
    ):
        expected = "boxes (N, 4), scores (N,) and labels (N,)"
        if len(shapes) == 2:
            expected = "boxes (N, 4) and labels (N,)"
        found = ", ".join(str(np.shape(column)) for column in columns)
        raise ValueError(f"{where}: expected {expected}, got {found}")


class _Where(NamedTuple):
    """What errors name: a set, and each row's frame."""

    of: str
    frames: np.ndarray  # (N,)
    names: Sequence[Any]

    def check(
        self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, num_classes: int
    ) -> None:
        """Refuse values that are not finite and labels that are no class."""
        finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
        if not finite.all():
            raise ValueError(f"{self._first(~finite)}: boxes and scores must be finite")
        outside = (labels < 0) | (labels >= num_classes)
        if outside.any():
            raise ValueError(
                f"{self._first(outside)}: expected labels from 0 to {num_classes - 1}, "
                f"got {labels[outside][0]}"
            )

    def _first(self, rows: np.ndarray) -> str:
        return f"{self.of}, frame {self.names[self.frames[rows][0]]}"
