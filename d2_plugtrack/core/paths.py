"""The best paths through linked boxes, class by class (Secs. 5 and 6.4).

Shape letters: V boxes of a video ("nodes", numbered frame after frame), K foreground classes, P
parts. Nodes are numbered as ties are decided: a lower number is an earlier frame, then a lower box
index. No nodes and no classes are allowed. Where links and overlaps come from is ``box_graph.py``.

Dynamic programming over the whole graph gives the largest sum of a path ending in each node.
After a path is taken only the sums that were built on a removed node are computed again. Nodes that
no chain of links and overlaps connects know nothing of each other: each connected part is done by
itself, so that what is worked on at a time stays in the processor's cache however long the video.

Of a part, the first sums are computed for many classes at once, in vector instructions; the search
then goes class by class.
"""

import heapq

import numpy as np

from .box_graph import BoxGraph
from .compiled import compiled

_OUT_OF_PLAY = -np.inf  # the sum of a node that was taken or deleted: it extends no path
_CLASSES_AT_ONCE = 32  # bounds the memory of the first sums


def rescore_class(
    graph: BoxGraph, scores: np.ndarray, min_score: float
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`rescore_classes` of one class: from scores (V,) to (V,) and (V,)."""
    scores = np.asarray(scores, dtype=np.float64)
    new_scores, paths = rescore_classes(graph, scores[:, None], min_score)
    return new_scores[:, 0], paths[:, 0].astype(np.int32)


def rescore_classes(
    graph: BoxGraph, scores: np.ndarray, min_score: float
) -> tuple[np.ndarray, np.ndarray]:
    """Take paths, best first, until the largest sum is below ``min_score``.

    Args:
        graph: of V nodes.
        scores: (V, K) finite; 0 where a node is not in a class's list.
        min_score: a path whose sum is below is not taken.

    Returns:
        (V, K) float64 mean score of the node's path, 0 where not kept, and (V, K) int32 the first
        node of that path, -1 where not kept.

    Raises:
        ValueError: another number of nodes; compiled code would read beyond the arrays.
    """
    num_nodes = len(graph.link_starts) - 1
    if scores.ndim != 2 or len(scores) != num_nodes:
        raise ValueError(f"expected scores of shape ({num_nodes}, K), got {scores.shape}")
    order, part_starts = _parts(*graph)
    near = _near(graph.link_starts, graph.link_nodes, order)
    overlaps = _reordered(graph.overlap_starts, graph.overlap_nodes, order)
    dtype = np.float32 if scores.dtype == np.float32 else np.float64
    scores = np.ascontiguousarray(scores, dtype=dtype)
    new_scores = np.empty(scores.shape, dtype)
    paths = np.empty(scores.shape, np.int64)
    _rescore_parts(order, part_starts, near, overlaps, scores, float(min_score), new_scores, paths)
    return new_scores, paths


# ---- connected parts ------------------------------------------------------------------------


@compiled
def _parts(link_starts, link_nodes, overlap_starts, overlap_nodes):  # type: ignore[no-untyped-def]
    """All nodes part after part, ascending within each (V,), and where parts start (P + 1,)."""
    num_nodes = len(link_starts) - 1
    parents = np.arange(num_nodes).astype(np.int32)  # never higher: the lowest node is the root
    for node in range(num_nodes):
        for edge in range(link_starts[node], link_starts[node + 1]):
            _join(parents, node, link_nodes[edge])
        for edge in range(overlap_starts[node], overlap_starts[node + 1]):
            _join(parents, node, overlap_nodes[edge])
    numbers = np.empty(num_nodes, np.int32)
    ends = np.zeros(num_nodes + 1, np.int64)
    num_parts = 0
    for node in range(num_nodes):
        root = _root(parents, node)
        if root == node:
            numbers[node] = num_parts
            num_parts += 1
        numbers[node] = numbers[root]
        ends[numbers[node] + 1] += 1
    starts = np.cumsum(ends[: num_parts + 1])
    places = starts.copy()
    order = np.empty(num_nodes, np.int32)
    for node in range(num_nodes):
        order[places[numbers[node]]] = node
        places[numbers[node]] += 1
    return order, starts


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
    """Neighbours of the nodes in their new order, as places in that order."""
    places = _places(order)
    new_starts = np.zeros(len(starts), np.int64)
    new_nodes = np.empty(len(nodes), np.int32)
    count = 0
    for place in range(len(order)):
        for edge in range(starts[order[place]], starts[order[place] + 1]):
            new_nodes[count] = places[nodes[edge]]
            count += 1
        new_starts[place + 1] = count
    return new_starts, new_nodes


@compiled
def _near(starts, nodes, order):  # type: ignore[no-untyped-def]
    """Links of the nodes in their new order to both sides: starts, middles and nodes, ascending.

    The frame before is ``nodes[starts[v]:middles[v]]``, the next ``nodes[middles[v]:starts[v+1]]``.
    """
    links, forward = _reordered(starts, nodes, order)
    num_nodes = len(order)
    counts = np.zeros(num_nodes, np.int64)
    for node in forward:
        counts[node] += 1
    near_starts = np.zeros(num_nodes + 1, np.int64)
    middles = np.empty(num_nodes, np.int64)
    for node in range(num_nodes):
        middles[node] = near_starts[node] + counts[node]
        near_starts[node + 1] = middles[node] + links[node + 1] - links[node]
    near_nodes = np.empty(2 * len(forward), np.int32)
    filled = near_starts[:-1].copy()
    for node in range(num_nodes):
        for edge in range(links[node], links[node + 1]):
            after = forward[edge]
            near_nodes[middles[node] + edge - links[node]] = after
            near_nodes[filled[after]] = node
            filled[after] += 1
    return near_starts, middles, near_nodes


@compiled
def _places(order):  # type: ignore[no-untyped-def]
    places = np.empty(len(order), np.int32)
    for place in range(len(order)):
        places[order[place]] = place
    return places


# ---- the search -----------------------------------------------------------------------------


@compiled
def _rescore_parts(  # type: ignore[no-untyped-def]
    order, part_starts, near, overlaps, scores, min_score, new_scores, paths
):
    """Fill ``new_scores`` and ``first_nodes``, part by part; places are the nodes in there."""
    num_classes = scores.shape[1]
    largest = 0
    for part in range(len(part_starts) - 1):
        largest = max(largest, part_starts[part + 1] - part_starts[part])
    width = max(1, min(num_classes, _CLASSES_AT_ONCE))
    all_scores = np.empty((largest, width), np.float64)
    all_totals = np.empty((largest, width), np.float64)
    all_origins = np.empty((largest, width), np.int32)
    all_covered = np.empty((largest, width), np.bool_)
    num_nodes = len(order)
    of_class = np.empty(num_nodes, np.float64)
    totals = np.empty(num_nodes, np.float64)
    origins = np.empty(num_nodes, np.int32)
    path = np.empty(num_nodes, np.int32)
    gone = np.empty(num_nodes + 1, np.int32)
    waiting, changed = np.empty(num_nodes, np.int32), np.empty(num_nodes, np.int32)
    for part in range(len(part_starts) - 1):
        begin, stop = part_starts[part], part_starts[part + 1]
        for first_class in range(0, num_classes, width):
            num = min(width, num_classes - first_class)
            for node in range(begin, stop):
                for k in range(num):
                    all_scores[node - begin, k] = scores[order[node], first_class + k]
            _first_sums(begin, stop, near, num, all_scores, all_totals, all_origins, all_covered)
            for k in range(num):
                ends = [(0.0, 0) for _ in range(0)]
                for node in range(begin, stop):
                    of_class[node] = all_scores[node - begin, k]
                    totals[node] = all_totals[node - begin, k]
                    origins[node] = all_origins[node - begin, k]
                    if not all_covered[node - begin, k]:
                        ends.append((-totals[node], node))
                    all_totals[node - begin, k], all_origins[node - begin, k] = 0.0, -1
                heapq.heapify(ends)
                while len(ends) > 0:
                    negative_total, end = heapq.heappop(ends)
                    total = -negative_total
                    if total != totals[end]:
                        continue  # outdated: totals only fall
                    if total < min_score:
                        break
                    length = _trace(origins, end, path)
                    first = order[path[length - 1]]
                    mean = total / length
                    for place in range(length):
                        all_totals[path[place] - begin, k] = mean
                        all_origins[path[place] - begin, k] = first
                    _remove(
                        path, length, near, overlaps, of_class, totals, origins, gone, waiting,
                        changed, ends,
                    )
            for node in range(begin, stop):
                for k in range(num):
                    new_scores[order[node], first_class + k] = all_totals[node - begin, k]
                    first = np.int64(all_origins[node - begin, k])
                    number = first * num_classes + first_class + k
                    paths[order[node], first_class + k] = number if first >= 0 else -1


@compiled
def _first_sums(begin, stop, near, num, all_scores, all_totals, all_origins, all_covered):
    """Scores of a part, sums and origins for ``num`` classes, side by side."""
    starts, middles, nodes = near
    for node in range(begin, stop):
        row = node - begin
        own, total, origin = all_scores[row], all_totals[row], all_origins[row]
        covered = all_covered[row]
        for k in range(num):
            covered[k] = own[k] == 0
            own[k] = total[k] = own[k] if own[k] != 0 else _OUT_OF_PLAY
            origin[k] = -1
        for edge in range(starts[node], middles[node]):
            before = nodes[edge]
            before_total, before_covered = all_totals[before - begin], all_covered[before - begin]
            for k in range(num):
                extended = own[k] + before_total[k]
                larger = extended > total[k]
                total[k] = extended if larger else total[k]
                origin[k] = before if larger else origin[k]
                before_covered[k] |= extended > before_total[k]


@compiled
def _extend(node, near, scores, totals, origins):  # type: ignore[no-untyped-def]
    """The best path ending in ``node``, from those ending in its predecessors."""
    starts, middles, nodes = near
    score = scores[node]
    best, origin = score, -1
    for edge in range(starts[node], middles[node]):
        extended = score + totals[nodes[edge]]
        if extended > best:
            best, origin = extended, nodes[edge]
    totals[node], origins[node] = best, origin


@compiled
def _is_covered(node, near, scores, totals):  # type: ignore[no-untyped-def]
    """Whether a path ending in ``node`` can be made longer and its sum larger.

    Then ``node`` is not the best end, and stays so until its total or that follower changes. A
    follower's score can be too small to make a difference to the total as it is rounded.
    """
    starts, middles, nodes = near
    for edge in range(middles[node], starts[node + 1]):
        after = nodes[edge]
        if totals[after] != _OUT_OF_PLAY and scores[after] + totals[node] > totals[node]:
            return True
    return False


@compiled
def _trace(origins, end, path):  # type: ignore[no-untyped-def]
    """Write the path that ends in ``end`` to ``path``, last node first; return its length."""
    length = 0
    node = end
    while node >= 0:
        path[length] = node
        length += 1
        node = origins[node]
    return length


@compiled
def _remove(  # type: ignore[no-untyped-def]
    path, length, near, overlaps, scores, totals, origins, gone, waiting, changed, ends
):
    """Take a path and what it overlaps out of play, then follow the change through time."""
    overlap_starts, overlap_nodes = overlaps
    starts, middles, nodes = near
    # first everything that leaves: few of its neighbours are left to look at then
    count = 0
    for place in range(length - 1, -1, -1):
        node = path[place]
        totals[node] = _OUT_OF_PLAY
        gone[count] = node
        count += 1
        for edge in range(overlap_starts[node], overlap_starts[node + 1]):
            other = overlap_nodes[edge]
            gone[count] = other
            count += totals[other] != _OUT_OF_PLAY
            totals[other] = _OUT_OF_PLAY
    index = 0
    num_waiting = 0
    place = length - 1
    while place >= 0 or num_waiting > 0:
        num_changed = 0
        for i in range(num_waiting):
            node = waiting[i]
            old_total = totals[node]
            _extend(node, near, scores, totals, origins)
            if totals[node] != old_total:
                changed[num_changed] = node
                num_changed += 1
                if not _is_covered(node, near, scores, totals):
                    heapq.heappush(ends, (-totals[node], np.int64(node)))
        num_waiting = 0
        for i in range(num_changed):
            node = changed[i]
            for edge in range(middles[node], starts[node + 1]):
                after = nodes[edge]
                if totals[after] != _OUT_OF_PLAY and origins[after] == node:
                    waiting[num_waiting] = after
                    num_waiting += 1
        if place >= 0:
            place -= 1
            until = path[place] if place >= 0 else -1
            while index < count and gone[index] != until:
                node = gone[index]
                index += 1
                for edge in range(starts[node], starts[node + 1]):
                    other = nodes[edge]
                    if totals[other] == _OUT_OF_PLAY:
                        continue
                    if other < node:
                        if not _is_covered(other, near, scores, totals):
                            heapq.heappush(ends, (-totals[other], np.int64(other)))
                    elif origins[other] == node:
                        waiting[num_waiting] = other
                        num_waiting += 1
