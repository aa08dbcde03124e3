"""The best paths through linked boxes, class by class (Secs. 5 and 6.4).

Shape letters: V boxes of a video ("nodes", numbered frame after frame), K foreground classes.
Nodes are numbered as ties are decided: a lower number is an earlier frame, then a lower box index.
No nodes and no classes are allowed. Links and overlaps are in ``box_graph.py``, the parts that are
done one after another in ``graph_parts.py``.

Dynamic programming gives the largest sum of a path ending in each node: of a part first for many
classes at once, in vector instructions. The search then goes class by class. After a path is taken
only the sums that were built on a removed node are computed again, and of the ends that are left
only those stand in the queue that no longer path passes through.
"""

import heapq
from typing import NamedTuple

import numpy as np

from .box_graph import BoxGraph
from .compiled import compiled
from .graph_parts import connected_parts

_OUT_OF_PLAY = -np.inf  # the sum of a node that was taken or deleted: it extends no path
_CLASSES_AT_ONCE = 32  # bounds the memory of ``_Rows``


def rescore_classes(
    graph: BoxGraph, scores: np.ndarray, min_score: float
) -> tuple[np.ndarray, np.ndarray]:
    """Take paths, best first, until the largest sum is below ``min_score``; every class by itself.

    Args:
        graph: of V nodes.
        scores: (V, K) finite, float32 or what float64 holds; 0: not in that class's list.
        min_score: a path whose sum is below is not taken.

    Returns:
        (V, K) mean score of the node's path, 0 where not kept, in float32 for float32 and float64
        otherwise (sums are kept in float64), and (V, K) int64 ``first_node * K + class`` of that
        path, -1 where not kept.

    Raises:
        ValueError: another number of nodes; compiled code would read beyond the arrays.
    """
    num_nodes = len(graph.link_starts) - 1
    if scores.ndim != 2 or len(scores) != num_nodes:
        raise ValueError(f"expected scores of shape ({num_nodes}, K), got {scores.shape}")
    dtype = np.float32 if scores.dtype == np.float32 else np.float64
    scores = np.ascontiguousarray(scores, dtype=dtype)
    new_scores = np.empty(scores.shape, dtype)
    paths = np.empty(scores.shape, np.int64)
    _rescore_parts(connected_parts(graph), scores, float(min_score), new_scores, paths)
    return new_scores, paths


class _Rows(NamedTuple):
    """Of the nodes of a part, for up to 32 classes side by side."""

    scores: np.ndarray  # float64
    totals: np.ndarray  # float64, largest sum of a path ending here; later the result
    origins: np.ndarray  # int32, node before on that path, -1: it starts here; later the result
    covered: np.ndarray  # bool, see ``_is_covered``, or out of play


@compiled
def _rescore_parts(parts, scores, min_score, new_scores, paths):  # type: ignore[no-untyped-def]
    """Fill ``new_scores`` and ``paths``; from here on nodes are places, numbered within a part."""
    num_nodes, num_classes = scores.shape
    largest = 0
    for part in range(len(parts.starts) - 1):
        largest = max(largest, parts.starts[part + 1] - parts.starts[part])
    shape = (largest, max(1, min(num_classes, _CLASSES_AT_ONCE)))
    rows = _Rows(
        np.empty(shape, np.float64),
        np.empty(shape, np.float64),
        np.empty(shape, np.int32),
        np.empty(shape, np.bool_),
    )
    # of one class, as in rows
    sums = (
        np.empty(num_nodes, np.float64),
        np.empty(num_nodes, np.float64),
        np.empty(num_nodes, np.int32),
    )
    # nodes, to write down and overwrite: see _take_paths, _take_out, _follow
    room = (
        np.empty(num_nodes, np.int32),
        np.empty(num_nodes + 1, np.int32),
        np.empty(num_nodes, np.int32),
        np.empty(num_nodes, np.int32),
    )
    for part in range(len(parts.starts) - 1):
        begin, stop = parts.starts[part], parts.starts[part + 1]
        for first_class in range(0, num_classes, shape[1]):
            classes = (first_class, min(first_class + shape[1], num_classes))
            _read_rows(begin, stop, classes, parts.order, scores, rows)
            _first_sums(begin, stop, classes[1] - classes[0], parts.links, rows)
            for k in range(classes[1] - classes[0]):
                ends = _first_ends(begin, stop, k, rows, sums)
                _take_paths(begin, k, parts, min_score, ends, rows, sums, room)
            _write_rows(begin, stop, classes, parts.order, rows, new_scores, paths)


# ---- all classes at once --------------------------------------------------------------------


@compiled
def _read_rows(begin, stop, classes, order, scores, rows):  # type: ignore[no-untyped-def]
    for node in range(begin, stop):
        row, given = rows.scores[node - begin], scores[order[node], classes[0] : classes[1]]
        for k in range(len(given)):
            row[k] = given[k]


@compiled
def _first_sums(begin, stop, num_classes, links, rows):  # type: ignore[no-untyped-def]
    for node in range(begin, stop):
        row = node - begin
        score, total, origin = rows.scores[row], rows.totals[row], rows.origins[row]
        covered = rows.covered[row]
        for k in range(num_classes):
            covered[k] = score[k] == 0
            score[k] = score[k] if score[k] != 0 else _OUT_OF_PLAY
            total[k] = score[k]
            origin[k] = -1
        for edge in range(links.starts[node], links.middles[node]):
            before = links.nodes[edge]
            earlier, is_covered = rows.totals[before - begin], rows.covered[before - begin]
            for k in range(num_classes):  # three loops, that become vector instructions
                is_covered[k] |= score[k] + earlier[k] > earlier[k]
            for k in range(num_classes):
                origin[k] = before if score[k] + earlier[k] > total[k] else origin[k]
            for k in range(num_classes):
                extended = score[k] + earlier[k]
                total[k] = extended if extended > total[k] else total[k]


@compiled
def _write_rows(begin, stop, classes, order, rows, new_scores, paths):  # type: ignore[no-untyped-def]
    num_classes = new_scores.shape[1]
    for node in range(begin, stop):
        means, firsts = rows.totals[node - begin], rows.origins[node - begin]
        result = new_scores[order[node], classes[0] : classes[1]]
        numbers = paths[order[node], classes[0] : classes[1]]
        for k in range(len(result)):
            result[k] = means[k]
        for k in range(len(result)):
            first = np.int64(firsts[k])
            numbers[k] = first * num_classes + classes[0] + k if first >= 0 else -1


# ---- one class ------------------------------------------------------------------------------
# Arrays are handed on one by one: numba counts references to those in a tuple at every call, which
# took three quarters of the time.


@compiled
def _first_ends(begin, stop, k, rows, sums):  # type: ignore[no-untyped-def]
    """Take a class out of ``rows``, which become its result; a heap of (-total, end) of paths."""
    scores, totals, origins = sums
    ends = [(0.0, 0) for _ in range(0)]  # typed, and empty
    for node in range(begin, stop):
        row = node - begin
        scores[node] = rows.scores[row, k]
        totals[node] = rows.totals[row, k]
        origins[node] = rows.origins[row, k]
        if not rows.covered[row, k]:
            ends.append((-rows.totals[row, k], node))
        rows.totals[row, k], rows.origins[row, k] = 0.0, -1
    heapq.heapify(ends)
    return ends


@compiled
def _take_paths(begin, k, parts, min_score, ends, rows, sums, room):  # type: ignore[no-untyped-def]
    scores, totals, origins = sums
    path, gone, waiting, changed = room
    while len(ends) > 0:
        negative_total, end = heapq.heappop(ends)
        total = -negative_total
        if total != totals[end]:
            continue  # outdated: totals only fall
        if total < min_score:
            break
        length = 0
        node = end
        while node >= 0:
            path[length] = node
            length += 1
            node = origins[node]
        mean, first = total / length, parts.order[path[length - 1]]
        for place in range(length):
            rows.totals[path[place] - begin, k] = mean
            rows.origins[path[place] - begin, k] = first
        num_gone = _take_out(path, length, parts.overlaps, totals, gone)
        _follow(
            path,
            length,
            gone,
            num_gone,
            parts.links,
            scores,
            totals,
            origins,
            waiting,
            changed,
            ends,
        )


@compiled
def _take_out(path, length, overlaps, totals, gone):  # type: ignore[no-untyped-def]
    """Take the path and what it overlaps out of play, before anything is computed again.

    Return how many nodes are gone; they stand in ``gone``, frame after frame.
    """
    starts, nodes = overlaps
    count = 0
    for place in range(length - 1, -1, -1):
        node = path[place]
        totals[node] = _OUT_OF_PLAY
        gone[count] = node
        count += 1
        for edge in range(starts[node], starts[node + 1]):
            other = nodes[edge]
            gone[count] = other  # overwritten by the next where it was out of play
            count += totals[other] != _OUT_OF_PLAY
            totals[other] = _OUT_OF_PLAY
    return count


@compiled
def _follow(  # type: ignore[no-untyped-def]
    path, length, gone, num_gone, links, scores, totals, origins, waiting, changed, ends
):
    """Compute the sums again that were built on what is gone, frame after frame.

    ``waiting`` are the nodes of a frame whose origin lost, ``changed`` those that lost themselves.
    Totals only fall, so whoever prefers another origin still does.
    """
    starts, middles, nodes = links
    place, seen, num_waiting = length - 1, 0, 0
    while place >= 0 or num_waiting > 0:
        num_changed = 0
        for index in range(num_waiting):
            node = waiting[index]
            old_total = totals[node]
            _extend(node, links, scores, totals, origins)
            if totals[node] != old_total:
                changed[num_changed] = node
                num_changed += 1
                if not _is_covered(node, links, scores, totals):
                    heapq.heappush(ends, (-totals[node], np.int64(node)))
        num_waiting = 0
        for index in range(num_changed):
            node = changed[index]
            for edge in range(middles[node], starts[node + 1]):
                after = nodes[edge]
                if totals[after] != _OUT_OF_PLAY and origins[after] == node:
                    waiting[num_waiting] = after
                    num_waiting += 1
        place -= 1
        until = path[place] if place >= 0 else -1
        while seen < num_gone and gone[seen] != until:
            node = gone[seen]
            seen += 1
            for edge in range(starts[node], starts[node + 1]):
                other = nodes[edge]
                if totals[other] == _OUT_OF_PLAY:
                    continue  # most are: they left together
                if other < node:
                    if not _is_covered(other, links, scores, totals):
                        heapq.heappush(ends, (-totals[other], np.int64(other)))
                elif origins[other] == node:
                    waiting[num_waiting] = other
                    num_waiting += 1


@compiled
def _extend(node, links, scores, totals, origins):  # type: ignore[no-untyped-def]
    """The best path ending in ``node``, from those ending in its predecessors."""
    starts, middles, nodes = links
    score = scores[node]
    best, origin = score, -1
    for edge in range(starts[node], middles[node]):
        extended = score + totals[nodes[edge]]
        if extended > best:
            best, origin = extended, nodes[edge]
    totals[node], origins[node] = best, origin


@compiled
def _is_covered(node, links, scores, totals):  # type: ignore[no-untyped-def]
    """Whether a path ending in ``node`` can be made longer and its sum larger.

    Then ``node`` is not the best end, and stays so until its total changes or that follower goes.
    A follower's score can be too small to make a difference to the total as it is rounded.
    """
    starts, middles, nodes = links
    for edge in range(middles[node], starts[node + 1]):
        after = nodes[edge]
        if totals[after] != _OUT_OF_PLAY and scores[after] + totals[node] > totals[node]:
            return True
    return False
