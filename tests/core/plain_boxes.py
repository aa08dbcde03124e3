"""Overlaps and NMS as they are defined, in whole numbers: the slow oracle of several tests.

Boxes are lists [x1, y1, x2, y2] of whole numbers (floats that hold them will do), so that an IoU is
a fraction, and equal to a threshold or not. Nothing of the package is used here.
"""

from collections import Counter
from fractions import Fraction


def overlap(a, b) -> tuple[int, int]:
    """Area of the intersection and of the union."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return int(width * height), int(areas - width * height)


def compare(a, b, threshold: Fraction) -> int:
    """-1, 0 or 1 where the IoU is below, at or above the threshold; boxes without area have 0."""
    intersection, union = overlap(a, b)
    difference = intersection * threshold.denominator - max(union, 1) * threshold.numerator
    return (difference > 0) - (difference < 0)


def plain_nms(boxes, scores, labels, threshold: Fraction, equal_stays, at_threshold: Counter):
    """Indices that stay, by falling score and then by index; boxes of other labels do not count.

    ``at_threshold`` counts, by threshold, the pairs whose IoU is exactly that.
    """
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        found = [compare(boxes[i], boxes[j], threshold) for j in kept if labels[j] == labels[i]]
        at_threshold[threshold] += found.count(0)
        if all(c < 0 or (equal_stays and c == 0) for c in found):
            kept.append(i)
    return kept
