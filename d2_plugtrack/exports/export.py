"""What the writers of this package share: a text file that appears whole, or not at all."""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import numpy as np

from ..core.rescoring import TrackedObjects
from ..outputs import atomic_output, ensure_writable, os_errors_name


class Export:
    """A file of the objects of a video.

    Args:
        path: of the file.
        class_names: in label order.

    Raises:
        UserError: a name of another ending than ``suffix``, or a place that cannot be written.
    """

    suffix: str  # of the names of such files

    def __init__(self, path: str | Path, class_names: list[str]):
        self.path = ensure_writable(path, self.suffix)
        self.class_names = class_names
        self._stack, self._file = ExitStack(), None

    def __enter__(self) -> Self:
        with os_errors_name(self.path), ExitStack() as stack:
            temporary = stack.enter_context(atomic_output(self.path))
            file = temporary.open("w", encoding="utf-8", newline="")
            self._file = stack.enter_context(file)
            self._begin(self._file, stack)
            self._stack = stack.pop_all()
        return self

    def write(
        self,
        index: int,
        time: Fraction | float,
        image_size: tuple[int, int],
        objects: TrackedObjects,
    ) -> None:
        """Append the objects of the next frame."""
        if self._file is None:
            raise RuntimeError(f"expected {type(self).__name__}.write inside its `with` block")
        with os_errors_name(self.path):
            self._write(self._file, index, float(time), image_size, objects)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with os_errors_name(self.path):
            try:
                if error is None:
                    self._end(self._file)
            except BaseException as end_error:
                self._close(end_error)
                raise
            self._close(error)

    def _close(self, error: BaseException | None) -> None:
        self._file = None
        self._stack.__exit__(type(error) if error else None, error, None)

    def _begin(self, file: TextIO, stack: ExitStack) -> None:
        """Write what comes before the frames; the stack closes what is opened here."""

    def _write(
        self,
        file: TextIO,
        index: int,
        time: float,
        image_size: tuple[int, int],
        objects: TrackedObjects,
    ) -> None:
        """Write the objects of a frame."""
        raise NotImplementedError

    def _end(self, file: TextIO) -> None:
        """Write what comes after the frames."""


def boxes_xywh(objects: TrackedObjects) -> list[list[float]]:
    """(M, 4) boxes as ``[x, y, width, height]``, in float64: a sum gives the corner again."""
    boxes = objects.boxes.numpy().astype(np.float64)
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).tolist()
