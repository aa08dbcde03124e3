"""A part of a video that no link leaves: its frames, compact, and their re-scoring.

Shape letters: F frames of a block, B boxes of a frame, N boxes of a block, V boxes of the part
("nodes", numbered frame after frame), K foreground classes, M cells of a mask's side, E links, O
overlaps. Boxes are xyxy in pixels of the frame. Frames come in blocks of some frames; a part
without frames or boxes gives nothing.

What a block needs is kept in arrays of a :class:`Spool`. Its scores lie class after class, so that
one class of the whole part is read in pieces of a block: re-scoring holds the graph and one class
in memory, whatever the number of classes. Where parts end is ``video_rescorer.py``'s.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .box_graph import BoxGraph
from .host_frames import HostFrame, flatten_masks, mask_starts, unflatten_masks
from .node_groups import NodeGroups
from .paths import rescore_class
from .spool import Spool, Spooling

NODES_AT_ONCE = 1_000_000  # re-scored in one go; more where so many hang together


class RescoredFrame(NamedTuple):
    """A frame that nothing later can change any more, on the CPU. Boxes are where they were."""

    boxes: np.ndarray  # (B, 4)
    scores: np.ndarray  # (B, K) mean score of the box's path; 0 where not kept
    kept: np.ndarray  # (B, K) bool: the box is on a path of this class
    paths: np.ndarray  # (B, K) int64 number of that path, -1 where not kept
    masks: np.ndarray | None  # (B, M, M) as in ``FrameResult``


class _Block(NamedTuple):
    """Some frames; arrays are numbers in the spool."""

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
        self._last_size = int(sizes[-1])

    def rescore(self, min_score: float) -> None:
        """Put new scores in the place of the old ones, class by class. Once, at the end."""
        parts = NodeGroups(self._graph(), NODES_AT_ONCE)
        for k in range(self._num_classes):
            scores = np.empty(self.num_nodes, np.float64)
            for block, nodes in self._places():
                scores[nodes] = self._spool.read(block.scores, k, k + 1)
            first_nodes = np.empty(self.num_nodes, np.int32)
            for nodes, graph in parts:
                scores[nodes], firsts = rescore_class(graph, scores[nodes], min_score)
                first_nodes[nodes] = np.where(firsts >= 0, nodes[firsts], -1)
            for block, nodes in self._places():
                self._spool.write(block.scores, k, scores[None, nodes])
                self._spool.write(block.first_nodes, k, first_nodes[None, nodes])

    def _places(self) -> Iterator[tuple[_Block, slice]]:
        """Every block, and which nodes it has."""
        end = 0
        for block in self._blocks:
            first, end = end, end + int(block.sizes.sum())
            yield block, slice(first, end)

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
