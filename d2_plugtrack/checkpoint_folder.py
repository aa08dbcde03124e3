"""The checkpoints of a training, in its output folder, and which of them to go on from.

They are ``model_0000999.pth``, named by the last iteration that is in it, and ``model_final.pth``;
the file ``last_checkpoint`` holds the name of the newest. Each is a dictionary with ``model`` and
``iteration``; what else is in it is the trainer's affair.
"""

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checkpoint_file import DamagedFile, read_checkpoint, write_checkpoint
from .errors import UserError
from .outputs import clear_leftovers, write_text

LAST_CHECKPOINT = "last_checkpoint"
FINAL = "model_final.pth"

_NUMBERED = re.compile(r"model_(\d+)\.pth")

logger = logging.getLogger(__name__)


def find_checkpoint(folder: str | Path) -> Path | None:
    """The newest checkpoint that is whole; None in a folder without any.

    That is the one that ``last_checkpoint`` names. Where it is damaged or not there, the next older
    one is taken, and where ``last_checkpoint`` names none the newest; a warning says so, once.

    Raises:
        UserError: there are checkpoints, or a ``last_checkpoint``, and none of them is whole.
    """
    folder = Path(folder)
    last = folder / LAST_CHECKPOINT
    named, problems = _read_last(last)
    for path in _candidates(folder, named):
        reason = _damage(path)
        if not reason:
            if problems:
                logger.warning("%s; going on from %s", "; ".join(problems), path)
            return path
        problems.append(f"{path}: {reason}")
    if len(problems) > 1 or last.is_file():
        raise UserError(f"{'; '.join(problems)}: no checkpoint is left to go on from")
    return None


def save_checkpoint(folder: str | Path, iteration: int, content: Mapping[str, Any]) -> None:
    """Write the checkpoint after an iteration, and name it the last.

    Args:
        content: with ``model``.

    Raises:
        UserError: a place that cannot be written.
    """
    path = Path(folder) / f"model_{iteration:07d}.pth"
    write_checkpoint(path, {**content, "iteration": iteration})
    name_last(folder, path.name)


def name_last(folder: str | Path, name: str) -> None:
    """Let ``last_checkpoint`` name a file in the folder."""
    write_text(Path(folder) / LAST_CHECKPOINT, name)


def clear_unfinished(folder: str | Path) -> None:
    """Remove what trainings that were killed while they wrote left in their output folder."""
    for path in clear_leftovers(folder, rf"model_\w+|{LAST_CHECKPOINT}"):
        logger.info("%s: removed, a training was stopped while it wrote this", path)


def _read_last(last: Path) -> tuple[Path | None, list[str]]:
    """What ``last_checkpoint`` names, and what is wrong with it if that is nothing."""
    try:
        name = last.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None, [f"{last}: no such file"]
    except (OSError, UnicodeDecodeError) as error:
        return None, [f"{last}: cannot be read: {error}"]
    return (last.parent / name, []) if name else (None, [f"{last}: it is empty"])


def _candidates(folder: Path, named: Path | None) -> list[Path]:
    """The checkpoint that is named, and all older ones, newest first; all if none is named."""
    ages = {p: _iteration(p) for p in folder.glob("model_*.pth")}
    ages = {path: iteration for path, iteration in ages.items() if iteration is not None}
    newest_first = sorted(ages, key=ages.__getitem__, reverse=True)
    if named is None:
        return newest_first
    number = _NUMBERED.fullmatch(named.name)
    limit = ages.get(named, int(number[1]) if number else math.inf)
    # those with higher numbers are of an earlier training in the same folder
    return [named, *(p for p in newest_first if p != named and ages[p] <= limit)]


def _iteration(path: Path) -> float | None:
    """The last iteration in a checkpoint, infinity where that cannot be known; None of others."""
    if number := _NUMBERED.fullmatch(path.name):
        return int(number[1])
    if path.name != FINAL:
        return None
    try:
        content = read_checkpoint(path, mmap=True)
    except (DamagedFile, OSError):
        return math.inf
    # without its iteration: weights, to be used and not to be gone on from
    return content.get("iteration") if isinstance(content, dict) else None


def _damage(path: Path) -> str:
    """Why a checkpoint cannot be used; empty if it can."""
    try:
        content: Any = read_checkpoint(path, mmap=True)
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except DamagedFile as error:
        return f"not a checkpoint that can be loaded: {error}"
    is_checkpoint = isinstance(content, dict) and {"model", "iteration"} <= content.keys()
    return "" if is_checkpoint else "it is no checkpoint of a training"
