"""Doubles for the tests of ``core``: a scripted detector and tracker, and a small real tracker."""

import pytest
import torch

from d2_plugtrack.core.boxes import clip_boxes
from d2_plugtrack.core.detector import FrameFeatures
from d2_plugtrack.core.tracker import Templates, Tracked, TrackerHead


class ToyDetector:
    """A VideoDetector without a network: a frame is its number, and all it says is given.

    Attributes:
        extracted: numbers of the frames whose features were computed, in order.
    """

    def __init__(self, proposals, maps, image_size, original_size, num_classes=3):
        self.proposals, self.maps, self.num_classes = proposals, maps, num_classes
        self.image_size, self.original_size = image_size, original_size
        self.extracted = []

    def extract(self, frames):
        self.extracted += frames
        maps = {"a": torch.stack([self.maps[t] for t in frames]), "number": torch.tensor(frames)}
        sizes = [self.image_size] * len(frames), [self.original_size] * len(frames)
        return FrameFeatures(maps, *sizes)

    def detect(self, features):
        return [self.proposals[t] for t in features.maps["number"].tolist()]

    def classify(self, features, boxes):
        """Probabilities that depend on the frame and on the box, different for all of them."""
        directions = torch.arange(1.0, 4 * self.num_classes + 1).reshape(4, -1).cos()
        angles = boxes @ directions + features.maps["number"]
        return angles.sin().mul(3).softmax(dim=1)


class ToyTracker:
    """A tracker without a network: ``answers[t]`` are the shifts (R, 4) and scores (R,) into t.

    Attributes:
        calls: (number of the previous frame, of the current one, boxes) of every call.
    """

    def __init__(self, answers):
        self.answers, self.calls = answers, []

    def reduced_maps(self, features, image_sizes):
        return features["a"]

    def remember(self, reduced_map, boxes):
        return Templates(boxes, reduced_map[0, 0, 0])

    def follow(self, templates, reduced_map, image_size):
        boxes, prev_number = templates
        numbers = [int(n) for n in (prev_number, reduced_map[0, 0, 0])]
        self.calls.append((*numbers, boxes))
        shifts, scores = self.answers[numbers[1]]
        return Tracked(clip_boxes(boxes + shifts[: len(boxes)], image_size), scores[: len(boxes)])


@pytest.fixture
def toy_detector():
    return ToyDetector


@pytest.fixture
def toy_tracker():
    return ToyTracker


@pytest.fixture
def build_tracker():
    """A function that builds a small tracker head on one map of stride 8."""

    def build(**changes):
        settings = {
            "in_features": ["a"],
            "in_channels": [3],
            "target": 0,
            "stride": 8,
            "channels": 6,
            "template_size": 7,
            "search_factor": 3,
            "box_weights": (10.0, 10.0, 5.0, 5.0),
            "smooth_l1_beta": 1.0,
            "iou_loss_weight": 1.0,
        }
        return TrackerHead(**{**settings, **changes})

    return build
