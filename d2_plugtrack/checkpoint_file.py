"""Files of torch.save that are whole or not there, and that say so: a checksum travels inside.

The checksum is the SHA-256 of the file as ``torch.save`` writes it, a ZIP archive. It is then put
where an archive ends, as the archive's comment (``sha256:`` and 64 digits), so that file and
checksum are renamed into place together and any ``torch.load`` still reads the file. A file without
a comment, of another program, is read unchecked. Nothing in a file is executed.
"""

import hashlib
import re
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from .errors import UserError
from .outputs import atomic_output, os_errors_name

_PREFIX = b"sha256:"
_COMMENT_LENGTH = len(_PREFIX) + 64
_RECORD = b"PK\x05\x06"  # what the last record of an archive begins with; 22 bytes and the comment
_TAIL_LENGTH = 22 + _COMMENT_LENGTH
_BLOCK = 1 << 20


class DamagedFile(UserError):
    """A file that cannot be read, or is not what was written; the message does not name it."""


def write_checkpoint(path: str | Path, content: object) -> None:
    """Write tensors and plain values, whole and on the disk, or not at all.

    Raises:
        UserError: a place that cannot be written.
    """
    with (
        os_errors_name(path),
        atomic_output(path) as temporary,
        temporary.open("wb") as file,
    ):
        hashed = _HashedFile(file)
        try:
            torch.save(content, hashed)
        except RuntimeError:  # torch's own about a full disk does not say so
            if hashed.error is not None:
                raise hashed.error from None
            raise
        comment = _PREFIX + hashed.hash.hexdigest().encode()
        file.seek(-2, 2)  # over the length of no comment
        file.write(struct.pack("<H", len(comment)) + comment)


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> Any:
    """The content of a file, its tensors on the CPU.

    Args:
        mmap: leave tensors in the file until they are used, if it is an archive.

    Raises:
        DamagedFile: a checksum that is not that of the content, content that does not load, or
            that asks for something to be executed.
        OSError: no such file, or one that cannot be opened.
    """
    check_checksum(path)
    try:
        mmap = mmap and zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # unpickling a stranger's bytes can raise anything
        raise DamagedFile(_reason(error)) from error


def check_checksum(path: str | Path) -> bool:
    """Compare the checksum in a file with the file; False if there is none.

    Raises:
        DamagedFile: they differ.
        OSError: no such file, or one that cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL_LENGTH, 0))
        _, record, rest = file.read().rpartition(_RECORD)
        if not record or rest[16:] == b"\0\0":
            return False
        if rest[16:] != struct.pack("<H", _COMMENT_LENGTH) + _comment_of(file, size):
            raise DamagedFile("its checksum is not that of its content")
    return True


def _comment_of(file: IO[bytes], size: int) -> bytes:
    """The comment that belongs to a file of so many bytes, its comment included."""
    digest, left = hashlib.sha256(), size - _COMMENT_LENGTH - 2
    file.seek(0)
    while left > 0:
        block = file.read(min(_BLOCK, left))
        if not block:
            raise DamagedFile("it became shorter while it was read")
        digest.update(block)
        left -= len(block)
    digest.update(b"\0\0")  # the length of no comment, as torch.save wrote it
    return _PREFIX + digest.hexdigest().encode()


class _HashedFile:
    """What ``torch.save`` needs of a file; hashes what passes, and keeps the error of a write."""

    def __init__(self, file: IO[bytes]):
        self.file, self.hash, self.error = file, hashlib.sha256(), None

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if refused := re.search(r"GLOBAL (\S+)", text):
        # torch's own words are mostly about how to execute it all the same
        return f"asks for {refused[1]}, which weights have no need of: not executed"
    return text[:200].rstrip(".") or type(error).__name__
