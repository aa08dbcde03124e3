"""What is done to boxes and scores before they are matched, protocol by protocol."""

import numpy as np
import pytest

from d2_plugtrack.core.protocols import (
    PROTOCOLS,
    clip_for_protocol,
    find_protocol,
    iou_thresholds,
    round_for_protocol,
)


def test_rounding_equals_printing():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-5, 2000, (5000, 4)), rng.integers(0, 8000, (99, 4)) / 8])
    scores = np.concatenate([rng.random(5000), rng.integers(0, 2**15, 99) / 2**15])
    boxes, scores = boxes.astype(np.float32), scores.astype(np.float32)
    labels = np.arange(len(boxes))
    new_boxes, new_scores, new_labels = round_for_protocol((boxes, scores, labels), "fgfa")
    assert new_scores.tolist() == [float(f"{score:.4f}") for score in scores.tolist()]
    assert new_boxes.ravel().tolist() == [float(f"{x:.2f}") for x in boxes.ravel().tolist()]
    assert new_labels is labels


@pytest.mark.parametrize("protocol", ["mega", "coco"])
def test_others_do_not_round(protocol):
    boxes, scores = np.full((1, 4), 1 / 3, np.float32), np.array([1 / 7], np.float32)
    new_boxes, new_scores, _ = round_for_protocol((boxes, scores, np.zeros(1, int)), protocol)
    assert new_boxes.dtype == new_scores.dtype == np.float64
    np.testing.assert_array_equal(new_boxes, boxes)
    np.testing.assert_array_equal(new_scores, scores)


def test_rounding_leaves_what_was_given():
    given = np.full((1, 4), 1 / 3), np.array([1 / 7]), np.zeros(1, int)
    round_for_protocol(given, "fgfa")
    assert given[0].tolist() == [[1 / 3] * 4] and given[1].tolist() == [1 / 7]


def test_clipping():
    boxes = np.array([[-5.0, 3, 700, 480], [639, 479, 640, 480], [800, 10, 900, 20]])
    clipped = clip_for_protocol(boxes, 480, 640, "mega")
    # a box that touches the last pixel only, or nothing, stays a box of no width
    assert clipped.tolist() == [[0, 3, 639, 479], [639, 479, 639, 479], [639, 10, 639, 20]]
    for other in ("fgfa", "coco"):
        assert clip_for_protocol(boxes, 480, 640, other) is boxes
    assert clip_for_protocol(np.zeros((0, 4)), 480, 640, "mega").shape == (0, 4)


def test_thresholds():
    # 1 x 1: 1 / 121; 10 x 10: 100 / 400; 100 x 100: 10000 / 12100, more than a half
    boxes = np.array([[4.0, 4, 4, 4], [0, 0, 9, 9], [0, 0, 99, 99]])
    assert iou_thresholds(boxes, PROTOCOLS["fgfa"]).tolist() == [1 / 121, 0.25, 0.5]
    for name in ("mega", "coco"):
        assert iou_thresholds(boxes, PROTOCOLS[name]).tolist() == [0.5] * 3


def test_names():
    assert list(PROTOCOLS) == ["fgfa", "mega", "coco"]
    with pytest.raises(ValueError, match="fgfa, mega, coco, got 'voc'"):
        find_protocol("voc")
