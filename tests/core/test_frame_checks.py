"""Frames that fit pass, and the first that does not is named."""

import numpy as np
import pytest
import torch

from d2_plugtrack.core.frame_checks import FrameShapes, check_finite, check_links


def frames(*sizes, num_classes=3):
    before = [0, *sizes[:-1]]
    return [
        (torch.zeros(n, 4), torch.zeros(n, num_classes), torch.zeros(b, 4))
        for n, b in zip(sizes, before, strict=True)
    ]


@pytest.mark.parametrize("num_classes", [0, 1, 3])
def test_frames_that_fit(num_classes):
    shapes = FrameShapes()
    assert shapes.num_frames == 0
    found = [shapes.check(*f) for f in frames(0, 2, 5, 0, 0, 1, num_classes=num_classes)]
    assert found == [0, 2, 5, 0, 0, 1] and shapes.num_frames == 6


@pytest.mark.parametrize(
    ("place", "shape", "message"),
    [
        (0, (2, 5), r"frame 1: expected boxes of shape \(2, 4\), got \(2, 5\)"),
        (0, (), r"frame 1: expected boxes of shape \(0, 4\), got \(\)"),
        (1, (2, 4), r"frame 1: expected scores of shape \(2, 3\), got \(2, 4\)"),
        (1, (), r"frame 1: expected scores of shape \(2, 3\), got \(\)"),
        (2, (2, 4), r"frame 1: expected mapped_boxes of shape \(1, 4\), got \(2, 4\)"),
    ],
)
def test_a_frame_that_does_not_fit_is_named_and_not_counted(place, shape, message):
    shapes, (first, second) = FrameShapes(), frames(1, 2)
    shapes.check(*first)
    wrong = list(second)
    wrong[place] = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        shapes.check(*wrong)
    assert shapes.check(*second) == 2 and shapes.num_frames == 2


def test_mapped_boxes_may_not_matter():
    shapes = FrameShapes()
    for boxes, scores, _ in frames(1, 2, 3):
        shapes.check(boxes, scores, None)
    assert shapes.num_frames == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_frame_that_is_not_finite_is_named(value):
    values, sizes = np.zeros((6, 2), np.float32), [2, 0, 0, 1, 3]
    check_finite("scores", values, sizes, 10)
    for row, frame in enumerate([10, 10, 13, 14, 14, 14]):
        values[row:, 1] = value
        with pytest.raises(ValueError, match=f"frame {frame}: scores must be finite, got NaN or"):
            check_finite("scores", values, sizes, 10)
        values[row:] = 0


def test_nothing_is_finite():
    check_finite("boxes", np.zeros((0, 4)), [], 0)
    check_finite("boxes", np.zeros((0, 4)), [0, 0], 0)
    check_finite("scores", np.zeros((3, 0)), [3], 0)


def links(source, ious, sizes):
    check_links(np.array(source, np.int64), np.array(ious, np.float32), sizes, 7)


def test_links_that_could_be():
    links([], [], (0, 0))
    links([], [], (3, 0))
    links([-1, -1], [np.nan, 9.0], (0, 2))
    links([2, -1, 0], [0.0, np.nan, 1.0], (3, 3))


@pytest.mark.parametrize(
    ("source", "ious", "sizes", "message"),
    [
        ([0], [0.5], (0, 1), r"frame 7: expected source to name each of 0 boxes .*, got \[0\]"),
        ([2, 3], [0.5, 0.5], (3, 2), r"frame 7: .* each of 3 boxes at most once, got \[2, 3\]"),
        ([1, 1], [0.5, 0.5], (3, 2), r"frame 7: .* each of 3 boxes at most once, got \[1, 1\]"),
        ([1], [0.5], (3, 2), r"frame 7: expected source of shape \(2,\), got \(1,\)"),
        ([1, 2], [0.5], (3, 2), r"frame 7: expected track_scores of shape \(2,\), got \(1,\)"),
        ([-1, 2], [0.5, 1.5], (3, 2), r"frame 7: track_scores must be from 0 to 1 .*\[1.5\]"),
        ([-1, 2], [0.5, np.nan], (3, 2), r"frame 7: track_scores must be from 0 .*\[nan\]"),
    ],
)
def test_links_that_cannot_be(source, ious, sizes, message):
    with pytest.raises(ValueError, match=message):
        links(source, ious, sizes)
