"""Motion values by hand, at the ends of windows and videos, and against plain loops."""

import numpy as np
import pytest

from d2_plugtrack.core.motion import motion_of_records, motion_values
from d2_plugtrack.core.ranges import MOTION_RANGES, is_within
from tests.core import plain_metrics

BOX = [0.0, 0.0, 9.0, 9.0]  # 10 x 10 pixels, both borders counted


def record(frame, *objects, video="v"):
    """Objects are (track, box), or (track, box, changes of the annotation)."""
    annotations = []
    for track, box, *changes in objects:
        annotation = {"bbox": box, "category_id": 0, "track_id": track, "iscrowd": 0}
        annotations.append({**annotation, **(changes[0] if changes else {})})
    return {"video_id": video, "frame_index": frame, "annotations": annotations}


def moved(pixels):
    return [BOX[0] + pixels, BOX[1], BOX[2] + pixels, BOX[3]]


def values(*records):
    return [row.tolist() for row in motion_of_records(records)]


class TestByHand:
    def test_alone_reads_one(self):
        # one frame; two frames 11 apart; another video, another track in the frame beside it
        assert values(record(0, (5, BOX))) == [[1.0]]
        assert values(record(0, (5, BOX)), record(11, (5, moved(5)))) == [[1.0], [1.0]]
        beside = record(1, (5, moved(5)), video="w"), record(1, (6, moved(5)))
        assert values(record(0, (5, BOX)), *beside) == [[1.0], [1.0], [1.0]]

    def test_mean_over_the_frames_around(self):
        # moved by 1: 9 columns of 11 in common, IoU 9/11; by 2: 8/12; by 3: 7/13
        records = [record(t, (1, moved(t))) for t in range(4)]
        first = (9 / 11 + 8 / 12 + 7 / 13) / 3
        second = (9 / 11 + 9 / 11 + 8 / 12) / 3
        result = [row[0] for row in values(*records)]
        assert result == pytest.approx([first, second, second, first], abs=1e-15)

    def test_window_is_ten_frames_to_either_side(self):
        # still but for frame 0, which frame 10 sees and frame 11 does not
        records = [record(t, (1, BOX if t else moved(5))) for t in range(30)]
        result = [row[0] for row in values(*records)]
        # moved by 5: 5/15. Frame 0 sees 10 frames, of another place all of them
        assert result[0] == pytest.approx(1 / 3, abs=1e-15)
        # frame 10 sees 20 frames, of which frame 0 is one; frame 1 sees 11
        assert result[10] == pytest.approx((19 + 1 / 3) / 20, abs=1e-15)
        assert result[1] == pytest.approx((10 + 1 / 3) / 11, abs=1e-15)
        assert result[11:] == [1.0] * 19

    def test_gaps_are_left_out(self):
        # present in frames 0, 4 and 10: each sees the other two, whatever lies between
        records = [
            record(t, (1, moved(t // 4)) if t in (0, 4, 10) else (2, BOX)) for t in range(11)
        ]
        result = [values(*records)[t][0] for t in (0, 4, 10)]
        near, far = 9 / 11, 8 / 12
        expected = [(near + far) / 2, (near + near) / 2, (far + near) / 2]
        assert result == pytest.approx(expected, abs=1e-15)

    def test_ends_of_ranges_are_inclusive_after_arithmetic_as_well(self):
        # 20 pixels wide, 18 in common with one 18 wide: IoU 0.9 exactly, twenty times; and 0.7
        for width, ranges in ((18, ["slow", "medium"]), (14, ["medium", "fast"])):
            still, changed = [0.0, 0.0, 19.0, 0.0], [0.0, 0.0, width - 1.0, 0.0]
            records = [record(t, (1, changed if t == 10 else still)) for t in range(21)]
            value = motion_of_records(records)[10]
            assert value.tolist() == [width / 20]
            assert [
                name for name, span in MOTION_RANGES.items() if is_within(value, span)
            ] == ranges

    def test_leaves_out_crowds_and_has_nothing_for_no_track(self):
        crowd = {"iscrowd": 1}
        assert values(record(0, (1, BOX, crowd), (1, BOX)), record(1, (1, moved(5), crowd))) == [
            [1.0],
            [],
        ]
        records = [record(t, (1, BOX), (2, BOX)) for t in range(2)]
        del records[0]["annotations"][1]["track_id"]
        records[1]["annotations"][0]["track_id"] = None
        result = motion_of_records(records)
        assert np.isnan(result[0]).tolist() == [False, True]
        assert np.isnan(result[1]).tolist() == [True, False]

    def test_boxes_that_do_not_overlap(self):
        assert values(record(0, (1, BOX)), record(1, (1, moved(10)))) == [[0.0], [0.0]]

    def test_nothing(self):
        assert motion_of_records([]) == []
        assert values(record(0), record(1)) == [[], []]
        nothing = np.zeros(0, np.int64)
        assert motion_values(nothing, nothing, np.zeros((0, 4))).shape == (0,)


def random_records(seed):
    """Records in any order, tracks with gaps, twice in a frame, missing, crowds; two videos."""
    rng = np.random.default_rng(seed)
    records = []
    for video in ("v", 7):
        for frame in rng.choice(60, rng.integers(1, 40), replace=False).tolist():
            objects = []
            for track in rng.integers(0, 4, rng.integers(0, 5)).tolist():
                corner = rng.integers(0, 12, 2)
                box = [*corner.tolist(), *(corner + rng.integers(0, 12, 2)).tolist()]
                objects.append((track, box, {"iscrowd": int(rng.random() < 0.1)}))
            records.append(record(frame, *objects, video=video))
            for annotation in records[-1]["annotations"]:
                if rng.random() < 0.1:
                    del annotation["track_id"]
    return [records[i] for i in rng.permutation(len(records))]


@pytest.mark.parametrize("num_sets", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_against_the_plain_way(num_sets):
    for seed in range(num_sets):
        records = random_records(seed)
        result, expected = motion_of_records(records), plain_metrics.motion_values(records)
        assert [len(row) for row in result] == [len(row) for row in expected]
        flat = [np.array([v for row in rows for v in row]) for rows in (result, expected)]
        np.testing.assert_allclose(*flat, rtol=0, atol=1e-15)
        for span in MOTION_RANGES.values():  # on their ends too
            np.testing.assert_array_equal(*(is_within(values, span) for values in flat))


def test_the_plain_way_meets_what_it_is_for():
    rows = [row for seed in range(40) for row in plain_metrics.motion_values(random_records(seed))]
    flat = np.array([value for row in rows for value in row])
    assert np.isnan(flat).any() and (flat == 1).any() and [] in rows
    assert all(is_within(flat, span).any() for span in MOTION_RANGES.values())


def test_order_of_records_is_nothing():
    records = random_records(3)
    result = {
        (r["video_id"], r["frame_index"]): v
        for r, v in zip(records, motion_of_records(records), strict=True)
    }
    for r, v in zip(records[::-1], motion_of_records(records[::-1]), strict=True):
        np.testing.assert_allclose(v, result[r["video_id"], r["frame_index"]], atol=1e-15)
