"""The frames of an excerpt, out of all frames in the order of display."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from .excerpts import Excerpt
from .sources import TimedFrame


class Selection:
    """Picks frames, and knows how far it got.

    Args:
        excerpt: what is picked.
        index: place of the first frame that :meth:`pick` is going to see.

    Attributes:
        index: place of the next frame.
        num_read: frames from the excerpt's start on, those between strides among them.
        last_time: of the last of these; None before.
        cut_time: of the first frame after the excerpt; None where the source ended before.
    """

    def __init__(self, excerpt: Excerpt, index: int = 0):
        self._excerpt, self.index, self.num_read = excerpt, index, 0
        self.last_time: Fraction | None = None
        self.cut_time: Fraction | None = None

    def pick(
        self, frames: Iterable[tuple[Fraction, Any]], to_image: Callable[[Any], np.ndarray]
    ) -> Iterator[TimedFrame]:
        """Yield the excerpt's frames, made images; only what is given is made one.

        Args:
            frames: times, which grow, and what images are made of.
            to_image: makes it.
        """
        start, end, stride = self._excerpt
        for time, frame in frames:
            if end is not None and time >= end:
                self.cut_time = time
                return
            index, self.index = self.index, self.index + 1
            if time < start:
                continue
            position, self.num_read, self.last_time = self.num_read, self.num_read + 1, time
            if position % stride == 0:
                yield TimedFrame(to_image(frame), time, index)
