"""Functions over numpy arrays that numba compiles to machine code, on their first call.

What is compiled is kept on disk, in ``__pycache__`` beside the source or in the user's cache
folder, for the next process. numba notices a change of the file that a function stands in, but
not of others: a compiled function therefore only calls compiled functions of its own file, and
fields of a NamedTuple from another file keep their order.
"""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: compile ``function``, keeping the result on disk where that is possible.

    Arithmetic is IEEE's in the order as written (no ``fastmath``), division by zero included, and
    other Python threads go on meanwhile.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written: compiled anew in every process
        return njit(**options)(function)
