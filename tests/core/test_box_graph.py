"""Links and overlaps against ``aligned_iou`` on every pair, with boxes on the threshold."""

import numpy as np
import pytest
import torch

from d2_plugtrack.core.box_graph import find_edges
from d2_plugtrack.core.boxes import aligned_iou


def neighbours(starts, nodes):
    return [nodes[a:b].tolist() for a, b in zip(starts[:-1], starts[1:], strict=True)]


def slow_neighbours(boxes, others, frames, step, min_iou):
    """For every box, whom it reaches ``step`` frames later, by ``aligned_iou`` pair by pair."""
    found = []
    for v, box in enumerate(boxes):
        after = [w for w in range(len(others)) if frames[w] == frames[v] + step]
        pairs = torch.from_numpy(box).expand(len(after), 4), torch.from_numpy(others[after])
        close = aligned_iou(*pairs) >= min_iou
        found.append([w for w, c in zip(after, close, strict=True) if c and (step or w != v)])
    return found


def random_boxes(rng, count, on_grid):
    corners = rng.integers(0, 5, (count, 2, 2)) * 5.0 if on_grid else rng.random((count, 2, 2))
    return np.sort(corners, axis=1).reshape(count, 4)


@pytest.mark.parametrize("on_grid", [True, False])
@pytest.mark.parametrize("thresholds", [(0.5, 0.45), (0.0, 0.0), (1.0, 1.0), (1 / 3, 0.2)])
def test_every_pair(on_grid, thresholds):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(0, 6, rng.integers(0, 6))
        starts, frames = np.cumsum([0, *sizes]), np.repeat(np.arange(len(sizes)), sizes)
        boxes, before = (random_boxes(rng, sizes.sum(), on_grid) for _ in range(2))
        graph = find_edges(before, boxes, starts, *thresholds)
        links = slow_neighbours(before, boxes, frames, 1, thresholds[0])
        overlaps = slow_neighbours(boxes, boxes, frames, 0, thresholds[1])
        assert neighbours(graph.link_starts, graph.link_nodes) == links
        assert neighbours(graph.overlap_starts, graph.overlap_nodes) == overlaps
        types = [a.dtype for a in graph]
        assert types == [np.int64, np.int32, np.int64, np.int32]


def test_crowded_frames_keep_all_pairs():
    # 300 equal boxes a frame: 300 links each, 299 overlaps each, far beyond what was reserved
    boxes = np.tile([0.0, 0.0, 10.0, 10.0], (600, 1))
    graph = find_edges(boxes, boxes, np.array([0, 300, 600]), 0.5, 0.45)
    assert len(graph.link_nodes) == 300 * 300 and len(graph.overlap_nodes) == 600 * 299
    assert graph.link_nodes[-300:].tolist() == list(range(300, 600))


def test_huge_boxes_whose_area_is_infinite_do_as_in_aligned_iou():
    boxes = np.array([[0.0, 0.0, 1e200, 1e200]] * 2)
    assert aligned_iou(*torch.from_numpy(boxes)[:, None]).item() == 0
    assert len(find_edges(boxes, boxes, np.array([0, 1, 2]), 0.5, 0.45).link_nodes) == 0


def test_shapes_that_do_not_belong_together():
    boxes = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"expected both of shape \(2, 4\), got .*\(3, 4\)"):
        find_edges(boxes, boxes, np.array([0, 2]), 0.5, 0.45)


def test_no_boxes():
    nothing = np.zeros((0, 4))
    graph = find_edges(nothing, nothing, np.array([0, 0, 0]), 0.5, 0.45)
    assert [len(a) for a in graph] == [1, 0, 1, 0]
