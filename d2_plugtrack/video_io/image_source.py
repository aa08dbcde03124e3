"""Images as a source of frames."""

import logging
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

from ..errors import UserError
from .excerpts import Excerpt
from .image_files import read_image
from .sources import FrameSource, Losses, TimedFrame

logger = logging.getLogger(__name__)


class ImageSource(FrameSource):
    """The given images, in the given order, at a constant rate; ``num_frames`` is exact.

    An image that does not decode is left out, and keeps its time and place; one warning at the end
    names the first.

    Args:
        name: of the source.
        asked_for: what the user named, for messages.
        paths: of the images; at least one.
        frame_rate: images a second.
        excerpt: which of them are given.

    Raises:
        UserError: the excerpt leaves nothing, or none decodes.
    """

    def __init__(
        self, name: str, asked_for: str, paths: list[Path], frame_rate: Fraction, excerpt: Excerpt
    ):
        self.name, self.asked_for, self.paths = name, asked_for, paths
        self.frame_rate, self._image_rate = frame_rate / excerpt.stride, frame_rate
        self._indices, self._warned = excerpt.indices(len(paths), frame_rate), False
        self.num_frames = len(self._indices)
        if not self._indices:
            raise UserError(
                f"{asked_for}: expected images after {float(excerpt.start):g} s, found that its "
                f"{len(paths)} end at {float(len(paths) / frame_rate):g} s"
            )
        with closing(self.timed()) as frames:  # one has to decode
            next(frames)
        self.losses, self.end_time = Losses(), None

    def timed(self) -> Iterator[TimedFrame]:
        frames, failed, self.end_time = 0, [], None
        try:
            for index in self._indices:
                try:
                    image = read_image(self.paths[index])
                except UserError as error:
                    failed.append(error)
                    continue
                frames += 1
                yield TimedFrame(image, index / self._image_rate, index)
        finally:
            self.losses = Losses(frames, len(failed), len(failed))
            self.end_time = self._indices.stop / self._image_rate
        self._report(failed)

    def _report(self, failed: list[UserError]) -> None:
        """Refuse a source without an image; warn, once, of one that lost some."""
        if not self.losses.frames:
            others = f" (and so do {len(failed) - 1} others)" if failed[1:] else ""
            raise UserError(f"{failed[0]}{others}") from failed[0]
        if failed and not self._warned:
            self._warned = True
            logger.warning("%s: %s; the first: %s", self.asked_for, self.losses, failed[0])
