"""All figures of one evaluation: records and detections in, percentages out (Sec. 6.3, Table 6).

Shape letters: D detections of a frame, K classes, G objects of a frame. No framework and no files:
whoever has ground-truth records and per-frame detections can evaluate. How average precision is
counted is in ``vid_metrics.py`` and the modules it names; how fast an object moves in
``motion.py``.

Annotations with ``iscrowd`` are left out before anything is counted, in every protocol: they are
no objects, and a detection on them is false (pycocotools would let it count neither way; ImageNet
VID has none).
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from .class_evaluator import ClassEvaluator
from .frame_columns import ClassRows, DetectionColumns, stack_truth
from .motion import motion_of_records
from .protocols import Detections, clip_for_protocol, find_protocol, rounded
from .ranges import AREA_RANGES, MOTION_RANGES, WHOLE, ObjectRange
from .vid_metrics import stack_motion

FrameKey = tuple[Hashable, int]  # video_id, frame_index

_RANGES = {
    ("whole", ""): WHOLE,
    **{("motion", name): ObjectRange(motion=span) for name, span in MOTION_RANGES.items()},
    **{("area", name): ObjectRange(area=span) for name, span in AREA_RANGES.items()},
}


def mean_average_precision(
    records: Sequence[Mapping[str, Any]],
    detections: Mapping[FrameKey, Detections],
    class_names: Sequence[str],
    protocol: str,
    motion: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """mAP at IoU 0.5 of the detections against the records' annotations, in percent.

    All of ImageNet VID validation, 300 detections a frame, takes minutes and 1.7 GiB, where
    ``detections`` makes them when they are asked for (``tools/benchmark.py evaluation``).

    Args:
        records: ground truth, a frame each, as from ``data.imagenet.records``; crowds are left out.
        detections: of exactly these frames (others are not looked at), not yet rounded; read once,
            in the order of the records.
        class_names: in the order of the labels.
        protocol: a name in ``protocols.PROTOCOLS``.
        motion: (G,) motion values of the objects of each record; None computes them from
            ``track_id``, without which an object is in no motion range.

    Returns:
        ``{"mAP": mean over classes that have ground truth, "AP": {class: value}}``, and the same
        of parts of the objects as ``"motion": {"slow", "medium", "fast"}`` and ``"area":
        {"small", "medium", "large"}``, each with the mean over the classes that have ground truth
        there; NaN for a class without ground truth, and for a mean over none.

    Raises:
        ValueError: a frame has no entry in ``detections``, the first one is named; a protocol
            that there is not; boxes, scores, labels or motion values that cannot be, the frame is
            named.
    """
    rules = find_protocol(protocol)
    keys = [(r["video_id"], r["frame_index"]) for r in records]
    missing = [key for key in keys if key not in detections]
    if missing:
        raise ValueError(f"no detections of {len(missing)} frames, the first is {missing[0]}")
    num_classes = len(class_names)
    truth = stack_truth((_ground_truth(r, protocol) for r in records), num_classes, keys)
    values = stack_motion(motion_of_records(records) if motion is None else motion, truth, keys)
    columns = _gather(keys, detections, num_classes)
    evaluator = ClassEvaluator(truth, values, rules, list(_RANGES.values()))
    bar = tqdm(range(num_classes), f"{protocol}, matching", unit="class", **_BAR)
    per_class = [evaluator.average_precisions(k, _take(columns, k, protocol)) for k in bar]
    return _as_percentages(np.reshape(per_class, (num_classes, len(_RANGES))), class_names)


_BAR = {"disable": None, "leave": False}


def _gather(
    keys: list[FrameKey], detections: Mapping[FrameKey, Detections], num_classes: int
) -> DetectionColumns:
    columns = DetectionColumns(num_classes, keys)
    for key in tqdm(keys, "reading detections", unit="frame", **_BAR):
        columns.add(*detections[key])
    return columns


def _take(columns: DetectionColumns, label: int, protocol: str) -> ClassRows:
    """All detections of a class, rounded if the protocol does."""
    frames, boxes, scores = columns.take(label)
    rules = find_protocol(protocol)
    return ClassRows(
        frames, rounded(boxes, rules.box_decimals), rounded(scores, rules.score_decimals)
    )


def _ground_truth(record: Mapping[str, Any], protocol: str) -> tuple[np.ndarray, np.ndarray]:
    annotations = [a for a in record["annotations"] if not a.get("iscrowd")]
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    if find_protocol(protocol).clips:
        boxes = clip_for_protocol(boxes, record["height"], record["width"], protocol)
    return boxes, np.array([a["category_id"] for a in annotations], dtype=np.int64)


def _as_percentages(values: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """The result, from (K, R) values from 0 to 1."""
    result: dict[str, Any] = {"motion": {}, "area": {}}
    for (kind, name), column in zip(_RANGES, 100.0 * values.T, strict=True):
        present = column[~np.isnan(column)]
        mean = float(np.mean(present)) if len(present) else float("nan")
        part = {"mAP": mean, "AP": dict(zip(class_names, column.tolist(), strict=True))}
        if kind == "whole":
            result = {**part, **result}
        else:
            result[kind][name] = part
    return result
