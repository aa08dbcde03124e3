"""Regions to train the tracker on: Eq. 3 around ground truth, and what each must become.

Shape letters: G objects of the previous frame, R regions, S candidates drawn per object. Boxes
are xyxy in pixels of the network's input. A frame pair without objects gives zero regions. The
losses on these regions are in ``tracker.py``.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .boxes import aligned_iou, pairwise_iou

Reading = Literal["at_least", "below"]


class Regions(NamedTuple):
    """Regions of one pair of frames and the objects that they follow."""

    boxes: Tensor  # (R, 4) where the tracker starts, in the previous frame
    objects: Tensor  # (R,) int64, index of the followed object among the G of the previous frame


def jitter_boxes(boxes: Tensor, per_object: int, generator: torch.Generator | None) -> Tensor:
    """Shifted and resized copies of (G, 4) boxes as (G, S, 4), S = ``per_object`` (Eq. 3).

    ``Rx = dx*gw + gx``, ``Ry = dy*gh + gy`` with dx, dy uniform in [-1, 1]; ``Rw = dw*gw``,
    ``Rh = dh*gh`` with dw, dh uniform in [0.5, 1.5]; x, y are centres.
    """
    draws = torch.rand((len(boxes), per_object, 4), generator=generator).to(boxes)
    sizes = (boxes[:, 2:] - boxes[:, :2])[:, None]
    centers = boxes[:, None, :2] + 0.5 * sizes + (2 * draws[..., :2] - 1) * sizes
    sizes = (0.5 + draws[..., 2:]) * sizes
    return torch.cat([centers - 0.5 * sizes, centers + 0.5 * sizes], dim=-1)


def sample_regions(
    gt_boxes: Tensor,
    *,
    per_object: int,
    limit: int,
    iou_threshold: float,
    reading: Reading,
    generator: torch.Generator | None = None,
) -> Regions:
    """Draw the regions of one frame pair.

    Args:
        gt_boxes: (G, 4) true boxes in the previous frame.
        per_object: candidates per object (the paper: 256).
        limit: regions kept (the paper: 128), drawn at random from those that pass the IoU test.
        iou_threshold: the IoU test's threshold (the paper: 0.5).
        reading: ``"at_least"`` keeps candidates whose best IoU with any object is at least the
            threshold and follows that object, adds the true boxes, and keeps ``limit`` an image
            (the reference implementation). ``"below"`` keeps candidates whose IoU with their
            own object is below the threshold, ``limit`` an object (the paper as printed).
        generator: a CPU generator; the global one where None.

    Returns:
        :class:`Regions`; few candidates may pass (about 11 of 256 with ``"at_least"``), so
        ``limit`` is a cap and not a count.
    """
    if reading not in ("at_least", "below"):
        raise ValueError(
            f"reading of the IoU test: expected 'at_least' or 'below', got {reading!r}"
        )
    if len(gt_boxes) == 0:
        return Regions(gt_boxes.new_zeros((0, 4)), gt_boxes.new_zeros(0, dtype=torch.int64))
    candidates = jitter_boxes(gt_boxes, per_object, generator)
    if reading == "at_least":
        return _following_best_object(candidates, gt_boxes, iou_threshold, limit, generator)
    return _following_own_object(candidates, gt_boxes, iou_threshold, limit, generator)


def _following_best_object(
    candidates: Tensor,
    gt_boxes: Tensor,
    iou_threshold: float,
    limit: int,
    generator: torch.Generator | None,
) -> Regions:
    boxes = torch.cat([gt_boxes, candidates.flatten(0, 1)])
    best, objects = pairwise_iou(boxes, gt_boxes).max(dim=1)
    own = torch.arange(len(gt_boxes), device=boxes.device)
    objects[: len(gt_boxes)] = own  # a true box follows itself, also where two objects coincide
    # true boxes pass too, except those without area, from which nothing can be regressed
    chosen = _draw((best >= iou_threshold).nonzero().squeeze(1), limit, generator)
    return Regions(boxes[chosen], objects[chosen])


def _following_own_object(
    candidates: Tensor,
    gt_boxes: Tensor,
    iou_threshold: float,
    limit: int,
    generator: torch.Generator | None,
) -> Regions:
    boxes, objects = [], []
    for index, (own_candidates, gt_box) in enumerate(zip(candidates, gt_boxes, strict=True)):
        passing = aligned_iou(own_candidates, gt_box.expand_as(own_candidates)) < iou_threshold
        chosen = own_candidates[_draw(passing.nonzero().squeeze(1), limit, generator)]
        boxes.append(chosen)
        objects.append(torch.full((len(chosen),), index, device=gt_boxes.device))
    return Regions(torch.cat(boxes), torch.cat(objects))


def _draw(indices: Tensor, limit: int, generator: torch.Generator | None) -> Tensor:
    order = torch.randperm(len(indices), generator=generator)[:limit]
    return indices[order.to(indices.device)]
