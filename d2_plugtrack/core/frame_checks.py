"""What a video's frames must be before they are linked; an error names the frame that is not.

Shape letters: B boxes of a frame, B' of the frame before, K foreground classes. No frames and
frames without boxes are fine.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor


class FrameShapes:
    """Whether shapes fit together, frame after frame; the first says how many classes there are.

    Attributes:
        num_frames: that were found to fit.
    """

    def __init__(self) -> None:
        self.num_frames = 0
        self._num_before = 0
        self._num_classes = 0

    def check(self, boxes: Tensor, scores: Tensor, mapped_boxes: Tensor | None) -> int:
        """Take the next frame.

        Args:
            boxes: (B, 4). scores: (B, K). mapped_boxes: (B', 4), or None where they do not matter.

        Returns:
            B.

        Raises:
            ValueError: another shape.
        """
        if self.num_frames == 0 and scores.ndim:
            self._num_classes = scores.shape[-1]
        size = boxes.shape[0] if boxes.ndim else 0
        self._check_shape("boxes", boxes, (size, 4))
        self._check_shape("scores", scores, (size, self._num_classes))
        if mapped_boxes is not None:
            self._check_shape("mapped_boxes", mapped_boxes, (self._num_before, 4))
        self.num_frames += 1
        self._num_before = size
        return size

    def _check_shape(self, name: str, value: Tensor, expected: tuple[int, int]) -> None:
        found = tuple(value.shape)
        if found != expected:
            raise ValueError(
                f"frame {self.num_frames}: expected {name} of shape {expected}, got {found}"
            )


class NotFiniteError(ValueError, FloatingPointError):
    """A value that no one should give, and that a detector may compute: to each its own kind."""


def check_finite(name: str, values: np.ndarray, sizes: Sequence[int], first_frame: int) -> None:
    """Refuse NaN and infinity.

    Args:
        values: of consecutive frames, one after the other.
        sizes: how many rows of it each frame has.
        first_frame: the number of the first of them.

    Raises:
        NotFiniteError: the first frame that has one.
    """
    if not np.isfinite(values).all():
        row = np.argwhere(~np.isfinite(values))[0, 0]
        frame = first_frame + int(np.searchsorted(np.cumsum(sizes), row, side="right"))
        raise NotFiniteError(f"frame {frame}: {name} must be finite, got NaN or infinity")


def check_links(
    source: np.ndarray, track_scores: np.ndarray, sizes: tuple[int, int], frame: int
) -> None:
    """Refuse links of a frame to boxes that are not there, or of no weight that could be.

    Args:
        source: (B,) int64, the box of the frame before, negative where there is none.
        track_scores: (B,) predicted IoU of the links; anything where there is none.
        sizes: B' and B.
        frame: its number.

    Raises:
        ValueError: other shapes, a box that is not there or linked twice, or a score that is no
            IoU.
    """
    num_before, num_boxes = sizes
    for name, values in (("source", source), ("track_scores", track_scores)):
        if values.shape != (num_boxes,):
            raise ValueError(
                f"frame {frame}: expected {name} of shape ({num_boxes},), got {values.shape}"
            )
    linked = source >= 0
    links, ious = source[linked], track_scores[linked]
    if len(links) and (links.max() >= num_before or len(np.unique(links)) < len(links)):
        raise ValueError(
            f"frame {frame}: expected source to name each of {num_before} boxes at most once, got "
            f"{links.tolist()}"
        )
    if not ((ious >= 0) & (ious <= 1)).all():  # NaN is refused as well
        raise ValueError(
            f"frame {frame}: track_scores must be from 0 to 1 where boxes are linked, got "
            f"{ious.tolist()}"
        )
