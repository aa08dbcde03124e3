"""Frames into a folder of numbered images."""

import re
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import UserError
from ..outputs import atomic_folder, ensure_writable_folder, os_errors_name
from .letterbox import check_image

_NUMBERED = re.compile(r"\d{6,}\.jpg")


def image_name(number: int) -> str:
    """What the writer calls its images, numbered from 0 as they are written."""
    return f"{number:06d}.jpg"


class ImageWriter:
    """Writes frames as ``000000.jpg``, ``000001.jpg``, ...: ``with ImageWriter(folder) as writer``.

    Every image is a JPEG of quality 95, of the size of its frame. Until the ``with`` block ends
    well the folder has a temporary name beside its own; on an exception nothing is left, and an
    older folder stays as it was.

    Args:
        folder: need not be there, its parent has to.
        overwrite: an older folder is replaced, if there is nothing but numbered images in it.

    Raises:
        UserError: the place cannot be written, or there is something already.
    """

    def __init__(self, folder: str | Path, overwrite: bool = False):
        self.folder = ensure_writable_folder(folder)
        self._check_older(overwrite)
        self._stack, self._place, self._num_frames = ExitStack(), None, 0

    def _check_older(self, overwrite: bool) -> None:
        older = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        if older and not overwrite:
            raise UserError(
                f"{self.folder}: expected no such folder, or an empty one, "
                f"found {len(older)} entries"
            )
        other = [name for name in older if not _NUMBERED.fullmatch(name)]
        if other:
            raise UserError(
                f"{self.folder}: expected nothing but numbered images to overwrite, "
                f"found {other[0]}"
            )

    def __enter__(self) -> "ImageWriter":
        with ExitStack() as stack, os_errors_name(self.folder):
            self._place = stack.enter_context(atomic_folder(self.folder))
            self._stack = stack.pop_all()
        return self

    def write(self, image: np.ndarray, time: Fraction | None = None) -> None:
        """Append one BGR uint8 frame ``(H, W, 3)``; images have no times."""
        from PIL import Image

        if self._place is None:
            raise RuntimeError("expected ImageWriter.write inside its `with` block")
        check_image(image)
        path = self._place / image_name(self._num_frames)
        with os_errors_name(self.folder):
            Image.fromarray(image[:, :, ::-1]).save(path, quality=95, subsampling=0)
        self._num_frames += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._place = None
        if error is None and not self._num_frames:
            error = ValueError(f"{self.folder}: expected at least one frame, found none")
            self._stack.__exit__(type(error), error, None)
            raise error
        with os_errors_name(self.folder):
            self._stack.__exit__(kind, error, trace)
