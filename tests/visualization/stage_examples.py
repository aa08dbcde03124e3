"""A video of three frames and two classes whose stages are worked out by hand."""

import numpy as np
import torch

from d2_plugtrack.core.open_part import RescoredFrame
from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.core.tracked_video import TrackNumbers
from d2_plugtrack.pictures.stages import number_strong_first
from d2_plugtrack.visualization.stages import Stages

CLASSES = ["car", "bus"]
SIZE = (48, 64)
CAR, BUS, TREE = [10.04, 20.06, 30, 40], [32.0, 4, 60, 24], [0.0, 0, 8, 8]
LABELS_OF_PATHS = {7: 0, 8: 1, 9: 1, 5: 0}


def frame_result(boxes, scores, source=None) -> FrameResult:
    boxes, scores = (torch.tensor(v, dtype=torch.float32) for v in (boxes, scores))
    source = [-1] * len(boxes) if source is None else source
    masks = torch.full((len(boxes), 2, 2), 0.5)
    boxes, scores = boxes.reshape(-1, 4), scores.reshape(-1, 2)
    nan = torch.full((len(boxes),), torch.nan)
    return FrameResult(boxes, scores, nan, boxes[:0], torch.tensor(source).long(), SIZE, masks)


def rescored_frame(tracked: FrameResult, paths, means) -> RescoredFrame:
    """Each box on one path, of which it has the mean score, or on none (-1)."""
    scores, numbers = np.zeros((len(paths), 2), np.float32), np.full((len(paths), 2), -1)
    for row, (path, mean) in enumerate(zip(paths, means, strict=True)):
        if path >= 0:
            label = LABELS_OF_PATHS[path]
            scores[row, label], numbers[row, label] = mean, path
    boxes, masks = tracked.boxes.numpy(), tracked.masks.numpy()
    return RescoredFrame(boxes, scores, numbers >= 0, numbers, masks)


def make_stages(*frames, threshold=0.3) -> list[Stages]:
    """From (detector, tracked, rescored) of each frame."""
    numbers, stages, is_strong = TrackNumbers(), [], {}
    for index, (detector, tracked, rescored) in enumerate(frames):
        image = np.full((*SIZE, 3), 40 * index, np.uint8)
        objects = numbers.objects(rescored)
        stages.append(Stages(index, image, detector, tracked, rescored, objects))
        for track, score in zip(objects.track_ids.tolist(), objects.scores.tolist(), strict=True):
            is_strong[track] = score >= threshold or is_strong.get(track, False)
    return number_strong_first(stages, is_strong)


def example(threshold=0.3) -> list[Stages]:
    """A car that is in all frames, a tree that nobody wants, and a bus in the last frame.

    The car's path 7 has scores 0.9, 0.3 and 0.6, mean 0.6. The tree's path 8 has 0.04 in frame 0,
    below what a page begins with; path 9 is the bus, 0.8; path 5, in frame 1 beside the car, 0.2.
    """
    first = frame_result([TREE, CAR], [[0.01, 0.04], [0.9, 0.05]])
    second = frame_result([CAR, BUS], [[0.3, 0.4], [0.2, 0.1]], source=[1, -1])
    third = frame_result([CAR, BUS, TREE], [[0.6, 0.1], [0.1, 0.8], [0.5, 0]], source=[0, -1, -1])
    alone = frame_result([CAR, CAR, BUS], [[0.9, 0], [0, 0.31234], [0.01, 0]])
    nothing = frame_result([], [])
    return make_stages(
        (alone, first, rescored_frame(first, [8, 7], [0.04, 0.6])),
        (nothing, second, rescored_frame(second, [7, 5], [0.6, 0.2])),
        (nothing, third, rescored_frame(third, [7, 9, -1], [0.6, 0.8, 0])),
        threshold=threshold,
    )
