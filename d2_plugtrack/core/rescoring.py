"""Re-scoring a finished video from its frame results (Sec. 6.4).

Shape letters: F frames, B boxes of a frame, K foreground classes. A thin step between the frame
loop of ``tfd.py`` and the linking of ``seq_nms.py``: which boxes the links start from, or none.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .seq_nms import Rescored, seq_nms
from .tfd import FrameResult


class Rescoring(NamedTuple):
    """How a video is re-scored."""

    enabled: bool  # False: scores stay, every box is kept where its score is above 0
    track_links: bool  # True: Seq-Track-NMS, links from the tracked boxes. False: Seq-NMS
    link_iou: float
    nms_iou: float
    min_score: float


def rescore_video(results: Sequence[FrameResult], how: Rescoring) -> Rescored:
    """New scores (B, K), what is kept (B, K) and path numbers (B, K) of each of F frames.

    Without re-scoring there are no paths, and their numbers are -1. No frames give empty lists.
    """
    scores = [r.scores for r in results]
    if not how.enabled:
        paths = [torch.full(s.shape, -1, dtype=torch.int64, device=s.device) for s in scores]
        return Rescored(scores, [s > 0 for s in scores], paths)
    return seq_nms(
        [r.boxes for r in results],
        scores,
        [r.mapped_boxes for r in results] if how.track_links else None,
        link_iou=how.link_iou,
        nms_iou=how.nms_iou,
        min_score=how.min_score,
    )


class TrackedObjects(NamedTuple):
    """The objects of one frame of a finished video, as a person wants them."""

    boxes: Tensor  # (M, 4) in pixels of the frame
    scores: Tensor  # (M,) of the best class
    classes: Tensor  # (M,) int64
    track_ids: Tensor  # (M,) int64, the path of the best class; -1 without re-scoring
    masks: Tensor | None = None  # (M, S, S) as in ``FrameResult``, or None where it has none

    def map(self, change: Callable[[Tensor], Any]) -> "TrackedObjects":
        """The same change of every field, masks only where there are any: ``Tensor.cpu``, say."""
        return TrackedObjects(*(None if field is None else change(field) for field in self))


def tracked_objects(results: Sequence[FrameResult], rescored: Rescored) -> list[TrackedObjects]:
    """One entry for each box that is kept for any class, under its best class; F frames."""
    return [
        _best_class(result, *frame)
        for result, frame in zip(results, zip(*rescored, strict=True), strict=True)
    ]


def _best_class(result: FrameResult, scores: Tensor, kept: Tensor, paths: Tensor) -> TrackedObjects:
    boxes, masks = result.boxes, result.masks
    if scores.numel() == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        none = None if masks is None else masks[:0]
        return TrackedObjects(boxes[:0], boxes.new_zeros(0), nothing, nothing, none)
    best, classes = torch.where(kept, scores, -1.0).max(dim=1)
    rows = (best >= 0).nonzero().squeeze(1)
    classes = classes[rows]
    return TrackedObjects(
        boxes[rows],
        best[rows],
        classes,
        paths[rows, classes],
        None if masks is None else masks[rows],
    )
