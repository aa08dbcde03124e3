"""What the tracker followed from frame to frame, and how sure it was (Fig. 7).

Shape letters: B boxes of a frame, B' of the frame before. Boxes are xyxy in pixels of the frame;
images BGR uint8 ``(H, W, 3)``. Where nothing was followed a picture is the image alone.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from ..core.boxes import pairwise_iou
from ..core.tfd import FrameResult
from .drawing import NO_TRACK_COLOR, draw_boxes
from .sheets import captioned, contact_sheet, fit_width
from .strips import likely

SHADES = 11  # colours from the lowest score to the highest
# the index of a frame, its image, what was found in the frame before (None: it is the first), in it
Step = tuple[int, np.ndarray, FrameResult | None, FrameResult]


def draw_followed(
    steps: Iterable[Step], threshold: float, let_go_iou: float, columns: int, width: int
) -> np.ndarray:
    """A picture of every frame, row by row, under the frame's number.

    Args:
        steps: at least one.
        threshold: boxes are followed on where in the frame before a class scored at least this.
        let_go_iou: see :func:`find_let_go`.
        columns: pictures of a row.
        width: pixels of a picture.
    """
    pictures = []
    for index, image, prev, curr in steps:
        small, zoom = fit_width(image, width)
        if prev is not None:
            small = _draw_step(small, zoom, prev, curr, threshold, let_go_iou)
        pictures.append(captioned(small, f"frame {index}"))
    return contact_sheet(pictures, min(columns, len(pictures)), gap=6)


def _draw_step(
    image: np.ndarray,
    zoom: float,
    prev: FrameResult,
    curr: FrameResult,
    threshold: float,
    let_go_iou: float,
) -> np.ndarray:
    """Boxes that went on in the colour of their predicted IoU; gray corners where they did not."""
    sources = likely(prev.scores, threshold)
    rows = np.flatnonzero(np.isin(curr.source.numpy(), sources))
    gone = find_let_go(curr, sources, let_go_iou)
    corners = curr.mapped_boxes[gone].numpy() * zoom
    gray = [NO_TRACK_COLOR] * len(gone)
    image = draw_boxes(image, corners, [""] * len(gone), gray, only_corners=True)
    ious = curr.track_scores[rows].tolist()
    boxes = curr.boxes[rows].numpy() * zoom
    return draw_boxes(image, boxes, [f"{iou:.2f}" for iou in ious], score_colors(ious))


def find_let_go(curr: FrameResult, sources: np.ndarray, let_go_iou: float) -> np.ndarray:
    """Which of the boxes ``sources`` of the frame before the tracker did not go on with.

    One that was suppressed by another tracked box, with which its IoU is above ``let_go_iou`` (the
    threshold of that suppression), was not let go: its object is followed still.
    """
    gone = np.sort(sources[~np.isin(sources, curr.source.numpy())])
    ious = pairwise_iou(curr.mapped_boxes[gone], curr.boxes[curr.source >= 0])
    return gone[~(ious > let_go_iou).any(dim=1).numpy()]


def score_colors(scores: Iterable[float]) -> list[str]:
    """From red for 0 over yellow to green for 1."""
    shades = _shades()
    return [shades[min(int(score * SHADES), SHADES - 1)] for score in scores]


@lru_cache(maxsize=1)
def _shades() -> list[str]:
    import supervision as sv

    return [color.as_hex() for color in sv.ColorPalette.from_matplotlib("RdYlGn", SHADES).colors]
