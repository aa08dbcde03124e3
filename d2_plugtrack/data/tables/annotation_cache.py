"""Parsed annotations kept in a file, and whether what they were parsed from has changed since.

A million XML files take minutes to parse and seconds to look at. The cache is right as long as
the fingerprint of its sources is: the bytes of list files, name, size and modification time of
every annotation file, the names of the images, the classes, and ``READER_VERSION``. Anything else
(another fingerprint, a damaged file, none) means parsing anew. What was left out while parsing is
kept with the records and reported again. How a cache file is laid out is in ``table_file.py``.
"""

import hashlib
import io
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...outputs import atomic_output
from ..problems import Problems
from .frame_store import Record
from .frame_table import FrameTable
from .table_file import DamagedFile, read_table_file, write_table_file

logger = logging.getLogger(__name__)

#: To be raised when readers make other records, or report other problems, of the same files.
READER_VERSION = 2
_ABANDONED = 3600.0  # seconds after which an unfinished cache file is nobody's
_NOT_THERE = OSError, ValueError  # the second of a name that no file can have

Parse = Callable[[Problems], Iterable[Record]]


@dataclass(frozen=True)
class Sources:
    """What records are parsed from.

    Args:
        reader: who parses, and with which classes: any text that says it.
        lists: files of which every byte counts.
        files: files of which size and modification time count.
        annotation_folders: whose files count by name, size and modification time.
        image_folders: whose files count by name.
    """

    reader: str
    lists: Sequence[str | Path] = ()
    files: Sequence[str | Path] = ()
    annotation_folders: Sequence[str | Path] = ()
    image_folders: Sequence[str | Path] = ()

    def fingerprint(self) -> str:
        """Equal as long as nothing has changed; what is absent counts as absent."""
        digest = hashlib.sha256(f"{READER_VERSION} {self.reader}".encode())
        # Two: one works while the other waits for a network disk. With more they fight over the
        # interpreter: 0.6 s for 130,000 files with one or two, 1.1 s with eight.
        with ThreadPoolExecutor(2) as pool:
            for work, paths in (
                (_content, self.lists),
                (_file_state, self.files),
                (_folder_state, self.annotation_folders),
                (_folder_names, self.image_folders),
            ):
                digest.update(work.__name__.encode())
                for path, state in zip(paths, pool.map(work, paths, chunksize=16), strict=True):
                    digest.update(os.fsencode(path) + b"\0" + state)
        return digest.hexdigest()


def imagenet_sources(
    reader: str,
    root: str | Path,
    list_file: str | Path,
    classes: Mapping[str, str],
    *,
    has_videos: bool,
) -> Sources:
    """Of a dataset in ImageNet's layout: what a list file names below ``root``.

    Args:
        reader: which of the ways to read that list, and anything else that changes its outcome.
        has_videos: the list names folders below VID, otherwise images below DET.
    """
    kind = "VID" if has_videos else "DET"
    text = _content(list_file).decode("utf-8-sig", errors="replace")
    # lines end as they do for who reads the list, and not at the other characters of splitlines
    lines = io.StringIO(text, newline=None)
    rows = filter(None, (line.split() for line in lines))
    # two fields are the path of a frame or an image and a number, four begin with a video's path
    folders = dict.fromkeys(r[0].rpartition("/")[0] if len(r) == 2 else r[0] for r in rows)
    return Sources(
        f"{reader} {root} {kind} {json.dumps(list(classes.items()))}",
        lists=[list_file],
        annotation_folders=[f"{root}/Annotations/{kind}/{folder}" for folder in folders],
        image_folders=[f"{root}/Data/{kind}/{folder}" for folder in folders],
    )


def cache_folder(data_root: Path) -> Path | None:
    """Where cache files are: ``PLUGTRACK_CACHE``, or below the data root where that is not set.

    None where the variable is set to nothing: no cache.
    """
    folder = os.environ.get("PLUGTRACK_CACHE")
    if folder is None:
        return data_root / ".annotation_cache"
    return Path(folder).expanduser() if folder else None


def load_cached(
    name: str, sources: Sources, parse: Parse, problems: Problems, folder: Path | None
) -> FrameTable:
    """The records of a dataset: those of its cache file, or parsed and written there.

    Args:
        name: of the dataset; it has one cache file.
        sources: what ``parse`` reads.
        parse: gives records one after another and reports problems to its argument.
        problems: is told what was left out, now or when the cache was written.
        folder: as of :func:`cache_folder`; made where its parent is. None: parse.

    Raises:
        UserError: what ``parse`` raises; ``problems`` is strict and something was left out.
    """
    if folder is None:
        return FrameTable.from_records(parse(problems))
    path = folder / _file_name(name)
    fingerprint = sources.fingerprint()
    cached = _read(path, fingerprint)
    if cached is None:
        met = Problems(strict=problems.strict)
        table = FrameTable.from_records(parse(met))
        _write(path, fingerprint, table, met)
    else:
        table, met = cached
    for kind, count in met.counts.items():
        problems.report(kind, met.first[kind], count)
    return table


def _read(path: Path, fingerprint: str) -> tuple[FrameTable, Problems] | None:
    try:
        found = read_table_file(path, fingerprint)
    except FileNotFoundError:
        return None
    except (OSError, DamagedFile) as error:
        logger.warning("%s: cannot be used, reading the annotations anew: %s", path, error)
        return None
    if found is None:
        return None
    table, extra = found
    logger.info("%s: %d records from the cache", path, len(table))
    return table, Problems(strict=False, counts=extra["counts"], first=extra["first"])


def _write(path: Path, fingerprint: str, table: FrameTable, met: Problems) -> None:
    """Failing is no more than slow the next time; other processes see the old file or the new."""
    try:
        path.parent.mkdir(exist_ok=True)  # not its parents: no data root is made here
        _remove_abandoned(path)
        with atomic_output(path) as temporary:
            extra = {"counts": met.counts, "first": met.first}
            write_table_file(temporary, fingerprint, table, extra)
    except OSError as error:
        logger.warning("%s: annotations are not cached: %s", path, error)


def _remove_abandoned(path: Path) -> None:
    """Unfinished files of processes that were killed."""
    for unfinished in path.parent.glob(".*.part"):
        try:
            if time.time() - unfinished.stat().st_mtime > _ABANDONED:
                unfinished.unlink()
        except FileNotFoundError:  # another process was first
            continue


def _file_name(name: str) -> str:
    """A name that is one already, or what is left of it with a few digits of all of it."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[-80:]
    if safe != name:
        safe += "-" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return f"{safe}.cache"


def _content(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except _NOT_THERE:
        return b""  # the reader says what is wrong with it


def _file_state(path: str | Path) -> bytes:
    try:
        found = os.stat(path)
    except _NOT_THERE:
        return b"absent"
    return f"{found.st_size} {found.st_mtime_ns}".encode()


def _folder_state(folder: str | Path) -> bytes:
    """Name, size and modification time of what is in it."""
    lines = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    found = entry.stat()
                    state = f" {found.st_size} {found.st_mtime_ns}\n"
                except OSError:  # a link to nothing
                    state = " absent\n"
                lines.append(os.fsencode(entry.name) + state.encode())
    except _NOT_THERE:
        return b"absent"
    return hashlib.sha256(b"".join(sorted(lines))).digest()


def _folder_names(folder: str | Path) -> bytes:
    """Names of the files in it; links to nothing are none."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(os.fsencode(entry.name) for entry in entries if entry.is_file())
    except _NOT_THERE:
        return b"absent"
    return hashlib.sha256(b"\0".join(names)).digest()
