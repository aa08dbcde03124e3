"""A FrameTable in one file: a JSON header, then its arrays, which are mapped and not copied.

Processes that load the same file share its memory. Loading executes nothing, and checksums
are looked at first: a file that is damaged or cut short is a :class:`DamagedFile`.
"""

import json
import mmap
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .frame_store import Store
from .frame_table import FrameTable
from .packed_names import Arrays, PackedNames

_MAGIC = b"plugtrack table\n"
_PREFIX = struct.Struct("<16sQII")  # magic, length of the header, checksums of header and body
_ALIGNMENT = 64  # bytes; a divisor of the page size


class DamagedFile(ValueError):
    """Not a table file, or not all of one."""


def write_table_file(path: Path, key: str, table: FrameTable, extra: dict[str, Any]) -> None:
    """Write the table, what it was made from (``key``) and anything that is JSON (``extra``)."""
    store = table.store
    arrays = {
        f"{part}.{name}": np.ascontiguousarray(array)
        for part, group in _groups(store).items()
        for name, array in group.items()
    }
    layout, blocks, offset = [], [], 0
    for name, array in arrays.items():
        padding = -array.nbytes % _ALIGNMENT
        layout.append([name, array.dtype.str, array.shape, offset])
        blocks += [memoryview(array).cast("B") if array.size else b"", bytes(padding)]
        offset += array.nbytes + padding
    header = json.dumps(
        {
            "key": key,
            "extra": extra,
            "arrays": layout,
            "folders": [store.files.folders, store.image_ids.folders],
            "video_ids": store.video_ids,
        }
    ).encode()
    header += b" " * (-(_PREFIX.size + len(header)) % _ALIGNMENT)
    checksum = 0
    for block in blocks:
        checksum = zlib.crc32(block, checksum)
    with open(path, "wb") as file:
        file.write(_PREFIX.pack(_MAGIC, len(header), zlib.crc32(header), checksum))
        file.write(header)
        file.writelines(blocks)


def read_table_file(path: Path, key: str) -> tuple[FrameTable, dict[str, Any]] | None:
    """The table and ``extra``; None where the file was made from something else.

    Raises:
        DamagedFile: as its name says.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        header, checksum = _read_header(file)
        if header.get("key") != key:
            return None
        start = file.tell()
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if zlib.crc32(memoryview(data)[start:]) != checksum:
        raise DamagedFile("its content is incomplete or damaged")
    try:
        return _table(header, data, start), header["extra"]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile("its header is of another layout") from error


def _table(header: dict[str, Any], data: mmap.mmap, start: int) -> FrameTable:
    arrays: dict[str, Arrays] = {"files": {}, "image_ids": {}, "arrays": {}}
    for name, dtype, shape, offset in header["arrays"]:
        part, _, column = name.partition(".")
        count = int(np.prod(shape))
        array = np.frombuffer(data, dtype, count, start + offset) if count else np.zeros(0, dtype)
        arrays[part][column] = array.reshape(shape)
    names = [
        PackedNames(folders, arrays[part])
        for folders, part in zip(header["folders"], ("files", "image_ids"), strict=True)
    ]
    store = Store(*names, header["video_ids"], arrays["arrays"])
    return FrameTable.whole(store)


def _groups(store: Store) -> dict[str, Arrays]:
    return {
        "files": store.files.arrays,
        "image_ids": store.image_ids.arrays,
        "arrays": store.arrays,
    }


def _read_header(file) -> tuple[dict[str, Any], int]:
    """The header and the body's checksum; the file stands at the body."""
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size or not prefix.startswith(_MAGIC):
        raise DamagedFile("not a table file")
    _, length, header_checksum, checksum = _PREFIX.unpack(prefix)
    text = file.read(min(length, 2**31))
    if len(text) != length or zlib.crc32(text) != header_checksum:
        raise DamagedFile("its header is incomplete or damaged")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise DamagedFile("its header is of another layout") from error
    if not isinstance(header, dict):
        raise DamagedFile("its header is of another layout")
    return header, checksum
