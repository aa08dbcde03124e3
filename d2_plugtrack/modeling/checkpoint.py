"""Loading weights into a PlugTrackRCNN: a detector key missing or misshapen is refused."""

import os

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
            architecture; some of the keys are named.
    """
    if not path:
        raise UserError("MODEL.WEIGHTS is empty: expected the path of a checkpoint")
    if "://" not in path and not os.path.isfile(path):
        raise UserError(f"MODEL.WEIGHTS {path}: no such file")
    try:
        _StrictCheckpointer(model, tracker_required).load(path)
    except UserError as error:
        raise UserError(f"MODEL.WEIGHTS {path}: {error}") from None
    except Exception as error:  # whatever unpickling a file that is no checkpoint raises
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"MODEL.WEIGHTS {path}: not a checkpoint: {reason}") from error


class _StrictCheckpointer(DetectionCheckpointer):
    def __init__(self, model: nn.Module, tracker_required: bool):
        super().__init__(model)
        self.tracker_required = tracker_required

    def _load_model(self, checkpoint):
        incompatible = super()._load_model(checkpoint)
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
        return incompatible
