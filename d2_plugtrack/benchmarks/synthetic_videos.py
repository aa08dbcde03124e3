"""Seeded videos of boxes and scores to measure Seq-NMS on; nothing is rendered.

Shape letters: F frames, N boxes of a frame, K classes, M objects. Boxes are float32, xyxy in
pixels of a picture of ``SIZE``.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SIZE = np.array([1280.0, 720.0])


class BoxVideo(NamedTuple):
    """The arguments of ``seq_nms``, a list over frames each."""

    boxes: list[Tensor]  # (N, 4)
    scores: list[Tensor]  # (N, K)
    mapped_boxes: list[Tensor]  # (N of the frame before, 4)

    def to(self, device: str) -> "BoxVideo":
        """The same on another device."""
        return BoxVideo(*([value.to(device) for value in values] for values in self))


def moving_objects(frames: int, boxes: int, classes: int, seed: int = 0) -> BoxVideo:
    """N/2 objects on smooth tracks, each with two jittered boxes a frame.

    A box is missing in every twentieth frame, an object is somewhere else every hundredth. Scores
    are a softmax over K classes and background, the object's class first by a margin.
    """
    rng = np.random.default_rng(seed)
    objects = (boxes + 1) // 2
    jumps = rng.uniform(0, SIZE, (frames, objects, 2)) * (rng.random((frames, objects, 1)) < 0.01)
    way = rng.normal(0, 4, (objects, 2)) * np.arange(frames)[:, None, None] + jumps.cumsum(axis=0)
    centers = np.abs((rng.uniform(0, SIZE, (objects, 2)) + way) % (2 * SIZE) - SIZE)  # reflected
    sizes = rng.uniform(60, 200, (objects, 2))
    return _around(rng, centers, sizes, boxes, classes, jitter=8, missing=0.05)


def parked_car(frames: int, boxes: int, classes: int, seed: int = 0) -> BoxVideo:
    """One object that stands still, all boxes around it in every frame: no link is ever cut."""
    rng = np.random.default_rng(seed)
    centers, sizes = np.tile(SIZE / 2, (frames, 1, 1)), np.array([[300.0, 150.0]])
    return _around(rng, centers, sizes, boxes, classes, jitter=30, missing=0)


def crowd(frames: int, boxes: int, classes: int, seed: int = 0) -> BoxVideo:
    """A row of boxes, half a step further in every second frame: nothing is ever deleted.

    In a frame neighbours have an IoU of 0.43, below the threshold; each links with two of the next.
    """
    rng = np.random.default_rng(seed)
    row = 40.0 * np.arange(boxes)[:, None] * [1, 0]  # 40 of 100 pixels: 60 / 140
    centers = row + np.where(np.arange(frames) % 2, 20.0, 0.0)[:, None, None] * [1, 0]
    return _around(rng, centers, np.full((boxes, 2), 100.0), boxes, classes, jitter=0, missing=0)


def _around(
    rng: np.random.Generator,
    centers: np.ndarray,
    sizes: np.ndarray,
    boxes: int,
    classes: int,
    jitter: float,
    missing: float,
) -> BoxVideo:
    """Boxes around the objects' ``centers`` (F, M, 2), all of ``sizes`` (M, 2)."""
    frames, objects = centers.shape[:2]
    owner = np.arange(boxes) % objects
    present = rng.random((frames, boxes)) >= missing
    own_centers = centers[:, owner] + rng.normal(0, jitter, (frames, boxes, 2))
    next_centers = np.roll(centers, -1, axis=0)[:, owner] + rng.normal(0, jitter / 2, (boxes, 2))
    logits = rng.normal(0, 1.5, (frames, boxes, classes + 1)).astype(np.float32)
    label = rng.integers(0, classes, objects)
    logits[:, np.arange(boxes), label[owner]] += 4
    scores = torch.from_numpy(logits).softmax(dim=2)[:, :, :classes]
    half = sizes[owner] / 2

    def per_frame(values: Tensor) -> list[Tensor]:
        return [v[p].clone() for v, p in zip(values, torch.from_numpy(present), strict=True)]

    def corners(middle: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate([middle - half, middle + half], axis=2)).float()

    mapped = [torch.zeros(0, 4), *per_frame(corners(next_centers))[:-1]]
    return BoxVideo(per_frame(corners(own_centers)), per_frame(scores), mapped[:frames])
