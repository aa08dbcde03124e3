"""Boxes and tracks drawn on a frame.

Images are BGR uint8 arrays ``(H, W, 3)``; ``boxes (N, 4)`` are xyxy in absolute pixels of the
image, ``track_ids (N,)`` integers of which a negative one means "no track", ``masks (N, H, W)``
bool. With no box there is a copy of the frame; boxes that are not finite are left
out. Reading and writing are left to ``video_io``, making masks of the whole image to ``masks.py``;
which boxes are worth drawing, to the caller.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import supervision as sv

NO_TRACK_COLOR = "#9E9E9E"
MASK_OPACITY = 0.4
SMALL_SIDE = 240  # pixels; below it a 2-pixel line and 10-pixel letters hide the objects


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
    track_ids = np.asarray(track_ids, int)
    if not len(boxes) == len(labels) == len(track_ids):
        raise ValueError(
            f"expected one label and one track id per box, found {len(boxes)} boxes, "
            f"{len(labels)} labels, {len(track_ids)} track ids"
        )
    return draw_boxes(frame, boxes, labels, track_colors(track_ids), masks)


def track_colors(track_ids: np.ndarray) -> list[str]:
    """The colour (hexadecimal) of each track id, gray where it is negative."""
    palette = _track_palette()
    return [NO_TRACK_COLOR if i < 0 else palette[i % len(palette)] for i in track_ids.tolist()]


def draw_boxes(
    frame: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[str],
    colors: Sequence[str],
    masks: np.ndarray | None = None,
    *,
    only_corners: bool = False,
    thickness: int | None = None,
) -> np.ndarray:
    """Draw each box with its label on a copy of ``frame``, each in its colour.

    Args:
        labels: an empty one is not drawn.
        colors: hexadecimal, such as ``"#9E9E9E"``.
        masks: as of :func:`draw_tracks`.
        only_corners: of the boxes are drawn.
        thickness: pixels of a line; None: what suits the size of the frame.

    Raises:
        ValueError: masks of another number or size.
    """
    import supervision as sv

    boxes = np.asarray(boxes, float).reshape(-1, 4)
    if masks is not None and masks.shape != (len(boxes), *frame.shape[:2]):
        raise ValueError(
            f"expected masks {(len(boxes), *frame.shape[:2])}, one per box, found {masks.shape}"
        )
    height, width = frame.shape[:2]
    drawable = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    inside = boxes[drawable].clip(0, [width - 1, height - 1] * 2).astype(np.float32)
    palette = sorted(set(colors))
    indices = np.array([palette.index(color) for color in colors], int)[drawable]
    draw = _annotators(width, height, tuple(palette), thickness)
    image = np.ascontiguousarray(frame).copy()
    if not len(drawable):
        return image
    if masks is not None:
        masked = sv.Detections(xyxy=inside, mask=masks[drawable])
        image = draw.masks.annotate(image, masked, indices)
    lines = draw.corners if only_corners else draw.boxes
    image = lines.annotate(image, sv.Detections(xyxy=inside), indices)
    named = np.array([bool(labels[i]) for i in drawable])
    if not named.any():
        return image
    texts = [labels[i] for i in drawable if labels[i]]
    return draw.labels.annotate(image, sv.Detections(xyxy=inside[named]), texts, indices[named])


class _Annotators(NamedTuple):
    boxes: "sv.BoxAnnotator"
    corners: "sv.BoxCornerAnnotator"
    labels: "sv.LabelAnnotator"
    masks: "sv.MaskAnnotator"


@lru_cache(maxsize=64)
def _annotators(
    width: int, height: int, colors: tuple[str, ...], thickness: int | None
) -> _Annotators:
    """What draws in these colours, by their place, at this size."""
    import supervision as sv

    palette = sv.ColorPalette.from_hex(list(colors or (NO_TRACK_COLOR,)))
    small = min(width, height) < SMALL_SIDE
    if thickness is None:
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
    return _Annotators(
        sv.BoxAnnotator(color=palette, thickness=thickness),
        sv.BoxCornerAnnotator(color=palette, thickness=thickness, corner_length=6 * thickness),
        labels,
        sv.MaskAnnotator(color=palette, opacity=MASK_OPACITY),
    )


@lru_cache(maxsize=1)
def _track_palette() -> list[str]:
    import supervision as sv

    return [color.as_hex() for color in sv.ColorPalette.DEFAULT.colors]


def _readable_on(color):
    """Black on light colours, white on dark ones."""
    import supervision as sv

    luminance = 0.299 * color.r + 0.587 * color.g + 0.114 * color.b
    return sv.Color.BLACK if luminance > 140 else sv.Color.WHITE
