"""Which object each detection finds, and how far one that finds none is false.

Shape letters: D detections of one class by falling score, G ground-truth boxes of all frames and
classes, frame after frame; frame f's are ``starts[f]`` to ``starts[f + 1]``. Boxes are (.., 4)
xyxy float64 in pixels, and ``pixel`` is added to their sides. A detection meets the few objects
of its own frame only, one after another. No detections, nothing to say.

What is compared and what is out of a range is given: the rules are in ``protocols.py``, the
ranges in ``ranges.py``.
"""

import numpy as np

from .compiled import compiled


@compiled
def find_objects(  # type: ignore[no-untyped-def]
    frames, boxes, starts, objects, thresholds, candidate, last, pixel, tie_last
):
    """(D,) int32, the object that each detection takes, -1 for none.

    That is the candidate of its frame, not yet taken, with the highest IoU at or above the
    object's threshold; boxes that do not overlap are never found.

    Args:
        frames: (D,) of the detections. boxes: (D, 4).
        starts: (F + 1,). objects: (G, 4).
        thresholds: (G,) IoU at which each object is found.
        candidate: (G,) bool, whether an object can be found: whether it is of the class.
        last: (G,) bool, objects that are taken only where no other one can be.
        tie_last: of equally good objects the last one is taken, not the first.
    """
    taken = np.full(len(frames), -1, dtype=np.int32)
    free = candidate.copy()
    for d in range(len(frames)):
        best, best_iou = -1, 0.0
        for g in range(starts[frames[d]], starts[frames[d] + 1]):
            if not free[g] or (best >= 0 and last[g] and not last[best]):
                continue
            iou = _iou(boxes, d, objects, g, pixel)
            if iou < thresholds[g] or iou <= 0.0:
                continue
            comes_before = best >= 0 and last[best] and not last[g]
            if comes_before or iou > best_iou or (tie_last and iou == best_iou):
                best, best_iou = g, iou
        if best >= 0:
            taken[d] = best
            free[best] = False
    return taken


@compiled
def false_weights(  # type: ignore[no-untyped-def]
    frames, boxes, taken, starts, objects, compared, outside, share, pixel
):
    """(D,) float64, the weight with which each detection is false.

    0 for one that has taken an object. Any other one is compared with the nearest objects, by
    IoU, in and out of the motion range, found or not: it is false (1) where the one in the range
    is nearer, and counts neither way (0) where the other one is. Where both are equally near, the
    weight is the share of the frame's compared objects that are out of the range; where there are
    none to compare with, ``share``.

    Args:
        frames, boxes, starts, objects, pixel: as of :func:`find_objects`; taken: its result.
        compared: (G,) bool, whether an object is compared with.
        outside: (G,) bool, whether an object is out of the motion range.
        share: of the dataset's motion values that fall in the range.
    """
    weights = np.zeros(len(frames))
    for d in range(len(frames)):
        if taken[d] >= 0:
            continue
        nearest_inside, nearest_outside = -1.0, -1.0
        count, count_outside = 0, 0
        for g in range(starts[frames[d]], starts[frames[d] + 1]):
            if not compared[g]:
                continue
            count += 1
            iou = _iou(boxes, d, objects, g, pixel)
            if outside[g]:
                count_outside += 1
                nearest_outside = max(nearest_outside, iou)
            else:
                nearest_inside = max(nearest_inside, iou)
        if count == 0:
            weights[d] = share
        elif nearest_inside > nearest_outside:
            weights[d] = 1.0
        elif nearest_inside == nearest_outside:
            weights[d] = count_outside / count
    return weights


@compiled
def _iou(boxes, d, objects, g, pixel):  # type: ignore[no-untyped-def]
    """IoU of a detection and an object; 0 where they do not overlap."""
    width = min(boxes[d, 2], objects[g, 2]) - max(boxes[d, 0], objects[g, 0]) + pixel
    height = min(boxes[d, 3], objects[g, 3]) - max(boxes[d, 1], objects[g, 1]) + pixel
    if width <= 0.0 or height <= 0.0:
        return 0.0
    intersection = width * height
    area = (boxes[d, 2] - boxes[d, 0] + pixel) * (boxes[d, 3] - boxes[d, 1] + pixel)
    other = (objects[g, 2] - objects[g, 0] + pixel) * (objects[g, 3] - objects[g, 1] + pixel)
    return intersection / (area + other - intersection)
