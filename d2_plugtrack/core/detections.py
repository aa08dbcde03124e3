"""From what a detector says of its proposals to detections: two readings of the same output.

Shape letters: P proposals of a frame, B boxes, K foreground classes. Boxes are xyxy in pixels of
the network's input. A frame without proposals, or of none above the threshold, gives no boxes.

:func:`per_class_detections` is what a stock two-stage detector reports,
:func:`best_class_detections` are the detected objects of Sec. 5. The proposals come from
``detector.py``; tracking-first detection goes on with them in ``tfd.py``.
"""

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from .boxes import clip_boxes
from .detector import Proposals


def per_class_detections(
    proposals: Proposals,
    image_size: tuple[int, int],
    *,
    score_threshold: float,
    nms_threshold: float,
    limit: int,
) -> tuple[Tensor, Tensor]:
    """What a stock two-stage detector reports: NMS within each class, the best ``limit``.

    Returns:
        (B, 4) boxes and (B, K) scores with one class above zero in each row, best first.
    """
    boxes, scores = _finite(proposals, image_size)
    rows, classes = (scores > score_threshold).nonzero(as_tuple=True)
    boxes = boxes[rows, classes if boxes.shape[1] > 1 else torch.zeros_like(classes)]
    best = scores[rows, classes]
    keep = batched_nms(boxes, best, classes, nms_threshold)[:limit]
    one_class = scores.new_zeros((len(keep), scores.shape[1]))
    one_class[torch.arange(len(keep), device=keep.device), classes[keep]] = best[keep]
    return boxes[keep], one_class


def best_class_detections(
    proposals: Proposals,
    image_size: tuple[int, int],
    *,
    score_threshold: float,
    nms_threshold: float,
) -> tuple[Tensor, Tensor]:
    """Detected objects (Sec. 5): the likeliest class's box of each proposal, then NMS over all.

    Returns:
        (B, 4) boxes and (B,) best-class scores above the threshold, best first.
    """
    boxes, scores = _finite(proposals, image_size)
    if scores.numel() == 0:
        return boxes.new_zeros((0, 4)), scores.new_zeros(0)
    best, classes = scores.max(dim=1)
    rows = torch.arange(len(boxes), device=boxes.device)
    boxes = boxes[rows, classes if boxes.shape[1] > 1 else 0]
    candidates = best > score_threshold
    boxes, best = boxes[candidates], best[candidates]
    keep = nms(boxes, best, nms_threshold)
    return boxes[keep], best[keep]


def _finite(proposals: Proposals, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes clipped to the image; proposals with a NaN or infinity anywhere are left out."""
    boxes, scores = proposals
    valid = boxes.isfinite().flatten(1).all(dim=1) & scores.isfinite().all(dim=1)
    return clip_boxes(boxes[valid], image_size), scores[valid]
