"""Pictures as files, whole or not at all, and never in the place of an older one unasked.

A still one is a PNG file, a moving one an animated WebP, which browsers and GitHub show: sharp
letters on a grainy background take an eighth of a GIF's bytes in it, and colours stay.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..outputs import atomic_output, ensure_writable, os_errors_name

PNG_LEVEL = 3  # measured: 6 takes three times as long and saves 12 %
WEBP_QUALITY = 70
WEBP_METHOD = 4  # measured: 6 takes fifteen times as long and saves 1 %


def ensure_new(path: Path, suffix: str, overwrite: bool) -> None:
    """Refuse, before any work, a file that cannot be written, or is there and must not be.

    Raises:
        UserError: of that.
    """
    ensure_writable(path, suffix)
    if path.exists() and not overwrite:
        raise UserError(f"--output {path}: is there already; --overwrite would replace it")


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write a BGR uint8 image ``(H, W, 3)`` as a PNG file."""
    from PIL import Image

    with os_errors_name(path), atomic_output(path) as temporary:
        Image.fromarray(np.ascontiguousarray(image[:, :, ::-1])).save(
            temporary, format="PNG", compress_level=PNG_LEVEL
        )


def write_animation(path: Path, images: Iterable[np.ndarray], frame_rate: float) -> None:
    """Write BGR uint8 images ``(H, W, 3)`` of one size as a WebP that plays again and again.

    They are taken one by one, and only what is compressed is kept of them. Without any: ValueError.
    """
    import av

    rate = Fraction(frame_rate).limit_denominator(1000)
    options = {"quality": str(WEBP_QUALITY), "compression_level": str(WEBP_METHOD)}
    with (
        os_errors_name(path),
        atomic_output(path) as temporary,
        av.open(str(temporary), "w", format="webp", options={"loop": "0"}) as container,
    ):
        stream = None
        for index, image in enumerate(images):
            if stream is None:
                stream = container.add_stream("libwebp_anim", rate, options=options)
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "bgra"
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="bgra")
            frame.time_base, frame.pts = 1 / rate, index
            container.mux(stream.encode(frame))
        if stream is None:
            raise ValueError("expected an image or more, found none")
        container.mux(stream.encode())
