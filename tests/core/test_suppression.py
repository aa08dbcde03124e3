"""NMS against its definition, with ties and boxes built to sit on the threshold."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch

from d2_plugtrack.core.suppression import suppress, suppress_per_class
from tests.core.plain_boxes import plain_nms

# of a box of 20 x 10, in order: 0.7, 0.6, 0.45, 0.3, 0.9, 0.5 and 0.8 of it, nothing, or all
SIDES = [(14, 10), (12, 10), (9, 10), (6, 10), (18, 10), (20, 5), (16, 10), (20, 0)]
SIDES += [(20, 10)] * 4
THRESHOLDS = ["0.3", "0.45", "0.5", "0.6", "0.7", "0.8", "0.9"]


def random_case(rng, most=9):
    """Boxes at one of few places, of few sizes; few scores and classes; often nothing at all."""
    count = int(rng.integers(0, most + 1))
    corners = np.array([(0, 0), (0, 0), (0, 0), (1, 0), (40, 8)])[rng.integers(0, 5, count)]
    sides = np.array(SIDES)[rng.integers(0, len(SIDES), count)]
    boxes = np.concatenate([corners, corners + sides], axis=1)
    scores = rng.integers(0, rng.integers(1, 9), count) / 8
    return boxes, scores, rng.integers(0, rng.integers(1, 4), count)


@pytest.mark.parametrize("num_cases", [600, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_that_of_the_definition(num_cases, dtype):
    rng, at_threshold = np.random.default_rng(0), Counter()
    for case in range(num_cases):
        boxes, scores, labels = random_case(rng)
        threshold = THRESHOLDS[case % len(THRESHOLDS)]
        exact, lists = Fraction(threshold), (boxes.tolist(), scores.tolist())
        given = torch.tensor(boxes).to(dtype), torch.tensor(scores).to(dtype)
        for equal_stays in (True, False):
            found = suppress(*given, float(threshold), equal_stays=equal_stays)
            together = [0] * len(boxes)
            wanted = plain_nms(*lists, together, exact, equal_stays, at_threshold)
            assert found.tolist() == wanted
        found = suppress_per_class(*given, torch.tensor(labels), float(threshold))
        wanted = plain_nms(*lists, labels.tolist(), exact, True, at_threshold)
        assert found.tolist() == wanted
    assert len(at_threshold) == len(THRESHOLDS) and min(at_threshold.values()) > num_cases / 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.45, 0.6, 0.7, 1 / 3])
def test_a_hair_decides(dtype, threshold):
    # 100 x 10 with 100 x 10 t: an IoU of exactly t as the precision has it; and a hair more, less
    one_class, scores = torch.zeros(2, dtype=torch.int64), torch.tensor([0.9, 0.8], dtype=dtype)
    hair = 20 * torch.finfo(dtype).eps
    for factor, stays_below, stays_at in ((1 - hair, 2, 2), (1, 1, 2), (1 + hair, 1, 1)):
        height = (torch.tensor(threshold, dtype=dtype) * 10 * factor).item()
        boxes = torch.tensor([[0, 0, 100, 10], [0, 0, 100, height]], dtype=dtype)
        assert len(suppress(boxes, scores, threshold, equal_stays=False)) == stays_below
        assert len(suppress(boxes, scores, threshold, equal_stays=True)) == stays_at
        assert len(suppress_per_class(boxes, scores, one_class, threshold)) == stays_at


@pytest.mark.parametrize("count", [50, 1100, 5000])  # torchvision does more than 1000 otherwise
def test_equal_scores_keep_their_order(count):
    scores = torch.randint(0, 10, (count,)) / 8
    x = 10.0 * torch.arange(count)
    apart = torch.stack([x, x, x + 5, x + 5], dim=1)
    wanted = sorted(range(count), key=lambda i: -scores[i])
    assert suppress(apart, scores, 0.5, equal_stays=True).tolist() == wanted
    labels = torch.randint(0, 3, (count,))
    assert suppress_per_class(apart, scores, labels, 0.5).tolist() == wanted


def test_at_a_threshold_of_zero_one_box_is_left():
    # no IoU is below 0; and none above 0 between these
    boxes, scores = torch.tensor([[0.0, 0, 5, 5], [9, 9, 12, 12]]), torch.tensor([0.5, 0.6])
    assert suppress(boxes, scores, 0.0, equal_stays=False).tolist() == [1]
    assert suppress(boxes, scores, 0.0, equal_stays=True).tolist() == [1, 0]


def test_nothing_stays_of_nothing():
    nothing, no_scores = torch.zeros(0, 4), torch.zeros(0)
    for equal_stays in (True, False):
        assert suppress(nothing, no_scores, 0.5, equal_stays=equal_stays).shape == (0,)
    labels = torch.zeros(0, dtype=torch.int64)
    assert suppress_per_class(nothing, no_scores, labels, 0.5).shape == (0,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_the_same():
    rng = np.random.default_rng(1)
    for case in range(200):
        boxes, scores, labels = (torch.tensor(a) for a in random_case(rng, most=40))
        given, threshold = (boxes.float(), scores.float()), float(THRESHOLDS[case % 7])
        on_gpu = [g.cuda() for g in given]
        for equal_stays in (True, False):
            wanted = suppress(*given, threshold, equal_stays=equal_stays)
            found = suppress(*on_gpu, threshold, equal_stays=equal_stays)
            assert found.tolist() == wanted.tolist()
        wanted = suppress_per_class(*given, labels, threshold)
        assert suppress_per_class(*on_gpu, labels.cuda(), threshold).tolist() == wanted.tolist()
