"""Faster arithmetic for a frozen detector's heavy modules: mixed precision, layout, compilation.

A stub of its names for now: see :class:`Speed`.
"""

from typing import Literal, NamedTuple

Precision = Literal["float32", "bf16", "fp16"]


class Speed(NamedTuple):
    """How the heavy modules compute."""

    precision: Precision
    channels_last: bool
    compile: bool
