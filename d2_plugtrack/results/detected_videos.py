"""Detections of a file, limited as they are, or made ready for Seq-NMS like a run's results.

Shape letters: D detections of a frame, K foreground classes. Boxes are xyxy in pixels of the frame.
A frame without detections is one like any other.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ..core.average_precisions import FrameKey
from ..core.protocols import Detections
from ..core.tfd import FrameResult
from ..core.video_evaluation import DetectionLimits
from .run_folder import VideoId

_NO_SIZE = (0, 0)  # of a frame: nobody asks for it


def limit_rows(detections: Detections, limits: DetectionLimits) -> Detections:
    """The detections of one frame that count, by falling score; equal ones keep their order."""
    boxes, scores, labels = detections
    rows = np.flatnonzero(scores.astype(np.float64) >= limits.score_floor)
    best = rows[np.argsort(-scores[rows], kind="stable")[: limits.per_frame]]
    return boxes[best], scores[best], labels[best]


class DetectedVideos:
    """Videos of detections as ``rescored.rescore_run`` asks a ``RunFolder`` for them.

    Args:
        path: of the file they are from, for messages.
        detections: of every frame, a video's in order.
        num_classes: K.
    """

    def __init__(
        self, path: str | Path, detections: Mapping[FrameKey, Detections], num_classes: int
    ):
        self._path, self._detections, self._num_classes = path, detections, num_classes
        self.frames: dict[VideoId, Sequence[int]] = {}
        for video, index in detections:
            self.frames.setdefault(video, []).append(index)

    def path(self, video_id: VideoId) -> str | Path:
        """The one file."""
        return self._path

    def read(self, video_id: VideoId) -> Iterator[tuple[int, FrameResult]]:
        """Every frame's number and its boxes, each with the score of its one class, untracked."""
        for index in self.frames[video_id]:
            boxes, scores, labels = self._detections[video_id, index]
            by_class = np.zeros((len(labels), self._num_classes), scores.dtype)
            by_class[np.arange(len(labels)), labels] = scores
            boxes, by_class = torch.from_numpy(boxes), torch.from_numpy(by_class)
            yield (
                index,
                FrameResult(
                    boxes,
                    by_class,
                    track_scores=torch.full((len(boxes),), torch.nan),
                    mapped_boxes=boxes.new_zeros((0, 4)),
                    source=torch.full((len(boxes),), -1),
                    image_size=_NO_SIZE,
                ),
            )
