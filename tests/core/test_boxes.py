"""Coding is undone by decoding, and nothing fails on boxes that are small, far away or nothing."""

import math

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

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
ONES = (1.0, 1.0, 1.0, 1.0)


def random_boxes(*shape, low=5.0, high=150.0):
    """Sides between ``low`` and ``high``, centres anywhere in an image of 400 pixels."""
    centers, sizes = 400 * torch.rand(*shape, 2), low + (high - low) * torch.rand(*shape, 2)
    return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1)


def plain_iou(a, b):
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union > 0 else 0.0


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_iou_is_that_of_plain_arithmetic(dtype):
    for seed in range(20):
        torch.manual_seed(seed)
        corners, sizes = torch.randint(0, 9, (2, 30, 2)), torch.randint(0, 7, (2, 30, 2))
        boxes, others = torch.cat([corners, corners + sizes], dim=2).to(dtype)
        plain = [[plain_iou(a, b) for b in others.tolist()] for a in boxes.tolist()]
        plain = torch.tensor(plain, dtype=dtype)
        torch.testing.assert_close(pairwise_iou(boxes, others), plain)
        torch.testing.assert_close(aligned_iou(boxes, others), plain.diagonal())


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
