"""The tracker alone: how well it follows true boxes over a gap of frames.

Shape letters: F frames of a video, O objects present in both frames of a pair. Boxes are xyxy in
pixels of the frames as they came. detectron2 is not needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .core.boxes import aligned_iou, scale_boxes
from .core.tracker import TrackerHead

Size = tuple[int, int]


class TrackingOverlap(NamedTuple):
    """IoU with the truth of each tracked object, and of the box left where it was."""

    tracked: Tensor  # (O,)
    unmoved: Tensor  # (O,)


@torch.no_grad()
def tracking_overlap(
    tracker: TrackerHead,
    maps: Sequence[Tensor],
    records: Sequence[Mapping[str, Any]],
    gap: int,
    image_size: Size,
) -> TrackingOverlap:
    """Track the true boxes of every frame of a video into the frame ``gap`` later.

    Args:
        maps: F tracking maps (C, H, W), one a frame.
        records: F ground-truth records with ``track_id``.
        image_size: (height, width) of the network's input.

    Returns:
        All objects of all pairs in a row; empty where the video is too short.
    """
    parts = [
        _pair_overlap(tracker, maps[t::gap][:2], records[t::gap][:2], image_size)
        for t in range(len(records) - gap)
    ]
    empty = torch.zeros(0)
    return TrackingOverlap(*(torch.cat([empty, *(p[i] for p in parts)]) for i in range(2)))


def _pair_overlap(tracker, maps, records, image_size: Size) -> tuple[Tensor, Tensor]:
    prev, curr = ({a["track_id"]: a["bbox"] for a in r["annotations"]} for r in records)
    both = [i for i in prev if i in curr]
    original = records[0]["height"], records[0]["width"]
    start, truth = (
        torch.tensor([b[i] for i in both], dtype=torch.float32).reshape(-1, 4).to(maps[0].device)
        for b in (prev, curr)
    )
    tracked = tracker.track(*maps, scale_boxes(start, original, image_size), image_size).boxes
    tracked = scale_boxes(tracked, image_size, original)
    return aligned_iou(tracked, truth).cpu(), aligned_iou(start, truth).cpu()
