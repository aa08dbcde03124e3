"""The best paths through linked boxes, one class at a time (Secs. 5 and 6.4).

Shape letters: V boxes of a video ("nodes", numbered frame after frame), K foreground classes, E
links, O overlaps of a ``BoxGraph``. Nodes are numbered as ties are decided: a lower number is an
earlier frame, then a lower box index. No nodes and no classes are allowed. Where links and
overlaps come from is ``box_graph.py``.

Dynamic programming over the whole graph gives the largest sum of a path ending in each node.
After a path is taken only the sums that were built on a removed node are computed again, so that
the cost grows with the number of nodes and not with its square.
"""

import heapq

import numpy as np

from .box_graph import BoxGraph
from .compiled import compiled

_OUT_OF_PLAY = -np.inf  # the sum of a node that was taken or deleted: it extends no path


def rescore_class(
    graph: BoxGraph, scores: np.ndarray, min_score: float
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`rescore_classes` of one class: from scores (V,) to (V,) and (V,)."""
    new_scores, first_nodes = rescore_classes(graph, scores[:, None], min_score)
    return new_scores[:, 0], first_nodes[:, 0]


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
    """
    scores = np.ascontiguousarray(scores, dtype=np.float64)
    return _rescore_classes(*graph, scores, float(min_score))


@compiled
def _rescore_classes(  # type: ignore[no-untyped-def]
    link_starts, link_nodes, overlap_starts, overlap_nodes, scores, min_score
):
    num_nodes, num_classes = scores.shape
    order, part_starts = _parts(link_starts, link_nodes, overlap_starts, overlap_nodes)
    links = _reordered(link_starts, link_nodes, order)
    overlaps = _reordered(overlap_starts, overlap_nodes, order)
    back_links = _reversed(*links)
    new_scores = np.zeros(scores.shape, np.float64)
    first_nodes = np.full(scores.shape, -1, np.int32)
    of_class = np.empty(num_nodes, np.float64)
    totals = np.empty(num_nodes, np.float64)
    origins = np.empty(num_nodes, np.int32)
    path = np.empty(num_nodes, np.int32)
    buffers = (np.empty(num_nodes, np.int32), np.empty(num_nodes, np.int32))
    for part in range(len(part_starts) - 1):
        begin, stop = part_starts[part], part_starts[part + 1]
        for k in range(num_classes):
            for node in range(begin, stop):
                of_class[node] = scores[order[node], k]
            ends = _first_ends(begin, stop, links, back_links, of_class, totals, origins)
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
                    new_scores[order[path[place]], k] = mean
                    first_nodes[order[path[place]], k] = first
                _remove(
                    path,
                    length,
                    links,
                    back_links,
                    overlaps,
                    of_class,
                    totals,
                    origins,
                    buffers,
                    ends,
                )
    return new_scores, first_nodes


@compiled
def _parts(link_starts, link_nodes, overlap_starts, overlap_nodes):  # type: ignore[no-untyped-def]
    """Order of nodes."""
    num_nodes = len(link_starts) - 1
    roots = np.arange(num_nodes).astype(np.int32)
    for node in range(num_nodes):
        for edge in range(link_starts[node], link_starts[node + 1]):
            _join(roots, node, link_nodes[edge])
        for edge in range(overlap_starts[node], overlap_starts[node + 1]):
            if overlap_nodes[edge] > node:
                _join(roots, node, overlap_nodes[edge])
    num_parts = 0
    numbers = np.empty(num_nodes, np.int32)
    sizes = np.zeros(num_nodes + 1, np.int64)
    for node in range(num_nodes):
        root = _root(roots, node)
        if root == node:
            numbers[node] = num_parts
            num_parts += 1
        else:
            numbers[node] = numbers[root]
        sizes[numbers[node] + 1] += 1
    starts = np.cumsum(sizes[: num_parts + 1])
    places = starts.copy()
    order = np.empty(num_nodes, np.int32)
    for node in range(num_nodes):
        order[places[numbers[node]]] = node
        places[numbers[node]] += 1
    return order, starts


@compiled
def _root(roots, node):  # type: ignore[no-untyped-def]
    while roots[node] != node:
        roots[node] = roots[roots[node]]
        node = roots[node]
    return node


@compiled
def _join(roots, node, other):  # type: ignore[no-untyped-def]
    first, second = _root(roots, node), _root(roots, other)
    if first < second:
        roots[second] = first
    else:
        roots[first] = second


@compiled
def _reordered(starts, nodes, order):  # type: ignore[no-untyped-def]
    places = np.empty(len(order), np.int32)
    for place in range(len(order)):
        places[order[place]] = place
    new_starts = np.zeros(len(order) + 1, np.int64)
    new_nodes = np.empty(len(nodes), np.int32)
    count = 0
    for place in range(len(order)):
        for edge in range(starts[order[place]], starts[order[place] + 1]):
            new_nodes[count] = places[nodes[edge]]
            count += 1
        new_starts[place + 1] = count
    return new_starts, new_nodes


@compiled
def _reversed(starts, nodes):  # type: ignore[no-untyped-def]
    """The links of every node to the frame before, ascending."""
    num_nodes = len(starts) - 1
    back_starts = np.zeros(num_nodes + 1, np.int64)
    for node in nodes:
        back_starts[node + 1] += 1
    for node in range(num_nodes):
        back_starts[node + 1] += back_starts[node]
    places = back_starts.copy()
    back_nodes = np.empty(len(nodes), np.int32)
    for node in range(num_nodes):
        for edge in range(starts[node], starts[node + 1]):
            back_nodes[places[nodes[edge]]] = node
            places[nodes[edge]] += 1
    return back_starts, back_nodes


@compiled
def _first_ends(begin, stop, links, back_links, scores, totals, origins):  # type: ignore[no-untyped-def]
    """Fill ``totals`` and ``origins``; return a heap of (-total, node) of what may end a path."""
    for node in range(begin, stop):
        if scores[node] == 0:
            totals[node], origins[node] = _OUT_OF_PLAY, -1
        else:
            _extend(node, back_links, scores, totals, origins)
    ends = [(0.0, 0) for _ in range(0)]
    for node in range(begin, stop):
        if totals[node] != _OUT_OF_PLAY and not _is_covered(node, links, scores, totals):
            ends.append((-totals[node], node))
    heapq.heapify(ends)
    return ends


@compiled
def _extend(node, back_links, scores, totals, origins):  # type: ignore[no-untyped-def]
    """The best path ending in ``node``, from those ending in its predecessors."""
    starts, nodes = back_links
    score = scores[node]
    best, origin = score, -1
    for edge in range(starts[node], starts[node + 1]):
        extended = score + totals[nodes[edge]]
        if extended > best:
            best, origin = extended, nodes[edge]
    totals[node], origins[node] = best, origin


@compiled
def _is_covered(node, links, scores, totals):  # type: ignore[no-untyped-def]
    """Whether a path ending in ``node`` can be made longer and its sum larger.

    Then ``node`` is not the best end, and stays so until its total or that follower changes. A
    follower's score can be too small to make a difference to the total as it is rounded.
    """
    starts, nodes = links
    for edge in range(starts[node], starts[node + 1]):
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
    path, length, links, back_links, overlaps, scores, totals, origins, buffers, ends
):
    """Take a path and what it overlaps out of play, then follow the change through time."""
    overlap_starts, overlap_nodes = overlaps
    waiting, changed = buffers  # nodes of a frame whose origin lost; those that lost themselves
    num_waiting = 0
    place = length - 1
    while place >= 0 or num_waiting > 0:
        num_changed = 0
        if place >= 0:
            node = path[place]
            place -= 1
            totals[node] = _OUT_OF_PLAY
            changed[0] = node
            num_changed = 1
            for edge in range(overlap_starts[node], overlap_starts[node + 1]):
                other = overlap_nodes[edge]
                if totals[other] != _OUT_OF_PLAY:
                    totals[other] = _OUT_OF_PLAY
                    changed[num_changed] = other
                    num_changed += 1
            for index in range(num_changed):
                _uncover(changed[index], links, back_links, scores, totals, ends)
        for index in range(num_waiting):
            node = waiting[index]
            old_total = totals[node]
            if old_total == _OUT_OF_PLAY:
                continue
            _extend(node, back_links, scores, totals, origins)
            if totals[node] != old_total:
                changed[num_changed] = node
                num_changed += 1
                if not _is_covered(node, links, scores, totals):
                    heapq.heappush(ends, (-totals[node], np.int64(node)))
        num_waiting = _followers(changed, num_changed, links, origins, waiting)


@compiled
def _uncover(gone, links, back_links, scores, totals, ends):  # type: ignore[no-untyped-def]
    """Offer as ends the predecessors of a node out of play that nothing else covers."""
    starts, nodes = back_links
    for edge in range(starts[gone], starts[gone + 1]):
        before = nodes[edge]
        if totals[before] != _OUT_OF_PLAY and not _is_covered(before, links, scores, totals):
            heapq.heappush(ends, (-totals[before], np.int64(before)))


@compiled
def _followers(changed, num_changed, links, origins, waiting):  # type: ignore[no-untyped-def]
    """Nodes of the next frame whose best path comes from one of ``changed``: into ``waiting``.

    Totals only fall, so whoever prefers another origin still does.
    """
    starts, nodes = links
    count = 0
    for index in range(num_changed):
        node = changed[index]
        for edge in range(starts[node], starts[node + 1]):
            if origins[nodes[edge]] == node:
                waiting[count] = nodes[edge]
                count += 1
    return count
