"""Average precision of video object detection, on arrays (Sec. 6.3, Table 1).

Shape letters: G ground-truth boxes, D detections, N boxes of a frame, K classes. Boxes are
(.., 4) xyxy in pixels of the original frame; labels run from 0 to K - 1. Sets are lists over
the frames of all videos, one after the other; a frame may hold nothing, and detections on it are
false all the same. A class without ground truth has no average precision: NaN.

Evaluators of ImageNet VID disagree, so every number names its protocol: ``protocols.py`` has what
tells them apart, ``matching.py`` how detections find objects. Average precision may be asked of a
range of objects (``ranges.py``). Objects that are out of it are ignored: they are none to be found,
and a detection that takes one counts neither way. A detection that takes none and whose own area
is out of the range counts neither way either; any other one is false, in a motion range with the
weight of :func:`.matching.false_weights`.

Nothing is rounded, clipped, floored or cut here unless the caller asks for it
(``round_for_protocol``, ``clip_for_protocol``, :func:`limit_detections`); records, and the mean
over classes, are ``average_precisions.py``'s.
"""

from collections.abc import Sequence

import numpy as np

from .class_evaluator import ClassEvaluator, average_precision
from .frame_columns import DetectionColumns, TruthColumns, stack_truth
from .protocols import (
    PROTOCOLS,
    Detections,
    clip_for_protocol,
    find_protocol,
    round_for_protocol,
)
from .ranges import ObjectRange, Span

__all__ = [  # what belongs to it and stands elsewhere
    "PROTOCOLS",
    "average_precision",
    "average_precision_per_class",
    "clip_for_protocol",
    "limit_detections",
    "round_for_protocol",
]

GroundTruth = tuple[np.ndarray, np.ndarray]  # of a frame: boxes (G, 4), labels (G,)

WHOLE_MOTION_RANGE: Span = (0, 1)
WHOLE_AREA_RANGE: Span = (0, 1e10)


def average_precision_per_class(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    num_classes: int,
    protocol: str = "fgfa",
    motion: Sequence[np.ndarray] | None = None,
    motion_range: Span = WHOLE_MOTION_RANGE,
    area_range: Span = WHOLE_AREA_RANGE,
) -> np.ndarray:
    """Average precision of every class over a set of frames.

    Detections are taken by falling score (equal ones in the order of frames, then of boxes). Each
    takes the box of its class and frame, not yet taken, with the highest IoU at or above that
    box's threshold, the first of equal ones (``coco``: the last one, and one in the range where
    there is any); where there is none it is false.

    Args:
        ground_truth: (boxes (G, 4), labels (G,)) per frame.
        detections: (boxes (D, 4), scores (D,), labels (D,)) per frame, as many frames.
        protocol: a name in :data:`PROTOCOLS`.
        motion: per frame (G,) motion values of the ground truth; needed for a motion range.
        motion_range: motion values counted, both ends included.
        area_range: areas counted, in square pixels, both ends included.

    Returns:
        (K,) float64 in [0, 1]; NaN for classes without ground truth, in the range.
    """
    rules = find_protocol(protocol)
    if len(ground_truth) != len(detections):
        raise ValueError(
            f"expected as many frames of detections as of ground truth ({len(ground_truth)}), "
            f"got {len(detections)}"
        )
    counted = ObjectRange(
        None if tuple(motion_range) == WHOLE_MOTION_RANGE else tuple(motion_range),
        None if tuple(area_range) == WHOLE_AREA_RANGE else tuple(area_range),
    )
    frames = range(len(ground_truth))
    truth = stack_truth(ground_truth, num_classes, frames)
    if counted.motion is not None and motion is None:
        raise ValueError(f"expected motion values for the motion range {counted.motion}, got none")
    values = None if motion is None else stack_motion(motion, truth, frames)
    columns = DetectionColumns(num_classes, frames)
    for detected in detections:
        columns.add(*detected)
    evaluator = ClassEvaluator(truth, values, rules, [counted])
    result = [evaluator.average_precisions(k, columns.take(k))[0] for k in range(num_classes)]
    return np.array(result, dtype=np.float64)


def stack_motion(
    motion: Sequence[np.ndarray], truth: TruthColumns, names: Sequence[object]
) -> np.ndarray:
    """(G,) motion values of all frames from those of each.

    Raises:
        ValueError: not as many as objects; the frame is named.
    """
    counts = np.diff(truth.starts)
    if len(motion) != len(counts):
        raise ValueError(f"expected motion values of {len(counts)} frames, got {len(motion)}")
    for name, values, count in zip(names, motion, counts.tolist(), strict=True):
        if np.shape(values) != (count,):
            raise ValueError(
                f"motion, frame {name}: expected a value for each of {count} objects, "
                f"got {np.shape(values)}"
            )
    return np.concatenate([np.zeros(0), *motion])


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
