"""Small videos and images for the tests of this folder, and what is said of them."""

import logging
from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np

from d2_plugtrack.video_io import VideoWriter

COLORS = [(200, 30, 40), (30, 200, 40), (30, 40, 200), (128, 128, 128), (250, 240, 10)]


def solid(color, height=48, width=64):
    return np.full((height, width, 3), color, np.uint8)


def noise_frames(count, height=96, width=128):
    """Frames too rich to be coded in a few bytes, so that damage hits pixels."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def moving_frames(count, height=48, width=64):
    """A smooth picture that moves, so that pictures are coded from others; all different."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    pictures = [np.stack([x * 3 + 7 * i, y * 4 - 5 * i, x + y + 11 * i], -1) for i in range(count)]
    return [np.abs(picture % 510 - 255).astype(np.uint8) for picture in pictures]


def save(path, frames, rate=25):
    with VideoWriter(path, rate) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def encode(
    path,
    frames: Iterable[np.ndarray],
    codec="libx264",
    pixel_format="yuv420p",
    container_options=None,
    stamps=None,
    time_base=Fraction(1, 25),
    container_format=None,
    **stream_options,
):
    """Write what VideoWriter does not: other containers, codecs, pixel formats and timestamps.

    The rate is 25 frames a second; `stamps` are in units of `time_base`.
    """
    frames = list(frames)
    options = container_options or {}
    with av.open(str(path), "w", format=container_format, options=options) as container:
        stream = container.add_stream(codec, rate=25, options=stream_options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = time_base
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
            picture = picture.reformat(format=pixel_format)
            picture.pts = stamps[index] if stamps else index
            picture.time_base = time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def truncate(path, share=0.5):
    """Leave the beginning of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def assert_close(frames, colors):
    """Means within 4 of 255, so that colours can be compared after lossy coding."""
    found = [frame.reshape(-1, 3).mean(0) for frame in frames]
    np.testing.assert_allclose(found, colors, atol=4)


def warnings_of(source, caplog, passes=1):
    """How many frames the passes gave, and what was warned of."""
    with caplog.at_level(logging.WARNING):
        counts = {len(list(source)) for _ in range(passes)}
    return counts, [record.getMessage() for record in caplog.records]
