"""The connected parts of a video's boxes, one after another.

Shape letters: V boxes of a video ("nodes", numbered frame after frame), P parts, E links, O
overlaps of a ``BoxGraph``. Two nodes are of one part where links and overlaps connect them, through
others or not. What happens in one part is nothing to another, so that ``paths.py`` does a part at a
time: what it works on stays in the processor's cache, however long the video. No nodes, no parts.
"""

from typing import NamedTuple

import numpy as np

from .box_graph import BoxGraph
from .compiled import compiled


class Links(NamedTuple):
    """Links to both sides, ascending.

    Those of v are ``nodes[starts[v]:middles[v]]`` of the frame before and
    ``nodes[middles[v]:starts[v + 1]]`` of the next.
    """

    starts: np.ndarray  # (V + 1,) int64
    middles: np.ndarray  # (V,) int64
    nodes: np.ndarray  # (2 E,) int32


class GraphParts(NamedTuple):
    """A graph whose nodes are "places": part after part, ascending by node within each."""

    order: np.ndarray  # (V,) int32, the node at every place
    starts: np.ndarray  # (P + 1,) int64, the first place of every part, and V
    links: Links
    overlaps: tuple[np.ndarray, np.ndarray]  # starts (V + 1,) int64, nodes (O,) int32


def connected_parts(graph: BoxGraph) -> GraphParts:
    """The parts of a graph, by their lowest node."""
    order, starts = find_parts(graph)
    if len(starts) > 2:  # otherwise they are in order as they are, and a copy of them takes memory
        graph = reorder(graph, order)
    links = Links(*_both_ways(graph.link_starts, graph.link_nodes))
    return GraphParts(order, starts, links, (graph.overlap_starts, graph.overlap_nodes))


def reorder(graph: BoxGraph, order: np.ndarray) -> BoxGraph:
    """The same graph with node ``order[i]`` in place i; order is (V,) int32."""
    links = _reordered(graph.link_starts, graph.link_nodes, order)
    return BoxGraph(*links, *_reordered(graph.overlap_starts, graph.overlap_nodes, order))


@compiled
def find_parts(graph):  # type: ignore[no-untyped-def]
    """``order`` and ``starts`` of :class:`GraphParts`."""
    num_nodes = len(graph.link_starts) - 1
    parents = np.arange(num_nodes).astype(np.int32)  # none is higher: the root is the lowest node
    for node in range(num_nodes):
        for edge in range(graph.link_starts[node], graph.link_starts[node + 1]):
            _join(parents, node, graph.link_nodes[edge])
        for edge in range(graph.overlap_starts[node], graph.overlap_starts[node + 1]):
            _join(parents, node, graph.overlap_nodes[edge])
    parts = np.empty(num_nodes, np.int32)
    num_parts = 0
    for node in range(num_nodes):
        root = _root(parents, node)
        parts[node] = parts[root]
        if root == node:
            parts[node] = num_parts
            num_parts += 1
    part_starts = np.zeros(num_parts + 1, np.int64)
    for part in parts:
        part_starts[part + 1] += 1
    part_starts = np.cumsum(part_starts)
    ends = part_starts.copy()
    order = np.empty(num_nodes, np.int32)
    for node, part in enumerate(parts):
        order[ends[part]] = node
        ends[part] += 1
    return order, part_starts


@compiled
def _root(parents, node):  # type: ignore[no-untyped-def]
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@compiled
def _join(parents, node, other):  # type: ignore[no-untyped-def]
    root, other_root = _root(parents, node), _root(parents, other)
    parents[max(root, other_root)] = min(root, other_root)


@compiled
def _reordered(starts, nodes, order):  # type: ignore[no-untyped-def]
    """Neighbours of nodes, as neighbours of places."""
    places = np.empty(len(order), np.int32)
    for place, node in enumerate(order):
        places[node] = place
    new_starts = np.zeros(len(starts), np.int64)
    new_nodes = np.empty(len(nodes), np.int32)
    count = 0
    for place, node in enumerate(order):
        for edge in range(starts[node], starts[node + 1]):
            new_nodes[count] = places[nodes[edge]]
            count += 1
        new_starts[place + 1] = count
    return new_starts, new_nodes


@compiled
def _both_ways(link_starts, link_nodes):  # type: ignore[no-untyped-def]
    """``starts``, ``middles`` and ``nodes`` from links to the next frame."""
    num_nodes = len(link_starts) - 1
    num_before = np.zeros(num_nodes, np.int64)
    for node in link_nodes:
        num_before[node] += 1
    starts = np.zeros(num_nodes + 1, np.int64)
    middles = np.empty(num_nodes, np.int64)
    for node in range(num_nodes):
        middles[node] = starts[node] + num_before[node]
        starts[node + 1] = middles[node] + link_starts[node + 1] - link_starts[node]
    nodes = np.empty(2 * len(link_nodes), np.int32)
    ends = starts[:-1].copy()
    for node in range(num_nodes):
        for edge in range(link_starts[node], link_starts[node + 1]):
            after = link_nodes[edge]
            nodes[middles[node] + edge - link_starts[node]] = after
            nodes[ends[after]] = node
            ends[after] += 1
    return starts, middles, nodes
