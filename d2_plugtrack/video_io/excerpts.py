"""Which frames of a source are asked for, and frame rates: checked, and made exact fractions."""

import math
from fractions import Fraction
from typing import NamedTuple

from ..errors import UserError

SLOWEST, FASTEST = 0.001, 100_000  # frames per second that an mp4 can hold
FASTEST_GUESS = 300  # frames per second that is believed where it is guessed


class Excerpt(NamedTuple):
    """Every ``stride``-th frame, counted from the first at or after ``start``, before ``end``.

    ``start`` and ``end`` are seconds since the source's first frame; None is its end.
    """

    start: Fraction = Fraction(0)
    end: Fraction | None = None
    stride: int = 1

    def __str__(self) -> str:
        start = f"from {float(self.start):g}"
        return f"{start} s on" if self.end is None else f"{start} to {float(self.end):g} s"

    def num_frames(self, whole: int, frame_rate: Fraction) -> int:
        """How many of ``whole`` frames of a constant rate are given."""
        return len(self.indices(whole, frame_rate))

    def indices(self, whole: int, frame_rate: Fraction) -> range:
        """Which of ``whole`` frames of a constant rate are given."""
        first = math.ceil(self.start * frame_rate)
        stop = whole if self.end is None else min(whole, math.ceil(self.end * frame_rate))
        return range(first, stop, self.stride)


def checked_excerpt(start: float, end: float | None, stride: int) -> Excerpt:
    """An excerpt of what a user asks for; a :class:`UserError` says what is impossible."""
    if not 0 <= start < math.inf:
        raise UserError(f"start: expected seconds from 0 on, found {start}")
    if end is not None and not start < end < math.inf:
        raise UserError(f"end: expected seconds after the start at {start}, found {end}")
    if int(stride) != stride or stride < 1:
        raise UserError(f"stride: expected a whole number from 1 on, found {stride}")
    return Excerpt(_exact(start), None if end is None else _exact(end), int(stride))


def _exact(seconds: Fraction | float) -> Fraction:
    """0.1 is meant as a tenth, not as the double above it, which leaves out a frame at 0.1 s."""
    return Fraction(str(seconds))


def checked_rate(value: Fraction | float) -> Fraction:
    """Check a frame rate; 1001 keeps the 30000/1001 family and bounds what an mp4 must store."""
    if not SLOWEST <= value <= FASTEST:
        raise UserError(f"expected {SLOWEST} to {FASTEST} frames per second, found {value}")
    return Fraction(value).limit_denominator(1001)


def stated_rate(stream) -> Fraction | None:
    """The frame rate that a video stream states, if it is one.

    Where FFmpeg knows nothing, its guess may be the unit of the timestamps, 1000 or 90000.
    """
    guess = stream.guessed_rate or 0
    rate = stream.average_rate or (guess if guess <= FASTEST_GUESS else 0)
    return checked_rate(rate) if SLOWEST <= rate <= FASTEST else None
