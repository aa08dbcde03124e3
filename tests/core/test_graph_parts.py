"""Parts of a graph are what its links and overlaps connect, and renumbering changes no edge."""

import numpy as np
import pytest

from d2_plugtrack.core.box_graph import BoxGraph, find_edges
from d2_plugtrack.core.graph_parts import connected_parts, find_parts, reorder
from tests.core.random_graphs import random_graph


def pairs(starts, nodes):
    first = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    return list(zip(first.tolist(), nodes.tolist(), strict=True))


def neighbours(starts, nodes):
    return [nodes[a:b].tolist() for a, b in zip(starts[:-1], starts[1:], strict=True)]


def slow_parts(graph):
    """Lists of ascending nodes, by the lowest, from sets that are joined while they can be."""
    parts = [{node} for node in range(len(graph.link_starts) - 1)]
    for a, b in pairs(*graph[:2]) + pairs(*graph[2:]):
        joined = [part for part in parts if a in part or b in part]
        parts = [part for part in parts if part not in joined] + [set().union(*joined)]
    return sorted(sorted(part) for part in parts)


@pytest.mark.parametrize("seed", range(60))
def test_parts_are_those_of_a_plain_oracle(seed):
    graph = random_graph(seed)
    order, starts = find_parts(graph)
    found = [part.tolist() for part in np.split(order, starts[1:-1])] if len(order) else []
    assert found == slow_parts(graph) and starts[-1] == len(order)


@pytest.mark.parametrize("seed", range(60))
def test_places_have_the_edges_of_their_nodes(seed):
    graph = random_graph(seed)
    parts = connected_parts(graph)
    order, links = parts.order.tolist(), parts.links
    to_next, to_last = [], []
    for place, node in enumerate(order):
        begin, middle, end = links.starts[place], links.middles[place], links.starts[place + 1]
        to_last += [(order[other], node) for other in links.nodes[begin:middle]]
        to_next += [(node, order[other]) for other in links.nodes[middle:end]]
        for some in (links.nodes[begin:middle], links.nodes[middle:end]):
            assert some.tolist() == sorted(some.tolist())  # as ties are decided
    assert sorted(to_next) == sorted(to_last) == pairs(*graph[:2])
    overlaps = [(order[a], order[b]) for a, b in pairs(*parts.overlaps)]
    assert sorted(overlaps) == pairs(*graph[2:])


@pytest.mark.parametrize("seed", range(20))
def test_reordering_back_gives_the_graph(seed):
    graph = random_graph(seed)
    order, _ = find_parts(graph)
    back = np.argsort(order, kind="stable").astype(np.int32)
    for found, wanted in zip(reorder(reorder(graph, order), back), graph, strict=True):
        assert np.array_equal(found, wanted) and found.dtype == wanted.dtype


def test_parts_by_hand():
    # frames {0, 1}, {2, 3}, {4}: 0 links to 3 and 1 to 2, 2 and 3 apart; 4 is alone
    low, high, far = [0, 0, 10, 10], [0, 50, 10, 60], [90, 90, 99, 99]
    boxes = np.array([low, high, high, low, far], dtype=float)
    parts = connected_parts(find_edges(boxes, boxes, np.array([0, 2, 4, 5]), 0.5, 0.45))
    assert parts.order.tolist() == [0, 3, 1, 2, 4] and parts.starts.tolist() == [0, 2, 4, 5]
    # places: 0 and 1 are linked, 2 and 3
    assert parts.links.starts.tolist() == [0, 1, 2, 3, 4, 4]
    assert parts.links.middles.tolist() == [0, 2, 2, 4, 4]
    assert parts.links.nodes.tolist() == [1, 0, 3, 2]
    # an overlap joins: 0 and 1 in one frame
    boxes[1] = low
    parts = connected_parts(find_edges(boxes, boxes, np.array([0, 2, 4, 5]), 0.5, 0.45))
    assert parts.order.tolist() == [0, 1, 3, 2, 4] and parts.starts.tolist() == [0, 3, 4, 5]
    assert neighbours(*parts.overlaps) == [[1], [0], [], [], []]


def test_no_nodes_have_no_parts():
    none = np.zeros(1, np.int64), np.zeros(0, np.int32)
    parts = connected_parts(BoxGraph(*none, *none))
    assert parts.starts.tolist() == [0] and len(parts.order) == len(parts.links.nodes) == 0
