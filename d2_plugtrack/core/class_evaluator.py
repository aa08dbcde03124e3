"""Average precision of one class after another, in several ranges of objects at once.

Shape letters: G ground-truth boxes of all frames and classes, D detections of one class, R
ranges. What a protocol does differently is a field of its row (``protocols.py``); how detections
find objects is in ``matching.py``, which objects are of a range in ``ranges.py``. Nothing is
rounded or clipped here.
"""

from collections.abc import Sequence

import numpy as np

from .frame_columns import ClassRows, TruthColumns
from .matching import false_weights, find_objects
from .protocols import Protocol, iou_thresholds
from .ranges import WHOLE, ObjectRange, areas, is_within, motion_share


class ClassEvaluator:
    """Holds what is the same for all classes: objects, thresholds, and who is in which range.

    Args:
        truth: the objects of all frames.
        motion: (G,) motion values; None where no range asks for them.
        rules: the protocol.
        ranges: which objects count; R of them.
    """

    def __init__(
        self,
        truth: TruthColumns,
        motion: np.ndarray | None,
        rules: Protocol,
        ranges: Sequence[ObjectRange] = (WHOLE,),
    ):
        self._truth, self._rules, self._ranges = truth, rules, ranges
        self._thresholds = iou_thresholds(truth.boxes, rules)
        if motion is None:
            motion = np.full(len(truth.labels), np.nan)
        object_areas, empty = areas(truth.boxes), truth.empty_frames
        self._in_motion = [is_within(motion, r.motion) for r in ranges]
        self._in_area = [is_within(object_areas, r.area) for r in ranges]
        self._shares = [motion_share(motion, empty, r.motion) for r in ranges]

    def average_precisions(self, label: int, detections: ClassRows) -> list[float]:
        """R values of the class, each from 0 to 1; NaN where none of its objects is in the range.

        Args:
            label: the class.
            detections: all of the class; they are not rounded here.
        """
        of_class = self._truth.labels == label
        if not of_class.any():
            return [float("nan")] * len(self._ranges)
        rank = np.argsort(-detections.scores, kind="stable")
        ranked = detections.frames[rank], detections.boxes[rank].astype(np.float64, copy=False)
        result, taken = [], None
        for index in range(len(self._ranges)):
            inside = self._in_motion[index] & self._in_area[index]
            num_objects = np.count_nonzero(of_class & inside)
            if num_objects == 0:
                result.append(float("nan"))
                continue
            if taken is None or self._rules.in_range_first:  # otherwise the same in every range
                taken = self._find(ranked, of_class, ~inside)
            true = (taken >= 0) & inside[taken]
            false = self._false(ranked, of_class, taken, index)
            result.append(average_precision(true, false, num_objects, self._rules.recall_points))
        return result

    def _find(
        self, ranked: tuple[np.ndarray, np.ndarray], of_class: np.ndarray, outside: np.ndarray
    ) -> np.ndarray:
        """(D,) the object that each detection takes, or -1."""
        rules, truth = self._rules, self._truth
        last = outside & rules.in_range_first
        objects = truth.starts, truth.boxes, self._thresholds
        return find_objects(*ranked, *objects, of_class, last, rules.pixel, rules.tie == "last")

    def _false(
        self,
        ranked: tuple[np.ndarray, np.ndarray],
        of_class: np.ndarray,
        taken: np.ndarray,
        index: int,
    ) -> np.ndarray:
        """(D,) weights with which the detections are false in a range."""
        rules, truth = self._rules, self._truth
        counted = self._ranges[index]
        if counted.motion is None or rules.near == "none":
            false = (taken < 0).astype(np.float64)
        else:
            compared = of_class if rules.near == "same class" else np.ones_like(of_class)
            objects = truth.starts, truth.boxes, compared, ~self._in_motion[index]
            false = false_weights(*ranked, taken, *objects, self._shares[index], rules.pixel)
        if counted.area is not None:
            false[~is_within(areas(ranked[1]), counted.area)] = 0.0
        return false


def average_precision(
    true: np.ndarray, false: np.ndarray, num_objects: int, recall_points: int | None = None
) -> float:
    """Area under the precision envelope.

    Args:
        true: (D,) weights with which detections count as true, by falling score.
        false: (D,) weights with which they count as false.
        num_objects: number of objects to be found, at least 1.
        recall_points: the mean of the precision at so many recalls from 0 to 1 (``coco``); None
            adds up every step of recall.
    """
    true, false = np.cumsum(true), np.cumsum(false)
    # a detection may count neither way, so that both sums are 0
    precision = true / np.maximum(true + false, np.finfo(np.float64).eps)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = true / num_objects
    if recall_points is None:
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    reached = np.searchsorted(recall, np.linspace(0.0, 1.0, recall_points), side="left")
    return float(np.mean(np.append(envelope, 0.0)[reached]))
