"""Parts of a graph: whole, in order, and nothing connects them."""

import numpy as np
import pytest

from d2_plugtrack.core.box_graph import BoxGraph
from d2_plugtrack.core.node_groups import NodeGroups
from tests.core.random_graphs import random_graph


def edges(graph, nodes):
    """Links and overlaps as pairs of nodes of the whole graph."""
    pairs = []
    for starts, others in (graph[:2], graph[2:]):
        first = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        assert len(nodes) == len(starts) - 1
        pairs.append([(nodes[a], nodes[b]) for a, b in zip(first, others, strict=True)])
    return pairs


def slow_parts(graph):
    """The part of each node, by its lowest node."""
    lowest = list(range(len(graph.link_starts) - 1))
    pairs = sum(edges(graph, lowest.copy()), [])
    for _ in lowest:
        for a, b in pairs:
            lowest[a] = lowest[b] = min(lowest[a], lowest[b])
    return lowest


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("most_nodes", [1, 5, 1000])
def test_parts_are_whole_and_all_there(seed, most_nodes):
    graph = random_graph(seed)
    num_nodes = len(graph.link_starts) - 1
    lowest = slow_parts(graph)
    expected = edges(graph, range(num_nodes))
    found = ([], [])
    seen = []
    parts = NodeGroups(graph, most_nodes)
    count = 0
    for nodes, part in parts:
        count += 1
        for gathered, pairs in zip(found, edges(part, nodes.tolist()), strict=True):
            gathered += pairs
        inside = {lowest[node] for node in nodes}
        assert [n for n in range(num_nodes) if lowest[n] in inside] == sorted(nodes)  # whole
        assert len(nodes) <= most_nodes or len(inside) == 1
        assert nodes.tolist() == sorted(nodes)
        for starts, others in (part[:2], part[2:]):
            for a, b in zip(starts[:-1], starts[1:], strict=True):
                assert others[a:b].tolist() == sorted(others[a:b].tolist())
        seen += nodes.tolist()
    assert sorted(seen) == list(range(num_nodes))
    assert [sorted(pairs) for pairs in found] == [sorted(pairs) for pairs in expected]
    assert len(list(parts)) == count  # they can be gone through again


def test_small_parts_come_together():
    # three nodes that nothing joins, then two that a link joins
    starts = np.array([0, 0, 0, 0, 1, 1])
    none = np.zeros(6, np.int64), np.zeros(0, np.int32)
    graph = BoxGraph(starts, np.array([4], np.int32), *none)
    parts = [(nodes.tolist(), part.link_nodes.tolist()) for nodes, part in NodeGroups(graph, 3)]
    assert parts == [([0, 1, 2], []), ([3, 4], [1])]


def test_no_nodes_have_no_parts():
    none = np.zeros(1, np.int64), np.zeros(0, np.int32)
    assert list(NodeGroups(BoxGraph(*none, *none), 5)) == []
