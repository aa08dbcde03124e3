"""From what a detector says of its proposals to detections: two readings of the same output.

Shape letters: P proposals of a frame, B boxes, K foreground classes. Boxes are xyxy in pixels of
the network's input. A frame without proposals, or of none above the threshold, gives no boxes.

:func:`per_class_detections` is what a stock two-stage detector reports,
:func:`best_class_detections` are the detected objects of Sec. 5. These are chosen on the CPU, from
candidates that :func:`best_class_candidates` brings there for a whole batch at once: on a GPU every
threshold and every NMS would make the host wait for it. The proposals come from ``detector.py``;
tracking-first detection goes on with the detections in ``tfd.py``.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .boxes import clip_boxes
from .suppression import suppress, suppress_per_class

if TYPE_CHECKING:
    from .detector import Proposals  # which imports this file


class Candidates(NamedTuple):
    """The likeliest class of each proposal of a frame, any score; float32, on the CPU."""

    boxes: Tensor  # (P, 4) that class's box, clipped to the image
    # (P,) minus infinity where the proposal has a NaN or infinity anywhere, or its box is the wrong
    # way round, at which RoIAlign stops; detectors that code sizes by logarithms have no such boxes
    scores: Tensor
    features_finite: bool = True  # where they are not, proposals are few or none, without a word


def per_class_detections(
    proposals: "Proposals",
    image_size: tuple[int, int],
    *,
    score_threshold: float,
    nms_threshold: float,
    limit: int,
) -> tuple[Tensor, Tensor]:
    """What a stock two-stage detector reports: NMS within each class, the best ``limit``.

    Returns:
        (B, 4) boxes and (B, K) scores with one class above zero in each row, best first; of equal
        ones the earlier proposal, then the lower class.
    """
    boxes, scores = _finite(proposals, image_size)
    rows, classes = (scores > score_threshold).nonzero(as_tuple=True)
    boxes = boxes[rows, classes if boxes.shape[1] > 1 else torch.zeros_like(classes)]
    best = scores[rows, classes]
    keep = suppress_per_class(boxes, best, classes, nms_threshold)[:limit]
    one_class = scores.new_zeros((len(keep), scores.shape[1]))
    one_class[torch.arange(len(keep), device=keep.device), classes[keep]] = best[keep]
    return boxes[keep], one_class


def best_class_candidates(
    proposals: Sequence["Proposals"],
    image_sizes: Sequence[tuple[int, int]],
    features: Tensor | None = None,
) -> list[Candidates]:
    """Candidates of the N frames of a batch, brought to the CPU in one transfer.

    Args:
        image_sizes: (height, width) of each frame.
        features: (N, ...), said to be finite or not with the candidates; not looked at where None.
    """
    if not proposals:
        return []
    rows = [_best_class(*frame) for frame in zip(proposals, image_sizes, strict=True)]
    sums = rows[0].new_zeros(len(rows), dtype=torch.float32)
    if features is not None:
        sums = features.reshape(len(rows), -1).sum(dim=1, dtype=torch.float32)
    rows.append(sums[:, None].expand(-1, 5))
    *on_cpu, sums = torch.cat(rows).float().cpu().split([len(r) for r in rows])
    finite = sums[:, 0].isfinite().tolist()
    return [Candidates(r[:, :4], r[:, 4], f) for r, f in zip(on_cpu, finite, strict=True)]


def _best_class(proposals: "Proposals", image_size: tuple[int, int]) -> Tensor:
    """(P, 5) boxes and scores of :class:`Candidates`, where the proposals are."""
    boxes, scores = proposals
    if scores.shape[1] == 0:
        return scores.new_zeros((0, 5))
    finite = _is_finite(proposals)
    best, classes = scores.max(dim=1)
    rows = torch.arange(len(boxes), device=boxes.device)
    boxes = clip_boxes(boxes[rows, classes if boxes.shape[1] > 1 else 0], image_size)
    valid = finite & (boxes[:, 2:] >= boxes[:, :2]).all(dim=1)
    return torch.cat([boxes, best.masked_fill(~valid, -math.inf)[:, None]], dim=1)


def best_class_detections(
    candidates: Candidates, *, score_threshold: float, nms_threshold: float
) -> tuple[Tensor, Tensor]:
    """Detected objects (Sec. 5): the likeliest class's box of each proposal, then NMS over all.

    Returns:
        (B, 4) boxes and (B,) best-class scores above the threshold, best first; of equal ones the
        earlier proposal.
    """
    above = candidates.scores > score_threshold
    boxes, scores = candidates.boxes[above], candidates.scores[above]
    keep = suppress(boxes, scores, nms_threshold, equal_stays=True)
    return boxes[keep], scores[keep]


def _is_finite(proposals: "Proposals") -> Tensor:
    """(P,) booleans: neither NaN nor infinity anywhere."""
    boxes, scores = proposals
    return boxes.isfinite().flatten(1).all(dim=1) & scores.isfinite().all(dim=1)


def _finite(proposals: "Proposals", image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes clipped to the image; proposals with a NaN or infinity anywhere are left out."""
    boxes, scores = proposals
    valid = _is_finite(proposals)
    return clip_boxes(boxes[valid], image_size), scores[valid]
