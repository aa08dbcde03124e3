"""What every source of frames offers, and what it tells of frames that were lost."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class TimedFrame(NamedTuple):
    """A frame of a source.

    Attributes:
        image: BGR uint8 ``(H, W, 3)``.
        time: seconds since the source's first frame, wherever reading starts; times grow.
        index: place in the source, counted from 0 before anything is left out.
    """

    image: np.ndarray
    time: Fraction
    index: int


class Losses(NamedTuple):
    """What one iteration read and lost; false where nothing was lost.

    Attributes:
        frames: that were read, those between strides among them.
        missing: that the source says it has, and that were not read; 0 where it does not say.
        undecodable: packets or images that did not decode, or places where a source broke off.
        damaged: packets or frames that decoded with errors.
    """

    frames: int = 0
    missing: int = 0
    undecodable: int = 0
    damaged: int = 0

    def __bool__(self) -> bool:
        return any(self[1:])

    def __str__(self) -> str:
        expected = f" of {self.frames + self.missing}" if self.missing else ""
        return (
            f"read {self.frames} frames{expected}; {self.undecodable} did not decode, "
            f"{self.damaged} decoded with errors"
        )


class FrameSource(ABC):
    """Frames in order, as often as it is iterated, or once where it is live.

    Attributes:
        name: a short one, for outputs: a file's without its ending.
        frame_rate: frames a second that iteration gives, on average.
        num_frames: estimate of how many iteration gives; exact for images, None where unknown.
        is_live: it can be read once, and has no end known beforehand.
        losses: of the latest iteration, complete or broken off.
        end_time: where the last frame read ends, in seconds, after an iteration; None before.
    """

    name: str
    frame_rate: Fraction
    num_frames: int | None
    is_live: bool = False
    losses: Losses = Losses()
    end_time: Fraction | None = None

    @abstractmethod
    def timed(self) -> Iterator[TimedFrame]:
        """Yield frames with their times, from the first on."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the images alone."""
        with closing(self.timed()) as frames:
            for frame in frames:
                yield frame.image
