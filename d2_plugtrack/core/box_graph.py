"""Which boxes of a video link to the next frame, and which overlap in their own (Sec. 5).

Shape letters: F frames, V boxes of the video ("nodes", numbered frame after frame), E links, O
overlaps. Boxes are (V, 4) arrays, xyxy in absolute pixels without any +1, compared in float64 with
the arithmetic of ``boxes.aligned_iou``: boxes without area have an IoU of 0 with every other. No
frames, frames without boxes and no boxes at all are allowed. Values must be finite.

Every box is compared with every box of one frame, a frame at a time, and only the pairs that are
found are kept: memory grows with these, and not with the square of a frame's boxes.
"""

from typing import NamedTuple

import numpy as np

from .compiled import compiled


class BoxGraph(NamedTuple):
    """Neighbours of every box: of node v ``nodes[starts[v]:starts[v + 1]]``, ascending."""

    link_starts: np.ndarray  # (V + 1,) int64
    link_nodes: np.ndarray  # (E,) int32, nodes of the next frame
    overlap_starts: np.ndarray  # (V + 1,) int64
    overlap_nodes: np.ndarray  # (O,) int32, other nodes of the same frame


def find_edges(
    before: np.ndarray,
    boxes: np.ndarray,
    frame_starts: np.ndarray,
    link_iou: float,
    nms_iou: float,
) -> BoxGraph:
    """Links between neighbouring frames and overlaps within frames.

    Args:
        before: (V, 4), what is compared with the boxes of the next frame: the box mapped there
            (Seq-Track-NMS) or the box itself. Those of the last frame are ignored.
        boxes: (V, 4).
        frame_starts: (F + 1,) int64, the first node of every frame, and V.
        link_iou: boxes of neighbouring frames link at this IoU and above.
        nms_iou: boxes of one frame overlap at this IoU and above.

    Raises:
        ValueError: shapes that do not belong together; compiled code would read beyond them.
    """
    if not before.shape == boxes.shape == (frame_starts[-1], 4):
        found = f"before {before.shape}, boxes {boxes.shape}"
        raise ValueError(f"expected both of shape ({frame_starts[-1]}, 4), got {found}")
    before, boxes = (np.ascontiguousarray(b, dtype=np.float64) for b in (before, boxes))
    frame_starts = np.ascontiguousarray(frame_starts, dtype=np.int64)
    links = _close_pairs(before, boxes, frame_starts, 1, link_iou)
    overlaps = _close_pairs(boxes, boxes, frame_starts, 0, nms_iou)
    return BoxGraph(*links, *overlaps)


@compiled
def _close_pairs(boxes, others, frame_starts, step, min_iou):  # type: ignore[no-untyped-def]
    """Starts and nodes of the pairs with an IoU of at least ``min_iou``.

    Every box is compared with ``others`` of the frame ``step`` frames later, but not with itself.
    """
    num_frames = len(frame_starts) - 1
    areas, other_areas = _areas(boxes), _areas(others)
    starts = np.zeros(len(boxes) + 1, np.int64)
    nodes = np.empty(4 * len(boxes), np.int32)
    count = 0
    for frame in range(num_frames):
        first = last = 0
        if frame + step < num_frames:
            first, last = frame_starts[frame + step], frame_starts[frame + step + 1]
        for node in range(frame_starts[frame], frame_starts[frame + 1]):
            if count + last - first > len(nodes):
                grown = np.empty(2 * len(nodes) + last - first, np.int32)
                grown[:count] = nodes[:count]
                nodes = grown
            x1, y1, x2, y2 = boxes[node]
            for other in range(first, last):
                width = max(min(x2, others[other, 2]) - max(x1, others[other, 0]), 0.0)
                height = max(min(y2, others[other, 3]) - max(y1, others[other, 1]), 0.0)
                intersection = width * height
                union = areas[node] + other_areas[other] - intersection
                # 0 / 0 is no number and compares as False
                close = (intersection / union >= min_iou) | (min_iou <= 0)
                nodes[count] = other
                count += close & ((step > 0) | (other != node))
            starts[node + 1] = count
    return starts, nodes[:count].copy()


@compiled
def _areas(boxes):  # type: ignore[no-untyped-def]
    areas = np.empty(len(boxes), np.float64)
    for node in range(len(boxes)):
        x1, y1, x2, y2 = boxes[node]
        areas[node] = max(x2 - x1, 0.0) * max(y2 - y1, 0.0)
    return areas
