"""Average precision against hand-worked sets, slow oracles and pycocotools.

The oracles of ``plain_metrics.py`` go through frames, classes, detections and boxes in plain loops;
the sets of ``metric_sets.py`` are full of ties and of values on thresholds.
"""

import contextlib
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from d2_plugtrack.core.vid_metrics import (
    average_precision_per_class,
    limit_detections,
    round_for_protocol,
)
from tests.core import plain_metrics
from tests.core.metric_sets import NUM_CLASSES, as_arrays, grid_set, scattered_set
from tests.core.plain_metrics import RANGES, Frame, within

# ---- oracles --------------------------------------------------------------------------------

PROTOCOL_NAMES = ["fgfa", "mega", "coco"]
MANY_AND_MORE = [200, pytest.param(5_000, marks=pytest.mark.slow)]


def in_range(frames, protocol, name):
    """What is tested, in a range of the oracle."""
    ground_truth, detections, motion = as_arrays(frames)
    spans = {
        key: span
        for key, span in zip(("motion_range", "area_range"), RANGES[name], strict=True)
        if span is not None
    }
    return average_precision_per_class(
        ground_truth, detections, NUM_CLASSES, protocol, motion, **spans
    )


@pytest.mark.parametrize("num_sets", MANY_AND_MORE)
@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_against_the_plain_way(protocol, num_sets):
    for seed in range(num_sets):
        frames = grid_set(seed)
        for name, spans in RANGES.items():
            result = in_range(frames, protocol, name)
            expected = plain_metrics.average_precisions(frames, NUM_CLASSES, protocol, *spans)
            assert result.shape == (NUM_CLASSES,) and result.dtype == np.float64
            message = f"set {seed}, {name}"
            np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12, err_msg=message)


def coco_eval(frames, motion_span, area_span):
    """pycocotools, with areas that say what is in the range."""
    annotations, results = [], []
    for image, (objects, found) in enumerate(frames):
        for box, label, motion in objects:
            size = plain_metrics.area(box) if area_span else float(not within(motion, motion_span))
            annotations.append(coco_box(len(annotations), image, label, box, size))
        for box, score, label in found:
            size = plain_metrics.area(box) if area_span else 0.0
            results.append({**coco_box(len(results), image, label, box, size), "score": score})
    with contextlib.redirect_stdout(None):
        evaluation = COCOeval(*(coco_set(rows, len(frames)) for rows in (annotations, results)))
        evaluation.params.iouType, evaluation.params.maxDets = "bbox", [1000]
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng = [list(area_span or (0, 0.5))]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, 0]  # (101, K); -1 without ground truth
    return np.where((precision < 0).all(axis=0), np.nan, precision.mean(axis=0))


def coco_box(index, image, label, box, size):
    x1, y1, x2, y2 = box
    ids = {"id": index + 1, "image_id": image, "category_id": label, "iscrowd": 0}
    return {**ids, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": size}


def coco_set(annotations, num_frames):
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(num_frames)],
        "categories": [{"id": label} for label in range(NUM_CLASSES)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


@pytest.mark.parametrize("num_sets", MANY_AND_MORE)
def test_coco_equals_pycocotools(num_sets):
    for seed in range(num_sets):
        frames = grid_set(seed)
        for name, (motion_span, area_span) in RANGES.items():
            if motion_span is None or area_span is None:  # it has one range at a time
                expected = coco_eval(frames, motion_span, area_span)
                message = f"set {seed}, {name}"
                np.testing.assert_allclose(
                    in_range(frames, "coco", name), expected, rtol=0, atol=1e-12, err_msg=message
                )


def test_the_sets_meet_what_they_are_for():
    """Every rule that sets protocols and ranges apart makes a difference somewhere."""
    results = {
        (protocol, name): np.concatenate([in_range(grid_set(s), protocol, name) for s in range(60)])
        for protocol in PROTOCOL_NAMES
        for name in RANGES
    }
    for values in results.values():
        assert np.isnan(values).any() and (values == 0).any() and (values == 1).any()
        assert ((values > 0.05) & (values < 0.95)).sum() > 5
    for (protocol, name), values in results.items():
        others = [(protocol, other) for other in RANGES if other != name]
        if name == "whole" or "motion" in name:  # elsewhere, tiny boxes and nearness matter less
            others += [(other, name) for other in PROTOCOL_NAMES if other != protocol]
        assert not any(np.array_equal(values, results[o], equal_nan=True) for o in others)


# ---- laws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_ground_truth_as_detections_finds_everything(protocol):
    for seed in range(20):
        for frames in (grid_set(seed), scattered_set(seed)):
            # coco has no IoU of boxes without area
            frames = [([o for o in f.objects if has_area(o[0])], []) for f in frames]
            frames = [Frame(o, [(box, 0.5, label) for box, label, _ in o]) for o, _ in frames]
            for name, spans in RANGES.items():
                present = {o[1] for f in frames for o in f.objects if is_inside(o, spans)}
                expected = [1.0 if k in present else np.nan for k in range(NUM_CLASSES)]
                np.testing.assert_allclose(in_range(frames, protocol, name), expected, rtol=1e-12)


def has_area(box):
    return box[2] > box[0] and box[3] > box[1]


def is_inside(one, spans):
    box, _, motion = one
    return within(motion, spans[0]) and within(plain_metrics.area(box), spans[1])


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_nothing_finds_nothing(protocol):
    for seed in range(10):
        frames = [frame._replace(found=[]) for frame in grid_set(seed)]
        for name in RANGES:
            values = in_range(frames, protocol, name)
            assert ((values == 0) | np.isnan(values)).all()


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_order_is_nothing_where_there_are_no_ties(protocol):
    for seed in range(10):
        frames, rng = scattered_set(seed), np.random.default_rng(seed)
        shuffled = [
            Frame(*([rows[i] for i in rng.permutation(len(rows))] for rows in frame))
            for frame in (frames[i] for i in rng.permutation(len(frames)))
        ]
        for name in RANGES:
            expected = in_range(frames, protocol, name)
            np.testing.assert_allclose(in_range(shuffled, protocol, name), expected, rtol=1e-12)


# ---- by hand --------------------------------------------------------------------------------

BOX = [0.0, 0.0, 99.0, 99.0]  # 100 x 100 inclusive pixels; threshold 0.5
HALF = [0.0, 0.0, 49.0, 99.0]  # 50 x 100: IoU with BOX 0.5
LESS = [0.0, 0.0, 48.0, 99.0]  # 49 x 100: 0.49
FAR = [500.0, 0.0, 599.0, 99.0]


def truth(*boxes, label=0):
    return np.array(boxes, dtype=float).reshape(-1, 4), np.full(len(boxes), label)


def found(*boxes_and_scores, label=0):
    boxes = np.array([box for box, _ in boxes_and_scores], dtype=float).reshape(-1, 4)
    scores = np.array([score for _, score in boxes_and_scores], dtype=float)
    return boxes, scores, np.full(len(boxes), label)


def ap(ground_truth, detections):
    return average_precision_per_class(ground_truth, detections, 1)[0]


class TestByHand:
    def test_nothing(self):
        assert ap([truth(BOX), truth()], [found(), found()]) == 0.0
        assert math.isnan(ap([truth()], [found((BOX, 0.5))]))
        assert math.isnan(ap([], []))
        assert average_precision_per_class([], [], 0).shape == (0,)

    def test_threshold_is_reached_at_equality(self):
        assert ap([truth(BOX)], [found((HALF, 0.5))]) == 1.0
        assert ap([truth(BOX)], [found((LESS, 0.5))]) == 0.0

    def test_border_pixels_belong_to_a_box(self):
        # Inclusive, boxes that touch at a pixel column overlap by it; one pixel is a box.
        # 1 x 1 has the threshold 1 / (11 * 11) = 0.00826; 9 x 9 around it: IoU 1/81 = 0.0123
        assert ap([truth([4, 4, 4, 4])], [found(([0, 0, 8, 8], 0.5))]) == 1.0
        # 11 x 11: 1/121, at the threshold; 12 x 11: below
        assert ap([truth([4, 4, 4, 4])], [found(([0, 0, 10, 10], 0.5))]) == 1.0
        assert ap([truth([4, 4, 4, 4])], [found(([0, 0, 11, 10], 0.5))]) == 0.0

    def test_tiny_boxes_forgive_pixels(self):
        # 10 x 10: 100 / (20 * 20) = 0.25; a 10 x 10 box moved by 6 overlaps 40 / 160 = 0.25
        assert ap([truth([0, 0, 9, 9])], [found(([6, 0, 15, 9], 0.5))]) == 1.0
        assert ap([truth([0, 0, 9, 9])], [found(([6.1, 0, 15.1, 9], 0.5))]) == 0.0

    def test_second_detection_of_an_object_is_false(self):
        # hit, false, hit of 2: (1 + 2/3) / 2 = 5/6
        detections = [found((BOX, 0.9), (BOX, 0.8), (FAR, 0.7))]
        assert ap([truth(BOX, FAR)], detections) == pytest.approx(5 / 6, abs=1e-12)

    def test_takes_the_best_box_that_is_left(self):
        # HALF's and BOX's IoU is 0.5. The first detection takes BOX, which it equals; the second
        # equals it too, and takes HALF, which is left: both hits.
        assert ap([truth(HALF, BOX)], [found((BOX, 0.9), (BOX, 0.8))]) == 1.0
        # LESS equals none: of BOX (0.49, not enough) and HALF (0.98) it takes HALF
        detections = [found((LESS, 0.9), (HALF, 0.8))]
        assert ap([truth(BOX, HALF)], detections) == 1.0

    def test_takes_the_first_of_equally_good_boxes(self):
        # The middle overlaps both neighbours by 80 / 120 and takes the first. A second detection
        # on that one is false, as it overlaps the other by 60 / 140 = 0.43 only: 1/2. On the
        # other one it is true.
        left, middle, right = ([x, 0.0, x + 99, 99.0] for x in (0.0, 20.0, 40.0))
        first = [truth(left, right)]
        assert ap(first, [found((middle, 0.9), (left, 0.8))]) == 0.5
        assert ap(first, [found((middle, 0.9), (right, 0.8))]) == 1.0

    def test_equal_scores_keep_the_order_of_frames_and_boxes(self):
        # false then hit: 1/2; hit then false: 1
        empty_first = [truth(), truth(BOX)], [found((BOX, 0.5)), found((BOX, 0.5))]
        assert ap(*empty_first) == 0.5
        assert ap(*(values[::-1] for values in empty_first)) == 1.0
        assert ap([truth(BOX)], [found((FAR, 0.5), (BOX, 0.5))]) == 0.5
        assert ap([truth(BOX)], [found((BOX, 0.5), (FAR, 0.5))]) == 1.0

    def test_frames_and_classes_are_apart(self):
        assert ap([truth(BOX), truth()], [found(), found((BOX, 0.5))]) == 0.0
        result = average_precision_per_class([truth(BOX)], [found((BOX, 0.5), label=1)], 3)
        np.testing.assert_array_equal(result, [0.0, np.nan, np.nan])

    def test_does_not_round(self):
        # 50 x 100 of 100 x 100, less a thousandth of a pixel
        almost = [0.0, 0.0, 48.999, 99.0]
        assert ap([truth(BOX)], [found((almost, 0.5))]) == 0.0
        assert ap([truth(BOX)], [round_for_protocol(found((almost, 0.5)))]) == 1.0


# ---- limits -----------------------------------------------------------------------------------


class TestLimits:
    BOXES = np.array([BOX, HALF, FAR])

    def test_by_hand(self):
        scores = np.array([[0.25, 0.5], [0.0, 0.25], [0.125, 0.75]])
        boxes, kept, labels = limit_detections(self.BOXES, scores, floor=0.125, limit=10)
        assert kept.tolist() == [0.75, 0.5, 0.25, 0.25, 0.125]  # the floor itself stays
        assert labels.tolist() == [1, 1, 0, 1, 0]
        assert boxes.tolist() == [FAR, BOX, BOX, HALF, FAR]
        _, kept, labels = limit_detections(self.BOXES, scores, floor=0.125, limit=3)
        assert (kept.tolist(), labels.tolist()) == ([0.75, 0.5, 0.25], [1, 1, 0])

    def test_against_oracle(self):
        for seed in range(100):
            rng = np.random.default_rng(seed)
            boxes = rng.random((rng.integers(0, 6), 4)).astype(np.float32)
            scores = (rng.integers(0, 6, (len(boxes), 3)) / 8).astype(np.float32)
            pairs = [
                (-score, i, k)
                for i, row in enumerate(scores.tolist())
                for k, score in enumerate(row)
                if score >= 0.25
            ]
            expected = sorted(pairs)[: seed % 7]
            got = limit_detections(boxes, scores, floor=0.25, limit=seed % 7)
            assert [v.dtype for v in got] == [np.float32, np.float32, np.int64]
            assert got[0].tolist() == [boxes[i].tolist() for _, i, _ in expected]
            assert got[1].tolist() == [-negative for negative, _, _ in expected]
            assert got[2].tolist() == [k for _, _, k in expected]

    def test_nothing(self):
        for boxes, scores in ((np.zeros((0, 4)), np.zeros((0, 3))), (self.BOXES, np.zeros((3, 0)))):
            shapes = [v.shape for v in limit_detections(boxes, scores, floor=0.1, limit=5)]
            assert shapes == [(0, 4), (0,), (0,)]

    def test_mistakes(self):
        with pytest.raises(ValueError, match=r"\(N, 4\).*\(3, 4\) and \(2, 5\)"):
            limit_detections(self.BOXES, np.zeros((2, 5)), floor=0.1, limit=5)
        with pytest.raises(ValueError, match="limit of 0 or more detections, got -1"):
            limit_detections(self.BOXES, np.zeros((3, 5)), floor=0.1, limit=-1)


# ---- mistakes -------------------------------------------------------------------------------


class TestMistakes:
    def test_number_of_frames(self):
        with pytest.raises(ValueError, match=r"\(2\), got 1"):
            average_precision_per_class([truth(), truth()], [found()], 1)

    @pytest.mark.parametrize("label", [-1, 2])
    def test_labels(self, label):
        sets = [truth(), truth(BOX)], [found(), found((BOX, 0.5))]
        wrong = [truth(), truth(BOX, label=label)], [found(), found((BOX, 0.5), label=label)]
        message = f"frame 1: expected labels from 0 to 1, got {label}"
        with pytest.raises(ValueError, match=f"ground truth, {message}"):
            average_precision_per_class(wrong[0], sets[1], 2)
        with pytest.raises(ValueError, match=f"detections, {message}"):
            average_precision_per_class(sets[0], wrong[1], 2)

    def test_shapes(self):
        boxes, scores, labels = found((BOX, 0.5), (FAR, 0.5))
        for wrong in (
            (boxes[:1], scores, labels),
            (boxes, scores[:1], labels),
            (boxes[:, :3],) * 3,
        ):
            with pytest.raises(ValueError, match="detections, frame 1: expected boxes"):
                average_precision_per_class([truth(), truth()], [found(), wrong], 1)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_values_that_are_not_finite(self, value):
        with pytest.raises(ValueError, match="detections, frame 1: .*finite"):
            average_precision_per_class([truth()] * 2, [found(), found((BOX, value))], 1)
        with pytest.raises(ValueError, match="ground truth, frame 0: .*finite"):
            average_precision_per_class([truth([0, 0, value, 9])], [found()], 1)

    def test_protocols(self):
        with pytest.raises(ValueError, match="fgfa, mega, coco, got 'voc'"):
            average_precision_per_class([], [], 1, protocol="voc")
        with pytest.raises(ValueError, match="fgfa, mega, coco, got 'voc'"):
            round_for_protocol(found(), "voc")

    def test_motion(self):
        sets = [truth(BOX), truth(BOX, FAR)], [found(), found()]
        with pytest.raises(ValueError, match=r"motion range \(0, 0.7\), got none"):
            average_precision_per_class(*sets, 1, motion_range=(0, 0.7))
        with pytest.raises(ValueError, match="motion values of 2 frames, got 1"):
            average_precision_per_class(*sets, 1, motion=[np.ones(3)])
        with pytest.raises(ValueError, match=r"motion, frame 1: .*each of 2 objects, got \(1,\)"):
            average_precision_per_class(*sets, 1, motion=[np.ones(1), np.ones(1)])
