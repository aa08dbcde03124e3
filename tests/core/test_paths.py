"""Paths of one class by hand, and one class against all; whole videos are in test_seq_nms.py."""

import numpy as np
import pytest

from d2_plugtrack.core.box_graph import BoxGraph, find_edges
from d2_plugtrack.core.paths import rescore_classes

CHAIN = BoxGraph(  # nodes 0, 1, 2 in three frames, linked one after the other
    np.array([0, 1, 2, 2]),
    np.array([1, 2], dtype=np.int32),
    np.zeros(4, dtype=np.int64),
    np.zeros(0, dtype=np.int32),
)


def rescore_class(graph, scores, min_score):
    """New scores and first nodes of one class: with K = 1 a path's number is its first node."""
    new_scores, paths = rescore_classes(graph, np.asarray(scores, np.float64)[:, None], min_score)
    return new_scores[:, 0], paths[:, 0].astype(np.int32)


def test_a_chain():
    new, first = rescore_class(CHAIN, np.array([0.5, 0.25, 0.75]), 0.01)
    assert new.tolist() == [0.5, 0.5, 0.5] and new.dtype == np.float64
    assert first.tolist() == [0, 0, 0] and first.dtype == np.int32
    # 0 in the middle is not in the list, 0.005 alone is too weak
    new, first = rescore_class(CHAIN, np.array([0.5, 0.0, 0.005]), 0.01)
    assert new.tolist() == [0.5, 0.0, 0.0] and first.tolist() == [0, -1, -1]


def test_a_score_too_small_to_count_is_no_extension():
    # 0.5 + 1e-20 is 0.5: equal ends, the earlier frame; what is left is alone, and too weak
    new, first = rescore_class(CHAIN, np.array([0.25, 0.25, 1e-20]), 0.01)
    assert new.tolist() == [0.25, 0.25, 0.0] and first.tolist() == [0, 0, -1]
    # after 1e-20 it counts again: the path goes through
    new, first = rescore_class(CHAIN, np.array([0.5, 1e-20, 0.25]), 0.01)
    assert new.tolist() == [0.25, 0.25, 0.25] and first.tolist() == [0, 0, 0]


def graph_of(num_nodes, links):
    """A graph without overlaps from (node, node) pairs in ascending order."""
    starts = np.searchsorted([a for a, _ in links], np.arange(num_nodes + 1))
    return CHAIN._replace(
        link_starts=starts,
        link_nodes=np.array([b for _, b in links], dtype=np.int32),
        overlap_starts=np.zeros(num_nodes + 1, dtype=np.int64),
    )


def test_what_is_computed_again_follows_the_same_rules():
    # nodes 0, 1, 2 | 3, 4: 0 and 3 leave, and 4 is left with 1 and 2, equally strong
    graph = graph_of(5, [(0, 3), (0, 4), (1, 4), (2, 4)])
    new, first = rescore_class(graph, np.array([0.5, 0.25, 0.25, 0.5, 0.25]), 0.01)
    assert new.tolist() == [0.5, 0.25, 0.25, 0.5, 0.25] and first.tolist() == [0, 1, 2, 0, 1]
    # nodes 0, 1 | 2, 3 | 4: 0 and 2 leave, 3 is left with 1, and 4 adds nothing to 0.25 + 0.25
    graph = graph_of(5, [(0, 2), (0, 3), (1, 3), (3, 4)])
    new, first = rescore_class(graph, np.array([0.5, 0.25, 0.5, 0.25, 1e-20]), 0.01)
    assert new.tolist() == [0.5, 0.25, 0.5, 0.25, 0.0] and first.tolist() == [0, 1, 0, 1, -1]


def test_one_class_is_a_column_of_all():
    rng = np.random.default_rng(0)
    boxes = rng.random((60, 4)) * 5 + [0, 0, 20, 20]
    graph = find_edges(boxes, boxes, np.arange(0, 61, 4), 0.5, 0.45)
    scores = rng.random((60, 5)) * (rng.random((60, 5)) < 0.8)
    new, paths = rescore_classes(graph, scores, 0.3)
    for k in range(5):
        new_of_class, first = rescore_class(graph, scores[:, k], 0.3)
        assert np.array_equal(new_of_class, new[:, k])
        assert np.array_equal(np.where(first >= 0, first * 5 + k, -1), paths[:, k])
    # float32 comes back rounded, from the same sums
    scores = scores.astype(np.float32)
    new_float32, paths = rescore_classes(graph, scores, 0.3)
    new, paths_of_float64 = rescore_classes(graph, scores.astype(np.float64), 0.3)
    assert new_float32.dtype == np.float32
    assert np.array_equal(new.astype(np.float32), new_float32)
    assert np.array_equal(paths, paths_of_float64)


def test_nothing_and_mistakes():
    new, paths = rescore_classes(CHAIN, np.zeros((3, 0)), 0.01)
    assert new.shape == paths.shape == (3, 0)
    with pytest.raises(ValueError, match=r"expected scores of shape \(3, K\), got \(2, 1\)"):
        rescore_class(CHAIN, np.zeros(2), 0.01)
