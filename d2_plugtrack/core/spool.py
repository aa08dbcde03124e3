"""Arrays of a video: in memory while they are small, in a temporary file when they grow.

A file is anonymous from the start: nothing is left of it after success, an error or a kill. It is
read and written piece by piece and never mapped, because the pages of a mapped file count as
memory of the process. Nothing here knows what the arrays mean.
"""

import math
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np


class Spooling(NamedTuple):
    """Where the arrays of a video go that are too large for the memory."""

    memory_limit: int  # bytes kept in memory; arrays that would be more all go to disk
    folder: str | Path  # of the temporary files, made when there is one


class _OnDisk(NamedTuple):
    """An array in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def place(self, row: int) -> int:
        """The offset of a row."""
        return self.offset + row * int(np.prod(self.shape[1:])) * self.dtype.itemsize


class Spool:
    """Arrays by number, read and written in whole rows (places along the first axis).

    Args:
        spooling: when and where arrays go to disk; None keeps all in memory.

    A full disk, or a folder that cannot be written, is an ``OSError`` that names the folder.
    """

    def __init__(self, spooling: Spooling | None):
        self._spooling = spooling
        self._arrays: list[np.ndarray | _OnDisk] = []
        self._file: IO[bytes] | None = None
        self._bytes_in_memory = 0
        self.bytes_on_disk = 0

    def append(self, array: np.ndarray) -> int:
        """Keep a copy of an array; its number."""
        number = self.reserve(array.shape, array.dtype)
        self.write(number, 0, array)
        return number

    def reserve(self, shape: tuple[int, ...], dtype: np.dtype | type) -> int:
        """Make room for an array that is still to be written; its number."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        limit = math.inf if self._spooling is None else self._spooling.memory_limit
        if self._file is None and self._bytes_in_memory + size > limit:
            self._move_to_disk(self._spooling.folder)
        if self._file is None:
            self._arrays.append(np.empty(shape, dtype))
            self._bytes_in_memory += size
        else:
            self._arrays.append(self._next_place(shape, dtype))
        return len(self._arrays) - 1

    def read(self, number: int, first: int = 0, end: int | None = None) -> np.ndarray:
        """Rows from ``first`` to before ``end`` (None: to the last), to be read only."""
        array = self._arrays[number]
        if isinstance(array, np.ndarray):
            return array[first:end]
        rows = np.empty((len(range(array.shape[0])[first:end]), *array.shape[1:]), array.dtype)
        if rows.size:
            self._file.seek(array.place(first))
            _read_all(self._file, rows)
        return rows

    def write(self, number: int, first: int, rows: np.ndarray) -> None:
        """Put rows in the place of those from ``first`` on."""
        array = self._arrays[number]
        if isinstance(array, np.ndarray):
            array[first : first + len(rows)] = rows
        elif rows.size:
            with _errors_name(self._spooling.folder):
                self._file.seek(array.place(first))
                _write_all(self._file, np.ascontiguousarray(rows, array.dtype))

    def _next_place(self, shape: tuple[int, ...], dtype: np.dtype) -> _OnDisk:
        place = _OnDisk(self.bytes_on_disk, tuple(shape), dtype)
        self.bytes_on_disk += int(np.prod(shape)) * dtype.itemsize
        return place

    def _move_to_disk(self, folder: str | Path) -> None:
        """Everything so far, and from now on all that comes."""
        with _errors_name(folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        for number, array in enumerate(self._arrays):
            self._arrays[number] = self._next_place(array.shape, array.dtype)
            self.write(number, 0, array)


@contextmanager
def _errors_name(folder: str | Path) -> Iterator[None]:
    """Name the folder in errors: a temporary file has no name that anybody knows."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from error


def _read_all(file: IO[bytes], rows: np.ndarray) -> None:
    rest = memoryview(rows).cast("B")
    while len(rest):
        count = file.readinto(rest)
        assert count, "a temporary file ends where all of it was written"
        rest = rest[count:]


def _write_all(file: IO[bytes], rows: np.ndarray) -> None:
    rest = memoryview(rows).cast("B")
    while len(rest):  # a disk that fills up takes a part first
        rest = rest[file.write(rest) :]
