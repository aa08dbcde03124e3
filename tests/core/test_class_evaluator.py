"""The area under the envelope, and what is false in a range, by hand."""

import numpy as np
import pytest

from d2_plugtrack.core.class_evaluator import average_precision
from d2_plugtrack.core.vid_metrics import average_precision_per_class


class TestAreaUnderTheEnvelope:
    def test_area_under_the_envelope(self):
        # Hits by falling score: 1 0 1 0 1 of 4 objects. Precision at the hits: 1, 2/3, 3/5. Each
        # hit is a step of 1/4 of recall; the fourth object is not found:
        # (1 + 2/3 + 3/5) / 4 = 34/60
        value = average_precision(np.array([1, 0, 1, 0, 1]), np.array([0, 1, 0, 1, 0]), 4)
        assert value == pytest.approx(34 / 60, abs=1e-12)
        # 0 1 1 of 2: 1/2 at the first hit, but 2/3 later, so 2/3 for both
        value = average_precision(np.array([0, 1, 1]), np.array([1, 0, 0]), 2)
        assert value == pytest.approx(2 / 3, abs=1e-12)

    def test_weights_need_not_be_whole(self):
        # The first counts neither way. Then half a false one, then a hit: 1 / 1.5
        value = average_precision(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.5, 0.0]), 1)
        assert value == pytest.approx(2 / 3, abs=1e-12)

    def test_101_points(self):
        # 1 0 1 of 2: precision 1 up to a recall of 1/2, which are the points 0 to 50 of a
        # hundred, and 2/3 at the 50 beyond
        value = average_precision(np.array([1, 0, 1]), np.array([0, 1, 0]), 2, 101)
        assert value == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
        # half of the recall is never reached
        value = average_precision(np.array([1]), np.array([0]), 2, 101)
        assert value == pytest.approx(51 / 101, abs=1e-12)

    def test_no_detections(self):
        nothing = np.zeros(0)
        assert average_precision(nothing, nothing, 3) == 0.0
        assert average_precision(nothing, nothing, 3, 101) == 0.0


SLOW, FAST = 0.95, 0.5
LEFT, RIGHT = [0.0, 0.0, 99.0, 99.0], [200.0, 0.0, 299.0, 99.0]
NEAR_LEFT, NEAR_RIGHT = [60.0, 0.0, 159.0, 99.0], [140.0, 0.0, 239.0, 99.0]  # 40 pixels in common
AWAY = [0.0, 500.0, 99.0, 599.0]


def slow_ap(protocol, *frames, **spans):
    """AP of class 0 in the slow range, whose one object, found last, is in a frame of its own.

    What stands before it is one false detection of the given weight w: 1 / (1 + w).

    Args:
        frames: (objects as (box, label, motion), the detections' boxes) of each.
    """
    frames = [*frames, ([(LEFT, 0, SLOW)], [])]
    truth, found, motion = [], [], []
    for objects, boxes in frames:
        labels = np.array([label for _, label, _ in objects], dtype=int)
        truth.append((np.array([box for box, _, _ in objects]).reshape(-1, 4), labels))
        motion.append(np.array([value for _, _, value in objects]))
        scores = np.full(len(boxes), 0.9)
        found.append((np.array(boxes).reshape(-1, 4), scores, np.zeros(len(boxes), int)))
    found[-1] = np.array([LEFT]), np.array([0.1]), np.zeros(1, int)
    spans = spans or {"motion_range": (0.9, 1.0)}
    return average_precision_per_class(truth, found, 9, protocol, motion, **spans)[0]


def weight(protocol, *frames, **spans):
    return 1 / slow_ap(protocol, *frames, **spans) - 1


class TestMotion:
    """Weights of one detection that finds nothing, in the slow range."""

    BESIDE = [(LEFT, 1, FAST), (RIGHT, 2, SLOW)]

    @pytest.mark.parametrize(("protocol", "of_left"), [("fgfa", 0), ("mega", None), ("coco", 1)])
    def test_nearest_object_of_any_class(self, protocol, of_left):
        # mega looks at no other class: the frame has none of its own, and 2 of 3 values are slow
        left = weight(protocol, (self.BESIDE, [NEAR_LEFT]))
        assert left == pytest.approx(2 / 3 if of_left is None else of_left, abs=1e-12)
        right = weight(protocol, (self.BESIDE, [NEAR_RIGHT]))
        assert right == pytest.approx(2 / 3 if of_left is None else 1, abs=1e-12)

    @pytest.mark.parametrize(("protocol", "fast"), [("fgfa", 0), ("mega", 0), ("coco", 1)])
    def test_nearest_object_of_the_class(self, protocol, fast):
        # two objects are to be found, one is: hit at the half, then w: AP 1/2 / (1 + w)
        objects = [(LEFT, 0, FAST), (RIGHT, 0, SLOW)]
        for box, expected in ((NEAR_LEFT, fast), (NEAR_RIGHT, 1)):
            value = slow_ap(protocol, (objects, [box]))
            half = 51 / 101 if protocol == "coco" else 1 / 2
            assert half / value - 1 == pytest.approx(expected, abs=1e-12)

    def test_ties_are_shared(self):
        # equally near to all, not at all: 2 of 3 objects are out of the range, whatever class
        objects = [(LEFT, 1, FAST), (RIGHT, 2, SLOW), (RIGHT, 3, FAST)]
        assert weight("fgfa", (objects, [AWAY])) == pytest.approx(2 / 3, abs=1e-12)
        # all of them are out of it: counts neither way, far away as it is
        assert weight("fgfa", ([(RIGHT, 3, FAST)], [AWAY])) == pytest.approx(0, abs=1e-12)
        # mega: of the class only, 1 of 2; two objects are to be found
        objects = [(LEFT, 0, FAST), (RIGHT, 0, SLOW), (RIGHT, 3, FAST)]
        assert 0.5 / slow_ap("mega", (objects, [AWAY])) - 1 == pytest.approx(1 / 2, abs=1e-12)

    def test_found_objects_are_near_as_well(self):
        # The first detection takes the fast object, the second is nearest to it: neither counts
        for protocol in ("fgfa", "mega"):
            frame = [(LEFT, 0, FAST), (RIGHT, 0, SLOW)], [LEFT, LEFT]
            assert slow_ap(protocol, frame) == pytest.approx(1 / 2, abs=1e-12)

    @pytest.mark.parametrize("protocol", ["fgfa", "mega"])
    def test_frames_without_ground_truth(self, protocol):
        # values are 0.95, and 0 for the empty frame: half of them slow. A second empty frame: 1/3
        assert weight(protocol, ([], [AWAY])) == pytest.approx(1 / 2, abs=1e-12)
        assert weight(protocol, ([], [AWAY]), ([], [])) == pytest.approx(1 / 3, abs=1e-12)
        # in the whole range, and where every value is in the range, it is false altogether
        assert weight(protocol, ([], [AWAY]), motion_range=(0, 1)) == pytest.approx(1, abs=1e-12)
        other = [(RIGHT, 1, SLOW)]
        assert weight("mega", (other, [AWAY])) == pytest.approx(1, abs=1e-12)

    def test_who_takes_what_out_of_the_range(self):
        # Both are good enough, the fast one better: it is taken and counts neither way, but coco
        # takes the slow one as long as there is one. (85 and 75 of 100 columns: 0.74 and 0.6.)
        fast, slow = [15.0, 0.0, 114.0, 99.0], [25.0, 0.0, 124.0, 99.0]
        frame = [(fast, 0, FAST), (slow, 0, SLOW)], [LEFT]
        assert slow_ap("fgfa", frame) == slow_ap("mega", frame) == 0.5
        assert slow_ap("coco", frame) == 1.0


def test_coco_takes_the_last_of_equally_good_boxes():
    # The middle overlaps both neighbours by 80 / 120 and takes the right one. A second detection
    # on that one is false, as it overlaps the other by 60 / 140 only: a half of the recall, at the
    # precision 1. On the left one it is true.
    left, middle, right = ([x, 0.0, x + 100, 100.0] for x in (0.0, 20.0, 40.0))
    truth = [(np.array([left, right]), np.zeros(2, int))]
    for second, expected in ((right, 51 / 101), (left, 1.0)):
        found = [(np.array([middle, second]), np.array([0.9, 0.8]), np.zeros(2, int))]
        result = average_precision_per_class(truth, found, 1, "coco")
        assert result[0] == pytest.approx(expected, abs=1e-12)


class TestArea:
    SMALL = {"area_range": (0, 2500)}

    @pytest.mark.parametrize("protocol", ["fgfa", "mega", "coco"])
    def test_ends_count_both_borders(self, protocol):
        # 50 x 50 is small, 50 x 50.5 is not
        for right, expected in ((49.0, 1.0), (49.5, np.nan)):
            box = np.array([[0.0, 0.0, right, 49.0]])
            sets = [(box, np.zeros(1, int))], [(box, np.ones(1), np.zeros(1, int))]
            result = average_precision_per_class(*sets, 1, protocol, **self.SMALL)
            np.testing.assert_array_equal(result, [expected])

    @pytest.mark.parametrize("protocol", ["fgfa", "mega", "coco"])
    def test_what_finds_nothing_counts_where_its_own_area_does(self, protocol):
        small, large = [0.0, 0.0, 19.0, 19.0], [0.0, 0.0, 199.0, 199.0]
        for box, expected in ((small, 0.5), (large, 1.0)):
            truth = [(np.zeros((0, 4)), np.zeros(0, int)), (np.array([small]), np.zeros(1, int))]
            found = [
                (np.array([box]), np.array([0.9]), np.zeros(1, int)),
                (np.array([small]), np.array([0.1]), np.zeros(1, int)),
            ]
            result = average_precision_per_class(truth, found, 1, protocol, **self.SMALL)
            assert result[0] == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("protocol", ["fgfa", "mega", "coco"])
    def test_taking_an_object_out_of_the_range_counts_neither_way(self, protocol):
        small, large = [300.0, 0.0, 319.0, 19.0], [0.0, 0.0, 199.0, 199.0]
        truth = [(np.array([large, small]), np.zeros(2, int))]
        found = [(np.array([large, small]), np.array([0.9, 0.8]), np.zeros(2, int))]
        result = average_precision_per_class(truth, found, 1, protocol, **self.SMALL)
        assert result[0] == 1.0
