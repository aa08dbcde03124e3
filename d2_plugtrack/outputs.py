"""Output files, whole or not at all: checked before the work, renamed into place after it.

A file is written under a temporary name beside its final one, and is on the disk before it gets
that one. A place that cannot be written is a :class:`UserError` naming the file.
"""

import errno
import json
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError


def write_json(path: str | Path, data: object) -> None:
    """Write strict JSON (numpy values become lists and numbers; NaN and infinity: ValueError)."""
    write_text(path, as_json(data) + "\n")


def write_json_list(
    path: str | Path, about: Mapping[str, object], name: str, items: Iterable[object]
) -> None:
    """Write what :func:`write_json` would of ``{**about, name: [*items]}``, one item at a time."""
    ensure_writable(path)
    start = as_json({**about, name: []}).removesuffix("]}")
    with (
        os_errors_name(path),
        atomic_output(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        file.write(start)
        for index, item in enumerate(items):
            file.write((", " if index else "") + as_json(item))
        file.write("]}\n")


def as_json(data: object) -> str:
    """Strict JSON in one line, as of :func:`write_json`."""
    return json.dumps(data, allow_nan=False, default=_numpy_to_python)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8."""
    ensure_writable(path)
    with os_errors_name(path), atomic_output(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _numpy_to_python(value: object) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"expected JSON values or numpy, found {type(value).__name__}")


def ensure_writable(path: str | Path, suffix: str | None = None) -> Path:
    """Refuse, before any work, a path that cannot become a file ending in ``suffix``."""
    path = Path(path)
    if suffix and path.suffix.lower() != suffix:
        raise UserError(f"{path}: expected a name ending in {suffix}, found {path.suffix!r}")
    folder = Path(os.path.realpath(path)).parent
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path}: expected a file to write, found a folder or a device")
    except FileNotFoundError:
        if not folder.is_dir():
            raise UserError(f"{path}: expected an existing folder {folder}, found none") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    with os_errors_name(path), tempfile.TemporaryFile(dir=folder):
        return path


def ensure_writable_folder(path: str | Path) -> Path:
    """Refuse, before any work, a path that cannot become a folder."""
    path = Path(path)
    target = Path(os.path.realpath(path))
    with os_errors_name(path):
        if target.exists() and not target.is_dir():
            raise UserError(f"{path}: expected a folder to write, found a file or a device")
        if not target.parent.is_dir():
            raise UserError(f"{path}: expected an existing folder {target.parent}, found none")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".", suffix=".part"):
            return path


_TEMPORARY = re.compile(r"\.(.*)\.[0-9a-f]{8}\.part")


@contextmanager
def atomic_output(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``, renamed to it at the end, removed on an exception.

    The content is on the disk before it has its final name, and the name before this returns: a
    crash of the machine leaves the older file or the new one too.
    """
    target = Path(os.path.realpath(path))  # what a link points at, not the link
    temporary = target.with_name(f".{target.stem[:40]}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        _synchronize(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _synchronize(target.parent)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a folder under a temporary name beside ``path``, as :func:`atomic_output` gives a file.

    A folder that is at ``path`` already is replaced as a whole.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _synchronize(file)
        _synchronize(temporary)
        _replace_folder(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _synchronize(target.parent)


def _replace_folder(temporary: Path, target: Path) -> None:
    older = temporary.with_name(f"{temporary.name}.old")
    try:
        if target.exists():
            target.rename(older)
        temporary.rename(target)
    finally:
        if older.exists() and not target.exists():
            older.rename(target)
        shutil.rmtree(older, ignore_errors=True)


def clear_leftovers(folder: str | Path, stems: str) -> list[Path]:
    """Remove what :func:`atomic_output` left of writers that were killed; what was removed.

    For the one program that writes such files into the folder, before it begins.

    Args:
        folder: need not be there.
        stems: pattern of the files' names without their endings.
    """
    removed = []
    for path in sorted(Path(folder).glob(".*.part")):
        name = _TEMPORARY.fullmatch(path.name)
        if name and re.fullmatch(stems, name[1]):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _synchronize(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does not do this for folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def os_errors_name(path: str | Path | None) -> Iterator[None]:
    """A full disk or a forbidden folder is the user's to mend: name the file they asked for.

    None: nothing is written, and errors stay what they are.
    """
    try:
        yield
    except OSError as error:
        if path is None:
            raise
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
