"""VideoPredictor: BGR frames in, objects with steady classes, scores and track ids out.

Shape letters: M objects of a frame. In the manner of detectron2's DefaultPredictor, for videos:
call it on frames, or ``step`` from one to the next and ``finish``. In one of two modes: offline,
where objects are re-scored over the whole video, whose frames wait on disk for its end where it is
long (``core/video_rescorer.py``), or online, over the past alone (``core/online_rescorer.py``).
Reading and writing video files is in ``video_io``, drawing in ``visualization``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from .build import build_pipeline, build_rescoring, build_spooling, check_mode, check_tracking
from .core.detector import DetectedFrame, VideoDetector, detect_frames
from .core.modes import build_rescorer
from .core.open_part import RescoredFrame
from .core.rescoring import Mode, Rescoring, TrackedObjects
from .core.spool import Spooling
from .core.tfd import FrameResult, VideoPipeline
from .core.tracked_video import TrackedVideo, TrackNumbers
from .errors import UserError
from .frame_inputs import prepare_frames, uploaded
from .host import Host, open_detectron2, open_host
from .outputs import os_errors_name
from .prefetch import batches, prefetch

if TYPE_CHECKING:
    from yacs.config import CfgNode

READ_AHEAD = 2  # batches: one ready, one in the making


def usual_batch_size(device: torch.device) -> int:
    """Frames that go through the detector together: 4 on a GPU, otherwise 1.

    Measured on a CPU: batches cost an R50-FPN 5 % more a frame, and save the tiny detectors 15 %.
    """
    return 4 if device.type == "cuda" else 1


class VideoPredictor:
    """Detects and tracks in one video after another.

    Offline, objects come when a video is over, re-scored over the whole of it; online, those of a
    frame come with the frame, re-scored over its past, and stay as they are.

    Args:
        detector: of any framework, on its device.
        pipeline: the frame loop around its tracker.
        rescoring: how a video is re-scored, and in which of the two modes.
        class_names: in label order.
        prepare: makes of a BGR frame what ``detector.extract`` takes; where None, it takes the
            frame itself.
        spooling: when and where frames that wait for the end of the video, and finished objects,
            go to disk; None keeps all in memory.
        score_threshold: objects of a lower score are left out.
        classes: names of classes; objects of others are left out. None: all are given.

    Track ids number the objects that are given, from 0, in the order in which tracks appear.

    Raises:
        UserError: a class that there is not, or a threshold that cannot be.

    Example::

        predictor = VideoPredictor.from_config_file("configs/TinyVID/plugtrack_tiny.yaml")
        for objects in predictor(frames):
            print(objects.boxes, objects.classes, objects.track_ids)

    Masks are made where the detector has them, and kept with the boxes: about 3 kB a box, in memory
    or on disk. ``predictor.pipeline.masks = False`` does without.
    """

    def __init__(
        self,
        detector: VideoDetector,
        pipeline: VideoPipeline,
        rescoring: Rescoring,
        class_names: list[str],
        prepare: Callable[[np.ndarray], Any] | None = None,
        spooling: Spooling | None = None,
        score_threshold: float = 0.0,
        classes: Collection[str] | None = None,
    ):
        _check_score_threshold(score_threshold)
        self.detector = detector
        self.pipeline = pipeline
        self.rescorer = build_rescorer(rescoring, spooling)
        self.class_names = class_names
        self.prepare = prepare
        self.spooling = spooling
        self.score_threshold = score_threshold
        self._labels = _labels_of(classes, class_names)
        self.reset()

    @classmethod
    def from_config_file(
        cls,
        config_file: str,
        opts: Sequence[str] = (),
        mode: Mode | None = None,
        score_threshold: float = 0.0,
        classes: Collection[str] | None = None,
    ) -> Self:
        """The predictor that a config file and ``KEY VALUE`` pairs describe, weights loaded.

        Class names are those of ``DATASETS.CLASSES``, or of the first of ``DATASETS.TEST`` where
        it has as many classes as the model, or else the labels' numbers.

        Args:
            mode: "offline" or "online"; None: what ``TEST.VID.MODE`` says.
        """
        _check_score_threshold(score_threshold)
        if mode is not None:
            check_mode(mode)
        host = open_host(config_file, opts, check=lambda cfg: check_tracking(cfg, mode))
        return cls.from_host(host, mode, score_threshold, classes)

    @classmethod
    def from_cfg(
        cls,
        cfg: "CfgNode",
        mode: Mode | None = None,
        score_threshold: float = 0.0,
        classes: Collection[str] | None = None,
    ) -> Self:
        """The same from a detectron2 config."""
        return cls.from_host(open_detectron2(cfg), mode, score_threshold, classes)

    @classmethod
    def from_host(
        cls,
        host: Host,
        mode: Mode | None = None,
        score_threshold: float = 0.0,
        classes: Collection[str] | None = None,
    ) -> Self:
        """The predictor of a detector that is ready, with the settings of its config."""
        cfg = host.cfg
        if mode is not None:
            cfg = cfg.clone()
            cfg.defrost()
            cfg.TEST.VID.MODE = mode
        return cls(
            host.detector,
            build_pipeline(cfg, host.tracker, masks=True),
            build_rescoring(cfg),
            host.class_names,
            host.prepare,
            build_spooling(cfg),
            score_threshold,
            classes,
        )

    @property
    def mode(self) -> Mode:
        """When objects come: "offline", at the end of the video, or "online", with their frame."""
        return self.rescorer.rescoring.mode

    @property
    def device(self) -> torch.device:
        """Where the detector is, the CPU where it does not say."""
        return torch.device(getattr(self.detector, "device", "cpu"))

    def reset(self) -> None:
        """Forget the frames so far: the next one starts a video."""
        self.pipeline.reset()
        self.rescorer.reset()
        self._tracks = TrackNumbers(self.score_threshold, self._labels)
        self._objects = TrackedVideo(self.spooling)
        self._video = object()  # which one it is, for those who read its frames
        self._being_read = False

    def __call__(
        self, frames: Iterable[np.ndarray], batch_size: int | None = None
    ) -> Iterator[TrackedObjects]:
        """The objects of every frame of a video, in order; offline after the last frame.

        Frames that were taken before and not finished are forgotten, and so is this video where
        the iteration is broken off.

        Args:
            frames, batch_size: as of :meth:`results`, and so are the errors.
        """
        self.reset()
        video = self._video
        try:
            for _, objects in self._read(frames, batch_size):
                if objects is not None:
                    yield objects
            finished = self.finish()
        finally:
            if self._video is video:
                self.reset()
        yield from finished

    def step(self, frame: np.ndarray) -> TrackedObjects | None:
        """Take the next (H, W, 3) uint8 BGR frame.

        Returns:
            Online its objects, on the CPU; offline None, they come from :meth:`finish`.

        Raises:
            ValueError: no array, or one of another shape or type or without pixels.
            UserError: what waits for the end of the video cannot be written to disk.
            FloatingPointError: something of the frame is not finite; it is named.
            RuntimeError: an iteration over frames of this video is under way.
        """
        (objects,) = self.step_batch([frame])
        return objects

    def step_batch(self, frames: Sequence[np.ndarray]) -> list[TrackedObjects | None]:
        """The same for the next frames together, which go through the detector as one batch.

        No frames give an empty list.
        """
        self._refuse_while_read()
        return [objects for _, objects in self._detect(self._prepare_all(frames))]

    def results(
        self, frames: Iterable[np.ndarray], batch_size: int | None = None
    ) -> Iterator[FrameResult]:
        """What is known of the next frames before re-scoring, each read while others are detected.

        They are frames of the video as those of :meth:`step` are: offline, :meth:`finish` gives
        their objects. Boxes are on the CPU, scores and masks where the detector is. An iteration
        that is broken off and closed leaves the video with the frames that it gave.

        Args:
            frames: anything that gives frames, such as ``video_io.open_frames``; read in another
                thread, at most two batches ahead, so that each must be an array of its own.
            batch_size: consecutive frames of one size that go through the detector together; the
                first result comes when so many have been read. None: :func:`usual_batch_size`,
                online 1.

        Raises:
            RuntimeError: another iteration over frames of this video is under way, or, when it goes
                on, another video was begun meanwhile. As :meth:`step` besides.
        """
        for result, _ in self._read(frames, batch_size):
            yield result

    def finish(self) -> TrackedVideo:
        """End the video and begin another.

        Returns:
            Offline a sequence of ``TrackedObjects``, one a frame, empty without frames. They are on
            the CPU; a frame's tensors are made when it is asked for. Online it is empty.

        Raises:
            RuntimeError: an iteration over frames of this video is under way.
        """
        self._refuse_while_read()
        self._keep(self.rescorer.finish)
        video = self._objects
        self.reset()
        return video

    def _refuse_while_read(self) -> None:
        if self._being_read:
            raise RuntimeError(
                "an iteration over frames of this video is under way: go on to its end, close() "
                "it, or reset() the predictor first"
            )

    def _read(
        self, frames: Iterable[np.ndarray], batch_size: int | None
    ) -> Iterator[tuple[FrameResult, TrackedObjects | None]]:
        self._refuse_while_read()
        if batch_size is None:
            batch_size = 1 if self.mode == "online" else usual_batch_size(self.device)
        video, self._being_read = self._video, True
        try:
            prepared = (self._prepare_all(batch) for batch in batches(frames, batch_size))
            for batch in prefetch(prepared, READ_AHEAD):
                for found in self._detect(batch):
                    yield found
                    if self._video is not video:
                        raise RuntimeError(
                            "the predictor was reset, or began another video, since this iteration "
                            "gave its last frame: it cannot go on"
                        )
        finally:
            if self._video is video:
                self._being_read = False

    def _prepare_all(self, frames: Sequence[np.ndarray]) -> list[Any]:
        return prepare_frames(frames, self.prepare, self.device)

    def _detect(self, given: list[Any]) -> Iterator[tuple[FrameResult, TrackedObjects | None]]:
        """Results of prepared frames and, online, their objects."""
        if not given:
            return
        given = [uploaded(g, self.device) for g in given]
        with torch.no_grad():
            detected = detect_frames(self.detector, self.pipeline.tracker, given)
        for frame in detected:
            result = self._step_detected(frame)
            yield result, self._keep(self.rescorer.push, result)

    def _step_detected(self, frame: DetectedFrame) -> FrameResult:
        try:
            return self.pipeline.step(frame)
        except BaseException:  # an error ends the video
            self.reset()
            raise

    def _keep(
        self, finished: Callable[..., Iterable[RescoredFrame]], *given: FrameResult
    ) -> TrackedObjects | None:
        """Keep the objects of the frames that are finished now, or, online, give the one frame's.

        An error ends the video.
        """
        try:
            with os_errors_name(self.spooling and self.spooling.folder):
                for frame in finished(*given):
                    objects = self._tracks.objects(frame)
                    if self.mode == "online":
                        return objects
                    self._objects.append(objects)
        except BaseException:
            self.reset()
            raise
        return None


def _check_score_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise UserError(f"score_threshold {threshold}: expected from 0 to 1")


def _labels_of(names: Collection[str] | None, class_names: Sequence[str]) -> list[int] | None:
    """The labels of classes; None for None."""
    if names is None:
        return None
    for name in names:
        if name not in class_names:
            raise UserError(f"class {name}: expected one of {', '.join(class_names)}")
    return [label for label, name in enumerate(class_names) if name in names]
