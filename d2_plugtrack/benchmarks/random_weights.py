"""A weights file of a config's detector and tracker that nobody has trained.

Random weights as they are built are no stand-in for trained ones: without the statistics of its
batch norms activations grow from layer to layer until nothing is finite, and the RPN's NMS leaves
two boxes. :func:`calibrate` sets them to those of noise. The last layers of R-CNN and of the
tracker are zero, so that boxes stay where they are and tracked ones are believed: the
multiplications are the same, their result is known. Classes are left to ``forced_boxes.py``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config_file import read_host
from ..weights import joined_state, write_weights

IOU_LOGIT = 2.2  # of every tracked box: 0.9


def write_random_weights(config_file: str, opts: Sequence[str], path: Path) -> None:
    """Write the file; every weight is seeded."""
    torch.manual_seed(0)
    build = _torchvision if read_host(config_file) == "torchvision" else _detectron2
    model, tracker, backbone, look = build(config_file, opts)
    calibrate(backbone, look)
    for name, module in model.named_modules():
        if name.endswith((".bbox_pred", ".cls_score")) and isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    for branch in (tracker.box_branch, tracker.iou_branch):
        nn.init.zeros_(branch.weight)
    nn.init.constant_(tracker.iou_branch.bias, IOU_LOGIT)
    write_weights(path, joined_state(model, None if tracker in model.modules() else tracker))


@torch.no_grad()
def calibrate(backbone: nn.Module, look: Callable[[], object]) -> None:
    """Set the statistics of a backbone's batch norms, layer by layer, to those of an image.

    Args:
        look: makes the backbone look at an image.
    """

    def normalize(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        norm.running_mean.copy_(inputs[0].mean(dim=(0, 2, 3)))
        norm.running_var.copy_(inputs[0].var(dim=(0, 2, 3)).clamp(min=1e-3))

    norms = [m for m in backbone.modules() if getattr(m, "running_mean", None) is not None]
    hooks = [norm.register_forward_pre_hook(normalize) for norm in norms]
    look()
    for hook in hooks:
        hook.remove()


Built = tuple[nn.Module, nn.Module, nn.Module, Callable[[], object]]


def _detectron2(config_file: str, opts: Sequence[str]) -> Built:
    from ..plugin import build_model, check_architecture, load_config

    cfg = load_config(config_file, opts)
    check_architecture(cfg)
    model = build_model(cfg).eval()
    noise = {"image": torch.rand(3, 320, 320) * 255}
    return model, model.tracker, model.backbone, lambda: model.extract([noise])


def _torchvision(config_file: str, opts: Sequence[str]) -> Built:
    from ..build import build_tracker
    from ..host import load_torchvision_config
    from ..hosts.torchvision import TorchvisionDetector
    from ..hosts.torchvision_models import build_torchvision_model

    cfg = load_torchvision_config(config_file, opts)
    keys = cfg.INPUT
    model = build_torchvision_model(
        cfg.MODEL.NAME, cfg.MODEL.NUM_CLASSES, keys.MIN_SIZE_TEST, keys.MAX_SIZE_TEST
    )
    detector = TorchvisionDetector(model)
    tracker = build_tracker(cfg, detector.map_shapes)
    noise = torch.rand(3, 320, 320)
    return model, tracker, model.backbone, lambda: detector.extract([noise])
