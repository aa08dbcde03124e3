"""A graph of boxes in parts that nothing connects, for paths are taken in each by itself.

Shape letters: V boxes ("nodes", numbered frame after frame). Neither a link nor an overlap joins
two parts, so that re-scoring one after the other gives the same as re-scoring all at once, with
the memory of one. A parked car joins a whole video; what drives past it is mostly a part of its
own. No nodes give no parts.
"""

from collections.abc import Iterator

import numpy as np

from .box_graph import BoxGraph
from .compiled import compiled


class NodeGroups:
    """Iterates over ``(nodes, graph)``: which nodes, int32, and their graph, numbered anew.

    Small parts come together. Nodes keep their order where they are connected, as ties are decided
    by it.

    Args:
        graph: of V nodes; it is no longer needed afterwards.
        most_nodes: of parts that come together.
    """

    def __init__(self, graph: BoxGraph, most_nodes: int):
        num_nodes = len(graph.link_starts) - 1
        self._order = np.arange(num_nodes, dtype=np.int32)
        self._bounds = np.unique([0, num_nodes])
        if num_nodes > most_nodes:
            self._order, self._bounds = _find_parts(*graph, most_nodes)
        self._graph = graph if len(self._bounds) <= 2 else _in_order(graph, self._order)

    def __iter__(self) -> Iterator[tuple[np.ndarray, BoxGraph]]:
        if len(self._bounds) == 2:  # one part, or several that are small: no need to copy it
            yield self._order, self._graph
            return
        links, overlaps = self._graph[:2], self._graph[2:]
        for first, end in zip(self._bounds[:-1], self._bounds[1:], strict=True):
            part = BoxGraph(*_cut_out(*links, first, end), *_cut_out(*overlaps, first, end))
            yield self._order[first:end], part


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
def _find_parts(  # type: ignore[no-untyped-def]
    link_starts, link_nodes, overlap_starts, overlap_nodes, most_nodes
):
    """Nodes (V,) part after part, ascending in each, and where ``most_nodes`` of them end."""
    num_nodes = len(link_starts) - 1
    roots = np.arange(num_nodes).astype(np.int32)  # of the trees that are parts: the lowest node
    for node in range(num_nodes):
        for edge in range(link_starts[node], link_starts[node + 1]):
            _join(roots, node, link_nodes[edge])
        for edge in range(overlap_starts[node], overlap_starts[node + 1]):
            _join(roots, node, overlap_nodes[edge])
    places = np.zeros(num_nodes, np.int32)  # of a root: the size of its part, then its next place
    for node in range(num_nodes):
        roots[node] = _root(roots, node)
        places[roots[node]] += 1
    bounds = [0]
    end = 0
    for node in range(num_nodes):
        if roots[node] == node:
            size = places[node]
            if end > bounds[-1] and end + size > bounds[-1] + most_nodes:
                bounds.append(end)
            places[node] = end
            end += size
    bounds.append(end)
    order = np.empty(num_nodes, np.int32)
    for node in range(num_nodes):
        order[places[roots[node]]] = node
        places[roots[node]] += 1
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
