"""Frame results of made-up videos, of which many boxes link and overlap, some on the threshold."""

import numpy as np
import torch
from torch import Tensor

from d2_plugtrack.core.tfd import FrameResult


def frame_result(boxes, scores, mapped_boxes=(), num_classes=2, masks=None) -> FrameResult:
    """A result from plain lists."""
    boxes, mapped, scores = (
        torch.tensor(values, dtype=torch.float32).reshape(len(values), columns)
        for values, columns in ((boxes, 4), (mapped_boxes, 4), (scores, num_classes))
    )
    nan, none = torch.full((len(boxes),), torch.nan), torch.full((len(boxes),), -1)
    return FrameResult(boxes, scores, nan, mapped, none, (100, 100), masks)


def random_video(
    seed: int,
    num_frames: int,
    num_classes: int = 3,
    empty: float = 0.15,
    parked: bool = False,
    masks: bool = False,
) -> list[FrameResult]:
    """Boxes on a coarse grid that hardly move; scores have one decimal, so that many are equal.

    Args:
        empty: how many of the frames have no boxes.
        parked: one box is in every frame, so that there is never a cut.
    """
    rng = np.random.default_rng(seed)
    results, before = [], np.zeros((0, 4))
    for _ in range(num_frames):
        count = 0 if rng.random() < empty else rng.integers(1, 7)
        corners = 10 * rng.integers(0, 4, (count, 2)) + rng.integers(0, 3, (count, 2))
        boxes = np.concatenate([corners, corners + 20], axis=1).astype(float)
        if parked:
            boxes = np.concatenate([boxes, [[5.0, 5, 30, 30]]])
        scores = rng.random((len(boxes), num_classes)).round(1)
        # a parked box is tracked exactly
        moves = rng.integers(-2, 3, before.shape) * (before != [5, 5, 30, 30]).any(1, keepdims=True)
        result = frame_result(boxes, scores, before + moves, num_classes)
        results.append(result._replace(masks=_masks(rng, len(boxes)) if masks else None))
        before = boxes
    return results


def linked(rng: np.random.Generator, video: list[FrameResult]) -> list[FrameResult]:
    """The same, and the tracker has linked some boxes of each frame with some of the one before."""
    results, num_before = [], 0
    for result in video:
        size = len(result.boxes)
        count = rng.integers(0, min(size, num_before) + 1)
        source, ious = np.full(size, -1), np.full(size, np.nan, np.float32)
        rows = rng.permutation(size)[:count]
        source[rows] = rng.permutation(num_before)[:count]
        ious[rows] = rng.random(count).round(1)
        source, ious = torch.from_numpy(source), torch.from_numpy(ious)
        results.append(result._replace(source=source, track_scores=ious))
        num_before = size
    return results


def generic_video(rng: np.random.Generator) -> list[FrameResult]:
    """Few boxes of three objects in few frames, 3 classes, in float64.

    No two scores or sums of them are equal, and all sums are exact, in whatever order.
    """
    sizes = rng.integers(0, 5, size=rng.integers(0, 7)).tolist()
    count = sum(sizes)
    corners = rng.uniform(0, 30, (3, 2))[rng.integers(0, 3, count)] + rng.uniform(-2, 2, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(9, 12, (count, 2))], axis=1)
    scores = rng.integers(1, 2**40, (count, 3)) / 2**40
    boxes, mapped, scores = (
        torch.tensor(values).split(sizes)
        for values in (boxes, boxes + rng.uniform(-2, 2, boxes.shape), scores)
    )
    none = [torch.full((size,), -1) for size in sizes]
    before = [torch.zeros((0, 4), dtype=torch.float64), *mapped[:-1]][: len(sizes)]
    return [
        FrameResult(b, s, n * torch.nan, m, n, (100, 100))
        for b, s, m, n in zip(boxes, scores, before, none, strict=True)
    ]


def reorder(
    rng: np.random.Generator, video: list[FrameResult]
) -> tuple[list[FrameResult], list[Tensor], list[int]]:
    """The same boxes and classes in another order: ``order[i]`` was the number of box i.

    Returns:
        The results, the order of each frame's boxes, and that of the classes.
    """
    columns = rng.permutation(video[0].scores.shape[1]).tolist() if video else []
    orders = [torch.from_numpy(rng.permutation(len(r.boxes))) for r in video]
    moved = [
        r._replace(
            boxes=r.boxes[order],
            scores=r.scores[order][:, columns],
            mapped_boxes=r.mapped_boxes[before],
        )
        for r, order, before in zip(video, orders, [torch.arange(0), *orders[:-1]], strict=False)
    ]
    return moved, orders, columns


def _masks(rng: np.random.Generator, count: int) -> Tensor:
    side = 2 if count else 1
    return torch.from_numpy(rng.random((count, side, side), np.float32))
