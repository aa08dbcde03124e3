"""The boxes of a part of a video in groups that nothing connects, small enough to work on.

Shape letters: V boxes ("nodes", numbered frame after frame). Neither a link nor an overlap joins
two groups, so that re-scoring one after the other gives the same as re-scoring all at once, with
the memory of one. A parked car joins a whole video; what drives past it is mostly on its own. No
nodes give no groups.
"""

from collections.abc import Iterator

import numpy as np

from .box_graph import BoxGraph
from .compiled import compiled


class NodeGroups:
    """Iterates over ``(nodes, graph)``: ascending nodes, int32, and their graph, numbered anew.

    Args:
        graph: of V nodes; it is no longer needed afterwards.
        most_nodes: of a group; more where so many are connected.
    """

    def __init__(self, graph: BoxGraph, most_nodes: int):
        num_nodes = len(graph.link_starts) - 1
        self._order = np.arange(num_nodes, dtype=np.int32)
        self._bounds = np.unique([0, num_nodes])
        if num_nodes > most_nodes:
            self._order, self._bounds = _find_groups(*graph, most_nodes)
        self._graph = graph if len(self._bounds) <= 2 else _in_order(graph, self._order)

    def __iter__(self) -> Iterator[tuple[np.ndarray, BoxGraph]]:
        if len(self._bounds) == 2:  # no need to copy the only one
            yield self._order, self._graph
            return
        links, overlaps = self._graph[:2], self._graph[2:]
        for first, end in zip(self._bounds[:-1], self._bounds[1:], strict=True):
            group = BoxGraph(*_cut_out(*links, first, end), *_cut_out(*overlaps, first, end))
            yield self._order[first:end], group


def _cut_out(
    starts: np.ndarray, nodes: np.ndarray, first: int, end: int
) -> tuple[np.ndarray, np.ndarray]:
    """Starts and neighbours of the nodes from ``first`` to before ``end``, numbered from 0."""
    own = starts[first : end + 1]
    return own - own[0], nodes[own[0] : own[-1]] - np.int32(first)


def _in_order(graph: BoxGraph, order: np.ndarray) -> BoxGraph:
    places = np.empty_like(order)
    places[order] = np.arange(len(order), dtype=np.int32)
    links = _reordered(graph.link_starts, graph.link_nodes, order, places)
    return BoxGraph(*links, *_reordered(graph.overlap_starts, graph.overlap_nodes, order, places))


@compiled
def _reordered(starts, nodes, order, places):  # type: ignore[no-untyped-def]
    """Starts and nodes with node ``order[i]`` in place i."""
    new_starts = np.zeros_like(starts)
    new_nodes = np.empty_like(nodes)
    count = 0
    for place in range(len(order)):
        node = order[place]
        for edge in range(starts[node], starts[node + 1]):
            new_nodes[count] = places[nodes[edge]]
            count += 1
        new_starts[place + 1] = count
    return new_starts, new_nodes


@compiled
def _find_groups(  # type: ignore[no-untyped-def]
    link_starts, link_nodes, overlap_starts, overlap_nodes, most_nodes
):
    """Nodes (V,) group after group, ascending in each, and the places where groups begin or end."""
    num_nodes = len(link_starts) - 1
    roots = np.arange(num_nodes).astype(np.int32)  # of trees of connected nodes: the lowest one
    for node in range(num_nodes):
        for edge in range(link_starts[node], link_starts[node + 1]):
            _join(roots, node, link_nodes[edge])
        for edge in range(overlap_starts[node], overlap_starts[node + 1]):
            _join(roots, node, overlap_nodes[edge])
    numbers = np.zeros(num_nodes, np.int32)  # of a root: the size of its tree, then its group
    for node in range(num_nodes):
        roots[node] = _root(roots, node)
        numbers[roots[node]] += 1
    bounds = [0]
    end = 0
    for node in range(num_nodes):
        if roots[node] == node:
            size = numbers[node]
            if end > bounds[-1] and end + size > bounds[-1] + most_nodes:
                bounds.append(end)
            numbers[node] = len(bounds) - 1
            end += size
    bounds.append(end)
    places = np.array(bounds)
    order = np.empty(num_nodes, np.int32)
    for node in range(num_nodes):
        group = numbers[roots[node]]
        order[places[group]] = node
        places[group] += 1
    return order, np.array(bounds)


@compiled
def _join(roots, node, other):  # type: ignore[no-untyped-def]
    first, second = _root(roots, node), _root(roots, other)
    if first < second:
        roots[second] = first
    else:
        roots[first] = second


@compiled
def _root(roots, node):  # type: ignore[no-untyped-def]
    while roots[node] != node:
        roots[node] = roots[roots[node]]
        node = roots[node]
    return node
