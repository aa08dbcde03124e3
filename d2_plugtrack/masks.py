"""Masks inside boxes as masks of the whole frame, and as COCO's run-length encoding.

Shape letters: B boxes, M cells of a mask's side, H and W pixels of the frame. Boxes are xyxy in
pixels of the frame, finite and clipped to it; a mask is stretched over its box. No boxes give
nothing: ``(0, H, W)``, an empty list. Where masks come from is in ``core/detector.py``.
"""

from typing import TypedDict

import numpy as np
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

THRESHOLD = 0.5  # a pixel of at least this probability is the object's


class RunLengths(TypedDict):
    """A mask as COCO writes it; ``pycocotools.mask`` reads it."""

    size: list[int]  # height, width
    counts: str


def paste_masks(masks: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> np.ndarray:
    """(B, M, M) probabilities inside (B, 4) boxes as (B, H, W) bool masks of the frame."""
    pasted = np.zeros((len(boxes), *image_size), bool)
    for i, (mask, box) in enumerate(zip(masks, boxes, strict=True)):  # floats of one frame at once
        whole = paste_masks_in_image(mask[None, None], box[None], image_size)[0, 0]
        pasted[i] = (whole >= THRESHOLD).cpu().numpy()
    return pasted


def encode_masks(pasted: np.ndarray) -> list[RunLengths]:
    """(B, H, W) bool masks as run lengths, one a box."""
    from pycocotools import mask as coco

    encoded = [coco.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in pasted]
    return [{"size": list(e["size"]), "counts": e["counts"].decode("ascii")} for e in encoded]
