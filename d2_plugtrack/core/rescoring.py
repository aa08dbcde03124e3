"""How a video is re-scored, and the objects that come of it (Sec. 6.4).

Shape letters: F frames, B boxes of a frame, K foreground classes, M objects of a frame. A thin
step between the frame loop of ``tfd.py`` and the linking of ``seq_nms.py``: which boxes the links
start from, or none. Frames that come one by one are ``video_rescorer.py``'s, or, without what is
to come, ``online_rescorer.py``'s; their objects are ``tracked_video.py``'s.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .seq_nms import Rescored, seq_nms
from .tfd import FrameResult

Mode = Literal["offline", "online"]


class Rescoring(NamedTuple):
    """How a video is re-scored."""

    enabled: bool  # False: scores stay, every box is kept where its score is above 0
    track_links: bool  # True: Seq-Track-NMS, links from the tracked boxes. False: Seq-NMS
    link_iou: float
    nms_iou: float
    min_score: float
    # True: a frame is final when it has come, links are those of the tracker and, where it let go,
    # by link_iou from its tracked boxes, whatever track_links. False: over the whole video
    online: bool = False

    @property
    def mode(self) -> Mode:
        return "online" if self.online else "offline"


def rescore_video(results: Sequence[FrameResult], how: Rescoring) -> Rescored:
    """New scores (B, K), what is kept (B, K) and path numbers (B, K) of each of F frames.

    Offline, for a video that fits in memory with all that is computed; ``VideoRescorer`` gives the
    same for any. Without re-scoring there are no paths, and their numbers are -1. No frames give
    empty lists.
    """
    scores = [r.scores for r in results]
    if not how.enabled:
        paths = [torch.full(s.shape, -1, dtype=torch.int64, device=s.device) for s in scores]
        return Rescored(scores, [s > 0 for s in scores], paths)
    return seq_nms(
        [r.boxes for r in results],
        scores,
        [r.mapped_boxes for r in results] if how.track_links else None,
        link_iou=how.link_iou,
        nms_iou=how.nms_iou,
        min_score=how.min_score,
    )


class TrackedObjects(NamedTuple):
    """The objects of one finished frame, as a person wants them."""

    boxes: Tensor  # (M, 4) in pixels of the frame
    scores: Tensor  # (M,) of the best class
    classes: Tensor  # (M,) int64
    track_ids: Tensor  # (M,) int64, of the best class's path, by appearance; -1: not re-scored
    masks: Tensor | None = None  # (M, S, S) as in ``FrameResult``, or None where it has none

    def map(self, change: Callable[[Tensor], Any]) -> "TrackedObjects":
        """The same change of every field, masks only where there are any: ``Tensor.cpu``, say."""
        return TrackedObjects(*(None if field is None else change(field) for field in self))
