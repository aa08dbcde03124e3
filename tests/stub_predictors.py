"""VideoPredictors without a network, and frames for them."""

from itertools import cycle

import numpy as np
import torch

from d2_plugtrack.core.detector import FrameFeatures, Proposals
from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.core.tfd import FrameResult, VideoPipeline
from d2_plugtrack.predictor import VideoPredictor


class StubDetector:
    """One object at a fixed place of the network's input, half as large as a frame.

    It keeps the frames that it was given.
    """

    num_classes = 2

    def __init__(self):
        self.given = []

    def extract(self, frames):
        self.given += frames
        originals = [frame.shape[:2] for frame in frames]
        sizes = [(height // 2, width // 2) for height, width in originals]
        return FrameFeatures({"map": torch.zeros(len(frames), 1, 1, 1)}, sizes, originals)

    def detect(self, features):
        boxes = torch.tensor([[[10.0, 10, 30, 20]]])
        return [Proposals(boxes, torch.tensor([[0.2, 0.7]])) for _ in features.image_sizes]

    def classify(self, features, boxes):
        return torch.tensor([[0.1, 0.8]]).expand(len(boxes), 2)


def stub_predictor(prepare=None, spooling=None, mode="offline", **wanted) -> VideoPredictor:
    """Around a :class:`StubDetector`, without a tracker."""
    pipeline = VideoPipeline(
        None,
        per_frame=False,
        **{"score_threshold": 0.03, "nms_threshold": 0.45, "iou_score_threshold": 0.5},
        **{"track_nms_threshold": 0.7, "merge_threshold": 0.7, "max_boxes": 300},
        masks=True,
    )
    rescoring = Rescoring(True, False, 0.5, 0.45, min_score=0.01, online=mode == "online")
    return VideoPredictor(
        StubDetector(), pipeline, rescoring, ["x", "y"], prepare, spooling, **wanted
    )


def scripted_predictor(video: list[FrameResult], mode: str, **wanted) -> VideoPredictor:
    """Whose pipeline says of frame after frame what is in ``video``, over and over."""
    predictor, results = stub_predictor(mode=mode, **wanted), cycle(video)
    predictor.pipeline.step = lambda frame: next(results)
    return predictor


def image(height: int = 80, width: int = 120) -> np.ndarray:
    """Noise."""
    return np.random.randint(0, 256, (height, width, 3), dtype=np.uint8)


def as_lists(objects) -> list:
    """Frames of objects, but for masks, as what can be compared."""
    return [[field.tolist() for field in frame[:4]] for frame in objects]
