"""Ranges of objects that average precision is told for: by motion and by area.

Shape letters: N boxes, G ground-truth boxes. Boxes are (N, 4) xyxy in pixels; areas are in
square pixels, and count the pixels of both borders, whatever the protocol. Both ends of a range
belong to it, so that an object on a border is in two ranges. Motion values are those of
``motion.py``, from 0 to 1; an object without one has NaN and is in no motion range, only in the
whole.
"""

from math import inf
from typing import NamedTuple

import numpy as np

Span = tuple[float, float]

MOTION_RANGES: dict[str, Span] = {"slow": (0.9, 1.0), "medium": (0.7, 0.9), "fast": (0.0, 0.7)}
AREA_RANGES: dict[str, Span] = {
    "small": (0.0, 50.0**2),
    "medium": (50.0**2, 150.0**2),
    "large": (150.0**2, inf),
}


class ObjectRange(NamedTuple):
    """Which objects count: those in both spans; None is no restriction."""

    motion: Span | None = None
    area: Span | None = None


WHOLE = ObjectRange()


def is_within(values: np.ndarray, span: Span | None) -> np.ndarray:
    """(N,) whether each value is in the span."""
    if span is None:
        return np.ones(len(values), dtype=bool)
    return (values >= span[0]) & (values <= span[1])


def areas(boxes: np.ndarray) -> np.ndarray:
    """(N,) areas of boxes (N, 4)."""
    return (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)


def motion_share(motion: np.ndarray, empty_frames: int, span: Span | None) -> float:
    """Share of a dataset's motion values that fall in the span; 0 of none.

    Args:
        motion: (G,) of all objects of the dataset.
        empty_frames: frames without ground truth, each of which counts as one value of 0.
    """
    if span is None:
        return 1.0
    values = np.concatenate([motion, np.zeros(empty_frames)])
    return float(np.count_nonzero(is_within(values, span)) / max(1, len(values)))
