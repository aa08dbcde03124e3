"""The results of one video in a file: all of its ``FrameResult``s but masks, bit for bit.

Shape letters: F frames, B boxes of a frame, B' of the frame before, K foreground classes. Boxes are
xyxy in pixels of the frame. A frame may have no boxes; a file may have no frames.

A file is a zip of .npy arrays (``numpy.load`` opens it), a block of frames after another, so that
neither writing nor reading holds more than a block. The same results give the same bytes, with the
same zlib. Every array has a checksum, and the last one counts the frames: a file that was cut or
changed is noticed when it is read. Values keep their type; half precision becomes float32, which
has all its values.

Which frames a video should have is ``run_folder.py``'s.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import numpy as np
import torch

from ..core.host_frames import split_on_host
from ..core.tfd import FrameResult
from ..errors import UserError
from ..outputs import atomic_output, os_errors_name

FRAMES_OF_BLOCK = 64  # as many as are re-scored together
# Of a stock detector's boxes, whose scores are 0 for all classes but one, a seventh remains, for
# 0.2 ms a frame of 300 boxes and 30 classes; of others, 5/6.
_COMPRESSION = 1

_FIELDS = ("boxes", "scores", "track_scores", "source", "mapped_boxes")
_DAMAGE = (  # what zipfile, zlib and numpy raise on bytes that are not what was written
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OverflowError),
    *(ValueError, KeyError, IndexError, TypeError),
)


class VideoWriter:
    """Writes the results of a video, frame after frame; the file is there when it is finished.

    As a context manager it leaves nothing unless :meth:`finish` was reached. Results stay where
    they are, on a GPU as well, until there is a block of them.

    Args:
        path: of the file; one that is there is replaced at the end.
        run: of which run the results are; :func:`read_run` gives it back.

    Raises:
        UserError: the file cannot be written; it is named.
    """

    def __init__(self, path: str | Path, run: str = ""):
        self.path = Path(path)
        self._waiting: list[FrameResult] = []
        self._indices: list[int] = []  # of those that wait
        self._last_index = -1
        self._num_frames = self._num_blocks = 0
        self._num_classes: int | None = None
        self._open = ExitStack()
        with os_errors_name(self.path), ExitStack() as opening:
            temporary = opening.enter_context(atomic_output(self.path))
            self._file = opening.enter_context(temporary.open("xb"))
            self._zip = opening.enter_context(zipfile.ZipFile(self._file, "w"))
            self._write("run", np.array(run))
            self._open = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.discard()

    def append(self, result: FrameResult, frame_index: int) -> None:
        """Take the next frame.

        Raises:
            ValueError: a frame that does not come after the one before, or shapes that do not fit.
            UserError: the file cannot be written.
        """
        if frame_index <= self._last_index:
            raise ValueError(
                f"{self.path}: expected a frame after {self._last_index}, got frame {frame_index}"
            )
        self._check_shapes(result, frame_index)
        self._waiting.append(result)
        self._indices.append(frame_index)
        self._last_index = frame_index
        self._num_frames += 1
        if len(self._waiting) == FRAMES_OF_BLOCK:
            self._write_block()

    def finish(self) -> None:
        """Put the file in its place, safely on disk."""
        if self._waiting:
            self._write_block()
        with os_errors_name(self.path):
            self._write("num_frames", np.array(self._num_frames))
            self._zip.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._open.close()  # puts it in its place

    def discard(self) -> None:
        """Leave nothing, unless the video is finished."""
        with suppress(OSError, ValueError):  # of a full disk; what is written goes away anyway
            self._open.pop_all().__exit__(_Discarded, _Discarded(), None)

    def _check_shapes(self, result: FrameResult, frame_index: int) -> None:
        if self._num_classes is None:
            self._num_classes = result.scores.shape[-1]
        count = len(result.boxes)
        expected = {
            "boxes": (count, 4),
            "scores": (count, self._num_classes),
            "track_scores": (count,),
            "source": (count,),
            "mapped_boxes": (len(result.mapped_boxes), 4),
        }
        for name, shape in expected.items():
            found = tuple(getattr(result, name).shape)
            if found != shape:
                raise ValueError(
                    f"frame {frame_index}: expected {name} of shape {shape}, got {found}"
                )

    def _write_block(self) -> None:
        waiting, self._waiting = self._waiting, []
        indices, self._indices = self._indices, []
        arrays = {
            "frame_index": np.array(indices, np.int64),
            "image_size": np.array([r.image_size for r in waiting], np.int64),
            "num_boxes": np.array([len(r.boxes) for r in waiting], np.int64),
            "num_mapped": np.array([len(r.mapped_boxes) for r in waiting], np.int64),
        }
        for name in _FIELDS:
            arrays[name] = np.concatenate(split_on_host([getattr(r, name) for r in waiting]))
        with os_errors_name(self.path):
            for name, array in arrays.items():
                self._write(f"{self._num_blocks:06d}/{name}", array)
        self._num_blocks += 1

    def _write(self, name: str, array: np.ndarray) -> None:
        data = io.BytesIO()
        np.lib.format.write_array(data, array, allow_pickle=False)
        entry = zipfile.ZipInfo(f"{name}.npy")  # of 1980: the time is no result
        self._zip.writestr(entry, data.getbuffer(), zipfile.ZIP_DEFLATED, _COMPRESSION)


class _Discarded(Exception):
    """What makes ``atomic_output`` leave nothing."""


def read_video(path: str | Path) -> Iterator[tuple[int, FrameResult]]:
    """Every frame's number and result, in order, on the CPU and without masks.

    Raises:
        UserError: the file is not there, cannot be read, is damaged, or has a frame twice; it is
            named. Damage shows when the iteration gets to it.
    """
    with _opened(Path(path)) as archive:
        yield from _read_frames(Path(path), archive)


def read_run(path: str | Path) -> str:
    """Of which run the results of a file are; raises as :func:`read_video` does."""
    with _opened(Path(path)) as archive:
        return str(_read(archive, "run"))


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A file's archive; what is wrong with it is the user's to mend, and names it."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except UserError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path}: results of a video cannot be read: {reason}") from error
    except _DAMAGE as error:
        raise UserError(f"{path}: expected results of a video, found damage: {error}") from error


def _read_frames(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[int, FrameResult]]:
    names = set(archive.namelist())
    count, block, last_index = 0, 0, -1
    while f"{block:06d}/frame_index.npy" in names:
        for frame_index, result in _read_block(archive, f"{block:06d}"):
            if frame_index <= last_index:
                raise UserError(
                    f"{path}: frame {frame_index} comes twice, or after frame {last_index}"
                )
            yield frame_index, result
            last_index = frame_index
            count += 1
        block += 1
    expected = int(_read(archive, "num_frames"))
    if count != expected:
        raise ValueError(f"{count} of {expected} frames")


def _read_block(archive: zipfile.ZipFile, block: str) -> list[tuple[int, FrameResult]]:
    read = {name: _read(archive, f"{block}/{name}") for name in ("frame_index", "image_size")}
    boxes, mapped = (_read(archive, f"{block}/{name}") for name in ("num_boxes", "num_mapped"))
    parts = {
        name: _split(_read(archive, f"{block}/{name}"), mapped if name == "mapped_boxes" else boxes)
        for name in _FIELDS
    }
    sizes = [(int(height), int(width)) for height, width in read["image_size"]]
    rows = (dict(zip(parts, fields, strict=True)) for fields in zip(*parts.values(), strict=True))
    return [
        (index, FrameResult(**row, image_size=size))
        for index, row, size in zip(read["frame_index"].tolist(), rows, sizes, strict=True)
    ]


def _split(array: np.ndarray, counts: np.ndarray) -> list[torch.Tensor]:
    if counts.sum() != len(array):
        raise ValueError(f"{len(array)} rows of {counts.sum()}")
    return [torch.from_numpy(part) for part in np.split(array, np.cumsum(counts)[:-1])]


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # all of the entry at once: its checksum is looked at where it ends
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
