"""Frames with their times out of videos, images, cameras and streams, and into videos and folders.

A frame is a contiguous BGR uint8 array ``(H, W, 3)`` in pixels as displayed: the container's or
EXIF rotation is applied; grayscale, alpha, palettes and 10-bit input are converted; a pixel's
aspect ratio is not. Times are seconds as exact fractions, counted from the source's first frame.
Sizes may change between the frames of one source.

With nothing to read (no such file, no video in it, no frame, no images) :func:`open_frames` or the
iteration raises :class:`~d2_plugtrack.errors.UserError` naming the input; a damaged one gives the
frames that decode, one warning with counts, and :class:`Losses`. Writing needs at least one frame.
Outputs take their final name only when complete. Drawing is left to ``visualization``.
"""

from .addresses import shown_address
from .image_files import VIDEO_SUFFIXES, read_image
from .image_writer import ImageWriter
from .opening import is_live, open_frames
from .sources import FrameSource, Losses, TimedFrame
from .video_writer import VideoWriter

__all__ = [
    "VIDEO_SUFFIXES",
    "FrameSource",
    "ImageWriter",
    "Losses",
    "TimedFrame",
    "VideoWriter",
    "is_live",
    "open_frames",
    "read_image",
    "shown_address",
]
