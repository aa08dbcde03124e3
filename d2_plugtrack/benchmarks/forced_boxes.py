"""Boxes in realistic numbers from a detector that has learned nothing.

Shape letters: P proposals of a frame, R rows, K foreground classes. Boxes are xyxy in pixels of the
network's input.

Random weights find no object, and detection of nothing costs nothing. Here the detector computes
all that it would, and two of its answers are replaced, on every frame alike: the RPN's proposals
when it is done with its own (NMS included), by P boxes of which some lie around a few objects, and
the logits of R-CNN's classifier, by ones that know these objects. What follows (thresholds, NMS of
several boxes an object, tracking, merging, classifying, re-scoring) works on that as on any other
answer. The hooks are on modules that detectron2's and torchvision's detectors both have, and a
stock detector and one with a tracker are given the same ones.
"""

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError

COPIES = 8  # proposals around each object, the first of them the object's box itself
# Logits of an object's class in its own box and in copies of it, of all others and the background,
# and of the background where there is no object: of 80 classes 0.96, 0.93, 0.0005 and 5e-5, so that
# an object is of one class above every threshold, and every class is there to be re-scored.
OBJECT, COPY, OTHERS, BACKGROUND = 6.0, 5.5, -1.5, 10.0


class ForcedBoxes:
    """The same objects for every frame of a size.

    Args:
        objects: of a frame.
        proposals: P.
        classes: K and the background.
        background: its index.

    Raises:
        UserError: no objects, or so many that two proposals each are too many for P.
    """

    def __init__(self, objects: int, proposals: int, classes: int, background: int):
        if not 1 <= objects <= proposals // 2:
            raise UserError(f"--boxes {objects}: expected 1 to {proposals // 2} of this detector")
        self.objects, self.proposals = objects, proposals
        self.classes, self.background = classes, background
        self.copies = min(COPIES, proposals // (2 * objects))
        self.place = cache(self._place)
        self.judge = cache(self._judge)
        self.classify = cache(self._classify)
        self._images = 0

    def install(self, rpn: nn.Module, heads: nn.Module) -> None:
        """Answer for a model's RPN and for every classifier (``cls_score``) of its heads."""
        rpn.register_forward_hook(self._replace_proposals)
        for name, module in heads.named_modules():
            if name.endswith("cls_score"):
                module.register_forward_hook(self._replace_logits)

    def _replace_proposals(self, rpn: nn.Module, inputs: tuple, output: tuple) -> tuple:
        sizes = [tuple(size) for size in inputs[0].image_sizes]
        self._images = len(sizes)
        found, losses = output
        return [self._like(f, size) for f, size in zip(found, sizes, strict=True)], losses

    def _like(self, found: Any, size: tuple[int, int]) -> Any:
        """The boxes as torchvision's RPN gives them, or in detectron2's ``Instances``."""
        if isinstance(found, Tensor):
            return self.place(size, found.device)
        boxes = self.place(size, found.proposal_boxes.device)
        return type(found)(
            size,
            proposal_boxes=type(found.proposal_boxes)(boxes),
            objectness_logits=torch.linspace(5, -5, self.proposals, device=boxes.device),
        )

    def _replace_logits(self, classifier: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        rows = len(output)
        if rows == self._images * self.proposals:  # else boxes to be classified, all of objects
            return self.judge(self._images, output.device).to(output.dtype)
        return self.classify(rows, output.device).to(output.dtype)

    def _classify(self, rows: int, device: torch.device) -> Tensor:
        """(rows, K + 1) logits of boxes that are all objects."""
        return self._logits(torch.arange(rows), OBJECT).to(device)

    def _judge(self, images: int, device: torch.device) -> Tensor:
        """(images * P, K + 1) logits of the proposals."""
        index = torch.arange(self.proposals)
        logits = self._logits(index // self.copies, COPY)
        firsts = index[: self.objects * self.copies : self.copies]
        logits[firsts] = self._logits(torch.arange(self.objects), OBJECT)
        logits[self.objects * self.copies :] = 0.0
        logits[self.objects * self.copies :, self.background] = BACKGROUND
        return logits.repeat(images, 1).to(device)

    def _logits(self, objects: Tensor, height: float) -> Tensor:
        """(R, K + 1): each object is of a class of its own, as long as there are classes."""
        labels = torch.tensor([i for i in range(self.classes) if i != self.background])
        logits = torch.full((len(objects), self.classes), OTHERS)
        logits[torch.arange(len(objects)), labels[objects % len(labels)]] = height
        return logits

    def _place(self, size: tuple[int, int], device: torch.device) -> Tensor:
        """(P, 4): each object's copies, then boxes anywhere."""
        random = torch.Generator().manual_seed(0)
        scale = torch.tensor([size[1], size[0]] * 2)
        objects = self._grid(size, random).repeat_interleave(self.copies, dim=0)
        sides = (objects[:, 2:] - objects[:, :2]).repeat(1, 2)
        shift = sides * 0.05 * torch.randn(sides.shape, generator=random)
        shift[:: self.copies] = 0.0
        rest = self.proposals - len(objects)
        corners = torch.rand(rest, 2, generator=random) * 0.8
        ends = corners + 0.05 + 0.15 * torch.rand(rest, 2, generator=random)
        boxes = torch.cat([objects + shift, torch.cat([corners, ends], dim=1)])
        return (boxes * scale).to(device)

    def _grid(self, size: tuple[int, int], random: torch.Generator) -> Tensor:
        """(objects, 4) boxes apart from one another, as parts of the image's sides."""
        columns = math.ceil(math.sqrt(self.objects * size[1] / size[0]))
        rows = math.ceil(self.objects / columns)
        index = torch.arange(self.objects)
        cells = torch.stack([index % columns, index // columns], dim=1)
        sides = 0.5 + 0.4 * torch.rand(self.objects, 2, generator=random)
        first = cells + (1 - sides) / 2
        return torch.cat([first, first + sides], dim=1) / torch.tensor([columns, rows] * 2)
