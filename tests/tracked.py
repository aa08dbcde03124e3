"""Objects of frames, made by hand or at random."""

import numpy as np
import torch

from d2_plugtrack.core.rescoring import TrackedObjects


def make_objects(boxes, tracks, classes=None, scores=None, masks=None) -> TrackedObjects:
    """Boxes (M, 4) xyxy with their tracks; class 0 and a score of a half where not given."""
    count = len(boxes)
    return TrackedObjects(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor([0.5] * count if scores is None else scores, dtype=torch.float32),
        torch.tensor([0] * count if classes is None else classes, dtype=torch.int64),
        torch.tensor(tracks, dtype=torch.int64),
        masks,
    )


def random_objects(
    rng: np.random.Generator, size: tuple[int, int], num_classes: int, side: int = 0
) -> TrackedObjects:
    """Up to five objects in a frame of ``size`` (height, width), with masks where side is not 0."""
    count = int(rng.integers(0, 6))
    corner = rng.uniform(0, 0.6, (count, 2))
    extent = rng.uniform(0.05, 0.4, (count, 2))
    boxes = np.hstack([corner, corner + extent]) * [size[1], size[0], size[1], size[0]]
    masks = torch.from_numpy(rng.uniform(0, 1, (count, side, side)).astype(np.float32))
    return make_objects(
        boxes.tolist(),
        rng.permutation(9)[:count].tolist(),
        rng.integers(0, num_classes, count).tolist(),
        rng.uniform(0.01, 1, count).tolist(),
        masks if side else None,
    )
