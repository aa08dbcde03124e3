"""An address, such as ``rtsp://`` or ``http://``, as a source of frames that is read once."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction

from ..errors import UserError
from .addresses import short_name, shown_address
from .decoding import Converter, Tally, Timeline, decode, open_container, packets_to_the_end
from .excerpts import Excerpt, stated_rate
from .selection import Selection
from .sources import FrameSource, TimedFrame

logger = logging.getLogger(__name__)

OPEN_TIMEOUT = 15.0  # seconds for an address to answer and to say what it has
READ_TIMEOUT = 10.0  # seconds without anything new after which a stream has ended


class StreamSource(FrameSource):
    """The first moving-picture stream of what an address sends, through PyAV.

    A stream that stalls or breaks ends with what came, a warning, and its losses. What comes before
    its first key frame is none of them, as streams are met in the middle.

    Args:
        address: that FFmpeg knows.
        default_frame_rate: where the stream does not state its own.
        excerpt: which frames are given, counted from the first that comes.

    Raises:
        UserError: nobody answers, or there is no video.
    """

    is_live = True
    num_frames = None

    def __init__(self, address: str, default_frame_rate: Fraction, excerpt: Excerpt):
        self._shown, self._excerpt = shown_address(address), excerpt
        options = {"timeout": (OPEN_TIMEOUT, READ_TIMEOUT)}
        if address.lower().startswith("rtsp"):
            # UDP loses packets, and firewalls stop it
            options["options"] = {"rtsp_transport": "tcp"}
        with ExitStack() as stack:
            opened = stack.enter_context(open_container(address, self._shown, **options))
            self._rate = stated_rate(opened[1]) or default_frame_rate
            self._opened = (stack.pop_all(), *opened)
        self.name, self.frame_rate = short_name(self._shown), self._rate / excerpt.stride

    def timed(self) -> Iterator[TimedFrame]:
        if self._opened is None:
            raise RuntimeError(f"{self._shown}: can be read once, and was")
        (stack, container, stream), self._opened = self._opened, None
        tally, selection = Tally(), Selection(self._excerpt)
        timeline = Timeline(stream.time_base, self._rate)
        try:
            with stack:
                packets = packets_to_the_end(container.demux(stream), tally)
                frames = decode(packets, stream, tally)
                yield from selection.pick(timeline.timed(frames), Converter())
        finally:
            self.losses = tally.losses(selection.num_read)
            self.end_time = timeline.end_after(selection.last_time, tally.end, selection.cut_time)
        self._report()

    def _report(self) -> None:
        if not self.losses.frames:
            raise UserError(f"{self._shown}: expected frames {self._excerpt}, found none")
        if self.losses:
            logger.warning("%s broke off or was damaged: %s", self._shown, self.losses)
