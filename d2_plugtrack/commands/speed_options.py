"""Command-line options of ``TEST.SPEED``: the same three for every script, as ``KEY VALUE`` pairs.

What they do is in ``config.py`` and ``core/precision.py``.
"""

import argparse
from typing import get_args

from ..core.precision import Precision


def add_speed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--amp``, ``--channels-last`` and ``--compile``, the keys of ``TEST.SPEED``."""
    reduced = [name for name in get_args(Precision) if name != "float32"]
    parser.add_argument("--amp", choices=reduced, help="the detector in mixed precision")
    parser.add_argument("--channels-last", action="store_true", help="its weights channels last")
    parser.add_argument("--compile", action="store_true", help="its backbone by torch.compile")


def speed_opts(args: argparse.Namespace) -> list[str]:
    """``KEY VALUE`` pairs of the options given, to stand before those of the command line."""
    given = {
        "TEST.SPEED.PRECISION": args.amp,
        "TEST.SPEED.CHANNELS_LAST": args.channels_last,
        "TEST.SPEED.COMPILE": args.compile,
    }
    return [word for key, value in given.items() if value for word in (key, str(value))]
