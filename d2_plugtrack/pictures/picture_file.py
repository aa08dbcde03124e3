"""Pictures as files, whole or not at all, and never in the place of an older one unasked.

A still one is a PNG file, a moving one an animated WebP, which browsers and GitHub show: sharp
letters on a grainy background take an eighth of a GIF's bytes in it, and colours stay.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..outputs import atomic_output, ensure_writable, os_errors_name

PNG_LEVEL = 3  # measured: 6 takes three times as long and saves 12 %
WEBP_QUALITY = 70


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


def write_animation(path: Path, images: Sequence[np.ndarray], frame_rate: float) -> None:
    """Write BGR uint8 images ``(H, W, 3)``, at least one, as a WebP that plays again and again."""
    from PIL import Image

    first, *others = [Image.fromarray(np.ascontiguousarray(i[:, :, ::-1])) for i in images]
    timing = {"duration": max(1, round(1000 / frame_rate)), "loop": 0}
    with os_errors_name(path), atomic_output(path) as temporary:
        first.save(
            *(temporary, "WebP"),
            save_all=True,
            append_images=others,
            quality=WEBP_QUALITY,
            method=6,  # the slowest, whose files are smallest
            **timing,
        )
