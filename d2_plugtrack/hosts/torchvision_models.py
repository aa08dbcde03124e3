"""torchvision detectors by name: the tiny one, and torchvision's own builders."""

import torchvision
from torchvision.models.detection import FasterRCNN

from ..errors import UserError
from .tiny_fasterrcnn import build_tiny_fasterrcnn

_OWN = {"tiny_fasterrcnn": build_tiny_fasterrcnn}


def model_names() -> list[str]:
    """Every name that :func:`build_torchvision_model` takes."""
    known = torchvision.models.list_models(torchvision.models.detection)
    return [*_OWN, *(name for name in known if "rcnn_" in name and "keypoint" not in name)]


def build_torchvision_model(
    name: str, num_classes: int, min_size: int, max_size: int
) -> FasterRCNN:
    """An untrained detector; nothing is downloaded.

    Args:
        num_classes: foreground classes.
        min_size, max_size: shorter and longer side of the network's input.

    Raises:
        UserError: no model of that name.
    """
    sizes = {"min_size": min_size, "max_size": max_size}
    if name in _OWN:
        return _OWN[name](num_classes + 1, **sizes)
    if name not in model_names():
        raise UserError(f"MODEL.NAME {name}: expected one of {', '.join(model_names())}")
    return torchvision.models.get_model(
        name, weights=None, weights_backbone=None, num_classes=num_classes + 1, **sizes
    )
