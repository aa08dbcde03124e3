"""VideoPredictor: BGR frames in, objects with steady classes, scores and track ids out.

Shape letters: M objects of a frame. In the manner of detectron2's DefaultPredictor, for videos:
``step`` takes one frame after the other, ``finish`` re-scores the whole video and begins another.
Reading and writing video files is in ``video_io.py``, drawing in ``visualization.py``.
"""

from .prerequisites import require_detectron2

require_detectron2()

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T

from .build import build_pipeline, build_rescoring
from .core.detector import detect_frames
from .core.rescoring import Rescoring, TrackedObjects, rescore_video, tracked_objects
from .core.tfd import FrameResult, VideoPipeline
from .modeling.plugtrack_rcnn import PlugTrackRCNN
from .plugin import load_model


class VideoPredictor:
    """Detects and tracks in one video after another.

    Args:
        model: a detector with a tracker, on its device.
        pipeline: the frame loop around the model's tracker.
        rescoring: how a finished video is re-scored.
        resize: applied to every frame before it goes to the model.
        image_format: channel order that the model expects, "BGR" or "RGB".
        class_names: in label order.

    Example::

        predictor = VideoPredictor.from_cfg(cfg)
        for frame in frames:
            predictor.step(frame)
        for objects in predictor.finish():
            print(objects.boxes, objects.classes, objects.track_ids)
    """

    def __init__(
        self,
        model: PlugTrackRCNN,
        pipeline: VideoPipeline,
        rescoring: Rescoring,
        resize: T.Augmentation,
        image_format: str,
        class_names: list[str],
    ):
        self.model = model
        self.pipeline = pipeline
        self.rescoring = rescoring
        self.resize = resize
        self.image_format = image_format
        self.class_names = class_names
        self.reset()

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "VideoPredictor":
        """The predictor that a config describes, with ``MODEL.WEIGHTS`` loaded.

        Class names are those of the first of ``DATASETS.TEST``, where it has as many classes as
        the model, or else the labels' numbers.
        """
        model = load_model(cfg)
        names = [str(label) for label in range(model.num_classes)]
        if cfg.DATASETS.TEST:
            known = MetadataCatalog.get(cfg.DATASETS.TEST[0]).get("thing_classes", [])
            names = known if len(known) == len(names) else names
        size = cfg.INPUT.MIN_SIZE_TEST
        return cls(
            model,
            build_pipeline(cfg, model.tracker),
            build_rescoring(cfg),
            T.ResizeShortestEdge([size, size], cfg.INPUT.MAX_SIZE_TEST),
            cfg.INPUT.FORMAT,
            names,
        )

    def reset(self) -> None:
        """Forget the frames so far: the next one starts a video."""
        self.pipeline.reset()
        self._results: list[FrameResult] = []

    @torch.no_grad()
    def step(self, frame: np.ndarray) -> FrameResult:
        """Take the next (H, W, 3) uint8 BGR frame; what is known of it before re-scoring.

        Raises:
            ValueError: no array, or one of another shape or type or without pixels.
        """
        _check_frame(frame)
        image = frame[:, :, ::-1] if self.image_format == "RGB" else frame
        image = self.resize.get_transform(image).apply_image(image)
        tensor = torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))
        model_input = {"image": tensor, "height": frame.shape[0], "width": frame.shape[1]}
        (detected,) = detect_frames(self.model, self.pipeline.tracker, [model_input])
        result = self.pipeline.step(detected)
        self._results.append(result)
        return result

    def finish(self) -> list[TrackedObjects]:
        """Re-score the video and begin another; one entry a frame, none without frames."""
        results = self._results
        self.reset()
        return tracked_objects(results, rescore_video(results, self.rescoring))


def _check_frame(frame: np.ndarray) -> None:
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"frame: expected an array (H, W, 3) of uint8, got {type(frame).__name__}")
    is_image = frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0
    if not is_image or frame.dtype != np.uint8:
        raise ValueError(f"frame: expected (H, W, 3) uint8, got {frame.shape} of {frame.dtype}")
