"""Seq-NMS and Seq-Track-NMS: linking and re-scoring a video's boxes (Secs. 5 and 6.4).

Shape letters: T frames, N boxes of a frame, K foreground classes, V boxes of the video ("nodes",
numbered frame after frame). Boxes are (N, 4) float tensors, xyxy in absolute pixels
without any +1, of any device. A frame without boxes breaks every path; no frames, no classes and
boxes without area (their IoU is 0) are allowed.

Per class, over the whole video: the path through linked boxes with the largest sum of scores
gives all its boxes its mean score, then leaves together with the boxes it overlaps in each of
its frames; repeated until the largest sum is under ``min_score``. Boxes never move. A score of
exactly 0 means that a box is not in that class's list.

All of it is done on the CPU, wherever the tensors live: the search takes one path after another,
each a chain of small dependent steps, of which a GPU has nothing to compute at once. A video's
tensors come in one transfer a kind and go back in one a kind. Links and overlaps are in
``box_graph.py``, the search in ``paths.py``; its cost grows with the length of the video.

Where the boxes come from is ``tfd.py``. Linking is after Han et al., "Seq-NMS for Video Object
Detection", arXiv 1602.08465; linking through tracked boxes is this paper's.
"""

from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .box_graph import find_edges
from .frame_checks import FrameShapes, check_finite
from .paths import rescore_classes


class Rescored(NamedTuple):
    """New scores of a video, one tensor per frame in each list."""

    scores: list[Tensor]  # (N, K) mean score of the box's path; 0 where not kept
    kept: list[Tensor]  # (N, K) bool: the box is on a path of this class
    paths: list[Tensor]  # (N, K) int64 number of that path, -1 where not kept


@torch.no_grad()
def seq_nms(
    boxes: list[Tensor],
    scores: list[Tensor],
    mapped_boxes: list[Tensor] | None = None,
    link_iou: float = 0.5,
    nms_iou: float = 0.45,
    min_score: float = 0.01,
) -> Rescored:
    """Link the boxes of a video and re-score them, class by class.

    Box i of frame t and box j of frame t+1 are linked where the IoU of box i (Seq-NMS) or of box
    i mapped to frame t+1 (Seq-Track-NMS) with box j is at least ``link_iou``. A path is extended
    backwards only where that makes its sum, rounded to float64, larger. Of predecessors that make
    it equally large the lowest box index counts, of equal ends the earliest frame and then the
    lowest box index.

    Args:
        boxes: (N, 4) per frame.
        scores: (N, K) per frame, 0 where a box is not in a class's list.
        mapped_boxes: the boxes of the frame before, tracked into this frame, (N of the frame
            before, 4) per frame and (0, 4) for the first: Seq-Track-NMS. None: Seq-NMS.
        link_iou: boxes of neighbouring frames link at this IoU and above.
        nms_iou: a path deletes boxes of its frames at this IoU and above.
        min_score: paths whose sum is below are not taken; boxes on no path are not kept.

    Returns:
        Per frame new scores (of the dtype and device of ``scores``), kept and path numbers. A
        path's number is ``first_box * K + class``, its first box counted through the whole video:
        it names one path, and rises with the time at which paths start.
    """
    sizes = _checked_sizes(boxes, scores, mapped_boxes)
    if not sizes:
        return Rescored([], [], [])
    frame_starts = np.array([0, *accumulate(sizes)])
    all_boxes = _on_host("boxes", boxes)
    before = all_boxes
    if mapped_boxes is not None:  # nothing follows the last frame: any boxes will do for it
        last = all_boxes[frame_starts[-2] :]
        before = np.concatenate([_on_host("mapped_boxes", mapped_boxes), last])
    old_scores = _on_host("scores", scores)
    graph = find_edges(before, all_boxes, frame_starts, link_iou, nms_iou)
    new_scores, paths = rescore_classes(graph, old_scores, min_score)
    video_scores = torch.from_numpy(new_scores).to(scores[0])
    video_paths = torch.from_numpy(paths).to(scores[0].device)
    video = (video_scores, video_paths >= 0, video_paths)
    return Rescored(*(list(values.split(sizes)) for values in video))


def _on_host(name: str, per_frame: list[Tensor]) -> np.ndarray:
    """All frames in one array, in one transfer; ValueError where it is not finite."""
    values = torch.cat(per_frame).cpu()
    values = (values if values.dtype == torch.float32 else values.double()).numpy()
    check_finite(name, values, [len(value) for value in per_frame], first_frame=0)
    return values


def _checked_sizes(
    boxes: list[Tensor], scores: list[Tensor], mapped: list[Tensor] | None
) -> list[int]:
    """The number of boxes of every frame; ValueError where shapes do not belong together."""
    for name, others in (("scores", scores), ("mapped_boxes", mapped)):
        if others is not None and len(others) != len(boxes):
            raise ValueError(f"expected {len(boxes)} frames of {name}, got {len(others)}")
    shapes = FrameShapes()
    mapped = [None] * len(boxes) if mapped is None else mapped
    return [shapes.check(*frame) for frame in zip(boxes, scores, mapped, strict=True)]
