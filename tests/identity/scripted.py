"""Results of scripted videos, and the tracks of them as plain lists."""

import math

import torch

from d2_plugtrack.core.tfd import FrameResult


def result_of(boxes, scores, source=None) -> FrameResult:
    """A frame: 10 x 10 boxes by their left edge, (N, K) scores, links to the frame before."""
    boxes = torch.tensor([[x, 0.0, x + 10, 10] for x in boxes]).reshape(-1, 4)
    mapped = boxes if source else boxes[:0]  # tracked exactly, all boxes of the frame before
    source = source or [-1] * len(boxes)
    track_scores = torch.tensor([math.nan if i < 0 else 1.0 for i in source])
    return FrameResult(
        boxes,
        torch.tensor(scores, dtype=torch.float32).reshape(-1, 2),
        track_scores,
        mapped,
        torch.tensor(source, dtype=torch.int64),
        (20, 200),
    )


def lines_of(frames) -> list[list[tuple]]:
    """(left edge, class, number) of the boxes of each frame."""
    return [
        list(zip(f.boxes[:, 0].tolist(), f.classes.tolist(), f.ids.tolist(), strict=True))
        for f in frames
    ]


def track(tracks, results):
    found = [frame for result in results for frame in tracks.push(result)]
    return lines_of([*found, *tracks.finish()])


# one object of class 1 that moves to the right, and something unsure of class 0
MOVING = [
    result_of([0, 90], [[0.1, 0.9], [0.3, 0.0]]),
    result_of([2, 90], [[0.1, 0.7], [0.3, 0.0]], [0, 1]),
    result_of([4, 90], [[0.1, 0.8], [0.3, 0.0]], [0, 1]),
]
