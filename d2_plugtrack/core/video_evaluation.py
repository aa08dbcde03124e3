"""Driving one setting over videos: frames in, detections for the metrics out.

Shape letters: D detections of a frame (box and class pairs). No framework and no files: whoever
has detected frames (``detector.py``) can run a setting. How mAP is counted on its detections is in
``average_precisions.py``.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .average_precisions import FrameKey
from .detector import DetectedFrame
from .modes import build_rescorer
from .open_part import RescoredFrame
from .protocols import Detections
from .rescoring import Rescoring
from .spool import Spooling
from .tfd import FrameResult, VideoPipeline
from .vid_metrics import limit_detections


class DetectionLimits(NamedTuple):
    """Detections that count, after re-scoring."""

    score_floor: float
    per_frame: int


def detections_of(frames: Iterable[RescoredFrame], limits: DetectionLimits) -> Iterator[Detections]:
    """What counts of each frame, by falling score."""
    for frame in frames:
        yield limit_detections(
            frame.boxes, frame.scores, floor=limits.score_floor, limit=limits.per_frame
        )


class Scoring(NamedTuple):
    """How the boxes of videos become figures."""

    rescoring: Rescoring
    limits: DetectionLimits
    spooling: Spooling | None  # of re-scoring
    protocol: str  # of ``vid_metrics``


class FrameOrder:
    """Refuses frames out of order: whole videos one after another, every frame once."""

    def __init__(self):
        self._finished: set[Hashable] = set()
        self.start_video()

    def start_video(self) -> None:
        """Forget the frames of the video that is not finished."""
        self._video: Hashable = None
        self._frames: set[int] = set()

    def check(self, key: FrameKey) -> None:
        """Whether this frame may come next.

        Raises:
            ValueError: it is of another video than the unfinished one, or was seen before.
        """
        video, frame = key
        if self._frames and video != self._video:
            raise ValueError(f"frame {key}: expected the rest of video {self._video!r}")
        if video in self._finished or frame in self._frames:
            raise ValueError(f"frame {key}: seen before")

    def add(self, key: FrameKey, last: bool) -> None:
        """It came; the ``last`` one finishes its video."""
        self._video = key[0]
        self._frames.add(key[1])
        if last:
            self._finished.add(key[0])
            self.start_video()


@contextmanager
def non_finite_errors_name(key: FrameKey) -> Iterator[None]:
    """What a pipeline says of the frame that it is at, with the names of the video and the frame.

    A pipeline knows neither, and counts frames from 0.
    """
    try:
        yield
    except FloatingPointError as error:
        _, _, reason = str(error).partition(": ")
        raise FloatingPointError(f"video {key[0]}, frame {key[1]}: {reason}") from error


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
        self.rescorer = build_rescorer(rescoring, spooling)
        self.limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.detections: dict[FrameKey, Detections] = {}
        self._order = FrameOrder()
        self._start_video()

    def _start_video(self) -> None:
        self.pipeline.reset()
        self.rescorer.reset()
        self._order.start_video()
        self._waiting: deque[FrameKey] = deque()  # frames without detections

    def process(self, frame: DetectedFrame, key: FrameKey, last: bool) -> None:
        """:meth:`detect` and :meth:`collect` the next frame of a video."""
        self.collect(self.detect(frame, key), key, last)

    def detect(self, frame: DetectedFrame, key: FrameKey) -> FrameResult:
        """The next frame of a video through the pipeline.

        Raises:
            ValueError: the frame is of another video than the unfinished one, or seen already.
            FloatingPointError: as of ``VideoPipeline.step``; video and frame are named.
        """
        self._order.check(key)
        with non_finite_errors_name(key):
            return self.pipeline.step(frame)

    def collect(self, result: FrameResult, key: FrameKey, last: bool) -> None:
        """Take what was detected; the ``last`` frame finishes its video.

        Raises:
            OSError: frames that are not finished cannot be written to disk; the folder is named.
        """
        self._waiting.append(key)
        try:
            self._collect(self.rescorer.push(result))
            if last:
                self._collect(self.rescorer.finish())
        except BaseException:
            self._start_video()  # the rescorer has forgotten the video too
            raise
        self._order.add(key, last)
        if last:
            self._start_video()

    def _collect(self, frames: Iterable[RescoredFrame]) -> None:
        for detections in detections_of(frames, self.limits):
            self.detections[self._waiting.popleft()] = detections
