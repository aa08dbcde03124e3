"""Greedy non-maximum suppression in which equality is decided, on every device alike.

Shape letters: B boxes, S of them that stay. Boxes are (B, 4) float tensors, xyxy in absolute pixels
without any +1, and finite; a box without area overlaps nothing. No boxes keep none.

IoU is computed in the boxes' own precision, in which the threshold is compared too: 0.3 in float32
is more than 0.3, so that torchvision, left alone, drops on the CPU a box whose IoU is exactly 0.3,
and keeps it on CUDA. Boxes of equal score are taken in the order in which they are given.
"""

import math

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms


def suppress(boxes: Tensor, scores: Tensor, threshold: float, *, equal_stays: bool) -> Tensor:
    """Indices (S,) of the boxes that stay, strongest first, of equal ones the lower index first.

    A box stays where its IoU with every stronger box that stays is below ``threshold``, or, with
    ``equal_stays``, at most that.

    Args:
        scores: (B,).
    """
    limit = _in_precision_of(boxes, threshold)
    if not equal_stays:  # nms() drops what is above its threshold
        limit = torch.nextafter(limit, limit.new_tensor(-math.inf))
    return nms(boxes, scores, limit.item())


def suppress_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """The same within each class, with ``equal_stays``: what stock detectors do.

    Classes are kept apart as torchvision does it. Of more boxes than 1000 it orders those of equal
    score as the processor likes, which is put right here.

    Args:
        labels: (B,) int64.
    """
    keep = batched_nms(boxes, scores, labels, _in_precision_of(boxes, threshold).item())
    keep = keep.sort().values
    return keep[scores[keep].argsort(descending=True, stable=True)]


def _in_precision_of(boxes: Tensor, threshold: float) -> Tensor:
    """The threshold as IoUs of these boxes are computed, of halves in float32; on the CPU."""
    return torch.tensor(threshold, dtype=torch.promote_types(boxes.dtype, torch.float32))
