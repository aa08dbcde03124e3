"""What sets the evaluators of ImageNet VID apart: a row each of :data:`PROTOCOLS`.

Boxes are (.., 4) xyxy in pixels of the original frame. Every number names its protocol, because
the evaluators disagree:

- ``fgfa`` follows ``lib/dataset/imagenet_vid_eval_motion.py`` of Flow-Guided Feature Aggregation
  (Zhu et al., ICCV 2017), which the papers of Table 1 used;
- ``mega`` follows ``vid_eval.py`` of Memory Enhanced Global-Local Aggregation (Chen et al., CVPR
  2020);
- ``coco`` is AP50 of pycocotools.

What they share is in ``vid_metrics.py``: detections are taken by falling score and each finds one
box of its class at most; precision has an envelope; a class without ground truth has no AP.
Nothing is rounded or clipped unless the caller asks for it here.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Detections = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (D, 4), scores (D,), labels (D,)


@dataclass(frozen=True)
class Protocol:
    """What sets one evaluator apart from the others."""

    iou: float  # a detection finds a box at this IoU and above ...
    tolerance: float  # ... or at w*h / ((w + tolerance) * (h + tolerance)) if less, for tiny boxes
    pixel: float  # added to x2 - x1 and y2 - y1: 1 where both border pixels belong to a box
    clips: bool  # ground truth is clipped to the pixels of its frame
    score_decimals: int | None  # scores and boxes are rounded to so many decimals before matching
    box_decimals: int | None
    tie: Literal["first", "last"]  # which of equally good boxes a detection takes
    in_range_first: bool  # boxes out of the range are taken only where no other can be
    # The boxes that a detection which found none is compared with: nearest to one out of the
    # motion range it counts neither way. "none": it is false, whatever it is near to.
    near: Literal["any class", "same class", "none"]
    recall_points: int | None  # precision is read at so many recalls, or at every step of it


PROTOCOLS = {
    "fgfa": Protocol(0.5, 10.0, 1.0, False, 4, 2, "first", False, "any class", None),
    # its pixel is added twice: once to the corner, once to the side
    "mega": Protocol(0.5, 0.0, 2.0, True, None, None, "first", False, "same class", None),
    "coco": Protocol(0.5, 0.0, 0.0, False, None, None, "last", True, "none", 101),
}


def find_protocol(name: str) -> Protocol:
    """The row of that name; a ValueError where there is none."""
    if name not in PROTOCOLS:
        raise ValueError(f"expected a protocol out of {', '.join(PROTOCOLS)}, got {name!r}")
    return PROTOCOLS[name]


def round_for_protocol(detections: Detections, protocol: str = "fgfa") -> Detections:
    """Detections as the protocol's evaluator reads them from its files, in float64.

    Equal to printing and reading float32 values with the protocol's decimals.
    """
    rules = find_protocol(protocol)
    boxes, scores, labels = detections
    return rounded(boxes, rules.box_decimals), rounded(scores, rules.score_decimals), labels


def clip_for_protocol(boxes: np.ndarray, height: int, width: int, protocol: str) -> np.ndarray:
    """One frame's ground truth (G, 4) as the protocol's evaluator takes it.

    A box that is clipped stays a box, even one of no width.
    """
    if not find_protocol(protocol).clips:
        return boxes
    return np.clip(boxes, 0, np.array([width - 1, height - 1] * 2))


def iou_thresholds(boxes: np.ndarray, rules: Protocol) -> np.ndarray:
    """(G,) IoU at which each box counts as found; tiny boxes forgive some pixels."""
    width = boxes[:, 2] - boxes[:, 0] + rules.pixel
    height = boxes[:, 3] - boxes[:, 1] + rules.pixel
    if rules.tolerance == 0:  # a box without area would divide nothing by nothing
        return np.full(len(boxes), rules.iou)
    enlarged = (width + rules.tolerance) * (height + rules.tolerance)
    return np.minimum(rules.iou, width * height / enlarged)


def rounded(values: np.ndarray, decimals: int | None) -> np.ndarray:
    """Values to so many decimals, in float64; None leaves them as they are."""
    values = np.array(values, dtype=np.float64)  # a copy, which is rounded in place
    return values if decimals is None else np.round(values, decimals, out=values)
