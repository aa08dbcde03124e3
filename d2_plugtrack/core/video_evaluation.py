"""Driving one setting over videos: frames in, detections for the metrics out.

Shape letters: D detections of a frame (box and class pairs). No framework and no files: whoever
has detected frames (``detector.py``) can run a setting. How mAP is counted on its detections is in
``average_precisions.py``.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from .average_precisions import FrameKey
from .detector import DetectedFrame
from .open_part import RescoredFrame
from .protocols import Detections
from .rescoring import Rescoring
from .spool import Spooling
from .tfd import VideoPipeline
from .vid_metrics import limit_detections
from .video_rescorer import VideoRescorer


class DetectionLimits(NamedTuple):
    """Detections that count, after re-scoring."""

    score_floor: float
    per_frame: int


class VideoRun:
    """Runs a pipeline over whole videos and collects what counts.

    ``detections`` maps (video_id, frame_index) to the detections of every frame that is finished:
    all frames of the videos that are, and of the one that is not, those that nothing that comes
    can change.

    Args:
        spooling: when and where frames that are not finished go to disk; None keeps them in memory.
    """

    def __init__(
        self,
        pipeline: VideoPipeline,
        rescoring: Rescoring,
        limits: DetectionLimits,
        spooling: Spooling | None = None,
    ):
        self.pipeline = pipeline
        self.rescorer = VideoRescorer(rescoring, spooling)
        self.limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.detections: dict[FrameKey, Detections] = {}
        self._start_video()

    def _start_video(self) -> None:
        self.pipeline.reset()
        self.rescorer.reset()
        self._keys: set[FrameKey] = set()  # of the video that is not finished
        self._waiting: deque[FrameKey] = deque()  # those of them without detections

    def process(self, frame: DetectedFrame, key: FrameKey, last: bool) -> None:
        """Take the next frame of a video; the ``last`` one finishes it.

        Raises:
            ValueError: the frame is of another video than the unfinished one, or seen already.
            OSError: frames that are not finished cannot be written to disk; the folder is named.
        """
        video = next(iter(self._keys), key)[0]
        if video != key[0]:
            raise ValueError(f"frame {key}: expected the rest of video {video!r}")
        if key in self.detections or key in self._keys:
            raise ValueError(f"frame {key}: seen before")
        result = self.pipeline.step(frame)
        self._keys.add(key)
        self._waiting.append(key)
        try:
            self._collect(self.rescorer.push(result))
            if last:
                self._collect(self.rescorer.finish())
        except BaseException:
            self._start_video()  # the rescorer has forgotten the video too
            raise
        if last:
            self._start_video()

    def _collect(self, frames: Iterable[RescoredFrame]) -> None:
        for frame in frames:
            self.detections[self._waiting.popleft()] = limit_detections(
                frame.boxes,
                frame.scores,
                floor=self.limits.score_floor,
                limit=self.limits.per_frame,
            )
