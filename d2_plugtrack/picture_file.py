"""A picture as a PNG file, whole or not at all, and never in the place of an older one unasked."""

from pathlib import Path

import numpy as np

from .errors import UserError
from .outputs import atomic_output, ensure_writable, os_errors_name


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
        Image.fromarray(np.ascontiguousarray(image[:, :, ::-1])).save(temporary, format="PNG")
