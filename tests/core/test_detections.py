"""Both readings of a detector's output against plain oracles, and their laws."""

import math
from collections import Counter
from fractions import Fraction

import pytest
import torch

from d2_plugtrack.core.detections import (
    best_class_candidates,
    best_class_detections,
    per_class_detections,
)
from d2_plugtrack.core.detector import Proposals
from tests.core.plain_boxes import plain_nms

SIZE = (60, 80)
MANY = [100, pytest.param(10_000, marks=pytest.mark.slow)]


def random_proposals(count, num_classes=4, agnostic=False, ties=False):
    """Boxes of few sizes at few places, some beyond the image, that overlap much.

    No two scores are equal, or, with ``ties``, most of them are, and some are exactly 0.125.
    """
    per_box = 1 if agnostic else num_classes
    corners = torch.tensor([[0.0, 0], [0, 0], [40, 30], [45, 30], [-10, -5], [70, 55]])
    corners = corners[torch.randint(6, (count, per_box))]
    sizes = torch.tensor([*[[20.0, 10]] * 3, [12, 10], [9, 10], [6, 10], [20, 5], [0, 10]])
    sizes = sizes[torch.randint(8, (count, per_box))]
    scores = torch.randperm(count * num_classes) / (count * num_classes + 1.0)
    scores = scores.mul(8).floor().div(8) if ties else scores**3
    boxes = torch.cat([corners, corners + sizes], dim=2)
    return Proposals(boxes, scores.reshape(count, num_classes))


def random_cases(num_cases):
    """Proposals of few or no boxes, with and without ties, and settings, exact threshold first."""
    for seed in range(num_cases):
        torch.manual_seed(seed)
        agnostic, ties, num_classes = seed % 2 == 1, seed % 4 < 2, (1, 4, 4)[seed % 3]
        count = int(torch.randint(0, 20, ()))
        exact = ("0.45", "0.3", "0.5", "0.6")[seed // 4 % 4]
        settings = {"score_threshold": 0.125, "nms_threshold": float(exact)}
        yield Fraction(exact), random_proposals(count, num_classes, agnostic, ties), settings


def best_class(proposals, image_size, **settings):
    """The detections of a frame that is alone in its batch."""
    (candidates,) = best_class_candidates([proposals], [image_size])
    return best_class_detections(candidates, **settings)


# ---- plain oracles --------------------------------------------------------------------------


def clipped(box):
    height, width = SIZE
    return [min(max(v, 0.0), limit) for v, limit in zip(box, (width, height) * 2, strict=True)]


def listed(proposals):
    """The (score, class, box) of every class of every proposal, proposal by proposal."""
    for boxes, scores in zip(*(p.tolist() for p in proposals), strict=True):
        yield [(s, k, clipped(boxes[k if len(boxes) > 1 else 0])) for k, s in enumerate(scores)]


def plain_per_class(proposals, score_threshold, threshold, limit, at_threshold):
    above = [d for row in listed(proposals) for d in row if d[0] > score_threshold]
    scores, labels, boxes = zip(*above, strict=True) if above else ([], [], [])
    kept = plain_nms(boxes, scores, labels, threshold, True, at_threshold)
    return [above[i] for i in kept[:limit]]


def plain_best_class(proposals, score_threshold, threshold, at_threshold):
    best = [max(row, key=lambda d: d[0]) for row in listed(proposals)]  # the first of equal ones
    above = [d for d in best if d[0] > score_threshold]
    scores, labels, boxes = zip(*above, strict=True) if above else ([], [], [])
    kept = plain_nms(boxes, scores, [0] * len(labels), threshold, True, at_threshold)
    return [above[i] for i in kept]


# ---- against them ---------------------------------------------------------------------------


@pytest.mark.parametrize("num_cases", MANY)
def test_per_class_is_that_of_a_plain_oracle(num_cases):
    at_threshold = Counter()
    for threshold, proposals, settings in random_cases(num_cases):
        limit = (8, 300)[len(proposals.scores) % 2]
        boxes, scores = per_class_detections(proposals, SIZE, limit=limit, **settings)
        expected = plain_per_class(proposals, 0.125, threshold, limit, at_threshold)
        assert boxes.shape == (len(expected), 4)
        assert scores.shape == (len(expected), proposals.scores.shape[1])
        assert boxes.tolist() == [box for _, _, box in expected]
        if expected:
            assert scores.max(dim=1).values.tolist() == [score for score, _, _ in expected]
            assert scores.argmax(dim=1).tolist() == [label for _, label, _ in expected]
        assert ((scores > 0).sum(dim=1) == 1).all()
    assert len(at_threshold) == 4 and min(at_threshold.values()) > 0


@pytest.mark.parametrize("num_cases", MANY)
def test_best_class_is_that_of_a_plain_oracle(num_cases):
    at_threshold = Counter()
    for threshold, proposals, settings in random_cases(num_cases):
        boxes, scores = best_class(proposals, SIZE, **settings)
        expected = plain_best_class(proposals, 0.125, threshold, at_threshold)
        assert boxes.shape == (len(expected), 4) and scores.shape == (len(expected),)
        assert boxes.tolist() == [box for _, _, box in expected]
        assert scores.tolist() == [score for score, _, _ in expected]
    assert len(at_threshold) == 4 and min(at_threshold.values()) > 0


# ---- laws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("num_cases", MANY)
def test_order_of_proposals_and_of_classes_and_scale_change_nothing(num_cases):
    for seed in range(num_cases):
        torch.manual_seed(seed)
        boxes, scores = random_proposals(seed % 15, agnostic=seed % 2 == 1)
        rows, columns = torch.randperm(len(boxes)), torch.randperm(4)
        moved = Proposals(boxes[rows], scores[rows][:, columns])
        if boxes.shape[1] > 1:
            moved = Proposals(moved.class_boxes[:, columns], moved.scores)
        larger, doubled = (2 * SIZE[0], 2 * SIZE[1]), Proposals(2 * boxes, scores)
        settings = {"score_threshold": 0.1, "nms_threshold": 0.3}
        best = best_class(Proposals(boxes, scores), SIZE, **settings)
        for proposals, size, scale in ((moved, SIZE, 1), (doubled, larger, 2)):
            found = best_class(proposals, size, **settings)
            assert found[0].equal(scale * best[0]) and found[1].equal(best[1])
        settings["limit"] = 6
        found = per_class_detections(Proposals(boxes, scores), SIZE, **settings)
        of_moved = per_class_detections(moved, SIZE, **settings)
        of_doubled = per_class_detections(doubled, larger, **settings)
        assert of_moved[0].equal(found[0]) and of_moved[1].equal(found[1][:, columns])
        assert of_doubled[0].equal(2 * found[0]) and of_doubled[1].equal(found[1])


def test_equal_scores_are_in_the_order_of_proposals_then_of_classes():
    # 400 boxes of 3 classes, none on another: more than torchvision sorts in a stable way
    x = 2.0 * torch.arange(400)
    boxes = torch.stack([x, x * 0, x + 1, x * 0 + 1], dim=1)[:, None]
    scores = torch.randint(1, 4, (400, 3)) / 8
    found = per_class_detections(
        Proposals(boxes, scores), (1, 800), score_threshold=0, nms_threshold=0.45, limit=1000
    )
    every = [(-s, i, k) for i, row in enumerate(scores.tolist()) for k, s in enumerate(row)]
    wanted = sorted(every)[:1000]
    assert found[0][:, 0].tolist() == [2.0 * i for _, i, _ in wanted]
    assert found[1].argmax(dim=1).tolist() == [k for _, _, k in wanted]


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_per_class_is_that_of_detectron2(seed, agnostic):
    from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference_single_image

    torch.manual_seed(seed)
    boxes, scores = random_proposals(80, agnostic=agnostic)
    boxes = boxes + torch.randn_like(boxes)
    boxes[3, 0, 1], boxes[7, 0, 2], scores[11, 2] = math.nan, math.inf, math.nan
    ours = per_class_detections(
        Proposals(boxes, scores), SIZE, score_threshold=1e-3, nms_threshold=0.45, limit=60
    )
    background = torch.zeros(80, 1)
    theirs, _ = fast_rcnn_inference_single_image(
        boxes.flatten(1), torch.cat([scores, background], dim=1), SIZE, 1e-3, 0.45, 60
    )
    assert ours[0].equal(theirs.pred_boxes.tensor)
    assert ours[1].max(dim=1).values.equal(theirs.scores)
    assert ours[1].argmax(dim=1).equal(theirs.pred_classes)


# ---- at the thresholds ----------------------------------------------------------------------


def two_boxes(scores, second=(0.0, 0, 20, 9)):
    """A box of 20 x 20 and a part of it, by default at an IoU of 180/400 = 0.45; one class."""
    boxes = torch.tensor([[0.0, 0, 20, 20], list(second)])
    return Proposals(boxes[:, None], torch.tensor(scores)[:, None])


def counts(proposals, **settings):
    per_class = per_class_detections(proposals, SIZE, limit=300, **settings)
    return len(per_class[0]), len(best_class(proposals, SIZE, **settings)[0])


def test_score_must_be_above_the_threshold():
    apart = (40.0, 40, 60, 60)
    for threshold in (0.03, 1e-3, 0.5):
        settings = {"score_threshold": threshold, "nms_threshold": 0.45}
        assert counts(two_boxes([0.6, threshold], apart), **settings) == (1, 1)
        assert counts(two_boxes([0.6, threshold * 1.001], apart), **settings) == (2, 2)


def test_overlap_must_be_above_the_threshold():
    settings = {"score_threshold": 0.03, "nms_threshold": 0.45}
    assert counts(two_boxes([0.6, 0.5]), **settings) == (2, 2)
    assert counts(two_boxes([0.6, 0.5], (0.0, 0, 20, 9.01)), **settings) == (1, 1)


def test_limit_keeps_the_best():
    boxes = torch.tensor([[[0.0, 0, 9, 9]], [[20, 20, 29, 29]], [[40, 40, 49, 49]]])
    scores = torch.tensor([[0.2, 0.9], [0.8, 0.1], [0.5, 0.4]])
    _, found = per_class_detections(
        Proposals(boxes, scores), SIZE, score_threshold=0.15, nms_threshold=0.45, limit=3
    )
    assert found.tolist() == torch.tensor([[0, 0.9], [0.8, 0], [0.5, 0]]).tolist()


def test_overlap_of_classes_counts_for_the_best_class_only():
    boxes = torch.tensor([[[0.0, 0, 20, 20]], [[0, 0, 20, 20]]])
    scores = torch.tensor([[0.6, 0.0], [0.0, 0.5]])
    settings = {"score_threshold": 0.03, "nms_threshold": 0.45}
    assert counts(Proposals(boxes, scores), **settings) == (2, 1)


# ---- nothing, and nonsense ------------------------------------------------------------------


@pytest.mark.parametrize("boxes_per_proposal", [1, 4])
def test_no_proposals(boxes_per_proposal):
    nothing = Proposals(torch.zeros(0, boxes_per_proposal, 4), torch.zeros(0, 4))
    settings = {"score_threshold": 0.03, "nms_threshold": 0.45}
    boxes, scores = per_class_detections(nothing, SIZE, limit=300, **settings)
    assert boxes.shape == (0, 4) and scores.shape == (0, 4)
    boxes, scores = best_class(nothing, SIZE, **settings)
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_nothing_above_the_threshold():
    proposals = random_proposals(10)
    boxes, scores = per_class_detections(
        proposals, SIZE, score_threshold=1.0, nms_threshold=0.45, limit=300
    )
    assert boxes.shape == (0, 4) and scores.shape == (0, 4)
    boxes, scores = best_class(proposals, SIZE, score_threshold=1.0, nms_threshold=0.45)
    assert boxes.shape == (0, 4) and scores.shape == (0,)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["class_boxes", "scores"])
def test_non_finite_proposals_are_left_out(where, value):
    proposals = random_proposals(30)
    without = Proposals(*(p[torch.arange(30) != 4] for p in proposals))
    getattr(proposals, where)[4].view(-1)[-1] = value  # of the last class only
    settings = {"score_threshold": 0.0, "nms_threshold": 0.45}
    for read, more in ((per_class_detections, {"limit": 300}), (best_class, {})):
        found, expected = (read(p, SIZE, **settings, **more) for p in (proposals, without))
        assert found[0].equal(expected[0]) and found[1].equal(expected[1])
    everything_bad = Proposals(proposals.class_boxes * math.nan, proposals.scores)
    assert counts(everything_bad, **settings) == (0, 0)


# ---- candidates -----------------------------------------------------------------------------


def test_candidates_of_a_batch_are_those_of_each_frame():
    batch = [random_proposals(n, agnostic=n == 7) for n in (5, 0, 7)]
    sizes = [SIZE, (40, 50), (30, 80)]
    together = best_class_candidates(batch, sizes)
    assert [c.scores.shape for c in together] == [(5,), (0,), (7,)]
    for proposals, size, found in zip(batch, sizes, together, strict=True):
        (alone,) = best_class_candidates([proposals], [size])
        assert found.boxes.equal(alone.boxes) and found.scores.equal(alone.scores)
    assert best_class_candidates([], []) == []


def test_candidates_are_the_likeliest_classes_before_any_threshold():
    boxes = torch.tensor([[[0.0, 0, 9, 9], [5, 5, 95, 65]], [[1, 1, 4, 4], [2, 2, 3, 3]]])
    scores = torch.tensor([[0.1, 0.2], [0.001, 0.0]])
    (found,) = best_class_candidates([Proposals(boxes, scores)], [SIZE])
    assert found.boxes.tolist() == [[5, 5, 80, 60], [1, 1, 4, 4]]
    assert found.scores.equal(torch.tensor([0.2, 0.001]))
    boxes[1, 1, 3] = math.nan  # of the other class: the proposal has no chance all the same
    (found,) = best_class_candidates([Proposals(boxes, scores)], [SIZE])
    assert found.scores.tolist()[1] == -math.inf and found.boxes.isfinite().all()
    boxes[0, 1] = torch.tensor([5.0, 9, 15, 8])  # the wrong way round
    (found,) = best_class_candidates([Proposals(boxes, scores)], [SIZE])
    assert found.scores.tolist() == [-math.inf] * 2


def test_candidates_in_half_precision_are_decided_in_float32():
    boxes, scores = random_proposals(20)
    (found,) = best_class_candidates([Proposals(boxes.half(), scores.half())], [SIZE])
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    best_class_detections(found, score_threshold=0.1, nms_threshold=0.45)  # no NMS of halves
