"""A camera of this machine as a source of frames that is read once."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np

from ..errors import UserError
from .excerpts import FASTEST, SLOWEST, Excerpt, checked_rate
from .selection import Selection
from .sources import FrameSource, Losses, TimedFrame

logger = logging.getLogger(__name__)

PATIENCE, PAUSE = 1.0, 0.02  # seconds for which a failed read is tried again, and between these


class CameraSource(FrameSource):
    """A camera by its number, through OpenCV; the clock tells the times.

    Where it gives no frame for a second it has broken off, with a warning, and its losses.

    Args:
        number: of the camera.
        default_frame_rate: where the camera does not state its own.
        excerpt: which frames are given, counted from the first that comes.

    Raises:
        UserError: the camera does not open.
    """

    is_live = True
    num_frames = None

    def __init__(self, number: int, default_frame_rate: Fraction, excerpt: Excerpt):
        import cv2

        self.name, self._excerpt = f"camera{number}", excerpt
        with _silent_opencv():
            self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise UserError(
                f"camera {number}: expected a camera of this number, found none that opens"
            )
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._rate = checked_rate(rate) if SLOWEST <= rate <= FASTEST else default_frame_rate
        self.frame_rate = self._rate / excerpt.stride

    def timed(self) -> Iterator[TimedFrame]:
        if self._capture is None:
            raise RuntimeError(f"{self.name}: can be read once, and was")
        capture, self._capture = self._capture, None
        selection, self._broke_off = Selection(self._excerpt), False
        try:
            yield from selection.pick(self._read(capture), _unchanged)
        finally:
            capture.release()
            self.losses = Losses(selection.num_read, undecodable=int(self._broke_off))
            if selection.num_read:
                self.end_time = selection.last_time + 1 / self._rate
        if not selection.num_read:
            raise UserError(f"{self.name}: expected frames {self._excerpt}, found none")
        if self.losses:
            logger.warning("%s broke off: %s", self.name, self.losses)

    def _read(self, capture) -> Iterator[tuple[Fraction, np.ndarray]]:
        """Times in whole microseconds since the first frame, and frames, until none comes."""
        began, last = None, -1
        while (image := _next_image(capture)) is not None:
            now = time.monotonic_ns() // 1000
            began = now if began is None else began
            last = max(now - began, last + 1)
            yield Fraction(last, 1_000_000), image
        self._broke_off = True


def _next_image(capture) -> np.ndarray | None:
    """What a camera sees; None where it fails on and on, as when it is pulled out."""
    succeeded, image = capture.read()
    give_up = None
    while not succeeded:
        now = time.monotonic_ns()
        give_up = give_up or now + round(PATIENCE * 1e9)
        if now >= give_up:
            return None
        time.sleep(PAUSE)
        succeeded, image = capture.read()
    return image


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Without the dozen lines that OpenCV writes of a camera that is not there."""
    from cv2.utils import logging as log

    before = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)


def _unchanged(image: np.ndarray) -> np.ndarray:
    return image
