"""A part of a video that no link leaves: its frames, compact, and their re-scoring.

Shape letters: F frames of a block, B boxes of a frame, N boxes of a block, V boxes of the part
("nodes", numbered frame after frame), K foreground classes, M cells of a mask's side, E links, O
overlaps. Boxes are xyxy in pixels of the frame. Frames come in blocks of some frames; a part
without frames or boxes gives nothing.

What a block needs is kept in arrays of a :class:`Spool`. Re-scoring holds the graph in memory, and
the scores of one group of nodes that nothing connects to others (``node_groups.py``), for as many
classes as fit; scores lie class after class for that. Where parts end is ``video_rescorer.py``'s.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .box_graph import BoxGraph
from .host_frames import HostFrame, flatten_masks, mask_starts, unflatten_masks
from .node_groups import NodeGroups
from .paths import rescore_classes
from .spool import Spool, Spooling

# What is re-scored in one go: nodes (more where so many are connected), and their scores (or those
# of one class). A score takes some 40 bytes meanwhile.
NODES_AT_ONCE = 200_000
SCORES_AT_ONCE = 3_000_000


class RescoredFrame(NamedTuple):
    """A frame that nothing later can change any more, on the CPU. Boxes are where they were."""

    boxes: np.ndarray  # (B, 4)
    scores: np.ndarray  # (B, K) mean score of the box's path; 0 where not kept
    kept: np.ndarray  # (B, K) bool: the box is on a path of this class
    # (B, K) int64 number of that path, -1 where not kept; online that of the box's track, of which
    # all classes are, kept or not
    paths: np.ndarray
    masks: np.ndarray | None  # (B, M, M) as in ``FrameResult``


def as_it_is(frame: HostFrame) -> RescoredFrame:
    """Without re-scoring: scores stay, a box is kept where its score is above 0, no paths."""
    no_paths = np.full(frame.scores.shape, -1, np.int64)
    return RescoredFrame(frame.boxes, frame.scores, frame.scores > 0, no_paths, frame.masks)


class _Block(NamedTuple):
    """Some frames; arrays are numbers in the spool."""

    num_nodes: int  # N
    sizes: np.ndarray  # (F,) boxes of each frame
    mask_sides: np.ndarray  # (F,)
    boxes: int  # (N, 4)
    scores: int  # (K, N)
    first_nodes: int  # (K, N) int32, not written before re-scoring
    masks: int  # (cells,)
    # links from the last frame of the block before to this block, and within it
    link_counts: int  # (sources,) int32
    link_nodes: int  # (E,) int32
    overlap_counts: int  # (N,) int32
    overlap_nodes: int  # (O,) int32


class OpenPart:
    """Frames that are linked, or may be, with frames that are still to come.

    Args:
        first_node: the boxes of the video before this part.
        spooling: for what does not fit in memory.
    """

    def __init__(self, first_node: int, spooling: Spooling | None):
        self.first_node = first_node
        self.num_nodes = 0
        self._num_classes = 0
        self._dtype = np.dtype(np.float32)
        self._spool = Spool(spooling)
        self._blocks: list[_Block] = []
        self._last_size = 0  # boxes of the last frame

    @property
    def bytes_on_disk(self) -> int:
        return self._spool.bytes_on_disk

    def append(self, frames: Sequence[HostFrame], edges: BoxGraph) -> None:
        """Take the next frames, at least one.

        Args:
            edges: of the part's last frame and these frames, numbered in this order.
        """
        sizes = np.array([len(f.boxes) for f in frames], np.int32)
        scores = np.concatenate([f.scores for f in frames]).T
        cells, mask_sides = flatten_masks([f.masks for f in frames])
        num_nodes, tail = int(sizes.sum()), self._last_size
        shift = np.int32(self.num_nodes - tail)
        sources = tail + num_nodes - sizes[-1]  # what the last frame links to is still to come
        own_overlaps = edges.overlap_nodes[edges.overlap_starts[tail] :]  # the tail's are known
        add = self._spool.append
        self._blocks.append(
            _Block(
                num_nodes,
                sizes,
                mask_sides,
                add(np.concatenate([f.boxes for f in frames])),
                add(scores),
                self._spool.reserve(scores.shape, np.int32),
                add(cells),
                add(np.diff(edges.link_starts[: sources + 1]).astype(np.int32)),
                add(edges.link_nodes + shift),
                add(np.diff(edges.overlap_starts[tail:]).astype(np.int32)),
                add(own_overlaps + shift),
            )
        )
        self.num_nodes += num_nodes
        self._num_classes = len(scores)
        self._dtype = np.result_type(self._dtype, scores.dtype)
        self._last_size = int(sizes[-1])

    def rescore(self, min_score: float) -> None:
        """Put new scores in the place of the old ones. Once, at the end."""
        # few groups of a large part: each reads and writes all blocks that it spans
        most_nodes = max(NODES_AT_ONCE, self.num_nodes // 16)
        for nodes, graph in NodeGroups(self._graph(), most_nodes):
            at_once = max(1, SCORES_AT_ONCE // len(nodes))
            for first in range(0, self._num_classes, at_once):
                classes = range(first, min(first + at_once, self._num_classes))
                scores = self._read_scores(nodes, classes)
                self._write(nodes, classes, *rescore_classes(graph, scores, min_score))

    def _read_scores(self, nodes: np.ndarray, classes: range) -> np.ndarray:
        """Scores of ascending nodes (n,) for a run of c classes: (n, c)."""
        scores = np.empty((len(nodes), len(classes)), self._dtype)
        for block, some, columns in self._places(nodes):
            of_block = self._spool.read(block.scores, classes.start, classes.stop)
            scores[some] = of_block[:, columns].T
        return scores

    def _write(
        self, nodes: np.ndarray, classes: range, scores: np.ndarray, paths: np.ndarray
    ) -> None:
        """Put scores (n, c) and path numbers (n, c), both as of ``rescore_classes``, in place."""
        firsts = paths // len(classes)
        first_nodes = np.where(paths >= 0, nodes[firsts], np.int32(-1))
        for block, some, columns in self._places(nodes):
            for number, values in ((block.scores, scores), (block.first_nodes, first_nodes)):
                rows = values[some].T
                if len(columns) < block.num_nodes:  # the others stay
                    given = rows
                    rows = self._spool.read(number, classes.start, classes.stop).copy()
                    rows[:, columns] = given
                self._spool.write(number, classes.start, rows)

    def _places(self, nodes: np.ndarray) -> Iterator[tuple[_Block, slice, np.ndarray]]:
        """The blocks that have some of ascending nodes (n,): which, and their columns there."""
        ends = np.cumsum([block.num_nodes for block in self._blocks])
        places = np.searchsorted(nodes, [0, *ends])
        for index in np.flatnonzero(np.diff(places)):
            some = slice(places[index], places[index + 1])
            block = self._blocks[index]
            yield block, some, nodes[some] - (ends[index] - block.num_nodes)

    def _graph(self) -> BoxGraph:
        """The graph of all nodes."""
        link_numbers = [(b.link_counts, b.link_nodes) for b in self._blocks]
        overlap_numbers = [(b.overlap_counts, b.overlap_nodes) for b in self._blocks]
        return BoxGraph(*self._neighbours(link_numbers), *self._neighbours(overlap_numbers))

    def _neighbours(self, numbers: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Starts (V + 1,) and nodes from the counts and nodes of every block."""
        starts = np.zeros(self.num_nodes + 1, np.int64)
        end = 1
        for counts, _ in numbers:
            per_node = self._spool.read(counts)
            starts[end : end + len(per_node)] = per_node
            end += len(per_node)
        np.cumsum(starts, out=starts)
        nodes = np.empty(starts[-1], np.int32)
        end = 0
        for _, neighbours in numbers:
            of_block = self._spool.read(neighbours)
            nodes[end : end + len(of_block)] = of_block
            end += len(of_block)
        return starts, nodes

    def frames(self) -> Iterator[RescoredFrame]:
        """All frames, after :meth:`rescore`; a block of them in memory."""
        for block in self._blocks:
            boxes, scores = self._spool.read(block.boxes), self._spool.read(block.scores).T.copy()
            paths = self._path_numbers(self._spool.read(block.first_nodes).T)
            cells = mask_starts(block.sizes, block.mask_sides)
            end = 0
            for i, size in enumerate(block.sizes.tolist()):
                rows = slice(end, end := end + size)
                masks = self._spool.read(block.masks, cells[i], cells[i + 1])
                yield RescoredFrame(
                    boxes[rows],
                    scores[rows],
                    paths[rows] >= 0,
                    paths[rows],
                    unflatten_masks(masks, size, block.mask_sides[i]),
                )

    def _path_numbers(self, first_nodes: np.ndarray) -> np.ndarray:
        """From first nodes (N, K) of paths to the paths' numbers in the whole video."""
        num_classes = first_nodes.shape[1]
        numbers = (first_nodes.astype(np.int64) + self.first_node) * num_classes
        return np.where(first_nodes >= 0, numbers + np.arange(num_classes), -1)
