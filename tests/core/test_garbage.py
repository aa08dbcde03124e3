"""Random garbage from a detector and in a tracker: finite boxes in the image, or an error."""

import faulthandler
from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from d2_plugtrack.core.detector import FrameFeatures, Proposals, assemble_frames
from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.core.tfd import VideoPipeline
from d2_plugtrack.core.video_rescorer import VideoRescorer
from tests.garbage import in_a_fork, outcome_of_video, spoil_

SIZE, FRAME_SIZE = (64, 96), (100, 150)
NUM_CASES = [150, pytest.param(3_000, marks=pytest.mark.slow)]
SETTINGS = {
    **{"score_threshold": 0.03, "nms_threshold": 0.45, "iou_score_threshold": 0.3},
    **{"track_nms_threshold": 0.7, "merge_threshold": 0.7, "max_boxes": 12, "masks": True},
}
RESCORING = Rescoring(enabled=True, track_links=True, link_iou=0.5, nms_iou=0.45, min_score=0.01)


class Pooling:
    """Classifies by what RoIAlign finds in the map, as detectors do; sampling as in the stock."""

    num_classes = 3

    def __init__(self, sampling_ratio: int):
        self.sampling_ratio = sampling_ratio

    def classify(self, features, boxes):
        pooled = roi_align(features.maps["a"], [boxes], 3, 1 / 8, self.sampling_ratio, True)
        return pooled.mean(dim=(2, 3)).sigmoid()

    def segment(self, features, boxes, labels):
        return roi_align(features.maps["a"], [boxes], 4, 1 / 8, self.sampling_ratio, True)[:, 0]


def proposals(rng, count):
    corners = torch.from_numpy(rng.random((count, 3, 2), np.float32)) * 60
    sizes = torch.from_numpy(rng.random((count, 3, 2), np.float32)) * 30
    scores = torch.from_numpy(rng.random((count, 3), np.float32))
    return Proposals(torch.cat([corners, corners + sizes], dim=2), scores)


def run_video(build_tracker, seed: int) -> list:
    """Four frames, some things of which are garbage."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    tracker, detector = build_tracker().eval(), Pooling(int(rng.integers(0, 3)))
    maps = torch.randn(4, 3, 8, 12)
    found = [proposals(rng, int(rng.integers(0, 8))) for _ in range(4)]
    what = rng.choice(["weights", "statistics", "features", "boxes", "scores", "deltas", "nothing"])
    targets = {
        "weights": list(tracker.parameters()),
        "statistics": list(tracker.buffers()),
        "features": [maps],
        "boxes": [p.class_boxes for p in found],
        "scores": [p.scores for p in found],
    }.get(what, [])
    with torch.no_grad():
        for target in targets[int(rng.integers(len(targets) or 1)) :][:1]:
            spoil_(target, rng)
    if what == "deltas":
        compare = tracker._compare
        tracker._compare = lambda *a: tuple(spoil_(x.clone(), rng) for x in compare(*a))
    pipeline = VideoPipeline(tracker, per_frame=bool(rng.random() < 0.1), **SETTINGS)
    features = FrameFeatures({"a": maps}, [SIZE] * 4, [FRAME_SIZE] * 4)
    rescorer, results = VideoRescorer(RESCORING, None), []
    with torch.no_grad():
        for frame in assemble_frames(detector, tracker, features, found):
            results.append(pipeline.step(frame))
            if not pipeline.per_frame:
                list(rescorer.push(results[-1]))
        list(rescorer.finish())
    return results


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_no_garbage_ends_the_process_or_leaves_the_image(build_tracker, num_cases):
    def try_all():
        runs = (lambda s=seed: run_video(build_tracker, s) for seed in range(num_cases))
        return Counter(outcome_of_video(run, FRAME_SIZE) for run in runs)

    outcomes = in_a_fork(try_all, patience=590)
    assert min(outcomes["results"], outcomes["error"]) > num_cases / 10


def test_a_child_that_dies_fails():
    def crash():
        faulthandler.disable()  # this one is meant to
        return roi_align(torch.ones(1, 1, 4, 4), [torch.full((1, 4), torch.nan)], 2, 1.0, 2, True)

    with pytest.raises(AssertionError, match="the child ended with -"):
        in_a_fork(crash)
