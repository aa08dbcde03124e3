"""Frames with their objects drawn on them, enlarged where they are small.

Images are BGR uint8 ``(H, W, 3)``, boxes in pixels of the frame before it is enlarged. A frame
without objects is enlarged all the same. The drawing itself is ``visualization``'s, writing and
showing are left to ``outputs.py``.
"""

import cv2
import numpy as np
from torch import Tensor

from ..core.rescoring import TrackedObjects
from ..errors import UserError
from ..masks import paste_masks
from ..visualization import SMALL_SIDE, draw_tracks

READABLE_SIDE = 480
LARGEST_SIDE = 16384  # pixels; H.264 ends there


def usual_zoom(image_size: tuple[int, int]) -> int:
    """How many times to enlarge: 1, or so that the shorter side of a small frame has 480 pixels."""
    side = min(image_size)
    if side >= SMALL_SIDE:
        return 1
    zoom = -(-READABLE_SIDE // max(side, READABLE_SIDE // 8))
    return max(1, min(zoom, LARGEST_SIDE // max(image_size)))


def check_zoom(zoom: int, image_size: tuple[int, int]) -> None:
    """Refuse to enlarge frames of a (height, width) beyond 16384 pixels a side.

    Raises:
        UserError: naming the option.
    """
    if zoom > 1 and zoom * max(image_size) > LARGEST_SIDE:
        height, width = image_size
        raise UserError(
            f"--zoom: expected at most {LARGEST_SIDE} pixels a side, found {zoom} times "
            f"{width}x{height}"
        )


class Annotator:
    """Draws the objects of one frame after the other.

    Args:
        class_names: in label order.
        zoom: enlarge so many times; None: :func:`usual_zoom` of the first frame.
    """

    def __init__(self, class_names: list[str], zoom: int | None = None):
        self.class_names, self.zoom = class_names, zoom

    def draw(self, image: np.ndarray, objects: TrackedObjects, note: str = "") -> np.ndarray:
        """A copy of a frame with its objects, and a note in its corner."""
        if self.zoom is None:
            self.zoom = usual_zoom(image.shape[:2])
        if self.zoom > 1:
            enlarged = {"fx": self.zoom, "fy": self.zoom, "interpolation": cv2.INTER_CUBIC}
            image = cv2.resize(image, None, **enlarged)
        boxes, masks = objects.boxes * self.zoom, None
        if objects.masks is not None:
            masks = paste_masks(objects.masks, boxes, image.shape[:2])
        labels = self._labels(objects)
        drawn = draw_tracks(image, boxes.numpy(), labels, objects.track_ids.numpy(), masks)
        return _with_note(drawn, note) if note else drawn

    def _labels(self, objects: TrackedObjects) -> list[str]:
        _, scores, labels, tracks, _ = objects.map(Tensor.tolist)
        return [
            f"{track} {self.class_names[label]} {score:.2f}"
            if track >= 0
            else f"{self.class_names[label]} {score:.2f}"
            for score, label, track in zip(scores, labels, tracks, strict=True)
        ]


def _with_note(image: np.ndarray, note: str) -> np.ndarray:
    import supervision as sv

    scale = 0.25 + sv.calculate_optimal_text_scale(image.shape[1::-1]) / 2
    (width, height), _ = cv2.getTextSize(note, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    return sv.draw_text(
        image,
        note,
        sv.Point(width // 2 + 8, height // 2 + 8),
        text_color=sv.Color.WHITE,
        text_scale=scale,
        text_padding=4,
        background_color=sv.Color.BLACK,
    )
