"""Pickles of a stranger: numpy arrays in plain containers come out, and nothing is executed.

What detectron2's model zoo and Caffe2 keep weights in (.pkl). A pickle may name any function of any
module to be called; here it may name those that put arrays and containers together, and everything
else is refused. The names are looked up in a table: no module is imported because a file says so.
numpy itself believes what a pickle says of an array, up to pointers in its bytes; here arrays and
scalars are put together from checked parts, and are of numbers and text only.
"""

import math
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError

_PLAIN_TYPE = re.compile(r"[biufcSU]\d{1,9}")


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the protocols of Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes written in {encoding!r}, not in latin1")
    return text.encode("latin1")


class _Type:
    """What stands for a dtype: of its state only the byte order is believed."""

    def __new__(cls, name: str, *_: Any):  # a pickle can go round __init__
        if not isinstance(name, str) or not _PLAIN_TYPE.fullmatch(name):
            raise UserError(f"has values of type {str(name):.40}: expected numbers or text")
        made = super().__new__(cls)
        made.plain = np.dtype(name)
        return made

    def __setstate__(self, state: tuple) -> None:
        _, order, base, names, fields, *_ = state
        if not (base is names is fields is None and order in ("<", ">", "=", "|")):
            raise UserError("has values of several parts: expected numbers or text")
        self.plain = self.plain.newbyteorder(order)


def _values(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """An array from bytes that are as many as its shape and type say."""
    if not isinstance(dtype, _Type) or not isinstance(data, (bytes, bytearray, str)):
        raise UserError("has an array that is not of bytes: expected numbers or text")
    data = data.encode("latin1") if isinstance(data, str) else bytes(data)
    shape = tuple(map(int, shape))
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.plain.itemsize != len(data):
        raise UserError(f"has an array of {len(data)} bytes: expected as many as its shape says")
    if dtype.plain.itemsize == 0:
        return np.zeros(shape, dtype.plain)
    return np.frombuffer(bytearray(data), dtype.plain).reshape(shape, order=order)


class _Array(np.ndarray):
    """An array that is still to get its state."""

    def __setstate__(self, state: tuple) -> None:
        *_, shape, dtype, in_columns, data = state
        values = _values(data, dtype, shape, "F" if in_columns else "C")
        order = "F" if in_columns else "C"
        super().__setstate__((1, values.shape, values.dtype, order == "F", values.tobytes(order)))


def _reconstruct(*_: Any) -> np.ndarray:
    return np.zeros(0).view(_Array)


def _scalar(dtype: Any, data: Any) -> np.generic:
    return _values(data, dtype, (), "C")[()]


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """How numpy writes arrays in protocol 5."""
    if order not in ("C", "F"):
        raise UserError(f"has an array in the order {order!r:.40}: expected C or F")
    return _values(buffer, dtype, shape, order)


# Names of a function or class differ between numpy 1 and 2, and between Python 2 and 3.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): "numpy.ndarray",  # an argument of _reconstruct's, not to be called
    ("numpy", "dtype"): _Type,
    **{
        (f"numpy.{core}.{module}", name): value
        for core in ("core", "_core")
        for module, name, value in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
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
        return _finished(_ArrayUnpickler(file, encoding="latin1").load())


def _finished(value: Any) -> Any:
    """What stood for arrays and dtypes while they were put together becomes these."""
    if isinstance(value, dict):
        return type(value)((key, _finished(inner)) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(map(_finished, value))
    if isinstance(value, _Array):
        return value.view(np.ndarray)
    return value.plain if isinstance(value, _Type) else value
