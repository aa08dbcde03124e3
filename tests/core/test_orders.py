"""What order things come in decides nothing, from results of frames to average precision.

Videos, boxes of a frame and classes, in another order: the same, in that order. Equal scores are
told apart by order, and are a case of their own. Laws of a single module are in its own test.
"""

import numpy as np
import pytest
import torch

from d2_plugtrack.core import video_rescorer
from d2_plugtrack.core.detector import Proposals, detect_frames
from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.core.spool import Spooling
from d2_plugtrack.core.tfd import VideoPipeline
from d2_plugtrack.core.vid_metrics import average_precision_per_class, limit_detections
from d2_plugtrack.core.video_rescorer import VideoRescorer

MANY = [300, pytest.param(10_000, marks=pytest.mark.slow)]


# ---- the detections of a frame that count ---------------------------------------------------


@pytest.mark.parametrize("num_cases", MANY)
def test_equal_scores_are_taken_by_box_and_then_by_class(num_cases):
    rng = np.random.default_rng(0)
    for _ in range(num_cases):
        count, limit = int(rng.integers(0, 9)), int(rng.integers(0, 14))
        boxes = rng.random((count, 4))
        scores = (rng.integers(0, 5, (count, 3)) / 4).astype(np.float32)
        pairs = [(-s, i, k) for i, row in enumerate(scores.tolist()) for k, s in enumerate(row)]
        wanted = sorted(p for p in pairs if -p[0] >= 0.25)[:limit]
        found = limit_detections(boxes, scores, floor=0.25, limit=limit)
        assert found[0].tolist() == [boxes[i].tolist() for _, i, _ in wanted]
        assert found[1].tolist() == [-s for s, _, _ in wanted]
        assert found[2].tolist() == [k for _, _, k in wanted]


@pytest.mark.parametrize("num_cases", MANY)
def test_the_order_of_boxes_and_classes_changes_no_detection(num_cases):
    rng = np.random.default_rng(1)
    for _ in range(num_cases):
        count, limit = int(rng.integers(0, 9)), int(rng.integers(0, 14))
        boxes, scores = rng.random((count, 4)), rng.random((count, 3))
        rows, columns = rng.permutation(count), rng.permutation(3)
        one = limit_detections(boxes, scores, floor=0.1, limit=limit)
        other = limit_detections(boxes[rows], scores[rows][:, columns], floor=0.1, limit=limit)
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
        assert np.array_equal(one[2], columns[other[2]])


# ---- average precision -----------------------------------------------------------------------


def some_frames(rng):
    """Ground truth and detections of up to five frames: objects, and what was made of them."""
    ground_truth, detections = [], []
    for _ in range(rng.integers(1, 6)):
        count = int(rng.integers(0, 4))
        corners = 30 * rng.integers(0, 3, (count, 2)) + rng.random((count, 2))
        boxes, labels = np.concatenate([corners, corners + 20], axis=1), rng.integers(0, 3, count)
        ground_truth.append((boxes, labels))
        again = rng.integers(0, count, rng.integers(0, 6)) if count else np.zeros(0, int)
        near = boxes[again] + rng.uniform(-5, 5, (len(again), 4))
        wrong = rng.random(len(again)) < 0.2
        found = np.where(wrong, rng.integers(0, 3, len(again)), labels[again])
        detections.append((near, rng.random(len(again)), found))
    return ground_truth, detections


@pytest.mark.parametrize("num_cases", MANY)
def test_the_order_of_frames_boxes_and_classes_changes_no_average_precision(num_cases):
    rng, seen = np.random.default_rng(2), set()
    for _ in range(num_cases):
        ground_truth, detections = some_frames(rng)
        ap = average_precision_per_class(ground_truth, detections, 3)
        seen |= set(ap[np.isfinite(ap)].tolist())
        columns = rng.permutation(3)  # what becomes of each class
        frames = rng.permutation(len(ground_truth))
        moved = []
        for sets in (ground_truth, detections):
            orders = [rng.permutation(len(frame[-1])) for frame in sets]
            renamed = [(*frame[:-1], columns[frame[-1]]) for frame in sets]
            moved.append([tuple(f[orders[t]] for f in renamed[t]) for t in frames])
        np.testing.assert_array_equal(average_precision_per_class(*moved, 3)[columns], ap)
    assert len(seen) > 20


# ---- videos ----------------------------------------------------------------------------------


def random_frames(rng, toy_detector, toy_tracker):
    """A video of up to eight frames: a detector and a tracker that know it, and its results."""
    count = int(rng.integers(1, 9))
    proposals, answers = [], []
    for _ in range(count):
        boxes = 8.0 * torch.from_numpy(rng.integers(0, 4, (int(rng.integers(0, 6)), 1, 2))).float()
        scores = torch.from_numpy(rng.random((len(boxes), 3), np.float32))
        proposals.append(Proposals(torch.cat([boxes, boxes + 12], dim=2), scores))
        shifts = torch.from_numpy(rng.integers(-2, 3, (20, 2))).float().repeat(1, 2)
        answers.append((shifts, torch.from_numpy(rng.random(20, np.float32))))
    maps = torch.arange(count).reshape(-1, 1, 1, 1).expand(count, 3, 4, 6).float()
    detector = toy_detector(proposals, maps, (32, 48), (64, 96))
    return detect_frames(detector, toy_tracker([]), list(range(count))), answers


@pytest.mark.parametrize("num_sets", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("spooled", [False, True])
def test_the_order_of_videos_changes_nothing(
    toy_detector, toy_tracker, tmp_path, monkeypatch, num_sets, spooled
):
    """One pipeline and one rescorer for all of them: nothing of a video is left to the next."""
    monkeypatch.setattr(video_rescorer, "FRAMES_OF_BLOCK", 3)
    rng = np.random.default_rng(3)
    how = Rescoring(enabled=True, track_links=True, link_iou=0.5, nms_iou=0.45, min_score=0.01)
    for _ in range(num_sets):
        videos = [random_frames(rng, toy_detector, toy_tracker) for _ in range(3)]
        tracker = toy_tracker([])
        pipeline = VideoPipeline(
            tracker,
            per_frame=False,
            **{"score_threshold": 0.03, "nms_threshold": 0.45, "iou_score_threshold": 0.5},
            **{"track_nms_threshold": 0.7, "merge_threshold": 0.7, "max_boxes": 6, "masks": False},
        )
        rescorer = VideoRescorer(how, Spooling(200, tmp_path) if spooled else None)
        found = {}
        for number in [0, 1, 2, *rng.permutation(3).tolist()]:
            frames, tracker.answers = videos[number]
            pipeline.reset()
            pushed = [f for frame in frames for f in rescorer.push(pipeline.step(frame))]
            found.setdefault(number, []).append([*pushed, *rescorer.finish()])
        for one, other in found.values():
            assert len(one) == len(other) > 0
            for frame, again in zip(one, other, strict=True):
                for value, wanted in zip(frame[:4], again[:4], strict=True):
                    np.testing.assert_array_equal(value, wanted)
