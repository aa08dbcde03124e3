"""Re-scoring a video as its frames come, in memory that hardly grows with it (Sec. 6.4).

Shape letters: F frames, B boxes of a frame, B' of the frame before, K foreground classes. Boxes
are xyxy in pixels of the frame. The result is that of ``seq_nms`` on the whole video, path numbers
included: where no box of a frame links to the next frame, in no class, nothing that comes later
can change what came before, and the part up to there is finished. A part that goes on and on, as
where a car is parked in every frame, waits on disk (``spool.py``); while it is re-scored, some
tens of bytes a box are in memory.

No frames give nothing; a frame without boxes is a cut.
"""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from .box_graph import BoxGraph, find_edges
from .frame_checks import FrameShapes, check_finite
from .host_frames import HostFrame, to_host
from .open_part import OpenPart, RescoredFrame, as_it_is
from .rescorer import Rescorer
from .rescoring import Rescoring
from .spool import Spooling
from .tfd import FrameResult

FRAMES_OF_BLOCK = 64  # looked at together: few transfers, and arrays that are worth a look


class VideoRescorer(Rescorer):
    """Takes the results of one video after another, and gives them back re-scored, in order.

    Args:
        rescoring: how. Where it is not enabled, scores stay, every box is kept where its score is
            above 0, and there are no paths: their numbers are -1.
        spooling: when and where frames that are not finished go to disk; None keeps them all in
            memory.
    """

    def __init__(self, rescoring: Rescoring, spooling: Spooling | None):
        self.spooling = spooling
        self.bytes_spooled = 0  # by all parts that are finished
        super().__init__(rescoring)

    def reset(self) -> None:
        """Forget the frames that are not finished: the next one starts a video."""
        self._waiting: list[FrameResult] = []
        self._shapes = FrameShapes()  # of all frames, with those that wait
        self._tail = np.zeros((0, 4))  # boxes of the frame before, where a part goes on from it
        self._part = OpenPart(0, self.spooling)

    def push(self, result: FrameResult) -> Iterator[RescoredFrame]:
        """Take the next frame; the frames that are finished now, mostly none.

        Raises:
            ValueError: shapes that do not fit together, or values that are not finite, of this
                frame or one of those before it.
            OSError: the disk is full, or the folder cannot be written.

        After an error the video is forgotten.
        """
        with self._forgetting_errors():
            self._check_shapes(result)
            self._waiting.append(result)
            return self._absorb() if len(self._waiting) == FRAMES_OF_BLOCK else iter(())

    def finish(self) -> Iterator[RescoredFrame]:
        """The rest of the video, a few frames at a time in memory; the next frame starts another.

        Raises as :meth:`push` does.
        """
        with self._forgetting_errors():
            frames = chain(self._absorb(), self._close_part())
        self.reset()
        return frames

    def _absorb(self) -> Iterator[RescoredFrame]:
        """Look at the frames that wait; what is finished by them."""
        results, self._waiting = self._waiting, []
        frames = to_host(results)
        if not self.rescoring.enabled or not frames:
            return map(as_it_is, frames)
        self._check_finite(frames)
        edges = self._find_edges(frames)
        cut = self._last_cut(frames, edges)
        if cut is None:
            self._append(frames, edges)
            return iter(())
        if cut > 0:
            self._append(frames[:cut], self._find_edges(frames[:cut]))
        finished = self._close_part()
        self._append(frames[cut:], self._find_edges(frames[cut:]))
        return finished

    def _find_edges(self, frames: list[HostFrame]) -> BoxGraph:
        """Of the frame before, where the part goes on from it, and of these frames."""
        boxes = np.concatenate([self._tail, *(f.boxes for f in frames)])
        before = boxes
        if self.rescoring.track_links:  # nothing follows the last frame: any boxes will do for it
            mapped = [f.mapped_boxes for f in (frames if len(self._tail) else frames[1:])]
            before = np.concatenate([*mapped, frames[-1].boxes])
        starts = np.cumsum([0, len(self._tail), *(len(f.boxes) for f in frames)])
        how = self.rescoring
        return find_edges(before, boxes, starts, how.link_iou, how.nms_iou)

    def _last_cut(self, frames: list[HostFrame], edges: BoxGraph) -> int | None:
        """The last of the frames that nothing links to, None where there is none."""
        starts = np.cumsum([0, len(self._tail), *(len(f.boxes) for f in frames[:-1])])
        cuts = np.flatnonzero(np.diff(edges.link_starts[starts]) == 0)
        return int(cuts[-1]) if len(cuts) else None

    def _append(self, frames: list[HostFrame], edges: BoxGraph) -> None:
        self._part.append(frames, edges)
        self._tail = frames[-1].boxes

    def _close_part(self) -> Iterator[RescoredFrame]:
        """Re-score the open part and begin another."""
        part = self._part
        part.rescore(self.rescoring.min_score)
        self.bytes_spooled += part.bytes_on_disk
        self._tail = self._tail[:0]
        self._part = OpenPart(part.first_node + part.num_nodes, self.spooling)
        return part.frames()

    def _check_shapes(self, result: FrameResult) -> None:
        links_matter = self.rescoring.enabled and self.rescoring.track_links
        mapped = result.mapped_boxes if links_matter else None
        self._shapes.check(result.boxes, result.scores, mapped)

    def _check_finite(self, frames: list[HostFrame]) -> None:
        names = ["boxes", "scores", *(["mapped_boxes"] if self.rescoring.track_links else [])]
        first = self._shapes.num_frames - len(frames)
        for name in names:
            per_frame = [getattr(frame, name) for frame in frames]
            sizes = [len(values) for values in per_frame]
            check_finite(name, np.concatenate(per_frame), sizes, first)
