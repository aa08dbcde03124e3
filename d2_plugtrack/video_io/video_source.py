"""Video files as a source of frames."""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

from ..errors import UserError
from .decoding import (
    Converter,
    Tally,
    Timeline,
    decode,
    expected_frames,
    keeps_no_times,
    open_container,
    packets_to_the_end,
    stated_frames,
)
from .entry import Entry, can_seek, find_entry, packets_from
from .excerpts import Excerpt, stated_rate
from .selection import Selection
from .sources import FrameSource, TimedFrame
from .truncation import is_cut_off

logger = logging.getLogger(__name__)


class VideoSource(FrameSource):
    """The first moving-picture stream of a video file.

    With a start, decoding begins at a key frame before it, and gives what decoding from the
    beginning would give.

    Args:
        path: of the file.
        default_frame_rate: where the file does not state its own.
        excerpt: which frames are given.

    Raises:
        UserError: no video, none of its frames decodes, or it ends before the excerpt starts.
    """

    def __init__(self, path: Path, default_frame_rate: Fraction, excerpt: Excerpt):
        self.path, self.name, self._excerpt, self._warned = path, path.stem, excerpt, False
        with self._open() as (container, stream):
            self._rate = stated_rate(stream) or default_frame_rate
            whole = _estimate_frames(container, stream, self._rate)
            self._is_cut_off = is_cut_off(path, container.format.name)
            self._expected = expected_frames(stream, self._is_cut_off)
            if self._is_cut_off:
                self._expected = self._expected or whole or 0
            self._time_base, self._origin = stream.time_base, self._first_stamp(container, stream)
        self._entry = self._find_entry() if excerpt.start else Entry()
        self.frame_rate = self._rate / excerpt.stride
        self.num_frames = (whole and excerpt.num_frames(whole, self._rate)) or None

    def timed(self) -> Iterator[TimedFrame]:
        tally, timeline = Tally(hidden=self._entry.hidden), self._timeline()
        selection = Selection(self._excerpt, self._entry.index)
        try:
            with self._open() as (container, stream):
                packets = packets_to_the_end(packets_from(container, stream, self._entry), tally)
                frames = self._entry.shown(decode(packets, stream, tally, self._start_stamp()))
                yield from selection.pick(timeline.timed(frames), Converter())
            if selection.cut_time is None:
                tally.undecodable += self._is_cut_off and not tally.undecodable
        finally:
            self.losses = tally.losses(selection.num_read)
            self.end_time = timeline.end_after(selection.last_time, tally.end, selection.cut_time)
        if selection.cut_time is None:
            missing = self._expected - tally.hidden - selection.index
            self.losses = tally.losses(selection.num_read, missing)
        self._report()

    def _open(self):
        # An absolute path, so that no file name reads as a protocol.
        return open_container(os.path.abspath(self.path), str(self.path))

    def _first_stamp(self, container, stream) -> int | None:
        """The timestamp of the first frame that decodes; there has to be one."""
        tally = Tally()
        packets = packets_to_the_end(container.demux(stream), tally)
        with closing(decode(packets, stream, tally)) as frames:
            for frame in frames:
                return frame.pts
        raise UserError(f"{self.path}: expected a video, found no frame that decodes")

    def _find_entry(self) -> Entry:
        """Where decoding for the excerpt begins; refused where it starts after the end."""
        first = self._start_stamp()
        if first is None:
            return Entry()
        with self._open() as (container, stream):
            if keeps_no_times(stream):
                entry = Entry()
                ends_before = 0 < stated_frames(stream) <= self._excerpt.start * self._rate
            else:
                entry = find_entry(container, stream, self._origin, first)
                ends_before = entry is None
        if ends_before:
            raise UserError(
                f"{self.path}: expected frames {self._excerpt}, found that it ends before"
            )
        with self._open() as (container, stream):
            return entry if can_seek(container, stream, entry) else Entry()

    def _start_stamp(self) -> int | None:
        """The least timestamp of the excerpt; None where the video has no timestamps."""
        if self._origin is None:
            return None
        return self._origin + math.ceil(self._excerpt.start / self._time_base)

    def _timeline(self) -> Timeline:
        return Timeline(self._time_base, self._rate, self._origin)

    def _report(self) -> None:
        """Refuse a video without a frame; warn, once, of one that lost or damaged frames."""
        if not self.losses.frames:
            raise UserError(f"{self.path}: expected frames {self._excerpt}, found none")
        if self.losses and not self._warned:
            self._warned = True
            logger.warning("%s may be damaged: %s", self.path, self.losses)


def _estimate_frames(container, stream, frame_rate: Fraction) -> int | None:
    """Estimate the number of frames from the stated count or the duration."""
    if stated := stated_frames(stream):
        return stated
    if stream.duration and stream.time_base:
        return max(1, round(stream.duration * stream.time_base * frame_rate))
    if container.duration:
        duration = Fraction(container.duration, 1_000_000)
        if container.format.name == "matroska,webm":  # it is the end's time
            duration -= Fraction(container.start_time or 0, 1_000_000)
        return max(1, round(duration * frame_rate))
    return None
