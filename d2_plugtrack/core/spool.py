"""Arrays of a video: in memory while they are small, in a temporary file when they grow.

A file is anonymous from the start: nothing is left of it after success, an error or a kill. It is
read and written piece by piece and never mapped, because the pages of a mapped file count as
memory of the process. In memory, too, arrays lie one after the other in large chunks, which go
back to the system as soon as they are on disk; many small arrays would leave the process as large
as it was. Nothing here knows what the arrays mean.
"""

import math
import tempfile
import weakref
from bisect import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

_CHUNK = 64 * 2**20  # bytes: more than what malloc ever keeps for itself when it is freed
_ALIGNMENT = 16  # bytes


class Spooling(NamedTuple):
    """Where the arrays of a video go that are too large for the memory."""

    memory_limit: int  # bytes kept in memory; arrays that would be more all go to disk
    folder: str | Path  # of the temporary files, made when there is one


class _Place(NamedTuple):
    """Where an array begins, counted through all chunks or in the file, and what it is."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def row(self, number: int) -> int:
        """Where a row begins."""
        return self.offset + number * math.prod(self.shape[1:]) * self.dtype.itemsize


class Spool:
    """Arrays by number, read and written in whole rows (places along the first axis).

    Args:
        spooling: when and where arrays go to disk; None keeps all in memory.

    A full disk, or a folder that cannot be written, is an ``OSError`` that names the folder.
    """

    def __init__(self, spooling: Spooling | None):
        self._spooling = spooling
        self._places: list[_Place] = []
        self._size = 0  # bytes of all arrays
        self._end = 0  # where the next array may begin
        self._chunks: list[np.ndarray] = []
        self._chunk_starts: list[int] = []
        self._file: IO[bytes] | None = None

    @property
    def bytes_on_disk(self) -> int:
        return 0 if self._file is None else self._size

    def append(self, array: np.ndarray) -> int:
        """Keep a copy of an array; its number."""
        number = self.reserve(array.shape, array.dtype)
        self.write(number, 0, array)
        return number

    def reserve(self, shape: tuple[int, ...], dtype: np.dtype | type) -> int:
        """Make room for an array that is still to be written; its number."""
        place = _Place(self._end, tuple(shape), np.dtype(dtype))
        limit = math.inf if self._spooling is None else self._spooling.memory_limit
        if self._file is None and self._size + place.size > limit:
            self._move_to_disk(self._spooling.folder)
        if self._file is None and place.size:
            place = place._replace(offset=self._find_room(place.size))
        self._places.append(place)
        self._size += place.size
        self._end = -(-(place.offset + place.size) // _ALIGNMENT) * _ALIGNMENT
        return len(self._places) - 1

    def read(self, number: int, first: int = 0, end: int | None = None) -> np.ndarray:
        """Rows from ``first`` to before ``end`` (None: to the last), to be read only."""
        place = self._places[number]
        if place.size and self._file is None:
            return self._in_memory(place)[first:end]
        count = len(range(place.shape[0])[first:end])
        rows = np.empty((count, *place.shape[1:]), place.dtype)
        if rows.size:
            self._file.seek(place.row(first))
            _read_all(self._file, rows)
        return rows

    def write(self, number: int, first: int, rows: np.ndarray) -> None:
        """Put rows in the place of those from ``first`` on."""
        place = self._places[number]
        if not rows.size:
            return
        if self._file is None:
            self._in_memory(place)[first : first + len(rows)] = rows
            return
        with _errors_name(self._spooling.folder):
            self._file.seek(place.row(first))
            _write_all(self._file, np.ascontiguousarray(rows, place.dtype))

    def _find_room(self, size: int) -> int:
        """Where ``size`` bytes fit, in the last chunk or in a new one."""
        start = self._chunk_starts[-1] if self._chunks else 0
        chunk_end = start + len(self._chunks[-1]) if self._chunks else 0
        if self._end + size <= chunk_end:
            return self._end
        self._chunks.append(np.empty(max(size, _CHUNK), np.uint8))
        self._chunk_starts.append(chunk_end)
        return chunk_end

    def _in_memory(self, place: _Place) -> np.ndarray:
        index = bisect(self._chunk_starts, place.offset) - 1
        first = place.offset - self._chunk_starts[index]
        part = self._chunks[index][first : first + place.size]
        return part.view(place.dtype).reshape(place.shape)

    def _move_to_disk(self, folder: str | Path) -> None:
        """Everything so far, and from now on all that comes."""
        with _errors_name(folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
            weakref.finalize(self, file.close)
            for start, chunk in zip(self._chunk_starts, self._chunks, strict=True):
                file.seek(start)
                _write_all(file, chunk[: self._end - start])
        self._file = file
        self._chunks, self._chunk_starts = [], []


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
