"""Seq-NMS as it is described: path after path over the whole graph, one class after another.

The way of the field, in plain numpy, with the results of ``core/seq_nms.py``: what that is
measured against, and tested against on whole videos. Shape letters: F frames, N boxes of a frame,
K classes. Boxes are xyxy in absolute pixels without any +1. Its cost grows with the square of the
number of frames: a path is taken in every few frames, and looked for in all.
"""

from typing import NamedTuple

import numpy as np

Frames = list[np.ndarray]


class PlainRescored(NamedTuple):
    """New scores of a video, one array per frame in each list."""

    scores: Frames  # (N, K) float64 mean score of the box's path; 0 where not kept
    paths: Frames  # (N, K) int64 number of that path, -1 where not kept


def plain_seq_nms(
    boxes: Frames,
    scores: Frames,
    mapped_boxes: Frames | None = None,
    link_iou: float = 0.5,
    nms_iou: float = 0.45,
    min_score: float = 0.01,
) -> PlainRescored:
    """See ``core.seq_nms.seq_nms``; boxes (N, 4) and scores (N, K) are arrays here."""
    boxes, scores = _as_float64(boxes), _as_float64(scores)
    before = boxes[:-1] if mapped_boxes is None else _as_float64(mapped_boxes[1:])
    links = [iou(*pair) >= link_iou for pair in zip(before, boxes[1:], strict=True)]
    overlaps = [iou(b, b) >= nms_iou for b in boxes]
    starts = np.cumsum([0, *map(len, boxes)])
    result = PlainRescored(
        [np.zeros(s.shape) for s in scores], [np.full(s.shape, -1, dtype=np.int64) for s in scores]
    )
    num_classes = scores[0].shape[1] if scores else 0
    for k in range(num_classes):
        of_class = [s[:, k] for s in scores]
        in_play = [s != 0 for s in of_class]
        while True:
            total, path = best_path(of_class, in_play, links)
            if not path or total < min_score:
                break
            first_frame, first_box = path[0]
            for frame, box in path:
                result.scores[frame][box, k] = total / len(path)
                result.paths[frame][box, k] = (starts[first_frame] + first_box) * num_classes + k
                in_play[frame][overlaps[frame][box]] = False
                in_play[frame][box] = False
    return result


def best_path(
    scores: Frames, in_play: Frames, links: Frames
) -> tuple[float, list[tuple[int, int]]]:
    """The largest sum of a path, and its (frame, box) pairs; none where nothing is in play.

    Args:
        scores: (N,) of one class per frame.
        in_play: (N,) bool per frame.
        links: (N, N of the next frame) bool, per frame but the last.
    """
    best, end = -np.inf, (0, -1)
    origins: Frames = []  # (N,) box of the frame before, -1: a path starts here
    totals = np.zeros(0)
    for frame, (score, playing) in enumerate(zip(scores, in_play, strict=True)):
        origin = np.full(len(score), -1)
        extended = score.copy()
        if frame and len(totals) and len(score):
            sums = np.where(links[frame - 1], totals[:, None] + score, -np.inf)
            strongest = sums.argmax(axis=0)  # the first of equal ones
            largest = sums[strongest, np.arange(len(score))]
            origin = np.where(largest > score, strongest, -1)
            extended = np.maximum(largest, score)
        totals = np.where(playing, extended, -np.inf)
        origins.append(origin)
        if len(totals) and totals.max() > best:
            best, end = totals.max(), (frame, int(totals.argmax()))
    path = []
    frame, box = end
    while box >= 0:
        path.append((frame, box))
        frame, box = frame - 1, int(origins[frame][box])
    return float(best), path[::-1]


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(A, B) IoU of (A, 4) with (B, 4) boxes; 0 where neither has area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = (high - low).clip(min=0).prod(axis=2)
    areas, other_areas = ((b[:, 2:] - b[:, :2]).clip(min=0).prod(axis=1) for b in (boxes, others))
    union = areas[:, None] + other_areas - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def _as_float64(values: Frames) -> Frames:
    return [np.asarray(v, dtype=np.float64) for v in values]
