"""Average precision of video object detection, on arrays (Sec. 6.3, Table 1).

Shape letters: G ground-truth boxes, D detections, N boxes of a frame, K classes, P pairs. Boxes
are (.., 4) xyxy in pixels of the original frame; labels run from 0 to K - 1. Sets are lists over
the frames of all videos, one after the other; a frame may hold nothing, and detections on it are
false all the same. A class without ground truth has no average precision: NaN.

Evaluators of ImageNet VID disagree, so every number names its protocol; what tells them apart is
one row of :data:`PROTOCOLS`. ``fgfa`` follows ``lib/dataset/imagenet_vid_eval.py`` of Flow-Guided
Feature Aggregation (Zhu et al., ICCV 2017), which the papers of Table 1 used. Nothing is rounded,
floored or cut here unless the caller asks for it (:func:`round_for_protocol`,
:func:`limit_detections`); reading files and averaging over classes is ``evaluation.py``'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

GroundTruth = tuple[np.ndarray, np.ndarray]  # of a frame: boxes (G, 4), labels (G,)
Detections = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (D, 4), scores (D,), labels (D,)

WHOLE_MOTION_RANGE = (0, 1)
WHOLE_AREA_RANGE = (0, 1e10)


@dataclass(frozen=True)
class Protocol:
    """What sets one evaluator apart from the others."""

    iou: float  # a detection finds a box at this IoU and above ...
    tolerance: float  # ... or at w*h / ((w + tolerance) * (h + tolerance)) if less, for tiny boxes
    pixel: float  # added to x2 - x1 and y2 - y1: 1 where both border pixels belong to a box
    score_decimals: int  # scores and boxes are rounded to so many decimals before matching
    box_decimals: int


PROTOCOLS = {
    "fgfa": Protocol(iou=0.5, tolerance=10.0, pixel=1.0, score_decimals=4, box_decimals=2),
}
_PLANNED_PROTOCOLS = ("mega", "coco")


def average_precision_per_class(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    num_classes: int,
    protocol: str = "fgfa",
    motion: Sequence[np.ndarray] | None = None,
    motion_range: tuple[float, float] = WHOLE_MOTION_RANGE,
    area_range: tuple[float, float] = WHOLE_AREA_RANGE,
) -> np.ndarray:
    """Average precision of every class over a set of frames.

    Detections are taken by falling score (equal ones in the order of frames, then of boxes). Each
    takes the box of its class and frame, not yet taken, with the highest IoU at or above that
    box's threshold, the first of equal ones; where there is none it is false.

    Args:
        ground_truth: (boxes (G, 4), labels (G,)) per frame.
        detections: (boxes (D, 4), scores (D,), labels (D,)) per frame, as many frames.
        protocol: a name in :data:`PROTOCOLS`.
        motion: per frame (G,) motion values of the ground truth; not there yet.
        motion_range: motion values counted, both ends included; only the whole range yet.
        area_range: areas counted, in square pixels; only the whole range yet.

    Returns:
        (K,) float64 in [0, 1]; NaN for classes without ground truth.
    """
    rules = _protocol(protocol)
    ranges = (tuple(motion_range), tuple(area_range))
    if motion is not None or ranges != (WHOLE_MOTION_RANGE, WHOLE_AREA_RANGE):
        raise NotImplementedError("average precision by motion or by area is not there yet")
    if len(ground_truth) != len(detections):
        raise ValueError(
            f"expected as many frames of detections as of ground truth ({len(ground_truth)}), "
            f"got {len(detections)}"
        )
    truth_rows = [(boxes, np.ones(len(labels)), labels) for boxes, labels in ground_truth]
    all_truth = _split_by_class(_stack("ground truth", truth_rows, num_classes), num_classes)
    all_found = _split_by_class(_stack("detections", detections, num_classes), num_classes)
    return np.array(
        [_class_average_precision(*pair, rules) for pair in zip(all_truth, all_found, strict=True)]
    )


def average_precision(true: np.ndarray, false: np.ndarray, num_objects: int) -> float:
    """Area under the precision envelope, over every step of recall.

    Args:
        true: (D,) weights with which detections count as true, by falling score.
        false: (D,) weights with which they count as false.
        num_objects: number of objects to be found, at least 1.
    """
    true, false = np.cumsum(true), np.cumsum(false)
    # a detection may count neither way, so that both sums are 0
    precision = true / np.maximum(true + false, np.finfo(np.float64).eps)
    recall = np.concatenate([[0.0], true / num_objects, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def round_for_protocol(detections: Detections, protocol: str = "fgfa") -> Detections:
    """One frame's detections as the protocol's evaluator reads them from its files, in float64.

    Equal to printing and reading float32 values with the protocol's decimals.
    """
    rules = _protocol(protocol)
    boxes, scores, labels = detections
    return (
        np.round(np.asarray(boxes, dtype=np.float64), rules.box_decimals),
        np.round(np.asarray(scores, dtype=np.float64), rules.score_decimals),
        labels,
    )


def limit_detections(boxes: np.ndarray, scores: np.ndarray, floor: float, limit: int) -> Detections:
    """The detections of one frame that are evaluated, from scores for every class.

    Args:
        boxes: (N, 4). scores: (N, K).
        floor: pairs of box and class with a lower score (compared in float64) are left out.
        limit: the best so many pairs stay; of equal ones the lower box, then the lower class.

    Returns:
        boxes (D, 4), scores (D,) and labels (D,) by falling score.
    """
    if scores.ndim != 2 or boxes.shape != (len(scores), 4):
        raise ValueError(
            f"expected boxes (N, 4) and scores (N, K), got {boxes.shape} and {scores.shape}"
        )
    if limit < 0:
        raise ValueError(f"expected a limit of 0 or more detections, got {limit}")
    box, label = np.nonzero(scores.astype(np.float64) >= floor)
    best = np.argsort(-scores[box, label], kind="stable")[:limit]
    box, label = box[best], label[best]
    return boxes[box], scores[box, label], label


def _protocol(name: str) -> Protocol:
    if name in _PLANNED_PROTOCOLS:
        raise NotImplementedError(f"the protocol {name!r} is not there yet")
    if name not in PROTOCOLS:
        known = ", ".join([*PROTOCOLS, *_PLANNED_PROTOCOLS])
        raise ValueError(f"expected a protocol out of {known}, got {name!r}")
    return PROTOCOLS[name]


class _Rows(NamedTuple):
    """Boxes of many frames, one a row, frame after frame."""

    frames: np.ndarray  # (M,) int64
    boxes: np.ndarray  # (M, 4) float64
    scores: np.ndarray  # (M,) float64; ground truth has 1
    labels: np.ndarray  # (M,) int64

    def take(self, index: np.ndarray) -> "_Rows":
        return _Rows(*(values.take(index, axis=0) for values in self))


def _stack(name: str, per_frame: Sequence[Detections], num_classes: int) -> _Rows:
    """Check the frames of a set and put their boxes into one table."""
    columns = [np.zeros((0, 4))], [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    for frame, values in enumerate(per_frame):
        num_boxes = len(values[2])
        for column, value, shape in zip(columns, values, ((4,), (), ()), strict=True):
            if np.shape(value) != (num_boxes, *shape):
                found = ", ".join(str(np.shape(each)) for each in values)
                raise ValueError(
                    f"{name}, frame {frame}: expected boxes (N, 4), scores (N,) and labels (N,), "
                    f"got {found}"
                )
            column.append(np.asarray(value))
    boxes, scores, labels = (np.concatenate(column) for column in columns)
    frames = np.repeat(np.arange(len(per_frame)), [len(values[2]) for values in per_frame])
    rows = _Rows(frames, boxes, scores, labels)
    _check_values(name, rows, num_classes)
    return rows


def _check_values(name: str, rows: _Rows, num_classes: int) -> None:
    finite = np.isfinite(rows.boxes).all(axis=1) & np.isfinite(rows.scores)
    if not finite.all():
        frame = rows.frames[~finite][0]
        raise ValueError(f"{name}, frame {frame}: boxes and scores must be finite")
    outside = (rows.labels < 0) | (rows.labels >= num_classes)
    if outside.any():
        raise ValueError(
            f"{name}, frame {rows.frames[outside][0]}: expected labels from 0 to "
            f"{num_classes - 1}, got {rows.labels[outside][0]}"
        )


def _split_by_class(rows: _Rows, num_classes: int) -> list[_Rows]:
    order = np.argsort(rows.labels, kind="stable")
    ends = np.searchsorted(rows.labels[order], np.arange(num_classes), side="right")
    return [rows.take(index) for index in np.split(order, ends)[:-1]]


def _class_average_precision(ground_truth: _Rows, detections: _Rows, rules: Protocol) -> float:
    if len(ground_truth.boxes) == 0:
        return float("nan")
    ranked = detections.take(np.argsort(-detections.scores, kind="stable"))
    true = _match(ground_truth, ranked, rules) >= 0
    return average_precision(true, ~true, len(ground_truth.boxes))


def _match(ground_truth: _Rows, ranked: _Rows, rules: Protocol) -> np.ndarray:
    """Which ground-truth box each of the detections, ranked by score, takes: (D,), -1 for none.

    All are of one class. Pairs that reach the threshold are found at once; only these, few, are
    gone through one by one: each detection's by falling IoU, the first of equal ones first.
    """
    first = np.searchsorted(ground_truth.frames, ranked.frames, side="left")
    count = np.searchsorted(ground_truth.frames, ranked.frames, side="right") - first
    detection = np.repeat(np.arange(len(count)), count)
    truth = np.arange(len(detection)) + np.repeat(first - np.cumsum(count) + count, count)
    iou = _aligned_iou(ranked.boxes[detection], ground_truth.boxes[truth], rules.pixel)
    close = (iou >= _iou_thresholds(ground_truth.boxes, rules)[truth]) & (iou > 0)
    detection, truth, iou = detection[close], truth[close], iou[close]
    order = np.lexsort((truth, -iou, detection))
    taken = np.full(len(count), -1)
    free = [True] * len(ground_truth.boxes)
    for d, g in zip(detection[order].tolist(), truth[order].tolist(), strict=True):
        if free[g] and taken[d] < 0:
            free[g], taken[d] = False, g
    return taken


def _iou_thresholds(boxes: np.ndarray, rules: Protocol) -> np.ndarray:
    """(G,) IoU at which each box counts as found; tiny boxes forgive some pixels."""
    width, height = _sizes(boxes, rules.pixel)
    enlarged = (width + rules.tolerance) * (height + rules.tolerance)
    return np.minimum(rules.iou, width * height / enlarged)


def _sizes(boxes: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    return boxes[:, 2] - boxes[:, 0] + pixel, boxes[:, 3] - boxes[:, 1] + pixel


def _aligned_iou(boxes: np.ndarray, others: np.ndarray, pixel: float) -> np.ndarray:
    """IoU (P,) of boxes (P, 4) with others (P, 4), ``pixel`` added to every side; never NaN."""
    corners = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    sides = _sizes(np.concatenate(corners, axis=1), pixel)
    overlap = (sides[0] > 0) & (sides[1] > 0)
    intersection = np.where(overlap, sides[0] * sides[1], 0.0)
    areas = [np.prod(_sizes(each, pixel), axis=0) for each in (boxes, others)]
    union = np.where(overlap, areas[0] + areas[1] - intersection, 1.0)
    return intersection / union
