"""Frames into a video file that browsers play."""

import logging
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import UserError
from ..outputs import atomic_output, ensure_writable, os_errors_name
from .excerpts import checked_rate
from .letterbox import check_image, letterboxed, padded_to_even

logger = logging.getLogger(__name__)

# Exact for frames of 24, 25, 30, 48, 50, 60 a second and their 1000/1001, and for milliseconds.
TICK = Fraction(1, 360_000)  # seconds; the unit of given times
# Ticks from one frame to the next: an mp4 holds 2**31 - 1; FFmpeg reads what is near that as 1.
LONGEST = 5_900 * 360_000

_INDEX_IN_FRONT = {"movflags": "+faststart"}
# Fragments of up to 250 frames, on their way to the disk when complete; nothing waits for the end.
_FRAGMENTS = {"movflags": "+frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}


class VideoWriter:
    """Writes frames as an H.264 mp4: ``with VideoWriter(path, rate) as writer``.

    The first frame sets the size, made even by repeating the last row or column; a later frame of
    another size is scaled into it, centred on black. A place that cannot be written is refused at
    construction. Until the ``with`` block ends well the video has a temporary name beside
    ``path``; on an exception nothing is left, and an older file at ``path`` stays as it was.

    Args:
        path: ending in .mp4.
        frame_rate: of frames without times; with times, what is nominal.
        crf: quality, from 0 (best) to 51.
        fragmented: for what has no known end. Memory does not grow with the frames (an index takes
            72 bytes a frame, until it is written at the end), and what a killed process leaves
            under the temporary name plays up to its last fragment. Frames and times are the same.

    Attributes:
        end_time: when the last frame ends, on the clock of the given times; None is one step of
            ``frame_rate`` after it began.
    """

    def __init__(
        self,
        path: str | Path,
        frame_rate: Fraction | float,
        crf: int = 20,
        fragmented: bool = False,
    ):
        self.path = ensure_writable(path, suffix=".mp4")
        self.frame_rate, self.crf, self.fragmented = checked_rate(frame_rate), crf, fragmented
        self.end_time: Fraction | None = None
        self._stack, self._container, self._stream = ExitStack(), None, None
        self._size, self._stamps, self._pending = None, None, None

    def __enter__(self) -> "VideoWriter":
        import av
        from av.video.reformatter import VideoReformatter

        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_output(self.path))
            layout = _FRAGMENTS if self.fragmented else _INDEX_IN_FRONT
            with os_errors_name(self.path):
                container = av.open(str(temporary), "w", format="mp4", options=layout)
            self._container = stack.enter_context(container)
            self._reformatter = VideoReformatter()
            self._stack = stack.pop_all()
        return self

    def write(self, image: np.ndarray, time: Fraction | None = None) -> None:
        """Append one BGR uint8 frame ``(H, W, 3)``.

        Args:
            image: the frame.
            time: in seconds, growing, for every frame or for none; the video begins with the first
                frame's. Kept within 1/720,000 of a second, but for gaps above 5,900 s, which are
                written as 5,900 s, with one warning at the end. Without it the rate is constant.
        """
        if self._container is None:
            raise RuntimeError("expected VideoWriter.write inside its `with` block")
        check_image(image)
        self._stamps = self._stamps or _Stamps(self.frame_rate, time)
        stamp = self._stamps.next(time)
        self._size = self._size or (image.shape[1], image.shape[0])
        image = padded_to_even(letterboxed(image, self._size))
        self._stream = self._stream or self._add_stream(image.shape[1], image.shape[0])
        frame = self._to_yuv(image)
        frame.pts, frame.time_base = stamp, self._stamps.unit
        self._encode_pending(stamp)
        self._pending = frame

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with os_errors_name(self.path):
            try:
                if error is None:
                    self._finish()
            except BaseException as flush_error:
                self._close(flush_error)
                raise
            self._close(error)

    def _finish(self) -> None:
        if self._pending is None:
            raise ValueError(f"{self.path}: expected at least one frame, found none")
        self._encode_pending(self._stamps.end(self.end_time))
        self._encode(None)
        if count := self._stamps.shortened:
            seconds = int(LONGEST * TICK)
            logger.warning("%s: %d gaps above %d s, written as such", self.path, count, seconds)

    def _close(self, error: BaseException | None) -> None:
        """Close the container, then rename what it wrote, or remove it if there was an error."""
        self._container = self._pending = None
        self._stack.__exit__(type(error) if error else None, error, None)

    def _encode_pending(self, stamp: int) -> None:
        """Encode the frame before, now that it is known how long it lasts."""
        if self._pending is not None:
            self._pending.duration = stamp - self._pending.pts
            self._encode(self._pending)

    def _encode(self, frame) -> None:
        import av

        try:
            with os_errors_name(self.path):
                self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            width, height = self._stream.width, self._stream.height
            reason = f"{error.strerror} ({width}x{height} pixels)"
            raise UserError(f"{self.path}: cannot be written: {reason}") from error

    def _add_stream(self, width: int, height: int):
        from av.codec.context import Flags

        # Measured: the default preset gives the same size within 2 % in twice the time, B-frames
        # give nothing. Without them the file says of every frame, the last too, how long it lasts.
        options = {"crf": str(self.crf), "preset": "veryfast", "bf": "0"}
        stream = self._container.add_stream("libx264", rate=self.frame_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.thread_type, context.time_base = "AUTO", self._stamps.unit
        context.flags |= Flags.frame_duration
        # Untagged colours are guessed by players, differently; 1 is BT.709, and limited range.
        context.colorspace = context.color_range = context.color_primaries = context.color_trc = 1
        return stream

    def _to_yuv(self, image: np.ndarray):
        import av

        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, format="bgr24"),
            format="yuv420p",
            dst_colorspace="ITU709",
            dst_color_range="MPEG",
        )


class _Stamps:
    """Timestamps of frames in units of ``unit`` seconds, from the first frame's time on.

    What a gap is longer than :data:`LONGEST` is left out, and all that follows comes earlier.

    Attributes:
        shortened: such gaps.
    """

    def __init__(self, frame_rate: Fraction, first: Fraction | None):
        self._first, self._frame_rate, self._last = first, frame_rate, -1
        self.unit = 1 / frame_rate if first is None else TICK
        self._left_out = self.shortened = 0

    def next(self, time: Fraction | None) -> int:
        """The timestamp of the next frame."""
        if (time is None) != (self._first is None):
            raise ValueError("time: expected one for every frame or for none, found both")
        stamp = self._last + 1 if time is None else self._ticks(time)
        self._last = stamp
        return stamp

    def end(self, time: Fraction | None) -> int:
        """The timestamp at which the last frame ends."""
        if self._first is None or time is None:
            return self._last + max(1, round(1 / self._frame_rate / self.unit))
        return self._ticks(time)

    def _ticks(self, time: Fraction) -> int:
        """Of a time that follows the last frame's, one tick after that at least."""
        stamp = round((time - self._first) / self.unit) - self._left_out
        excess = max(0, stamp - self._last - LONGEST)
        self._left_out += excess
        self.shortened += excess > 0
        return max(stamp - excess, self._last + 1)
