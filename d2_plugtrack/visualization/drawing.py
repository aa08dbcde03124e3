"""Tracks drawn on a frame.

Images are BGR uint8 arrays ``(H, W, 3)``; ``boxes (N, 4)`` are xyxy in absolute pixels of the
image, ``track_ids (N,)`` integers of which a negative one means "no track", ``masks (N, H, W)``
bool. With no box :func:`draw_tracks` gives a copy of the frame; boxes that are not finite are left
out. Reading and writing are left to ``video_io``, making masks of the whole image to ``masks.py``;
which boxes are worth drawing, to the caller.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

NO_TRACK_COLOR = "#9E9E9E"
MASK_OPACITY = 0.4
SMALL_SIDE = 240  # pixels; below it a 2-pixel line and 10-pixel letters hide the object


def draw_tracks(
    frame: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[str],
    track_ids: np.ndarray,
    masks: np.ndarray | None = None,
) -> np.ndarray:
    """Draw each box with its label on a copy of ``frame``, in a colour that its track keeps.

    Args:
        masks: of the boxes, laid over the frame in the same colours; where None, there are none.

    Raises:
        ValueError: not as many of each as boxes.
    """
    import supervision as sv

    boxes, track_ids = np.asarray(boxes, float).reshape(-1, 4), np.asarray(track_ids, int)
    if not len(boxes) == len(labels) == len(track_ids):
        raise ValueError(
            f"expected one label and one track id per box, found {len(boxes)} boxes, "
            f"{len(labels)} labels, {len(track_ids)} track ids"
        )
    if masks is not None and masks.shape != (len(boxes), *frame.shape[:2]):
        raise ValueError(
            f"expected masks {(len(boxes), *frame.shape[:2])}, one per box, found {masks.shape}"
        )
    height, width = frame.shape[:2]
    drawable = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    inside = boxes[drawable].clip(0, [width - 1, height - 1] * 2)
    detections = sv.Detections(xyxy=inside.astype(np.float32))
    boxes_on, labels_on, masks_on, num_colors = _annotators(width, height)
    colors = np.where(track_ids < 0, num_colors, track_ids % num_colors)[drawable]
    image = np.ascontiguousarray(frame).copy()
    if masks is not None and len(drawable):
        masked = sv.Detections(xyxy=detections.xyxy, mask=masks[drawable])
        image = masks_on.annotate(image, masked, colors)
    image = boxes_on.annotate(image, detections, colors)
    return labels_on.annotate(image, detections, [labels[i] for i in drawable], colors)


@lru_cache(maxsize=8)
def _annotators(width: int, height: int) -> tuple:
    """Give what draws boxes, labels and masks at this size, and the number of track colours."""
    import supervision as sv

    tracks = sv.ColorPalette.DEFAULT.colors
    palette = sv.ColorPalette([*tracks, sv.Color.from_hex(NO_TRACK_COLOR)])
    small = min(width, height) < SMALL_SIDE
    thickness = 1 if small else sv.calculate_optimal_line_thickness((width, height))
    # supervision's own 0.001 a pixel is unreadable at 128 pixels and covers the street at 1080.
    scale = 0.25 + sv.calculate_optimal_text_scale((width, height)) / 2
    labels = sv.LabelAnnotator(
        color=palette,
        text_color=sv.ColorPalette([_readable_on(color) for color in palette.colors]),
        text_scale=scale,
        text_thickness=max(1, round(2 * scale)),
        text_padding=max(2, round(8 * scale)),
        smart_position=True,  # keeps labels inside the image and off one another
    )
    boxes = sv.BoxAnnotator(color=palette, thickness=thickness)
    return boxes, labels, sv.MaskAnnotator(color=palette, opacity=MASK_OPACITY), len(tracks)


def _readable_on(color):
    """Black on light colours, white on dark ones."""
    import supervision as sv

    luminance = 0.299 * color.r + 0.587 * color.g + 0.114 * color.b
    return sv.Color.BLACK if luminance > 140 else sv.Color.WHITE
