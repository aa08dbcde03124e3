"""The source that a name means: a file, a folder, a pattern, a camera or an address."""

import os
import re
from fractions import Fraction
from pathlib import Path

from ..errors import UserError
from .addresses import is_address, shown_address
from .camera_source import CameraSource
from .excerpts import SLOWEST, Excerpt, checked_excerpt, checked_rate
from .image_files import IMAGE_SUFFIXES, images_in, images_like
from .image_source import ImageSource
from .sources import FrameSource
from .stream_source import StreamSource
from .video_source import VideoSource

_CAMERA, _DEVICE = re.compile(r"[0-9]{1,4}"), re.compile(r"/dev/video([0-9]{1,4})")


def open_frames(
    path: str | Path | int,
    default_frame_rate: Fraction | float = 25,
    start: float = 0.0,
    end: float | None = None,
    stride: int = 1,
) -> FrameSource:
    """Open a source of frames.

    A video's first frame is decoded here, and an address or a camera answers here, so that a
    command can refuse them before it loads a model.

    Args:
        path: a video file, a folder of images, one image, a pattern of images such as
            ``frames/*.jpg``, a camera by its number or its device (``/dev/video0``), or an address
            (``rtsp://``, ``http://``). A file or a folder of that name comes first.
        default_frame_rate: for images, and for what does not state its own.
        start, end: seconds since the source's first frame; a frame at ``end`` is not given.
        stride: every so manieth frame is given.

    Raises:
        UserError: naming the source, what was expected and what was found.
    """
    rate, excerpt = checked_rate(default_frame_rate), checked_excerpt(start, end, stride)
    source = _open(path, rate, excerpt)
    if source.frame_rate < SLOWEST:  # no video of it could be written
        raise UserError(
            f"{shown_address(str(path))}: expected default_frame_rate, or the rate it states, by "
            f"stride to be at least {SLOWEST}, "
            f"found {float(source.frame_rate * excerpt.stride):g} by {excerpt.stride}"
        )
    return source


def is_live(path: str | Path | int) -> bool:
    """Whether a name means a camera or an address, whose source can be read once."""
    if _camera_number(path) is not None:
        return True
    return not os.path.lexists(path) and is_address(str(path))


def _camera_number(path: str | Path | int) -> int | None:
    if isinstance(path, int):
        return path
    if _CAMERA.fullmatch(str(path)) and not os.path.lexists(path):
        return int(str(path))
    device = _DEVICE.fullmatch(os.path.realpath(path))  # /dev/v4l/by-id/* are links
    return int(device[1]) if device else None


def _open(path: str | Path | int, rate: Fraction, excerpt: Excerpt) -> FrameSource:
    number = _camera_number(path)
    if number is not None:
        return CameraSource(number, rate, excerpt)
    if os.path.lexists(path):
        return _open_existing(Path(path), rate, excerpt)
    return _open_named(str(path), rate, excerpt)


def _open_existing(path: Path, rate: Fraction, excerpt: Excerpt) -> FrameSource:
    if path.is_dir():
        return ImageSource(path.resolve().name, str(path), images_in(path), rate, excerpt)
    if not path.is_file():
        raise UserError(
            f"{path}: expected a video file or a folder of images, found something else"
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(path.stem, str(path), [path], rate, excerpt)
    return VideoSource(path, rate, excerpt)


def _open_named(name: str, rate: Fraction, excerpt: Excerpt) -> FrameSource:
    """What is no file: an address, a pattern."""
    if is_address(name):
        return StreamSource(name, rate, excerpt)
    if re.search(r"[*?[]", name):
        folder = Path(name).parent
        while re.search(r"[*?[]", folder.name):
            folder = folder.parent
        return ImageSource(folder.resolve().name, name, images_like(name), rate, excerpt)
    raise UserError(
        f"{name}: expected a video file or a folder of images, or a pattern of images, the number "
        "of a camera or an address, found nothing"
    )
