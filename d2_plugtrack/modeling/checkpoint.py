"""Loading weights into a PlugTrackRCNN: a detector key missing or misshapen is refused.

A refused file leaves the model as it was.
"""

from ..prerequisites import require_detectron2

require_detectron2()

import os
from collections.abc import Iterator
from contextlib import contextmanager

from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

from ..errors import UserError


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
    if not path:
        raise UserError("MODEL.WEIGHTS is empty: expected the path of a checkpoint")
    if "://" not in path and not os.path.isfile(path.split("?")[0]):
        raise UserError(f"MODEL.WEIGHTS {path}: no such file")
    with unreadable_weights(f"MODEL.WEIGHTS {path}"):
        _StrictCheckpointer(model, tracker_required).load(path)


@contextmanager
def unreadable_weights(source: str) -> Iterator[None]:
    """Whatever loading a file that is no checkpoint raises, as a UserError about ``source``."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    except Exception as error:  # unpickling a stranger's bytes can raise anything
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{source}: not a checkpoint that can be loaded: {reason}") from error


class _StrictCheckpointer(DetectionCheckpointer):
    def __init__(self, model: nn.Module, tracker_required: bool):
        super().__init__(model)
        self.tracker_required = tracker_required

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
        shapes = [key for key, *_ in incompatible.incorrect_shapes]
        missing = [
            key
            for key in incompatible.missing_keys
            if key not in shapes and (self.tracker_required or not key.startswith("tracker."))
        ]
        problems = [
            f"{len(keys)} keys {what}, the first is {keys[0]}"
            for keys, what in ((missing, "missing"), (shapes, "of another shape"))
            if keys
        ]
        if problems:
            raise UserError(f"not weights of this architecture: {'; '.join(problems)}")
