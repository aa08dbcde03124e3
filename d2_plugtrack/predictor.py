"""VideoPredictor: BGR frames in, objects with steady classes, scores and track ids out.

Shape letters: M objects of a frame. In the manner of detectron2's DefaultPredictor, for videos:
``step`` takes one frame after the other, ``finish`` re-scores the whole video and begins another.
Frames of a long video wait on disk for its end (``core/video_rescorer.py``).
Reading and writing video files is in ``video_io.py``, drawing in ``visualization.py``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .build import build_pipeline, build_rescoring, build_spooling
from .core.detector import DetectedFrame, VideoDetector, detect_frames
from .core.open_part import RescoredFrame
from .core.rescoring import Rescoring
from .core.spool import Spooling
from .core.tfd import FrameResult, VideoPipeline
from .core.tracked_video import TrackedVideo, TrackNumbers
from .core.video_rescorer import VideoRescorer
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

    Args:
        detector: of any framework, on its device.
        pipeline: the frame loop around its tracker.
        rescoring: how a finished video is re-scored.
        class_names: in label order.
        prepare: makes of a BGR frame what ``detector.extract`` takes; where None, it takes the
            frame itself.
        spooling: when and where frames that wait for the end of the video, and finished objects,
            go to disk; None keeps all in memory.

    Example::

        predictor = VideoPredictor.from_config_file("configs/TinyVID/plugtrack_tiny.yaml")
        for frame in frames:
            predictor.step(frame)
        for objects in predictor.finish():
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
    ):
        self.detector = detector
        self.pipeline = pipeline
        self.rescorer = VideoRescorer(rescoring, spooling)
        self.class_names = class_names
        self.prepare = prepare
        self.reset()

    @classmethod
    def from_config_file(cls, config_file: str, opts: Sequence[str] = ()) -> "VideoPredictor":
        """The predictor that a config file and ``KEY VALUE`` pairs describe, weights loaded.

        Class names are those of ``DATASETS.CLASSES``, or of the first of ``DATASETS.TEST`` where
        it has as many classes as the model, or else the labels' numbers.
        """
        return cls.from_host(open_host(config_file, opts))

    @classmethod
    def from_cfg(cls, cfg: "CfgNode") -> "VideoPredictor":
        """The same from a detectron2 config."""
        return cls.from_host(open_detectron2(cfg))

    @classmethod
    def from_host(cls, host: Host) -> "VideoPredictor":
        """The predictor of a detector that is ready, with the settings of its config."""
        pipeline = build_pipeline(host.cfg, host.tracker, masks=True)
        rescoring, spooling = build_rescoring(host.cfg), build_spooling(host.cfg)
        return cls(host.detector, pipeline, rescoring, host.class_names, host.prepare, spooling)

    def reset(self) -> None:
        """Forget the frames so far: the next one starts a video."""
        self.pipeline.reset()
        self.rescorer.reset()
        self._tracks = TrackNumbers()
        self._objects = TrackedVideo(self.rescorer.spooling)

    def step(self, frame: np.ndarray) -> FrameResult:
        """Take the next (H, W, 3) uint8 BGR frame; what is known of it before re-scoring.

        Raises:
            ValueError: no array, or one of another shape or type or without pixels.
            UserError: what waits for the end of the video cannot be written to disk.
            FloatingPointError: something of the frame is not finite; it is named.

        Boxes of the result are on the CPU, scores and masks where the detector is.
        """
        (result,) = self.step_batch([frame])
        return result

    def step_batch(self, frames: Sequence[np.ndarray]) -> list[FrameResult]:
        """The same for the next frames together, which go through the detector as one batch.

        No frames give an empty list.
        """
        return self._step_prepared(self._prepare_all(frames))

    @property
    def device(self) -> torch.device:
        """Where the detector is, the CPU where it does not say."""
        return torch.device(getattr(self.detector, "device", "cpu"))

    def steps(
        self, frames: Iterable[np.ndarray], batch_size: int | None = None
    ) -> Iterator[FrameResult]:
        """:meth:`step` over the next frames, each read and prepared while others are detected.

        Args:
            frames: anything that gives frames, such as ``video_io.open_frames``; read in another
                thread, at most two batches ahead, so that each must be an array of its own.
            batch_size: consecutive frames of one size that go through the detector together; the
                first result comes when so many have been read. None: :func:`usual_batch_size`.
        """
        size = usual_batch_size(self.device) if batch_size is None else batch_size
        prepared = (self._prepare_all(batch) for batch in batches(frames, size))
        for batch in prefetch(prepared, READ_AHEAD):
            yield from self._step_prepared(batch)

    @torch.no_grad()
    def _prepare_all(self, frames: Sequence[np.ndarray]) -> list[Any]:
        for frame in frames:
            _check_frame(frame)
        given = list(frames) if self.prepare is None else [self.prepare(f) for f in frames]
        return given if self.device.type != "cuda" else [_pinned(g) for g in given]

    @torch.no_grad()
    def _step_prepared(self, given: list[Any]) -> list[FrameResult]:
        if not given:
            return []
        given = [_uploaded(g, self.device) for g in given]
        results = []
        for frame in detect_frames(self.detector, self.pipeline.tracker, given):
            results.append(self._step_detected(frame))
            self._keep(self.rescorer.push, results[-1])
        return results

    def _step_detected(self, frame: DetectedFrame) -> FrameResult:
        try:
            return self.pipeline.step(frame)
        except BaseException:  # an error ends the video
            self.reset()
            raise

    def finish(self) -> TrackedVideo:
        """Re-score the video and begin another.

        Returns:
            A sequence of ``TrackedObjects``, one a frame, empty without frames. They are on the
            CPU; a frame's tensors are made when it is asked for.
        """
        self._keep(self.rescorer.finish)
        objects = self._objects
        self.reset()
        return objects

    def _keep(self, finished: Callable[..., Iterable[RescoredFrame]], *given: FrameResult) -> None:
        """Keep the objects of the frames that are finished now; an error ends the video."""
        spooling = self.rescorer.spooling
        try:
            with os_errors_name(spooling and spooling.folder):
                for frame in finished(*given):
                    self._objects.append(self._tracks.objects(frame))
        except BaseException:
            self.reset()
            raise


def _check_frame(frame: np.ndarray) -> None:
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"frame: expected an array (H, W, 3) of uint8, got {type(frame).__name__}")
    is_image = frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0
    if not is_image or frame.dtype != np.uint8:
        raise ValueError(f"frame: expected (H, W, 3) uint8, got {frame.shape} of {frame.dtype}")


def _pinned(prepared: Any) -> Any:
    """An image in detectron2's dict in pinned memory; whatever else is given stays as it is.

    From there it goes to a GPU while the processor, and what the GPU has to do, go on.
    """
    image = _image_of(prepared)
    if image is None or image.device.type != "cpu":
        return prepared
    return {**prepared, "image": image.pin_memory()}


def _uploaded(prepared: Any, device: torch.device) -> Any:
    """The same on its way to the device, in the stream of the detector."""
    image = _image_of(prepared)
    if device.type != "cuda" or image is None or not image.is_pinned():
        return prepared
    return {**prepared, "image": image.to(device, non_blocking=True)}


def _image_of(prepared: Any) -> torch.Tensor | None:
    image = prepared.get("image") if isinstance(prepared, dict) else None
    return image if isinstance(image, torch.Tensor) else None
