"""How fast objects move, by how much each overlaps itself in the frames around (Sec. 6.3).

Shape letters: G objects of all frames, P pairs. Boxes are xyxy in pixels, both borders included.
An object's motion value in a frame is the mean IoU of its box with the boxes of the same track in
the frames up to 10 before and 10 after, itself left out; frames in which the track is not present
are left out as well, and one that is nowhere else in that window reads 1. Values are computed from
boxes as they are annotated, the same for every protocol. An object without a track id has no
value: NaN. No objects, no values.

Which values are slow, medium and fast is in ``ranges.py``.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

WINDOW = 10  # frames to either side


def motion_of_records(records: Iterable[Mapping[str, Any]]) -> list[np.ndarray]:
    """Motion values of the annotations of every frame, in the order of the records.

    A track is what shares a ``track_id`` in a video; frames lie apart as their ``frame_index``
    says, in whatever order they come. Crowds are left out.

    Args:
        records: frames of videos, as from ``data.imagenet.records``.
    """
    boxes, frames, tracks, counts = [], [], [], []
    numbers: dict[tuple[Hashable, Hashable], int] = {}
    for record in records:
        annotations = [a for a in record["annotations"] if not a.get("iscrowd")]
        counts.append(len(annotations))
        for annotation in annotations:
            track = annotation.get("track_id")
            key = record["video_id"], track
            tracks.append(-1 if track is None else numbers.setdefault(key, len(numbers)))
            frames.append(record["frame_index"])
            boxes.append(annotation["bbox"])
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    values = motion_values(np.array(tracks, np.int64), np.array(frames, np.int64), boxes)
    return np.split(values, np.cumsum(counts)[:-1]) if counts else []


def motion_values(tracks: np.ndarray, frames: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(G,) motion values.

    Args:
        tracks: (G,) number of each object's track; negative where it has none.
        frames: (G,) number of its frame.
        boxes: (G, 4).
    """
    values = np.full(len(tracks), np.nan)
    tracked = np.flatnonzero(tracks >= 0)  # the others would be one long track
    order = tracked[np.lexsort((frames[tracked], tracks[tracked]))]
    tracks, frames, boxes = tracks[order], frames[order], boxes[order]
    # in more digits than float64 has, where the machine can: the mean of twenty 0.9 is then 0.9
    # and not the number below it, which would be in another range
    sums, counts = np.zeros(len(tracks), np.longdouble), np.zeros(len(tracks), np.int64)
    step, apart = 0, np.zeros(0, np.int64)
    while step == 0 or len(apart):  # objects a step apart in a track, as long as there are any
        step += 1
        gaps = frames[step:] - frames[:-step]
        apart = np.flatnonzero((tracks[step:] == tracks[:-step]) & (gaps <= WINDOW))
        first = apart[gaps[apart] > 0]  # a track may be annotated twice in a frame
        iou = _aligned_iou(boxes[first], boxes[first + step])
        for end in (first, first + step):
            sums[end] += iou
            counts[end] += 1
    present = counts > 0
    means = np.ones(len(tracks))
    means[present] = sums[present] / counts[present]
    values[order] = means
    return values


def _aligned_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU (P,) of boxes (P, 4) with others (P, 4); 0 where they do not overlap."""
    corners = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    overlap = np.maximum(corners[1] - corners[0] + 1, 0)
    intersection = overlap[:, 0] * overlap[:, 1]
    areas = [np.prod(each[:, 2:] - each[:, :2] + 1, axis=1) for each in (boxes, others)]
    union = areas[0] + areas[1] - intersection
    return np.divide(intersection, union, out=np.zeros(len(boxes)), where=intersection > 0)
