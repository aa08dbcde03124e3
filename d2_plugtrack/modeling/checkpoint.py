"""Loading a checkpoint of a detector: what must be in it and is missing or misshapen is refused.

For a PlugTrackRCNN that is the whole detector, for the start of stage one the backbone's body. A
refused file leaves the model as it was, and nothing in a file is executed. Files are written whole,
with a checksum (``checkpoint_file.py``). Weights of a classifier: ``imagenet_weights.py``.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

from ..checkpoint_file import DamagedFile, read_checkpoint, write_checkpoint
from ..checkpoint_folder import name_last
from ..errors import UserError
from ..safe_pickle import load_arrays
from ..weights import ensure_weights
from .imagenet_weights import TIMM, body_keys


def load_weights(model: nn.Module, path: str, *, tracker_required: bool) -> None:
    """Load a checkpoint of a stock detector, or of one with a tracker, into ``model``.

    Args:
        path: what ``MODEL.WEIGHTS`` says: .pth, a zoo .pkl, or an address detectron2 knows.
        tracker_required: the tracker's weights must be in it (video inference), or may be
            missing (the start of stage two).

    Raises:
        UserError: no path, no such file, a file that is no checkpoint, or one of another
            architecture; the first of the keys is named.
    """

    if path.startswith(TIMM):
        raise UserError(f"MODEL.WEIGHTS {path}: expected a detector's checkpoint, as of stage one")

    def is_required(key: str) -> bool:
        return tracker_required or not key.startswith("tracker.")

    _load(model, path, is_required, may_differ=lambda key: False)


def load_starting_weights(model: nn.Module, path: str) -> None:
    """Load a checkpoint that a stock detector's training (stage one) starts from into ``model``.

    The body of the backbone (``imagenet_weights.body_keys``) must be in it. An FPN, an RPN and
    heads that are missing or of another shape, as with other classes, start as built.

    Args:
        path: as in :func:`load_weights`.

    Raises:
        UserError: no path, no such file, a file that is no checkpoint, or one without the body, or
            of another one; the first of the keys is named.
    """
    body = frozenset(body_keys(getattr(model, "module", model)))
    _load(model, path, body.__contains__, may_differ=lambda key: key not in body)


def _load(
    model: nn.Module,
    path: str,
    is_required: Callable[[str], bool],
    may_differ: Callable[[str], bool],
) -> None:
    ensure_weights(path)
    with unreadable_weights(f"MODEL.WEIGHTS {path}"):
        StrictCheckpointer(model, is_required=is_required, may_differ=may_differ).load(path)


@contextmanager
def unreadable_weights(source: str) -> Iterator[None]:
    """Whatever loading a file that is no checkpoint raises, as a UserError about ``source``."""
    try:
        yield
    except DamagedFile as error:
        raise UserError(f"{source}: not a checkpoint that can be loaded: {error}") from error
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    except Exception as error:  # unpickling a stranger's bytes can raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{source}: not a checkpoint that can be loaded: {reason}") from error


class StrictCheckpointer(DetectionCheckpointer):
    """Refuses a file without a required key, or with another shape where that may not differ.

    Reads what detectron2's reads (.pth, .pkl of its zoo and of Caffe2, .pyth of pycls), as data.

    Args:
        model, save_dir, checkpointables: as detectron2's.
        is_required: whether a key must be in a file; every one where not given.
        may_differ: whether it may have another shape, and is then left as built; none likewise.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        is_required: Callable[[str], bool] = lambda key: True,
        may_differ: Callable[[str], bool] = lambda key: False,
        **checkpointables: Any,
    ):
        super().__init__(model, save_dir, **checkpointables)
        self.is_required, self.may_differ = is_required, may_differ

    def save(self, name: str, **extra: Any) -> None:
        """Write ``name``.pth: the model, the checkpointables and ``extra``; then name it the last.

        Raises:
            UserError: a place that cannot be written.
        """
        if not (self.save_dir and self.save_to_disk):
            return
        parts = {key: part.state_dict() for key, part in self.checkpointables.items()}
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", path)
        write_checkpoint(path, {"model": self.model.state_dict(), **parts, **extra})
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        name_last(self.save_dir, last_filename_basename)

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".pkl"):
            content = load_arrays(filename)
            if "model" in content and "__author__" in content:
                return content
            arrays = content.get("blobs", content)
            arrays = {k: v for k, v in arrays.items() if not k.endswith("_momentum")}
            return {"model": arrays, "__author__": "Caffe2", "matching_heuristics": True}
        if filename.endswith(".pyth"):
            state = read_checkpoint(filename)["model_state"]
            state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
            return {"model": state, "__author__": "pycls", "matching_heuristics": True}
        return super()._load_file(filename)

    def _torch_load(self, f: str) -> Any:
        return read_checkpoint(f)

    def _load_model(self, checkpoint):
        before = {key: value.clone() for key, value in self.model.state_dict().items()}
        try:
            incompatible = super()._load_model(checkpoint)
            self._refuse(incompatible)
        except Exception:
            self.model.load_state_dict(before)
            raise
        return incompatible

    def _refuse(self, incompatible) -> None:
        found = [key for key, *_ in incompatible.incorrect_shapes]
        shapes = [key for key in found if not self.may_differ(key)]
        missing = [
            key for key in incompatible.missing_keys if key not in found and self.is_required(key)
        ]
        problems = [
            f"{len(keys)} keys {what}, the first is {keys[0]}"
            for keys, what in ((missing, "missing"), (shapes, "of another shape"))
            if keys
        ]
        if problems:
            raise UserError(f"not weights of this architecture: {'; '.join(problems)}")
