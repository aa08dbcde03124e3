"""Many file names or ids in a few arrays: a table of folders, and the rest as one run of bytes.

N names. A name is cut behind its last ``/``; folders, of which there are few, are kept once each.
Names may be ``int`` (ids of JSON files): they come back as such. No names, empty arrays.
"""

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np

# A name with lone surrogates (a file name that is not UTF-8, odd JSON) comes back as it was.
_ERRORS = "surrogatepass"

Arrays = dict[str, np.ndarray]


class PackedNames:
    """N names, looked up by row.

    Args:
        folders: each ends in ``/``, or is empty.
        arrays: ``folder (N,)`` number of the folder, ``ends (N + 1,)`` where names end in
            ``text``, from 0, ``text`` UTF-8 bytes, ``is_int (N,)``.
    """

    def __init__(self, folders: list[str], arrays: Mapping[str, np.ndarray]):
        self.folders = folders
        self.arrays: Arrays = dict(arrays)

    def __len__(self) -> int:
        return len(self.arrays["folder"])

    def __getitem__(self, row: int) -> str | int:
        ends = self.arrays["ends"]
        text = self.arrays["text"][ends[row] : ends[row + 1]].tobytes().decode("utf-8", _ERRORS)
        name = self.folders[self.arrays["folder"][row]] + text
        return int(name) if self.arrays["is_int"][row] else name


class NamePacker:
    """Takes names one after another; ``pack`` ends it."""

    def __init__(self):
        self._folders: dict[str, int] = {}
        self._folder, self._ends = array("i"), array("q", [0])
        self._text, self._is_int = array("B"), array("b")

    def append(self, name: Any) -> None:
        """Add a ``str`` or ``int``; anything else is a TypeError."""
        if type(name) not in (str, int):
            raise TypeError(f"expected a str or int, found {name!r}")
        folder, slash, rest = str(name).rpartition("/")
        self._folder.append(self._folders.setdefault(folder + slash, len(self._folders)))
        self._text.frombytes(rest.encode("utf-8", _ERRORS))
        self._ends.append(len(self._text))
        self._is_int.append(type(name) is int)

    def pack(self) -> PackedNames:
        """The names so far; this packer is done with."""
        ends = packed_array(self._ends)
        arrays = {
            "folder": packed_array(self._folder),
            "ends": ends.astype(np.uint32) if len(self._text) < 2**32 else ends,
            "text": packed_array(self._text),
            "is_int": packed_array(self._is_int).astype(bool),
        }
        return PackedNames(list(self._folders), arrays)


def packed_array(values: array) -> np.ndarray:
    """The numbers where they lie: at a million frames a copy is what one would notice."""
    return np.frombuffer(values, dtype=values.typecode) if values else np.zeros(0, values.typecode)
