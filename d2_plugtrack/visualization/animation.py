"""Frames of a moving picture: the image detector alone beside what video detection makes of it.

Images are BGR uint8 ``(H, W, 3)``, boxes xyxy in pixels of the frame they were found in; M of them
score enough to be drawn. On the left a box has the colour of its class, which is all that an image
detector knows of it, on the right that of its track. Without boxes there is the frame alone. Files
and results are left to the caller.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..core.rescoring import TrackedObjects
from ..core.tfd import FrameResult
from .drawing import draw_boxes, track_colors
from .sheets import captioned, contact_sheet, fit_width

TITLES = ("Image detector alone", "With PlugTrack")
GAP = 8  # pixels between the two


class Drawing(NamedTuple):
    """What is drawn on a frame."""

    boxes: np.ndarray  # (M, 4)
    labels: list[str]
    colors: list[str]


def side_width(width: int) -> int:
    """Of each of the two, in a picture so wide."""
    return (width - GAP) // 2


def draw_beside(
    image: np.ndarray,
    detector: FrameResult,
    objects: TrackedObjects,
    class_names: Sequence[str],
    threshold: float,
    width: int,
) -> np.ndarray:
    """A frame of the moving picture, ``width`` pixels wide or one less.

    Args:
        image: the frame, or the same in other pixels: boxes are put to scale.
        detector: what the image detector reports of the frame.
        objects: of the frame, re-scored and numbered.
        threshold: of the scores, on both sides.
    """
    sides = (
        of_detector(detector, class_names, threshold),
        of_video(objects, class_names, threshold),
    )
    frame, _ = fit_width(image, side_width(width))
    zoom = frame.shape[1] / detector.image_size[1]
    drawn = [draw_boxes(frame, side.boxes * zoom, side.labels, side.colors) for side in sides]
    titled = [captioned(image, title) for image, title in zip(drawn, TITLES, strict=True)]
    return contact_sheet(titled, len(titled), GAP)


def of_detector(result: FrameResult, class_names: Sequence[str], threshold: float) -> Drawing:
    """Boxes under their best class, in its colour."""
    scores, classes = result.scores.cpu().max(dim=1)
    rows = scores >= threshold
    scores, classes = scores[rows].tolist(), classes[rows].numpy()
    labels = [f"{class_names[k]} {score:.2f}" for k, score in zip(classes, scores, strict=True)]
    return Drawing(result.boxes[rows].numpy(), labels, track_colors(classes))


def of_video(objects: TrackedObjects, class_names: Sequence[str], threshold: float) -> Drawing:
    """Objects with the numbers of their tracks, in the colours of these."""
    rows = objects.scores >= threshold
    ids = objects.track_ids[rows].numpy()
    triples = zip(ids, objects.classes[rows].tolist(), objects.scores[rows].tolist(), strict=True)
    labels = [f"{track} {class_names[k]} {score:.2f}" for track, k, score in triples]
    return Drawing(objects.boxes[rows].numpy(), labels, track_colors(ids))
