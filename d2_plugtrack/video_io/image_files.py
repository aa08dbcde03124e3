"""Image files: one read as a frame, and those of a folder or a pattern in natural order."""

import glob
import math
import re
from pathlib import Path

import numpy as np

from ..errors import UserError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")
# Of names that are taken for videos where nobody says so; any file may be opened.
VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
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


def images_in(folder: Path) -> list[Path]:
    """A folder's images, `frame2` before `frame10`; hidden files are not the user's."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    return _images_among(entries, str(folder), "entries")


def images_like(pattern: str) -> list[Path]:
    """The images that a pattern such as ``frames/*.jpg`` names; ``**`` is any folders."""
    return _images_among(map(Path, glob.glob(pattern, recursive=True)), pattern, "matches")


def _images_among(paths, asked_for: str, what: str) -> list[Path]:
    paths = list(paths)
    images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        videos = sum(path.suffix.lower() in VIDEO_SUFFIXES for path in paths)
        hint = f"; its {videos} videos are opened one by one, by name" if videos else ""
        raise UserError(
            f"{asked_for}: expected images ({' '.join(IMAGE_SUFFIXES)}), "
            f"found none among {len(paths)} {what}{hint}"
        )
    return sorted(images, key=natural_key)


def natural_key(path: Path) -> list[tuple[list[str | int], str]]:
    """Sorts `frame2` before `frame10`."""
    return [(_digits_as_numbers(part), part) for part in path.parts]


def _digits_as_numbers(name: str) -> list[str | int]:
    parts = re.split(r"(\d+)", name.casefold())  # text, digits, text, ...
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]
