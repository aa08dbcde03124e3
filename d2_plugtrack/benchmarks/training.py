"""Seconds and memory of a training step of either stage, on random images with random weights.

Shape letters: N images or pairs of a step, H, W of an image. A step is the trainer's own
(``train_step.py``): forward, backward and optimizer, in mixed precision or in parts where the
config says so. Reading images is left out.
"""

from ..prerequisites import require_detectron2

require_detectron2()

import statistics
import time
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from ..train_step import StepTrainer
from ..training import Trainer, is_plugtrack
from .machine import device_name, peak_mb
from .random_weights import calibrate

OBJECTS = 3  # of an image


def measure_training(
    cfg: CfgNode, name: str, size: tuple[int, int], images: int, steps: int
) -> dict[str, Any]:
    """Make ``steps`` steps after one that does not count.

    Args:
        cfg: of either stage; its weights are not loaded.
        name: of the config, for the table.
        size: (H, W) of the network's input.
        images: N.

    Returns:
        The figures, and a table of them as ``markdown``.
    """
    torch.manual_seed(0)
    model = build_model(cfg).train()
    batch = [_item(size, is_plugtrack(cfg)) for _ in range(images)]
    frame = batch[0].get("prev", batch[0])
    calibrate(model.backbone, lambda: model.backbone(model.preprocess_image([frame]).tensor))
    optimizer = Trainer.build_optimizer(cfg, model)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # the work is the same, and random weights do not diverge
    trainer = StepTrainer(
        model,
        [batch] * (steps + 1),
        optimizer,
        parts=cfg.SOLVER.ACCUMULATE,
        mixed_precision=cfg.SOLVER.AMP.ENABLED,
    )
    clock = _Clock(model.device)
    trainer.register_hooks([clock])
    trainer.train(0, steps + 1)
    seconds = clock.seconds[1:]
    figures = {
        "config_file": name,
        "device": clock.device_name,
        "size": list(size),
        "images": images,
        "mixed_precision": bool(cfg.SOLVER.AMP.ENABLED),
        "seconds": seconds,
        "peak_mb": clock.peak_mb(),
    }
    return {**figures, "markdown": _as_markdown(figures)}


def _as_markdown(figures: dict[str, Any]) -> str:
    seconds, (height, width) = figures["seconds"], figures["size"]
    what = f"{figures['images']} of {height}x{width}"
    if figures["mixed_precision"]:
        what += ", mixed precision"
    return "\n".join(
        [
            "| config | device | images or pairs | s a step, median (range) | peak memory, MB |",
            "|---|---|---|---:|---:|",
            f"| {figures['config_file']} | {figures['device']} | {what} | "
            f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | "
            f"{figures['peak_mb']:.0f} |",
        ]
    )


class _Clock(HookBase):
    """Seconds of every step, until the device has done it."""

    def __init__(self, device: torch.device):
        self.device, self.seconds = device, []
        self.device_name = device_name(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def before_step(self) -> None:
        self.start = self._now()

    def after_step(self) -> None:
        self.seconds.append(self._now() - self.start)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def peak_mb(self) -> float:
        """Of the GPU's memory, or of the process where there is none."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        return peak_mb()


def _item(size: tuple[int, int], is_pair: bool) -> dict[str, Any]:
    return {"prev": _frame(size), "curr": _frame(size)} if is_pair else _frame(size)


def _frame(size: tuple[int, int]) -> dict[str, Any]:
    """Random noise, with objects of a quarter to half of its sides."""
    height, width = size
    corners = torch.rand(OBJECTS, 2) * 0.5
    boxes = torch.cat([corners, corners + 0.25 + 0.25 * torch.rand(OBJECTS, 2)], dim=1)
    instances = Instances(size)
    instances.gt_boxes = Boxes(boxes * torch.tensor([width, height] * 2))
    instances.gt_classes = torch.zeros(OBJECTS, dtype=torch.int64)
    instances.gt_track_ids = torch.arange(OBJECTS)
    return {"image": torch.rand(3, height, width) * 255, "instances": instances}
