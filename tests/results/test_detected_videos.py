"""Detections of a file that count, and as results that can be re-scored."""

import numpy as np
import pytest

from d2_plugtrack.core.vid_metrics import limit_detections
from d2_plugtrack.core.video_evaluation import DetectionLimits
from d2_plugtrack.results.detected_videos import DetectedVideos, limit_rows


def rows_of(*rows: tuple[float, int]) -> tuple:
    """Detections from scores and labels; a box's first number is its place in the list."""
    boxes = np.array([[i, 0, i + 9, 9] for i in range(len(rows))], np.float32).reshape(-1, 4)
    scores = np.array([score for score, _ in rows], np.float32)
    return boxes, scores, np.array([label for _, label in rows], np.int64)


def places(detections: tuple) -> list[int]:
    return detections[0][:, 0].astype(int).tolist()


def test_the_best_by_falling_score_and_equal_ones_in_order():
    rows = rows_of((0.5, 1), (0.25, 0), (0.75, 2), (0.5, 0), (0.0, 1))
    assert places(limit_rows(rows, DetectionLimits(0.25, 9))) == [2, 0, 3, 1]  # 0.25 is at least it
    assert places(limit_rows(rows, DetectionLimits(0.2501, 9))) == [2, 0, 3]
    assert places(limit_rows(rows, DetectionLimits(0, 2))) == [2, 0]
    assert places(limit_rows(rows, DetectionLimits(0, 0))) == []
    found = limit_rows(rows, DetectionLimits(0.25, 9))
    assert found[1].tolist() == [0.75, 0.5, 0.5, 0.25] and found[2].tolist() == [2, 1, 0, 0]


def test_the_floor_is_compared_in_float64_as_of_a_run():
    # float32(0.1) is above 0.1, float32(0.7) below 0.7
    rows = rows_of((0.1, 0), (0.7, 0))
    assert places(limit_rows(rows, DetectionLimits(0.1, 9))) == [1, 0]
    assert places(limit_rows(rows, DetectionLimits(0.7, 9))) == []


def test_no_rows():
    found = limit_rows(rows_of(), DetectionLimits(0.1, 9))
    assert [values.shape for values in found] == [(0, 4), (0,), (0,)]


@pytest.mark.parametrize("seed", range(20))
def test_limiting_again_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(0, 9)
    boxes, scores = rng.random((count, 4), np.float32), rng.random((count, 3)).round(1)
    limits = DetectionLimits(*((0.0, 4) if seed % 2 else (0.3, 300)))
    once = limit_detections(boxes, scores, limits.score_floor, limits.per_frame)
    for one, other in zip(limit_rows(once, limits), once, strict=True):
        assert np.array_equal(one, other)


def test_frames_of_videos_have_a_score_for_the_class_of_each_box():
    detections = {
        ("a", 3): rows_of((0.5, 1), (0.25, 0)),
        ("a", 7): rows_of(),
        ("b", 0): rows_of((1, 2)),
    }
    videos = DetectedVideos("found.json", detections, num_classes=3)
    assert videos.frames == {"a": [3, 7], "b": [0]} and videos.path("b") == "found.json"
    (first, one), (second, nothing) = videos.read("a")
    assert (first, second) == (3, 7)
    assert one.scores.tolist() == [[0, 0.5, 0], [0.25, 0, 0]]
    assert one.boxes.tolist() == [[0, 0, 9, 9], [1, 0, 10, 9]]
    assert one.track_scores.isnan().all() and one.source.tolist() == [-1, -1]
    shapes = [tuple(values.shape) for values in nothing[:5]]
    assert shapes == [(0, 4), (0, 3), (0,), (0, 4), (0,)]
