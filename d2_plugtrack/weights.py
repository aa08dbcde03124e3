"""Weights files: ``{"model": state}`` with the detector's own names and ``tracker.*``.

Written whole or not at all, with a checksum, and read without executing anything
(``checkpoint_file.py``). detectron2's own checkpoints and its zoo are read by
``modeling/checkpoint.py``.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from .checkpoint_file import read_checkpoint, write_checkpoint
from .errors import UserError

PREFIX = "tracker."


def ensure_weights(path: str) -> None:
    """Refuse, before anything is built, a ``MODEL.WEIGHTS`` that is neither a file nor an address.

    Raises:
        UserError: as said, or an empty one.
    """
    if not path:
        raise UserError("MODEL.WEIGHTS is empty: expected the path of a weights file")
    if "://" not in path and not os.path.isfile(path.split("?")[0]):
        but = ", but a folder" if os.path.isdir(path) else ""
        raise UserError(f"MODEL.WEIGHTS {path}: no such file{but}")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    Raises:
        UserError: no such file, a damaged one, or one without ``{"model": {name: tensor}}`` that
            loads safely.
    """
    if not str(path):
        raise UserError("MODEL.WEIGHTS is empty: expected the path of a weights file")
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file")
    try:
        state = read_checkpoint(path)["model"]
        if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
            raise TypeError("something in it is not a tensor with a name")
    except Exception as error:  # unpickling a stranger's bytes can raise anything
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a checkpoint that can be loaded: {reason}") from error
    return dict(state)


def write_weights(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write ``{"model": state}``.

    Raises:
        UserError: a place that cannot be written.
    """
    write_checkpoint(path, {"model": dict(state)})


def joined_state(detector: nn.Module, tracker: nn.Module | None) -> dict[str, Tensor]:
    """A detector's and a tracker's tensors under the names of a weights file."""
    tracked = {} if tracker is None else tracker.state_dict()
    return {**detector.state_dict(), **{PREFIX + key: value for key, value in tracked.items()}}


def without_tracker(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The detector's tensors of a weights file."""
    return {key: value for key, value in state.items() if not key.startswith(PREFIX)}


def load_joined(
    path: str | Path, detector: nn.Module, tracker: nn.Module, *, tracker_required: bool
) -> None:
    """Load a weights file into a detector and a tracker; a refused one leaves both as they were.

    Args:
        tracker_required: its keys must be in the file, or may all be missing.

    Raises:
        UserError: what :func:`read_weights` refuses, and keys missing, misshapen or unknown; the
            first of them is named.
    """
    found = read_weights(path)
    if not tracker_required and not any(key.startswith(PREFIX) for key in found):
        found = {**found, **joined_state(nn.Module(), tracker)}
    expected = joined_state(detector, tracker)
    problems = [
        f"{len(keys)} keys {what}, the first is {keys[0]}"
        for what, keys in (
            ("missing", [k for k in expected if k not in found]),
            ("too many", [k for k in found if k not in expected]),
            (
                "of another shape",
                [k for k in expected if k in found and found[k].shape != expected[k].shape],
            ),
        )
        if keys
    ]
    if problems:
        raise UserError(f"{path}: not weights of this architecture: {'; '.join(problems)}")
    detector.load_state_dict(without_tracker(found))
    own = {k.removeprefix(PREFIX): v for k, v in found.items() if k.startswith(PREFIX)}
    tracker.load_state_dict(own)
