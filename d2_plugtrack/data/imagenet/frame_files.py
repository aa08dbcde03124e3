"""Which frames lie in a video's folder of images: ``%06d.JPEG``, numbered from 0."""

import os
from os import PathLike

_ENDING = ".JPEG"


def frame_numbers(folder: str | PathLike[str]) -> list[int]:
    """The numbers of the frames in a folder, in no order; none where it cannot be read."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    stems = [name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING)]
    return [int(stem) for stem in stems if _is_number(stem)]


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdecimal() and len(stem) < 10 and f"{int(stem):06d}" == stem
