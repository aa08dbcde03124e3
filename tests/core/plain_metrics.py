"""The three protocols and motion values in plain loops, as slow as they are short; for tests.

A set is a list of frames; a frame is ``Frame(objects, found)``: objects are (box, label, motion),
found are (box, score, label); boxes are lists of four floats. Everything is looked at one by one:
no arrays, no sharing between ranges or classes.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

PIXEL = {"fgfa": 1, "mega": 2, "coco": 0}
MOTION = {"slow": (0.9, 1.0), "medium": (0.7, 0.9), "fast": (0.0, 0.7)}
AREA = {"small": (0, 50 * 50), "medium": (50 * 50, 150 * 150), "large": (150 * 150, math.inf)}
# name: (motion range, area range); None is the whole
RANGES = {
    "whole": (None, None),
    **{f"motion-{name}": (span, None) for name, span in MOTION.items()},
    **{f"area-{name}": (None, span) for name, span in AREA.items()},
    "both": (MOTION["fast"], AREA["medium"]),
}


class Frame(NamedTuple):
    objects: list
    found: list


def iou(a, b, pixel):
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if width <= 0 or height <= 0:
        return 0.0
    area_a = (a[2] - a[0] + pixel) * (a[3] - a[1] + pixel)
    area_b = (b[2] - b[0] + pixel) * (b[3] - b[1] + pixel)
    return width * height / (area_a + area_b - width * height)


def threshold(box, protocol):
    if protocol != "fgfa":
        return 0.5
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    return min(0.5, width * height / ((width + 10) * (height + 10)))


def area(box):
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def within(value, span):
    return span is None or span[0] <= value <= span[1]


def average_precisions(frames, num_classes, protocol, motion_span=None, area_span=None):
    """AP of every class; NaN where nothing is to be found."""
    spans = motion_span, area_span
    return [average_precision(frames, k, protocol, *spans) for k in range(num_classes)]


def average_precision(frames, label, protocol, motion_span, area_span):
    num_objects = 0
    for frame in frames:
        for box, its_label, motion in frame.objects:
            if its_label == label and within(motion, motion_span) and within(area(box), area_span):
                num_objects += 1
    if num_objects == 0:
        return math.nan
    ranked = [
        (-score, t, i)
        for t, frame in enumerate(frames)
        for i, (_, score, its_label) in enumerate(frame.found)
        if its_label == label
    ]
    taken, true, false = set(), [], []
    for _, t, i in sorted(ranked):
        box = frames[t].found[i][0]
        choose = choose_of_coco if protocol == "coco" else choose_best
        which = choose(frames[t], t, box, label, protocol, taken, motion_span, area_span)
        if which is not None:
            taken.add((t, which))
            gt_box, _, motion = frames[t].objects[which]
            counts = within(motion, motion_span) and within(area(gt_box), area_span)
            true.append(1.0 if counts else 0.0)
            false.append(0.0)
        else:
            true.append(0.0)
            weight = 0.0
            if within(area(box), area_span):
                weight = weight_of(frames, t, box, label, protocol, motion_span)
            false.append(weight)
    return area_under(true, false, num_objects, protocol)


def choose_best(frame, t, box, label, protocol, taken, motion_span, area_span):
    """The best one that is left, the first on a tie, whatever range it is in."""
    best, best_iou = None, 0.0
    for g, (gt_box, gt_label, _) in enumerate(frame.objects):
        if gt_label == label and (t, g) not in taken:
            overlap = iou(box, gt_box, PIXEL[protocol])
            if overlap >= threshold(gt_box, protocol) and overlap > best_iou:
                best, best_iou = g, overlap
    return best


def choose_of_coco(frame, t, box, label, protocol, taken, motion_span, area_span):
    """Of those in range the best one, the last on a tie; out of range only if there is none."""
    groups = {True: [], False: []}
    for g, (gt_box, gt_label, motion) in enumerate(frame.objects):
        overlap = iou(box, gt_box, 0)
        if gt_label == label and (t, g) not in taken and overlap >= 0.5:
            counts = within(motion, motion_span) and within(area(gt_box), area_span)
            groups[counts].append((overlap, g))
    for group in (groups[True], groups[False]):
        if group:
            return max(group)[1]
    return None


def weight_of(frames, t, box, label, protocol, motion_span):
    """How far a detection that found nothing is false."""
    if protocol == "coco":
        return 1.0
    near = [o for o in frames[t].objects if protocol == "fgfa" or o[1] == label]
    if not near:
        return share(frames, motion_span)
    ignored = [iou(box, o[0], PIXEL[protocol]) for o in near if not within(o[2], motion_span)]
    others = [iou(box, o[0], PIXEL[protocol]) for o in near if within(o[2], motion_span)]
    if max(others, default=-1) > max(ignored, default=-1):
        return 1.0
    if max(others, default=-1) < max(ignored, default=-1):
        return 0.0
    return len(ignored) / len(near)


def share(frames, span):
    values = [motion for frame in frames for _, _, motion in frame.objects]
    values += [0.0 for frame in frames if not frame.objects]
    return sum(within(value, span) for value in values) / len(values)


def area_under(true, false, num_objects, protocol):
    precisions = []
    for n in range(len(true)):
        t, f = sum(true[: n + 1]), sum(false[: n + 1])
        precisions.append(t / (t + f) if t + f else 0.0)
    if protocol != "coco":  # each object found is a step of recall
        steps = [max(precisions[n:]) for n, hit in enumerate(true) if hit]
        return sum(steps) / num_objects
    total = 0.0
    for recall in np.linspace(0, 1, 101):  # COCO's own numbers: 0.01 * 7 is not 7 / 100
        at = [n for n in range(len(true)) if sum(true[: n + 1]) / num_objects >= recall]
        total += max((precisions[n] for n in range(at[0], len(true))), default=0) if at else 0
    return total / 101


def motion_values(records):
    """Motion of every annotation that is no crowd, a list per record."""
    values = []
    for record in records:
        row = []
        for annotation in record["annotations"]:
            if not annotation.get("iscrowd"):
                row.append(motion_of(annotation, record, records))
        values.append(row)
    return values


def motion_of(annotation, record, records):
    if "track_id" not in annotation:
        return math.nan
    overlaps = []
    for other in records:
        distance = abs(other["frame_index"] - record["frame_index"])
        if other["video_id"] != record["video_id"] or not 1 <= distance <= 10:
            continue
        for its in other["annotations"]:
            if not its.get("iscrowd") and its.get("track_id") == annotation["track_id"]:
                overlaps.append(Fraction(iou(annotation["bbox"], its["bbox"], 1)))
    return float(sum(overlaps) / len(overlaps)) if overlaps else 1.0
