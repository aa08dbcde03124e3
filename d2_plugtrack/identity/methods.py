"""Who gives tracks over whole videos, to be compared: this project's, and ByteTrack.

All work on the same detected frames, from one pass of the detector. ``offline`` are the paths of
Seq-NMS over the whole video, ``online`` the links of tracking-first detection as frames come;
``bytetrack`` (``bytetrack.py``) works on what the stock detector reports in each frame, after NMS
at ``TEST.TFD.NMS_THRESH`` over all classes, as tracking-first detection has it. All three smooth
classes along a track: paths and links by the scores of all classes, offline over the whole video
and online over the past, and ByteTrack's tracks, whose detections have one class each, by a vote of
the past.

The three have one threshold each: it decides what is sure enough to be an object. Paths and links
keep boxes whose (re-scored) score is at least that. The defaults are those of the best mean HOTA of
the two tiny detectors on the 40 ``val`` videos of the tiny set (seed 0), out of 0.05, 0.1, ..., 0.9
for each method; for ByteTrack together with floors of 0.1, 0.2, 0.3 and 0.4 (around the best also
0.05 and 0.01), and with and without that NMS.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from ..build import build_pipeline, build_rescoring, build_spooling
from ..core.detector import DetectedFrame
from ..core.modes import build_rescorer
from ..core.open_part import RescoredFrame
from ..core.rescorer import Rescorer
from ..core.tfd import FrameResult, VideoPipeline
from ..core.tracked_video import TrackNumbers
from ..core.tracker import TrackerHead
from ..core.video_evaluation import non_finite_errors_name
from .bytetrack import ByteTracks
from .metrics import IdentityMetrics, NumberedBoxes, number_boxes, true_boxes


class Method(NamedTuple):
    """A way to track."""

    name: str
    short_name: str  # for the command line
    keys: Mapping[str, Any]  # config keys of what it works on
    threshold: float  # the default

    @property
    def tracks(self) -> bool:
        """Whether it needs a trained tracker."""
        return self.keys["TEST.TFD.ENABLED"]


def _ours(mode: str) -> dict[str, Any]:
    return {
        "TEST.TFD.ENABLED": True,
        "TEST.TFD.TRACK": True,
        "TEST.SEQ_NMS.ENABLED": True,
        "TEST.SEQ_NMS.TRACK_LINKS": True,
        "TEST.VID.MODE": mode,
    }


METHODS = (
    Method("ours, offline: paths of Seq-NMS", "offline", _ours("offline"), 0.35),
    Method("ours, online: links of the tracker", "online", _ours("online"), 0.35),
    Method(
        "ByteTrack on the detector's boxes",
        "bytetrack",
        {"TEST.TFD.ENABLED": False, "TEST.SEQ_NMS.ENABLED": False, "TEST.VID.MODE": "offline"},
        0.55,
    ),
)


class Tracks(Protocol):
    """Turns the results of one video after another into numbered boxes, a frame each, in order."""

    def push(self, result: FrameResult) -> list[NumberedBoxes]:
        """Take the next frame; the frames that are done now."""
        ...

    def finish(self) -> list[NumberedBoxes]:
        """The rest of the video; the next frame starts another."""
        ...


class PathTracks:
    """Tracks of a rescorer: a box's number is that of its best class's path."""

    def __init__(self, rescorer: Rescorer, threshold: float):
        self._rescorer = rescorer
        self._threshold = threshold
        self._numbers = TrackNumbers()

    def push(self, result: FrameResult) -> list[NumberedBoxes]:
        return self._number(self._rescorer.push(result))

    def finish(self) -> list[NumberedBoxes]:
        frames = self._number(self._rescorer.finish())
        self._numbers = TrackNumbers()
        return frames

    def _number(self, frames: Iterable[RescoredFrame]) -> list[NumberedBoxes]:
        numbered = []
        for frame in frames:
            objects = self._numbers.objects(frame)
            all_boxes = number_boxes(objects.boxes, objects.classes, objects.track_ids)
            numbered.append(all_boxes.of(objects.scores.numpy() >= self._threshold))
        return numbered


class IdentityRun:
    """A method over whole videos, frame by frame, and how well it keeps identities.

    Args:
        ignore_classes: as of ``IdentityMetrics``; tracks are the same either way.
    """

    def __init__(self, pipeline: VideoPipeline, tracks: Tracks, ignore_classes: bool = False):
        self.metrics = IdentityMetrics(ignore_classes)
        self._pipeline = pipeline
        self._tracks = tracks
        self._start_video()

    def _start_video(self) -> None:
        self._pipeline.reset()
        self._truth: list[NumberedBoxes] = []
        self._tracked: list[NumberedBoxes] = []

    def process(self, frame: DetectedFrame, record: Mapping[str, Any]) -> None:
        """Take the next frame of a video and what is true of it; the ``last`` finishes the video.

        Raises:
            UserError: objects without track ids.
            FloatingPointError: as of ``VideoPipeline.step``; video and frame are named.
        """
        self._truth.append(true_boxes(record))
        with non_finite_errors_name((record["video_id"], record["frame_index"])):
            result = self._pipeline.step(frame)
        self._tracked += self._tracks.push(result)
        if record["last"]:
            self.metrics.add_video(self._truth, [*self._tracked, *self._tracks.finish()])
            self._start_video()


def build_identity_runs(
    cfg,
    tracker: TrackerHead | None,
    thresholds: Mapping[str, float],
    ignore_classes: bool = False,
) -> dict[str, IdentityRun]:
    """A run for each of :data:`METHODS` that has a threshold by its short name, by its name.

    Keys that a method does not name stay as in ``cfg``; the methods share
    ``TEST.SEQ_NMS.MEMORY_MB``.

    Args:
        tracker: may be None where only ByteTrack has a threshold.

    Raises:
        UserError: a package that is not installed, or a value in the config that cannot be.
    """
    build_spooling(cfg)  # refuses a limit by the name and value that were given
    runs = {}
    for method in (method for method in METHODS if method.short_name in thresholds):
        of_method = cfg.clone()
        of_method.defrost()
        of_method.merge_from_list([word for pair in method.keys.items() for word in pair])
        of_method.TEST.SEQ_NMS.MEMORY_MB = cfg.TEST.SEQ_NMS.MEMORY_MB / len(thresholds)
        threshold = thresholds[method.short_name]
        if method.tracks:
            rescorer = build_rescorer(build_rescoring(of_method), build_spooling(of_method))
            tracks: Tracks = PathTracks(rescorer, threshold)
        else:
            tracks = ByteTracks(threshold, of_method.TEST.TFD.NMS_THRESH)
        pipeline = build_pipeline(of_method, tracker)
        runs[method.name] = IdentityRun(pipeline, tracks, ignore_classes)
    return runs
