"""Coding is undone by decoding, and nothing fails on boxes that are small, far away or nothing."""

import math
from collections import Counter
from fractions import Fraction

import pytest
import torch

from d2_plugtrack.core.boxes import (
    SCALE_CLAMP,
    aligned_iou,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    expand_boxes,
    has_area,
    pairwise_iou,
    scale_boxes,
)
from tests.core.plain_boxes import compare, overlap

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
ONES = (1.0, 1.0, 1.0, 1.0)


def random_boxes(*shape, low=5.0, high=150.0):
    """Sides between ``low`` and ``high``, centres anywhere in an image of 400 pixels."""
    centers, sizes = 400 * torch.rand(*shape, 2), low + (high - low) * torch.rand(*shape, 2)
    return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1)


# ---- coding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
@pytest.mark.parametrize("shape", [(500,), (20, 30), (0,)])
def test_decoding_undoes_encoding(shape, weights):
    boxes, targets = random_boxes(*shape), random_boxes(*shape)
    deltas = encode_boxes(boxes, targets, weights)
    assert deltas.shape == (*shape, 4)
    torch.testing.assert_close(decode_boxes(deltas, boxes, weights), targets, rtol=0, atol=1e-3)


def test_encoding_by_hand():
    # centre (5, 10), 10 x 20; centre (15, 15), 20 x 10:
    # dx = 10/10, dy = 5/20, dw = ln(20/10), dh = ln(10/20)
    boxes, targets = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 10, 25, 20]])
    expected = torch.tensor([[1, 0.25, math.log(2), -math.log(2)]])
    torch.testing.assert_close(encode_boxes(boxes, targets, ONES), expected)
    expected = torch.tensor([[10, 2.5, 5 * math.log(2), -5 * math.log(2)]])
    torch.testing.assert_close(encode_boxes(boxes, targets, WEIGHTS), expected)


def test_decoding_by_hand():
    # centre (20, 30), 20 x 10: moved by -0.5 * 20 and 2 * 10, 3 times as wide, half as high:
    # centre (10, 50), 60 x 5
    boxes, deltas = (
        torch.tensor([[10.0, 25, 30, 35]]),
        [-5.0, 20, 5 * math.log(3), -5 * math.log(2)],
    )
    decoded = decode_boxes(torch.tensor([deltas]), boxes, WEIGHTS)
    torch.testing.assert_close(decoded, torch.tensor([[-20.0, 47.5, 40, 52.5]]))


def test_nothing_moves_nothing():
    boxes = random_boxes(50)
    torch.testing.assert_close(decode_boxes(torch.zeros(50, 4), boxes, WEIGHTS), boxes)


def test_sizes_are_clamped_before_the_exponential():
    # exp(ln(1000/16)) = 62.5 times 4 pixels, around (2, 2), however large the delta
    boxes = torch.tensor([[0.0, 0, 4, 4]])
    for delta in (5 * SCALE_CLAMP, 1e3, 1e30):
        decoded = decode_boxes(torch.tensor([[0.0, 0, delta, delta]]), boxes, WEIGHTS)
        torch.testing.assert_close(decoded, torch.tensor([[-123.0, -123, 127, 127]]))


def test_coding_is_that_of_detectron2():
    from detectron2.modeling.box_regression import Box2BoxTransform

    theirs = Box2BoxTransform(WEIGHTS)
    boxes, targets = random_boxes(300), random_boxes(300)
    deltas = encode_boxes(boxes, targets, WEIGHTS)
    torch.testing.assert_close(deltas, theirs.get_deltas(boxes, targets))
    for spread in (1.0, 10.0, 1000.0):  # the largest is beyond the clamp
        deltas = spread * torch.randn(300, 4)
        expected = theirs.apply_deltas(deltas, boxes)
        torch.testing.assert_close(decode_boxes(deltas, boxes, WEIGHTS), expected)


def plain_deltas(box, target, weights):
    """Eq. 1, as it is printed; sides of less than a thousandth of a pixel count as that."""
    (bx, by, bw, bh), (gx, gy, gw, gh) = (
        [(b[0] + b[2]) / 2, (b[1] + b[3]) / 2, *(max(b[i + 2] - b[i], 1e-3) for i in (0, 1))]
        for b in (box, target)
    )
    deltas = (gx - bx) / bw, (gy - by) / bh, math.log(gw / bw), math.log(gh / bh)
    return [w * d for w, d in zip(weights, deltas, strict=True)]


def plain_decoded(deltas, box, weights):
    """Eq. 2, the size terms clamped at ln(1000 / 16) before they are used."""
    dx, dy, dw, dh = (d / w for d, w in zip(deltas, weights, strict=True))
    width, height = (max(box[i + 2] - box[i], 1e-3) for i in (0, 1))
    x, y = (box[0] + box[2]) / 2 + dx * width, (box[1] + box[3]) / 2 + dy * height
    width, height = (
        side * math.exp(min(d, math.log(1000 / 16))) for side, d in ((width, dw), (height, dh))
    )
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
def test_coding_is_that_of_the_equations(weights):
    boxes, targets = (random_boxes(10_000, low=-0.5).double() for _ in range(2))
    boxes[::50, 2], targets[::70, 3] = boxes[::50, 0], targets[::70, 1]  # without area
    boxes[::90] = targets[::90]
    deltas = encode_boxes(boxes, targets, weights)
    given = zip(boxes.tolist(), targets.tolist(), strict=True)
    wanted = [plain_deltas(box, target, weights) for box, target in given]
    torch.testing.assert_close(deltas, torch.tensor(wanted, dtype=torch.float64))
    deltas = torch.randn(10_000, 4, dtype=torch.float64) * torch.tensor(weights) * 3  # some clamped
    given = zip(deltas.tolist(), boxes.tolist(), strict=True)
    wanted = [plain_decoded(delta, box, weights) for delta, box in given]
    decoded = decode_boxes(deltas, boxes, weights)
    torch.testing.assert_close(decoded, torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize("side", [0.0, 1e-30, 1e-6, 1e-3, 0.4])
def test_boxes_under_a_pixel_are_coded_finitely(side):
    normal, tiny = random_boxes(40), random_boxes(40)
    tiny[:, 2:] = tiny[:, :2] + side
    for boxes, targets in [(normal, tiny), (tiny, normal), (tiny, tiny.flip(0)), (tiny, tiny)]:
        deltas = encode_boxes(boxes, targets, WEIGHTS)
        assert deltas.isfinite().all()
        assert decode_boxes(deltas, boxes, WEIGHTS).isfinite().all()
    torch.testing.assert_close(encode_boxes(tiny, tiny, WEIGHTS), torch.zeros(40, 4))


def test_decoding_undoes_encoding_of_boxes_under_a_pixel():
    for low, high in ((0.3, 1.0), (0.01, 0.1)):
        boxes, targets = (
            random_boxes(200, low=low, high=high),
            random_boxes(200, low=low, high=high),
        )
        decoded = decode_boxes(encode_boxes(boxes, targets, WEIGHTS), boxes, WEIGHTS)
        torch.testing.assert_close(decoded, targets, rtol=0, atol=1e-3)
    points = boxes[:, [0, 1, 0, 1]]  # to a box of 0.05 pixels: 50 times what a point is taken for
    targets = points + torch.tensor([1.0, 2, 1.05, 2.05])
    decoded = decode_boxes(encode_boxes(points, targets, WEIGHTS), points, WEIGHTS)
    torch.testing.assert_close(decoded, targets, rtol=0, atol=1e-3)


# ---- enlarging, clipping, scaling -----------------------------------------------------------


def test_expanding_keeps_centre_and_ratio():
    # centre (20, 40), 20 x 40; three times that is 60 x 120
    expanded = expand_boxes(torch.tensor([[10.0, 20, 30, 60]]), 3)
    torch.testing.assert_close(expanded, torch.tensor([[-10.0, -20, 50, 100]]))
    assert expand_boxes(torch.zeros(0, 4), 3).shape == (0, 4)
    boxes = random_boxes(5, 7)
    torch.testing.assert_close(expand_boxes(boxes, 1), boxes)


def test_clipping_cuts_at_each_border():
    height, width = 50, 80  # borders themselves stay
    boxes = torch.tensor([[-5.0, -6, 90, 60], [0, 0, 80, 50], [100, 70, 120, 90], [-9, -9, -1, -1]])
    expected = [[0.0, 0, 80, 50], [0, 0, 80, 50], [80, 50, 80, 50], [0, 0, 0, 0]]
    torch.testing.assert_close(clip_boxes(boxes, (height, width)), torch.tensor(expected))
    assert clip_boxes(torch.zeros(0, 4), (height, width)).shape == (0, 4)


def test_clipping_makes_finite():
    nan, inf = math.nan, math.inf
    boxes = torch.tensor([[nan, nan, nan, nan], [-inf, 3, inf, nan], [3, -inf, 4, inf]])
    expected = torch.tensor([[0.0, 0, 0, 0], [0, 3, 80, 0], [3, 0, 4, 50]])
    torch.testing.assert_close(clip_boxes(boxes, (50, 80)), expected)


def test_scaling_by_hand():
    # width 100 to 200, height 50 to 25: x twice, y half; 300 is cut at 200, -4 at 0
    boxes = torch.tensor([[10.0, 10, 40, 50], [-2, -8, 150, 20]])
    expected = torch.tensor([[20.0, 5, 80, 25], [0, 0, 200, 10]])
    torch.testing.assert_close(scale_boxes(boxes, (50, 100), (25, 200)), expected)
    assert scale_boxes(boxes[:0], (50, 100), (25, 200)).shape == (0, 4)


def test_scaling_back_gives_the_same():
    boxes = clip_boxes(random_boxes(100), (400, 600))
    there = scale_boxes(boxes, (400, 600), (333, 1000))
    torch.testing.assert_close(scale_boxes(there, (333, 1000), (400, 600)), boxes)


def test_area_needs_both_sides():
    boxes = torch.tensor(
        [[0.0, 0, 1, 1], [0, 0, 0.99, 9], [0, 0, 9, 0.99], [5, 5, 5, 5], [9, 9, 0, 0]]
    )
    assert has_area(boxes, 1.0).tolist() == [True, False, False, False, False]
    assert has_area(boxes[:0], 1.0).shape == (0,)


# ---- IoU ------------------------------------------------------------------------------------


def test_iou_by_hand():
    # 10 x 10 with its lower half: 50/100; with a shifted copy: 25/175; with a neighbour: 0
    box = torch.tensor([[0.0, 0, 10, 10]])
    others = torch.tensor([[0.0, 5, 10, 10], [5, 5, 15, 15], [10, 0, 20, 10], [0, 0, 10, 10]])
    expected = torch.tensor([0.5, 1 / 7, 0, 1])
    torch.testing.assert_close(pairwise_iou(box, others), expected[None])
    torch.testing.assert_close(aligned_iou(box.expand(4, 4), others), expected)


def few_sizes(count):
    """Boxes of whole numbers that touch, coincide, contain each other or have no area."""
    places = torch.tensor([[0.0, 0], [0, 0], [0, 0], [4, 0], [20, 0], [20, 10]])
    sides = torch.tensor([[20.0, 10], [20, 10], [20, 5], [14, 10], [9, 10], [6, 10], [12, 10]])
    sides = torch.cat([sides, torch.tensor([[0.0, 10], [0, 0]])])
    corners = places[torch.randint(len(places), (count,))]
    return torch.cat([corners, corners + sides[torch.randint(len(sides), (count,))]], dim=1)


@pytest.mark.parametrize("num_cases", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_iou_is_that_of_plain_arithmetic(dtype, num_cases):
    thresholds = ["0.3", "0.45", "0.5", "0.6", "0.7"]
    at_threshold = Counter()
    for seed in range(num_cases):
        torch.manual_seed(seed)
        boxes, others = few_sizes(6).to(dtype), few_sizes(6).to(dtype)
        threshold = thresholds[seed % 5]
        exact = [[overlap(a, b) for b in others.tolist()] for a in boxes.tolist()]
        # whole numbers: the quotient, rounded once, is all the rounding there is
        intersection, union = torch.tensor(exact, dtype=dtype).unbind(dim=2)
        plain = intersection / union.clamp(min=1)
        found = pairwise_iou(boxes, others)
        assert found.equal(plain) and found.equal(pairwise_iou(others, boxes).T)
        assert aligned_iou(boxes, others).equal(plain.diagonal())
        # as every threshold is compared: exact fractions decide the same
        limit, columns = Fraction(threshold), others.tolist()
        sign = torch.tensor([[compare(a, b, limit) for b in columns] for a in boxes.tolist()])
        assert (found >= float(threshold)).equal(sign >= 0)
        assert (found < float(threshold)).equal(sign < 0)
        at_threshold[threshold] += int((sign == 0).sum())
    assert len(at_threshold) == 5 and min(at_threshold.values()) > 0


@pytest.mark.parametrize("factor", [2.0, 0.5, 2.0**-10, 2.0**10])
def test_a_power_of_two_changes_no_iou_and_no_deltas(factor):
    boxes, others = random_boxes(300), random_boxes(300)
    assert pairwise_iou(factor * boxes, factor * others).equal(pairwise_iou(boxes, others))
    assert aligned_iou(factor * boxes, factor * others).equal(aligned_iou(boxes, others))
    deltas = encode_boxes(boxes, others, WEIGHTS)
    if factor >= 0.5:  # smaller ones come under the smallest side
        assert encode_boxes(factor * boxes, factor * others, WEIGHTS).equal(deltas)
        decoded = decode_boxes(deltas, boxes, WEIGHTS)
        assert decode_boxes(deltas, factor * boxes, WEIGHTS).equal(factor * decoded)


def test_iou_of_boxes_without_area_is_zero():
    point, line, box = [3.0, 3, 3, 3], [0.0, 5, 9, 5], [0.0, 0, 10, 10]
    boxes = torch.tensor([point, point, line, line, point, line, [9.0, 9, 2, 2]])
    others = torch.tensor([point, box, line, box, line, point, box])
    assert aligned_iou(boxes, others).tolist() == [0] * 7
    assert pairwise_iou(boxes, others).eq(0).all()
    assert pairwise_iou(others, boxes).eq(0).all()


def test_iou_of_tiny_boxes_is_no_less():
    # 1e-7 x 1e-7, and the left half of it
    boxes = torch.tensor([[0, 0, 1e-7, 1e-7], [0, 0, 1e-7, 1e-7]])
    others = torch.tensor([[0, 0, 1e-7, 1e-7], [0, 0, 5e-8, 1e-7]])
    torch.testing.assert_close(aligned_iou(boxes, others), torch.tensor([1, 0.5]))
    torch.testing.assert_close(pairwise_iou(boxes, others)[0], torch.tensor([1, 0.5]))


def test_iou_is_never_nan():
    for value in (math.nan, math.inf, 3e38):
        boxes = torch.tensor([[-value, 0, value, value], [0, 0, 9, 9]])
        for others in (boxes, boxes.flip(0)):
            assert not pairwise_iou(boxes, others).isnan().any()
            assert not aligned_iou(boxes, others).isnan().any()


def test_iou_of_nothing():
    some, nothing = torch.tensor([[0.0, 0, 1, 1]]), torch.zeros(0, 4)
    assert pairwise_iou(nothing, some).shape == (0, 1)
    assert pairwise_iou(some, nothing).shape == (1, 0)
    assert aligned_iou(nothing, nothing).shape == (0,)
