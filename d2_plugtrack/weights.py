"""Weights files: ``{"model": state}`` with the detector's own names and ``tracker.*``.

A plain ``{name: tensor}``, as ``torch.save(model.state_dict(), ...)`` leaves it, is read too.
Files are written whole or not at all, with a checksum, and read without executing anything
(``checkpoint_file.py``). detectron2's own checkpoints and its zoo are read by
``modeling/checkpoint.py``.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .checkpoint_file import read_checkpoint, write_checkpoint
from .errors import UserError

PREFIX = "tracker."

NO_TRACKER = (
    "A tracker is trained on top of a detector (docs/GETTING_STARTED.md); the detector alone needs "
    "none: TEST.TFD.TRACK False TEST.SEQ_NMS.TRACK_LINKS False"
)


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
        UserError: no such file, a damaged one, or one without ``{"model": {name: tensor}}``, or
            ``{name: tensor}``, that loads safely.
    """
    if not str(path):
        raise UserError("MODEL.WEIGHTS is empty: expected the path of a weights file")
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file")
    try:
        state = _state_of(read_checkpoint(path))
    except Exception as error:  # unpickling a stranger's bytes can raise anything
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a checkpoint that can be loaded: {reason}") from error
    return dict(state)


def _state_of(content: Any) -> Mapping[str, Tensor]:
    """What is under "model", or the whole of a plain state_dict."""
    state = content["model"] if "model" in content or not content else content
    strange = [k for k, v in state.items() if not (isinstance(k, str) and isinstance(v, Tensor))]
    if strange:
        found = ", ".join(map(repr, strange[:3]))
        raise TypeError(f"expected tensors by name, plain or under 'model', found {found}")
    return state


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
    found = {**_batch_counts(detector), **read_weights(path)}
    if not tracker_required and not any(key.startswith(PREFIX) for key in found):
        found = {**found, **joined_state(nn.Module(), tracker)}
    expected = joined_state(detector, tracker)
    misfit = describe_misfit(
        missing=[k for k in expected if k not in found],
        too_many=[k for k in found if k not in expected],
        shapes=[
            (k, found[k].shape, expected[k].shape)
            for k in expected
            if k in found and found[k].shape != expected[k].shape
        ],
    )
    if misfit:
        raise UserError(f"{path}: {misfit}")
    detector.load_state_dict(without_tracker(found))
    own = {k.removeprefix(PREFIX): v for k, v in found.items() if k.startswith(PREFIX)}
    tracker.load_state_dict(own)


def _batch_counts(detector: nn.Module) -> dict[str, Tensor]:
    """How many batches each batch norm has seen, as built: only some ways of training ask for it.

    torchvision's pre-trained detectors have frozen batch norms, which keep no count; its own
    builder makes ordinary ones of the same statistics where it does not load weights itself.
    """
    state = detector.state_dict()
    return {key: value for key, value in state.items() if key.endswith("num_batches_tracked")}


def describe_misfit(
    *,
    missing: Sequence[str],
    shapes: Sequence[tuple[str, Sequence[int], Sequence[int]]],
    too_many: Sequence[str] = (),
) -> str:
    """What is wrong with a file's keys, the first of each kind named; empty if nothing is.

    Args:
        missing, too_many: keys.
        shapes: keys of another shape, with that in the file and that of the model.
    """
    named = [f"{key} {tuple(found)} for {tuple(expected)}" for key, found, expected in shapes]
    kinds = {"missing": missing, "too many": too_many, "of another shape": named}
    problems = [
        f"{len(keys)} keys {what}, the first is {keys[0]}" for what, keys in kinds.items() if keys
    ]
    if not problems:
        return ""
    only_tracker = len(problems) == 1 and all(key.startswith(PREFIX) for key in missing)
    advice = f". {NO_TRACKER}" if missing and only_tracker else ""
    return f"not weights of this architecture: {'; '.join(problems)}{advice}"
