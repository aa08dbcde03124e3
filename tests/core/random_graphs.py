"""Links and overlaps of made-up videos."""

import numpy as np

from d2_plugtrack.core.box_graph import BoxGraph, find_edges


def random_graph(seed: int) -> BoxGraph:
    """Few boxes in many frames, so that there are many parts."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 5, size=rng.integers(0, 12))
    corners = 15 * rng.integers(0, 5, (sizes.sum(), 2)) + rng.integers(0, 3, (sizes.sum(), 2))
    boxes = np.concatenate([corners, corners + 20], axis=1).astype(float)
    return find_edges(boxes, boxes, np.cumsum([0, *sizes]), 0.5, 0.45)
