"""Masks inside boxes as masks of the whole frame, and as COCO's run-length encoding.

Shape letters: B boxes, M cells of a mask's side, H and W pixels of the frame. Boxes are xyxy in
pixels of the frame, finite and clipped to it; a mask is stretched over its box. No boxes give
nothing: ``(0, H, W)``, an empty list. Where masks come from is in ``core/detector.py``.
"""

import math
from typing import TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

THRESHOLD = 0.5  # a pixel of at least this probability is the object's


class RunLengths(TypedDict):
    """A mask as COCO writes it; ``pycocotools.mask`` reads it."""

    size: list[int]  # height, width
    counts: str


def paste_masks(masks: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> np.ndarray:
    """(B, M, M) probabilities inside (B, 4) boxes as (B, H, W) bool masks of the frame."""
    height, width = image_size
    pasted = np.zeros((len(boxes), height, width), bool)
    for whole, mask, (x1, y1, x2, y2) in zip(pasted, masks.float(), boxes.tolist(), strict=True):
        left, top = max(math.floor(x1), 0), max(math.floor(y1), 0)
        columns = _positions(left, min(math.ceil(x2), width), x1, x2)
        rows = _positions(top, min(math.ceil(y2), height), y1, y2)
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).to(mask.device)
        # not torchvision's paste_masks_in_image: it cuts boxes to whole pixels and adds one, by
        # which a box of 8 pixels grows by half
        values = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
        inside = values >= THRESHOLD
        whole[top : top + len(rows), left : left + len(columns)] = inside.cpu().numpy()
    return pasted


def _positions(first: int, end: int, low: float, high: float) -> Tensor:
    """Centres of the pixels from ``first`` to before ``end`` in a mask of [low, high], as -1..1."""
    centers = torch.arange(first, max(end, first)) + 0.5
    return 2 * (centers - low) / max(high - low, 1e-6) - 1


def encode_masks(pasted: np.ndarray) -> list[RunLengths]:
    """(B, H, W) bool masks as run lengths, one a box."""
    from pycocotools import mask as coco

    encoded = [coco.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in pasted]
    return [{"size": list(e["size"]), "counts": e["counts"].decode("ascii")} for e in encoded]
