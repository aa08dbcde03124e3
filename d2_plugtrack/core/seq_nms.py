"""Seq-NMS and Seq-Track-NMS: linking and re-scoring a video's boxes (Secs. 5 and 6.4).

Shape letters: T frames, N boxes of a frame, K foreground classes, V boxes of the video ("nodes",
numbered frame after frame), E edges. Boxes are (N, 4) float tensors, xyxy in absolute pixels
without any +1, of any device. A frame without boxes breaks every path; no frames, no classes and
boxes without area (their IoU is 0) are allowed.

Per class, over the whole video: the path through linked boxes with the largest sum of scores
gives all its boxes its mean score, then leaves together with the boxes it overlaps in each of
its frames; repeated until the largest sum is under ``min_score``. Boxes never move. A score of
exactly 0 means that a box is not in that class's list.

Links and overlaps are found once for all classes, in float64 on the boxes' device. The search is
dynamic programming over flat lists on the CPU; after a path is taken only the sums that were
built on a removed box are computed again, so that the cost grows with the length of the video.
Where the boxes come from is ``tfd.py``. Linking is after Han et al., "Seq-NMS for Video Object
Detection", arXiv 1602.08465; linking through tracked boxes is this paper's.
"""

import heapq
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .boxes import aligned_iou

_PAIRS_AT_ONCE = 1_000_000  # pairs of boxes compared in one batch: bounds the memory
_OUT_OF_PLAY = -math.inf  # the sum of a box that was taken or deleted: it extends no path


class Rescored(NamedTuple):
    """New scores of a video, one tensor per frame in each list."""

    scores: list[Tensor]  # (N, K) mean score of the box's path; 0 where not kept
    kept: list[Tensor]  # (N, K) bool: the box is on a path of this class
    paths: list[Tensor]  # (N, K) int64 number of that path, -1 where not kept


@torch.no_grad()
def seq_nms(
    boxes: list[Tensor],
    scores: list[Tensor],
    mapped_boxes: list[Tensor] | None = None,
    link_iou: float = 0.5,
    nms_iou: float = 0.45,
    min_score: float = 0.01,
) -> Rescored:
    """Link the boxes of a video and re-score them, class by class.

    Box i of frame t and box j of frame t+1 are linked where the IoU of box i (Seq-NMS) or of box
    i mapped to frame t+1 (Seq-Track-NMS) with box j is at least ``link_iou``. A path is extended
    backwards only where that makes its sum, rounded to float64, larger. Of predecessors that make
    it equally large the lowest box index counts, of equal ends the earliest frame and then the
    lowest box index.

    Args:
        boxes: (N, 4) per frame.
        scores: (N, K) per frame, 0 where a box is not in a class's list.
        mapped_boxes: the boxes of the frame before, tracked into this frame, (N of the frame
            before, 4) per frame and (0, 4) for the first: Seq-Track-NMS. None: Seq-NMS.
        link_iou: boxes of neighbouring frames link at this IoU and above.
        nms_iou: a path deletes boxes of its frames at this IoU and above.
        min_score: paths whose sum is below are not taken; boxes on no path are not kept.

    Returns:
        Per frame new scores (of the dtype and device of ``scores``), kept and path numbers. Paths
        are numbered from 0 class by class, within a class in the order in which they were taken,
        so that a number names one path of the whole video.
    """
    _check_shapes(boxes, scores, mapped_boxes)
    if not boxes:
        return Rescored([], [], [])
    _check_finite({"boxes": boxes, "scores": scores, "mapped_boxes": mapped_boxes or []})
    links, overlaps = _links_and_overlaps(boxes, mapped_boxes, link_iou, nms_iou)
    old_scores = torch.cat(scores).double().cpu().numpy()
    new_scores, paths = _rescore(links, overlaps, old_scores, min_score)
    video_scores = torch.from_numpy(new_scores).to(scores[0])
    video_paths = torch.from_numpy(paths).to(scores[0].device)
    sizes = [len(per_frame) for per_frame in boxes]
    video = (video_scores, video_paths >= 0, video_paths)
    return Rescored(*(list(values.split(sizes)) for values in video))


def _check_shapes(boxes: list[Tensor], scores: list[Tensor], mapped: list[Tensor] | None) -> None:
    for name, others in (("scores", scores), ("mapped_boxes", mapped)):
        if others is not None and len(others) != len(boxes):
            raise ValueError(f"expected {len(boxes)} frames of {name}, got {len(others)}")
    num_classes = scores[0].shape[-1] if boxes and scores[0].ndim else 0
    num_before = 0
    for frame, boxes_per_frame in enumerate(boxes):
        num_boxes = len(boxes_per_frame) if boxes_per_frame.ndim else 0
        _check_shape(frame, "boxes", boxes_per_frame, (num_boxes, 4))
        _check_shape(frame, "scores", scores[frame], (num_boxes, num_classes))
        if mapped is not None:
            _check_shape(frame, "mapped_boxes", mapped[frame], (num_before, 4))
        num_before = num_boxes


def _check_shape(frame: int, name: str, value: Tensor, expected: tuple[int, int]) -> None:
    if value.shape != expected:
        found = tuple(value.shape)
        raise ValueError(f"frame {frame}: expected {name} of shape {expected}, got {found}")


def _check_finite(values: dict[str, list[Tensor]]) -> None:
    for name, per_frame in values.items():
        # one look at everything; frame by frame only to name the one at fault
        if per_frame and not torch.cat(per_frame).isfinite().all():
            frame = next(t for t, value in enumerate(per_frame) if not value.isfinite().all())
            raise ValueError(f"frame {frame}: {name} must be finite, got NaN or infinity")


# ---- the graph: links between frames, overlaps within frames --------------------------------


def _links_and_overlaps(
    boxes: list[Tensor], mapped_boxes: list[Tensor] | None, link_iou: float, nms_iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Edges (2, E) to nodes of the next frame, and between different nodes of one frame."""
    all_boxes = torch.cat(boxes).double()
    before = all_boxes
    if mapped_boxes is not None:  # nothing follows the last frame: any boxes will do for it
        before = torch.cat([*mapped_boxes[1:], boxes[-1]]).double()
    sizes = np.array([len(per_frame) for per_frame in boxes])
    ends = np.cumsum(sizes)
    next_sizes = np.append(sizes[1:], 0)
    after = np.stack([ends, ends + next_sizes], axis=1).repeat(sizes, axis=0)
    beside = np.stack([ends - sizes, ends], axis=1).repeat(sizes, axis=0)
    links = _edges(before, all_boxes, after, link_iou)
    overlaps = _edges(all_boxes, all_boxes, beside, nms_iou)
    return links, overlaps[:, overlaps[0] != overlaps[1]]


def _edges(boxes: Tensor, others: Tensor, spans: np.ndarray, min_iou: float) -> np.ndarray:
    """Pairs (2, E) with an IoU of at least ``min_iou``, sorted by the first, then the second.

    Box v of (V, 4) is compared with ``others[first:end]``, where ``spans[v]`` is first and end.
    """
    found = [np.zeros((2, 0), dtype=np.int64)]
    largest = int((spans[:, 1] - spans[:, 0]).max(initial=1))
    places = torch.arange(largest, device=boxes.device)
    nodes = torch.arange(len(boxes), device=boxes.device)
    first, end = torch.from_numpy(spans).to(boxes.device).unbind(dim=1)
    for some in nodes.split(max(1, _PAIRS_AT_ONCE // largest)):
        columns = first[some, None] + places
        rows, places_of_rows = (columns < end[some, None]).nonzero(as_tuple=True)
        rows, columns = some[rows], columns[rows, places_of_rows]
        close = aligned_iou(boxes[rows], others[columns]) >= min_iou
        found.append(torch.stack([rows[close], columns[close]]).cpu().numpy())
    return np.concatenate(found, axis=1)


# ---- paths: one class at a time -------------------------------------------------------------


def _rescore(
    links: np.ndarray, overlaps: np.ndarray, scores: np.ndarray, min_score: float
) -> tuple[np.ndarray, np.ndarray]:
    """New scores (V, K) float64 and path numbers (V, K) int64 from scores (V, K)."""
    new_scores = np.zeros_like(scores)
    paths = np.full(scores.shape, -1, dtype=np.int64)
    number = 0
    for k in range(scores.shape[1]):
        listed = np.flatnonzero(scores[:, k])
        graph = _ClassGraph(links, overlaps, scores[:, k])
        for path, total in graph.take_paths(min_score):
            new_scores[listed[path], k] = total / len(path)
            paths[listed[path], k] = number
            number += 1
    return new_scores, paths


def _restricted(edges: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Edges (2, E) between ``listed`` (V,) nodes, renumbered to their places among these."""
    places = np.cumsum(listed) - 1
    return places[edges[:, listed[edges].all(axis=0)]]


def _neighbours(edges: np.ndarray, num_nodes: int) -> tuple[list[int], list[int]]:
    """Edges (2, E) sorted by their first node, as flat lists.

    The neighbours of node v are ``nodes[starts[v]:starts[v + 1]]``.
    """
    starts = np.searchsorted(edges[0], np.arange(num_nodes + 1))
    return starts.tolist(), edges[1].tolist()


class _ClassGraph:
    """Nodes of one class that are in play, and the best path ending in each.

    Nodes are numbered in the video's order: a lower number is an earlier frame, then a lower box
    index, as ties are decided. Plain lists, because single elements are read and written.
    """

    def __init__(self, links: np.ndarray, overlaps: np.ndarray, scores: np.ndarray) -> None:
        """Edges (2, E) of all nodes, and their scores (V,) for one class: 0 is not in its list."""
        links, overlaps = _restricted(links, scores != 0), _restricted(overlaps, scores != 0)
        self.scores: list[float] = scores[scores != 0].tolist()
        num_nodes = len(self.scores)
        backward = links[::-1, np.argsort(links[1], kind="stable")]
        self.next_starts, self.next_nodes = _neighbours(links, num_nodes)
        self.prev_starts, self.prev_nodes = _neighbours(backward, num_nodes)
        self.overlap_starts, self.overlap_nodes = _neighbours(overlaps, num_nodes)
        self.totals = self.scores.copy()  # largest sum of a path ending here
        self.origins = [-1] * num_nodes  # the node before on that path; -1: it starts here
        for node in range(num_nodes):
            self._extend(node)
        # Best end first, then lowest number. Totals only fall; outdated entries are left in.
        self.ends = [(-total, node) for node, total in enumerate(self.totals)]
        heapq.heapify(self.ends)

    def take_paths(self, min_score: float) -> Iterator[tuple[list[int], float]]:
        """Paths as (nodes in the order of frames, sum of scores), best first, until too weak."""
        while self.ends:
            negative_total, end = heapq.heappop(self.ends)
            total = -negative_total
            if total != self.totals[end]:
                continue
            if total < min_score:
                return
            path = [end]
            while self.origins[path[-1]] >= 0:
                path.append(self.origins[path[-1]])
            path.reverse()
            self._remove(path)
            yield path, total

    def _extend(self, node: int) -> None:
        """The best path ending in ``node``, from those ending in its predecessors."""
        score, totals = self.scores[node], self.totals
        best, origin = score, -1
        for before in self.prev_nodes[self.prev_starts[node] : self.prev_starts[node + 1]]:
            if score + totals[before] > best:
                best, origin = score + totals[before], before
        totals[node], self.origins[node] = best, origin

    def _remove(self, path: list[int]) -> None:
        """Take ``path`` and what it overlaps out of play, then follow the change through time."""
        waiting: list[int] = []  # nodes of the current frame whose origin lost
        for node in path:
            gone = self._take_out(node)
            waiting = self._followers(gone + self._update(waiting))
        while waiting:
            waiting = self._followers(self._update(waiting))

    def _take_out(self, node: int) -> list[int]:
        """Take a node and the nodes in play that it overlaps out of play; return them."""
        overlaps = self.overlap_nodes[self.overlap_starts[node] : self.overlap_starts[node + 1]]
        gone = [node] + [other for other in overlaps if self.totals[other] != _OUT_OF_PLAY]
        for other in gone:
            self.totals[other] = _OUT_OF_PLAY
        return gone

    def _update(self, waiting: list[int]) -> list[int]:
        """Extend anew the nodes that are in play; return those whose total changed."""
        changed = []
        for node in waiting:
            old_total = self.totals[node]
            if old_total == _OUT_OF_PLAY:
                continue
            self._extend(node)
            if self.totals[node] != old_total:
                heapq.heappush(self.ends, (-self.totals[node], node))
                changed.append(node)
        return changed

    def _followers(self, nodes: list[int]) -> list[int]:
        """Nodes of the next frame whose best path comes from one of ``nodes``.

        Totals only fall, so whoever prefers another origin still does.
        """
        followers = []
        for node in nodes:
            linked = self.next_nodes[self.next_starts[node] : self.next_starts[node + 1]]
            followers += [after for after in linked if self.origins[after] == node]
        return followers
