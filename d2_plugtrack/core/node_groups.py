"""The boxes of a part of a video in groups that nothing connects, small enough to work on.

Shape letters: V boxes ("nodes", numbered frame after frame). Neither a link nor an overlap joins
two groups, so that re-scoring one after the other gives the same as re-scoring all at once, with
the memory of one. A parked car joins a whole video; what drives past it is mostly on its own. No
nodes give no groups.
"""

from collections.abc import Iterator

import numpy as np

from .box_graph import BoxGraph
from .graph_parts import find_parts, reorder


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
            self._order, part_starts = find_parts(graph)
            self._bounds = _merge(part_starts, most_nodes)
            for group in self._slices():
                self._order[group].sort()
        self._graph = graph if len(self._bounds) <= 2 else reorder(graph, self._order)

    def _slices(self) -> Iterator[slice]:
        return map(slice, self._bounds[:-1], self._bounds[1:])

    def __iter__(self) -> Iterator[tuple[np.ndarray, BoxGraph]]:
        if len(self._bounds) == 2:  # no need to copy the only one
            yield self._order, self._graph
            return
        links, overlaps = self._graph[:2], self._graph[2:]
        for group in self._slices():
            neighbours = (*_cut_out(*links, group), *_cut_out(*overlaps, group))
            yield self._order[group], BoxGraph(*neighbours)


def _merge(part_starts: np.ndarray, most_nodes: int) -> np.ndarray:
    """Where groups of whole parts start, and the end, from where parts start (P + 1,)."""
    bounds = [0]
    while bounds[-1] < part_starts[-1]:
        fits = np.searchsorted(part_starts, bounds[-1] + most_nodes, side="right") - 1
        one = np.searchsorted(part_starts, bounds[-1], side="right")
        bounds.append(int(part_starts[max(fits, one)]))
    return np.array(bounds)


def _cut_out(starts: np.ndarray, nodes: np.ndarray, group: slice) -> tuple[np.ndarray, np.ndarray]:
    """Starts and neighbours of the nodes in ``group``, numbered from 0."""
    own = starts[group.start : group.stop + 1]
    return own - own[0], nodes[own[0] : own[-1]] - np.int32(group.start)
