"""Boxes: coding (Eqs. 1 and 2), enlarging, clipping and a guarded IoU.

Shape letters: R, A, B boxes. Boxes are ``(..., 4)`` float tensors, xyxy in absolute pixels,
without any +1; deltas are ``(..., 4)`` as ``(dx, dy, dw, dh)``. Nothing here fails on zero boxes,
on boxes without area or on boxes outside the image; non-finite coordinates are made finite by
:func:`clip_boxes`, which therefore comes before RoIAlign and NMS. Resizing maps and pooling are
in ``features.py`` and ``tracker.py``. Constants are Python numbers all along: a tensor made of them
on a GPU is a copy that the host waits for.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import box_iou, clip_boxes_to_image

SCALE_CLAMP = math.log(1000.0 / 16)  # as detectron2's Box2BoxTransform: a box grows 62.5-fold
_MIN_SIDE = 1e-3  # pixels; a box narrower than this is coded as if it were this wide


def _centers_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sizes = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sizes, sizes


def _from_centers_and_sizes(centers: Tensor, sizes: Tensor) -> Tensor:
    return torch.cat([centers - 0.5 * sizes, centers + 0.5 * sizes], dim=-1)


def _per_column(
    values: Tensor, numbers: tuple[float, ...], operation: Callable[[Tensor, float], Tensor]
) -> Tensor:
    columns = zip(values.unbind(dim=-1), numbers, strict=True)
    return torch.stack([operation(column, number) for column, number in columns], dim=-1)


def encode_boxes(boxes: Tensor, targets: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Deltas that move ``boxes`` onto ``targets`` (Eq. 1), times ``weights``.

    Args:
        boxes: (..., 4) boxes tracked in the previous frame.
        targets: (..., 4) true boxes of the same objects in the current frame.
        weights: four inverse standard deviations, of dx, dy, dw, dh.

    Returns:
        (..., 4) finite deltas; ``decode_boxes(encode_boxes(b, t, w), b, w)`` is ``t``.
    """
    centers, sizes = _centers_and_sizes(boxes)
    target_centers, target_sizes = _centers_and_sizes(targets)
    sizes, target_sizes = sizes.clamp(min=_MIN_SIDE), target_sizes.clamp(min=_MIN_SIDE)
    deltas = torch.cat(
        [(target_centers - centers) / sizes, torch.log(target_sizes / sizes)], dim=-1
    )
    return _per_column(deltas, weights, torch.mul)


def decode_boxes(deltas: Tensor, boxes: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Boxes that ``deltas`` make of ``boxes`` (Eq. 2), the inverse of :func:`encode_boxes`.

    The size terms are clamped to :data:`SCALE_CLAMP` before ``exp``. Shapes as there.
    """
    centers, sizes = _centers_and_sizes(boxes)
    sizes = sizes.clamp(min=_MIN_SIDE)
    deltas = _per_column(deltas, weights, torch.div)
    return _from_centers_and_sizes(
        centers + deltas[..., :2] * sizes, sizes * deltas[..., 2:].clamp(max=SCALE_CLAMP).exp()
    )


def expand_boxes(boxes: Tensor, factor: float) -> Tensor:
    """(..., 4) boxes of the same centre and aspect ratio, ``factor`` times as wide and high."""
    centers, sizes = _centers_and_sizes(boxes)
    return _from_centers_and_sizes(centers, factor * sizes)


def clip_boxes(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """(..., 4) boxes cut at the borders of an image of ``(height, width)``.

    NaN becomes 0, infinity the border.
    """
    return clip_boxes_to_image(torch.nan_to_num(boxes), image_size)


def bound_boxes(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """(R, 4) boxes at most the size of an image of ``(height, width)`` beyond it; NaN stays NaN.

    RoIAlign takes these, and further off there is nothing but zeros.
    """
    height, width = image_size
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    x1, x2 = (x.clamp(-width, 2 * width) for x in (x1, x2))
    y1, y2 = (y.clamp(-height, 2 * height) for y in (y1, y2))
    return torch.stack([x1, y1, x2, y2], dim=1)


def scale_boxes(boxes: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """(..., 4) boxes of an image of ``from_size`` (height, width) in the pixels of ``to_size``.

    The result is clipped to the image.
    """
    (height, width), (new_height, new_width) = from_size, to_size
    factors = (new_width / width, new_height / height) * 2
    return clip_boxes(_per_column(boxes, factors, torch.mul), to_size)


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of (A, 4) with (B, 4) boxes as (A, B); 0, not NaN, where neither box has area."""
    return torch.nan_to_num(box_iou(boxes, others))


def aligned_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of each of (R, 4) boxes with its partner in (R, 4) as (R,); 0 where neither has area."""
    low, high = torch.maximum(boxes, others)[:, :2], torch.minimum(boxes, others)[:, 2:]
    intersection = (high - low).clamp(min=0).prod(dim=1)
    areas = [(b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1) for b in (boxes, others)]
    return torch.nan_to_num(intersection / (areas[0] + areas[1] - intersection))


def has_area(boxes: Tensor, min_side: float) -> Tensor:
    """(R,) booleans: both sides of a box of (R, 4) are at least ``min_side`` pixels."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= min_side).all(dim=1)
