"""Frames out of videos and folders of images, and into videos.

A frame is a contiguous BGR uint8 array ``(H, W, 3)`` in pixels as displayed: the container's or
EXIF rotation is applied; grayscale, alpha and 10-bit input is converted. A pixel's aspect ratio and
varying time between frames are not: every frame is one step of ``frame_rate``.

With nothing to read (no such file, no video in it, no frame, an empty folder, an image that does
not decode) :func:`open_frames` or the iteration raises :class:`UserError` naming the file; a
damaged video gives the frames that decode and one warning with counts. Sizes may change between
the frames of one source. Writing needs at least one frame. Outputs take their final name only when
complete. Drawing is left to ``visualization.py``.
"""

import logging
import math
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np

from .errors import UserError
from .outputs import atomic_output, ensure_writable, os_errors_name

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")
SLOWEST, FASTEST = 0.001, 100_000  # frames per second that an mp4 can hold


class FrameSource(ABC):
    """Frames in order, as often as it is iterated; ``num_frames`` is an estimate for videos."""

    name: str
    frame_rate: Fraction
    num_frames: int | None

    @abstractmethod
    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield BGR uint8 frames ``(H, W, 3)`` from the first on."""


def open_frames(path: str | Path, default_frame_rate: Fraction | float = 25) -> FrameSource:
    """Open a video file, a folder of images (in natural order), or one image.

    ``default_frame_rate`` is for images, and for a video that does not state its own. A video's
    first frame is decoded here, so that a command can refuse the file before it loads a model.
    """
    path, frame_rate = Path(path), _frame_rate(default_frame_rate)
    if os.path.isdir(path):
        return ImageSource(path.resolve().name, _images_in(path), frame_rate)
    if not os.path.isfile(path):
        found = "something else" if os.path.exists(path) else "nothing"
        raise UserError(f"{path}: expected a video file or a folder of images, found {found}")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(path.stem, [path], frame_rate)
    return VideoSource(path, frame_rate)


class ImageSource(FrameSource):
    """The given images, in the given order; ``num_frames`` is exact."""

    def __init__(self, name: str, paths: list[Path], frame_rate: Fraction):
        self.name, self.paths, self.frame_rate = name, paths, frame_rate
        self.num_frames = len(paths)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(read_image, self.paths)


class VideoSource(FrameSource):
    """The first moving-picture stream of a video file, through PyAV."""

    def __init__(self, path: Path, default_frame_rate: Fraction):
        self.path, self.name, self._warned = path, path.stem, False
        with _open_video(path) as (container, stream):
            rate = stream.average_rate or stream.guessed_rate or 0
            stated = SLOWEST <= rate <= FASTEST
            self.frame_rate = _frame_rate(rate) if stated else default_frame_rate
            self.num_frames = _estimate_frames(container, stream, self.frame_rate)
        with closing(iter(self)) as frames:
            next(frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        counts = Counter()
        with _open_video(self.path) as (container, stream):
            reformatter = _new_reformatter()  # one for all frames: each prepares its own tables
            for frame in _decode(container, stream, counts):
                turns = round(frame.rotation / 90) % 4  # counterclockwise, as np.rot90 turns
                image = reformatter.reformat(frame, format="bgr24").to_ndarray()
                counts["frames"] += 1
                yield np.ascontiguousarray(np.rot90(image, turns))
            self._report(counts, stream.frames)

    def _report(self, counts: Counter, stated: int) -> None:
        """Refuse a video without a frame; warn, once, of one that lost or damaged frames."""
        frames, expected = counts["frames"], stated - counts["hidden"]
        if not frames:
            raise UserError(f"{self.path}: expected a video, found no frame that decodes")
        lossy = frames < expected or counts["undecodable"] or counts["damaged"]
        if self._warned or not lossy:
            return
        self._warned = True
        logger.warning(
            "%s may be damaged: read %d frames%s; %d packets did not decode, "
            "%d decoded with errors",
            self.path,
            frames,
            f" of {expected}" if expected > 0 else "",
            counts["undecodable"],
            counts["damaged"],
        )


def read_image(path: str | Path, most_pixels: float = math.inf) -> np.ndarray:
    """Read an image as a BGR frame, with its EXIF rotation applied; a truncated one is refused.

    So is one that says that it has more than ``most_pixels``, before any of it is decoded.
    """
    from PIL import Image, ImageOps  # not cv2, which returns a truncated JPEG without a word

    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > most_pixels:
                raise ValueError(f"a size of {opened.width}x{opened.height}")
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # convert("RGB") would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            pixels = np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow keeps no list of what its decoders raise on bad input
        raise UserError(f"{path}: expected an image, found one that fails: {error}") from error
    return np.ascontiguousarray(pixels[:, :, ::-1])


@contextmanager
def _open_video(path: Path) -> Iterator[tuple]:
    """Open a container; give it and its first video stream that is not a cover picture."""
    import av
    from av.stream import Disposition

    try:
        # An absolute path, so that no file name reads as a protocol.
        container = av.open(os.path.abspath(path), metadata_errors="ignore")
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or error
        raise UserError(f"{path}: expected a video, found one that fails: {reason}") from error
    with container:
        streams = [
            stream
            for stream in container.streams.video
            if stream.codec_context and not stream.disposition & Disposition.attached_pic
        ]
        # FFmpeg takes any .txt for a video of a terminal ("tty").
        if not streams or container.format.name == "tty":
            found = container.format.long_name or container.format.name
            raise UserError(f"{path}: expected a video stream, found none ({found})")
        # Measured: slice threads leave some of H.264's damage unreported, frame threads lose
        # frames at a broken end, as many as there are threads. One decodes 200 frames of 720p/s.
        streams[0].codec_context.thread_count = 1
        yield container, streams[0]


def _decode(container, stream, counts: Counter) -> Iterator:
    """Yield every frame that decodes; count packets that do not, that are damaged, or hidden."""
    import av

    for packet in _packets(container, stream, counts):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            counts["undecodable"] += 1
            continue
        damaged = any(part.is_corrupt for part in (packet, *frames) if part is not None)
        counts["damaged"] += damaged
        counts["hidden"] += packet is not None and packet.is_discard
        yield from frames


def _packets(container, stream, counts: Counter) -> Iterator:
    """Yield the packets up to the end, or to where the container breaks, then the flush."""
    import av

    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        counts["undecodable"] += 1
        yield None


def _estimate_frames(container, stream, frame_rate: Fraction) -> int | None:
    """Estimate the number of frames from the stated count or the duration."""
    if stream.frames > 0:
        return stream.frames
    if stream.duration and stream.time_base:
        return max(1, round(stream.duration * stream.time_base * frame_rate))
    if container.duration:
        return max(1, round(Fraction(container.duration, 1_000_000) * frame_rate))
    return None


def _new_reformatter():
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def _images_in(folder: Path) -> list[Path]:
    """List a folder's images, `frame2` before `frame10`; hidden files are not the user's."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    paths = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise UserError(
            f"{folder}: expected images ({' '.join(IMAGE_SUFFIXES)}), "
            f"found none among {len(entries)} entries"
        )
    return sorted(paths, key=_natural_key)


def _natural_key(path: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", path.name.casefold())  # text, digits, text, ...
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def _frame_rate(value: Fraction | float) -> Fraction:
    """Check a frame rate; 1001 keeps the 30000/1001 family and bounds what an mp4 must store."""
    if not SLOWEST <= value <= FASTEST:
        raise UserError(f"expected {SLOWEST} to {FASTEST} frames per second, found {value}")
    return Fraction(value).limit_denominator(1001)


class VideoWriter:
    """Writes frames as an H.264 mp4 that browsers play: ``with VideoWriter(path, rate) as writer``.

    The first frame sets the size, made even by repeating the last row or column; a later frame of
    another size is scaled into it, centred on black. A place that cannot be written is refused at
    construction. Until the ``with`` block ends well the video has a temporary name beside
    ``path``; on an exception nothing is left, and an older file at ``path`` stays as it was.
    """

    def __init__(self, path: str | Path, frame_rate: Fraction | float, crf: int = 20):
        self.path = ensure_writable(path, suffix=".mp4")
        self.frame_rate, self.crf = _frame_rate(frame_rate), crf
        self._stack, self._container, self._stream = ExitStack(), None, None
        self._size, self._num_frames = None, 0

    def __enter__(self) -> "VideoWriter":
        import av

        temporary = self._stack.enter_context(atomic_output(self.path))
        faststart = {"movflags": "+faststart"}
        with os_errors_name(self.path):
            container = av.open(str(temporary), "w", format="mp4", options=faststart)
        self._container = self._stack.enter_context(container)
        self._reformatter = _new_reformatter()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one BGR uint8 frame ``(H, W, 3)``."""
        if self._container is None:
            raise RuntimeError("expected VideoWriter.write inside its `with` block")
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise ValueError(f"expected uint8 (H, W, 3), found {frame.dtype} {frame.shape}")
        self._size = self._size or (frame.shape[1], frame.shape[0])
        image = _pad_to_even(_fit(frame, self._size))
        self._stream = self._stream or self._add_stream(image.shape[1], image.shape[0])
        self._encode(self._to_yuv(image))
        self._num_frames += 1

    def __exit__(self, kind, error, trace) -> None:
        with os_errors_name(self.path):
            try:
                if error is None and not self._num_frames:
                    raise ValueError(f"{self.path}: expected at least one frame, found none")
                if error is None:
                    self._encode(None)
            except BaseException as flush_error:
                self._close(flush_error)
                raise
            self._close(error)

    def _close(self, error: BaseException | None) -> None:
        """Close the container, then rename what it wrote, or remove it if there was an error."""
        self._container = None
        self._stack.__exit__(type(error) if error else None, error, None)

    def _add_stream(self, width: int, height: int):
        # Measured: the default preset gives the same size within 2 % in twice the time.
        options = {"crf": str(self.crf), "preset": "veryfast"}
        stream = self._container.add_stream("libx264", rate=self.frame_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.thread_type = "AUTO"
        # Untagged colours are guessed by players, differently; 1 is BT.709, and limited range.
        context.colorspace = context.color_range = context.color_primaries = context.color_trc = 1
        return stream

    def _to_yuv(self, image: np.ndarray):
        import av

        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, format="bgr24"),
            format="yuv420p",
            dst_colorspace="ITU709",
            dst_color_range="MPEG",
        )
        frame.pts, frame.time_base = self._num_frames, 1 / self.frame_rate
        return frame

    def _encode(self, frame) -> None:
        with os_errors_name(self.path):
            self._container.mux(self._stream.encode(frame))


def _fit(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if frame.shape[1::-1] == size:
        return frame
    from supervision import letterbox_image

    return letterbox_image(frame, resolution_wh=size)


def _pad_to_even(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
