"""Pickles of a stranger: numpy arrays in plain containers come out, and nothing is executed.

What detectron2's model zoo and Caffe2 keep weights in (.pkl). A pickle may name any function of any
module to be called; here it may name those that put arrays and containers together, and everything
else is refused. The names are looked up in a table: no module is imported because a file says so.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import NumpyVersion

from .errors import UserError

if NumpyVersion(np.__version__) >= "2.0.0b1":
    from numpy._core import multiarray
else:
    from numpy.core import multiarray


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the protocols of Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes written in {encoding!r}, not in latin1")
    return text.encode("latin1")


def _frombuffer(buffer: Any, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """How numpy writes arrays in protocol 5; one of objects is refused by numpy itself."""
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


# Names of a function or class differ between numpy 1 and 2, and between Python 2 and 3.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.{module}", name): value
        for core in ("core", "_core")
        for module, name, value in (
            ("multiarray", "_reconstruct", multiarray._reconstruct),
            ("multiarray", "scalar", multiarray.scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (dict, list, tuple, set, frozenset, bytes, bytearray, complex)
    },
}


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the names of ``_ADMITTED`` alone."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise UserError(
                f"asks for {module}.{name}, which weights have no need of: not executed"
            ) from None


def load_arrays(path: str | Path) -> Any:
    """What a pickle holds; text of Python 2 is read as latin1.

    Raises:
        UserError: it asks for anything but arrays, dtypes, scalars and plain containers; the first
            such name is in the message, which does not name the file.
        Exception: whatever unpickling a file that is no pickle raises.
    """
    with open(path, "rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()
