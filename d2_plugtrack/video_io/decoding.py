"""Frames out of containers, through PyAV: opened, decoded, counted, timed, converted."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import UserError
from .sources import Losses


@dataclass
class Tally:
    """What one iteration notes of packets.

    ``hidden`` are frames that were counted and are not shown: an edit list says so of a packet, or
    an AVI shows the frame before for longer. ``end`` is the timestamp at which the last packet that
    is shown ends.
    """

    undecodable: int = 0
    damaged: int = 0
    hidden: int = 0
    end: int | None = None

    def losses(self, frames: int, missing: int = 0) -> Losses:
        return Losses(frames, max(0, missing), self.undecodable, self.damaged)

    def see(self, packet) -> None:
        """Note whether it is shown, and until when."""
        if packet.is_discard:
            self.hidden += 1
            return
        by_decoding = keeps_no_times(packet.stream)
        start = packet.dts if by_decoding else packet.pts
        if start is None:
            return
        if by_decoding and self.end is not None:
            self.hidden += max(0, start - self.end)
        end = start + (packet.duration or 0)
        self.end = end if self.end is None else max(self.end, end)


@contextmanager
def open_container(address: str, name: str, **options) -> Iterator[tuple]:
    """Open a container; give it and its first video stream that is not a cover picture.

    Args:
        address: for FFmpeg.
        name: for messages.
        options: of ``av.open``; ``timeout``: seconds to open, and to wait for more.

    Raises:
        UserError: it does not open, or has no such stream.
    """
    import av
    from av.stream import Disposition

    began, patience = time.monotonic(), options.get("timeout", (math.inf,))[0]
    try:
        container = av.open(address, metadata_errors="ignore", **options)
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or error
        if time.monotonic() - began >= patience:  # FFmpeg may say something else then
            reason = f"no answer in {patience:g} s"
        raise UserError(f"{name}: expected a video, found one that fails: {reason}") from error
    with container:
        streams = [
            stream
            for stream in container.streams.video
            if stream.codec_context and not stream.disposition & Disposition.attached_pic
        ]
        # FFmpeg takes any .txt for a video of a terminal ("tty").
        if not streams or container.format.name == "tty":
            found = container.format.long_name or container.format.name
            raise UserError(f"{name}: expected a video stream, found none ({found})")
        # Measured: slice threads leave some of H.264's damage unreported, frame threads lose
        # frames at a broken end, as many as there are threads. One decodes 200 frames of 720p/s.
        streams[0].codec_context.thread_count = 1
        yield container, streams[0]


def decode(packets: Iterator, stream, tally: Tally, since: int | None = None) -> Iterator:
    """Yield every frame that decodes; count packets that do not, that are damaged, or hidden.

    Args:
        packets: of the stream; the last one, or None, flushes.
        stream: what they are of.
        tally: takes the counts.
        since: timestamp before which nothing is counted as lost.
    """
    import av

    for packet in packets:
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            tally.undecodable += _counts(packet, since)
            continue
        parts = [part for part in (packet, *frames) if part is not None]
        tally.damaged += any(part.is_corrupt and _counts(part, since) for part in parts)
        if packet is not None:
            tally.see(packet)
        for frame in frames:
            if keeps_no_times(stream):
                frame.pts = frame.dts  # in the order of display, with one thread
            yield frame


def _counts(part, since: int | None) -> bool:
    return since is None or part is None or part.pts is None or part.pts >= since


def keeps_no_times(stream) -> bool:
    """AVI has times of decoding alone; FFmpeg's guess at those of display fails with B-frames."""
    return stream.container.format.name == "avi"


def stated_frames(stream) -> int:
    """How many frames a file says it has, those it says not to show among them; 0: it does not.

    An edit list may leave whole groups of pictures out, which FFmpeg then takes out of its index.
    """
    index = getattr(stream, "index_entries", ())  # from PyAV 17 on
    if stream.container.format.name.startswith("mov") and len(index):
        return min(stream.frames, len(index))
    return stream.frames


def packets_to_the_end(packets: Iterator, tally: Tally) -> Iterator:
    """Yield packets up to the end, or to where the container breaks, then the flush."""
    import av

    try:
        yield from packets
    except av.FFmpegError:
        tally.undecodable += 1
        yield None


def expected_frames(stream, is_cut_off: bool) -> int:
    """How many of the stated frames reading is to meet; 0: the file does not say.

    An AVI may end with frames that show the one before for longer; its index does not have them.
    """
    stated, index = stated_frames(stream), getattr(stream, "index_entries", ())
    if keeps_no_times(stream) and len(index) and not is_cut_off:
        return min(stated, index[len(index) - 1].timestamp + 1)
    return stated


class Timeline:
    """Times of frames in the order of display: of their timestamps where these grow.

    A frame without a timestamp, or with one that is not after the frame before it, comes one step
    of ``frame_rate`` after that frame.

    Args:
        time_base: unit of the timestamps, in seconds.
        frame_rate: nominal.
        origin: timestamp of time 0; the first frame's where not given.
    """

    def __init__(self, time_base: Fraction, frame_rate: Fraction, origin: int | None = None):
        self.time_base, self.frame_rate, self.origin = time_base, frame_rate, origin
        self._last = None

    def timed(self, frames: Iterable) -> Iterator[tuple[Fraction, Any]]:
        """Yield frames with their times."""
        for frame in frames:
            yield self.time_of(frame.pts), frame

    def time_of(self, pts: int | None) -> Fraction:
        """The time of the next frame."""
        step = Fraction(0) if self._last is None else self._last + 1 / self.frame_rate
        if pts is not None and self.origin is None:
            self.origin = pts - round(step / self.time_base)
        moment = step if pts is None else (pts - self.origin) * self.time_base
        if self._last is not None and moment <= self._last:
            moment = step
        self._last = moment
        return moment

    def end_after(
        self, last: Fraction | None, end: int | None, cut: Fraction | None
    ) -> Fraction | None:
        """When the last frame read ends, at the latest where the frame after it begins.

        Args:
            last: its time; None: there is no frame, and no end.
            end: timestamp at which the last packet ends.
            cut: time of the frame after it, which was left out.
        """
        if last is None or cut is not None:
            return cut
        if end is not None and self.origin is not None:
            moment = (end - self.origin) * self.time_base
            if moment > last:
                return moment
        return last + 1 / self.frame_rate


class Converter:
    """Makes upright BGR arrays of frames; one for all frames, as each prepares its own tables."""

    def __init__(self):
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def __call__(self, frame) -> np.ndarray:
        turns = round(frame.rotation / 90) % 4  # counterclockwise, as np.rot90 turns
        image = self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        return np.ascontiguousarray(np.rot90(image, turns))
