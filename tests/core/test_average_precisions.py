"""What an evaluation reports: percentages of classes and ranges, by hand and by the plain way."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from d2_plugtrack.core.average_precisions import mean_average_precision
from tests.core import plain_metrics
from tests.core.metric_sets import NUM_CLASSES, as_arrays, grid_set
from tests.core.plain_metrics import AREA, MOTION, RANGES

PROTOCOL_NAMES = ["fgfa", "mega", "coco"]
CLASSES = [f"class {k}" for k in range(NUM_CLASSES)]


def record(video, frame, objects):
    """Objects are (label, box), or (label, box, track)."""
    annotations = [
        {"bbox": box, "category_id": label, **({"track_id": track[0]} if track else {})}
        for label, box, *track in objects
    ]
    size = {"height": 300, "width": 300}
    return {"video_id": video, "frame_index": frame, **size, "annotations": annotations}


def found(*rows):
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(boxes).reshape(-1, 4), np.array(scores), np.array(labels, dtype=np.int64)


BIG, FAR = [0.0, 0, 99, 99], [200.0, 200, 299, 299]
NAMES = ["ant", "bee", "cow"]


def test_map_by_hand():
    records = [record("m", 0, [(0, BIG), (1, FAR)]), record("m", 1, [(0, BIG)])]
    detections = {
        # ants: right, wrong, right by falling score; two objects. Precisions 1 and 2/3 at the
        # recalls 1/2 and 1: AP 1/2 + 1/2 * 2/3 = 5/6. The bee is found: 1. No cows are there.
        ("m", 0): found((BIG, 0.9, 0), (FAR, 0.8, 0), (FAR, 0.3, 1)),
        ("m", 1): found((BIG, 0.7, 0), (FAR, 0.9, 2)),
        # of videos that are not asked for
        ("a", 0): found((FAR, 1.0, 0)),
        ("z", 0): found((FAR, 1.0, 0)),
    }
    result = mean_average_precision(records, detections, NAMES, "fgfa")
    assert result["AP"]["ant"] == pytest.approx(100 * 5 / 6)
    assert result["AP"]["bee"] == pytest.approx(100)
    assert math.isnan(result["AP"]["cow"]) and list(result["AP"]) == NAMES
    assert result["mAP"] == pytest.approx(100 * (5 / 6 + 1) / 2)


def test_detections_are_rounded_as_the_protocol_does():
    # equal to four decimals, the first one counts first: it is false, so AP is 1/2
    records = [record("a", 0, [(0, BIG)])]
    detections = {("a", 0): found((FAR, 0.50001, 0), (BIG, 0.50002, 0))}
    result = mean_average_precision(records, detections, NAMES, "fgfa")
    assert result["mAP"] == pytest.approx(50)


def test_frames_without_objects_count():
    records = [record("a", 0, []), record("a", 1, [(2, BIG)])]
    detections = {("a", 0): found((BIG, 0.9, 2)), ("a", 1): found((BIG, 0.8, 2))}
    assert mean_average_precision(records, detections, NAMES, "fgfa")["mAP"] == pytest.approx(50)


def test_crowds_are_no_objects():
    one = record("a", 0, [(0, BIG), (0, FAR)])
    one["annotations"][1]["iscrowd"] = 1
    detections = {("a", 0): found((BIG, 0.9, 0))}
    assert mean_average_precision([one], detections, NAMES, "fgfa")["mAP"] == pytest.approx(100)


def test_nothing_to_find_has_no_mean():
    result = mean_average_precision([record("a", 0, [])], {("a", 0): found()}, NAMES, "fgfa")
    assert math.isnan(result["mAP"]) and all(math.isnan(ap) for ap in result["AP"].values())


def test_missing_frames_are_named():
    records = [record("a", frame, []) for frame in range(4)]
    detections = {("a", 0): found(), ("a", 3): found()}
    with pytest.raises(ValueError, match=r"no detections of 2 frames, the first is \('a', 1\)"):
        mean_average_precision(records, detections, NAMES, "fgfa")


def test_motion_and_area_by_hand():
    # A still ant of 100 x 100 in both frames reads 1: slow. A bee of 50 x 50 jumps: fast.
    small, elsewhere = [0.0, 0, 49, 49], [250.0, 0, 299, 49]
    records = [record("a", 0, [(0, FAR, 1), (1, small, 2)]), record("a", 1, [(0, FAR, 1)])]
    records += [record("a", 2, [(1, elsewhere, 2)])]
    detections = {
        ("a", 0): found((FAR, 0.9, 0), (small, 0.8, 1)),
        ("a", 1): found((FAR, 0.7, 0), (BIG, 0.95, 0)),
        ("a", 2): found((small, 0.9, 1)),
    }
    result = mean_average_precision(records, detections, NAMES, "fgfa")
    assert list(result) == ["mAP", "AP", "motion", "area"]
    # ants: false, hit, hit of 2: 2/3. Bees: false, hit of 2: (1/2) / 2 = 1/4
    expected = {"ant": 100 * 2 / 3, "bee": 25.0, "cow": math.nan}
    assert result["AP"] == pytest.approx(expected, nan_ok=True)
    assert result["mAP"] == pytest.approx((100 * 2 / 3 + 25) / 2)
    # slow: ants as in the whole, as nothing fast is near in frame 1. Fast: the same of bees
    motion, area = result["motion"], result["area"]
    assert [*motion, *area] == ["slow", "medium", "fast", "small", "medium", "large"]
    nothing = dict.fromkeys(NAMES, math.nan)
    assert motion["slow"]["AP"] == pytest.approx({**nothing, "ant": 100 * 2 / 3}, nan_ok=True)
    assert motion["fast"]["AP"] == pytest.approx({**nothing, "bee": 25.0}, nan_ok=True)
    assert motion["medium"]["AP"] == pytest.approx(nothing, nan_ok=True)
    assert math.isnan(motion["medium"]["mAP"]) and motion["fast"]["mAP"] == pytest.approx(25)
    # 50^2 is small and medium; ants are of 100^2. Frame 2's false bee is of 50^2 as well
    assert area["small"]["AP"] == pytest.approx({**nothing, "bee": 25.0}, nan_ok=True)
    assert area["medium"]["AP"] == pytest.approx(result["AP"], nan_ok=True)
    assert math.isnan(area["large"]["mAP"])


def test_motion_may_be_given():
    records = [record("a", 0, [(0, BIG, 1)]), record("a", 1, [(0, BIG, 1)])]
    detections = {("a", 0): found((BIG, 0.9, 0)), ("a", 1): found()}
    given = [np.array([0.5]), np.array([0.8])]
    result = mean_average_precision(records, detections, NAMES, "fgfa", given)["motion"]
    assert (result["fast"]["mAP"], result["medium"]["mAP"]) == (100, 0)
    assert math.isnan(result["slow"]["mAP"])
    computed = mean_average_precision(records, detections, NAMES, "fgfa")["motion"]
    assert computed["slow"]["mAP"] == pytest.approx(50)
    with pytest.raises(ValueError, match=r"motion, frame \('a', 1\): .*of 1 objects, got \(2,\)"):
        mean_average_precision(records, detections, NAMES, "fgfa", [given[0], np.ones(2)])


def test_objects_without_tracks_are_in_the_whole_only():
    records = [record("a", 0, [(0, BIG)])]
    result = mean_average_precision(records, {("a", 0): found((BIG, 0.9, 0))}, NAMES, "coco")
    assert result["mAP"] == result["area"]["medium"]["mAP"] == 100
    assert all(math.isnan(part["mAP"]) for part in result["motion"].values())


def test_mega_clips_ground_truth():
    # of 300 x 300 pixels; beyond the image by 50 pixels to either side is as good as not
    records = [record("a", 0, [(0, [-50.0, 0, 349, 299], 1)])]
    inside = [0.0, 0, 299, 299]
    detections = {("a", 0): found((inside, 0.9, 0))}
    assert mean_average_precision(records, detections, NAMES, "mega")["mAP"] == 100
    # Its upper half, with both borders twice: 301 * 151 of 301 * 301, more than a half. Of the
    # box as annotated it is 300 * 150 of 400 * 300, less.
    detections = {("a", 0): found(([0.0, 0, 299, 149], 0.9, 0))}
    assert mean_average_precision(records, detections, NAMES, "mega")["mAP"] == 100
    assert mean_average_precision(records, detections, NAMES, "fgfa")["mAP"] == 0


class Lazy(Mapping):
    """Detections that are made when they are asked for, and note that they were."""

    def __init__(self, detections):
        self._detections, self.asked = detections, []

    def __contains__(self, key):
        return key in self._detections

    def __getitem__(self, key):
        self.asked.append(key)
        return self._detections[key]

    def __len__(self):
        return len(self._detections)

    def __iter__(self):
        raise AssertionError("nobody needs to know")


def test_detections_are_read_once_in_the_order_of_the_records():
    records = [record("b", 1, []), record("a", 0, [(0, BIG)]), record("b", 0, [])]
    keys = [("b", 1), ("a", 0), ("b", 0)]
    lazy = Lazy({key: found((BIG, 0.5, 0)) for key in sorted(keys)})
    mean_average_precision(records, lazy, NAMES, "fgfa")
    assert lazy.asked == keys
    del lazy._detections["a", 0]
    with pytest.raises(ValueError, match=r"1 frames, the first is \('a', 0\)"):
        mean_average_precision(records, lazy, NAMES, "fgfa")
    assert lazy.asked == keys  # nothing is read in vain


def test_prints_nothing(capfd):
    records = [record("a", 0, [(0, BIG, 1)])]
    mean_average_precision(records, {("a", 0): found((BIG, 0.9, 0))}, NAMES, "fgfa")
    assert capfd.readouterr() == ("", "")


def test_mistakes_name_the_frame():
    records = [record("a", 0, []), record("a", 1, [])]
    for wrong, named in (
        (found((BIG, 0.5, 3)), r"\('a', 1\): expected labels from 0 to 2, got 3"),
        (found((BIG, math.nan, 0)), r"\('a', 1\): boxes and scores must be finite"),
        ((np.zeros((1, 5)), np.zeros(1), np.zeros(1, int)), r"\('a', 1\): expected boxes \(N, 4\)"),
    ):
        with pytest.raises(ValueError, match=f"detections, frame {named}"):
            mean_average_precision(records, {("a", 0): found(), ("a", 1): wrong}, NAMES, "fgfa")
    with pytest.raises(ValueError, match=r"ground truth, frame \('a', 0\): expected labels"):
        mean_average_precision([record("a", 0, [(3, BIG)])], {("a", 0): found()}, NAMES, "fgfa")
    with pytest.raises(ValueError, match="fgfa, mega, coco, got 'voc'"):
        mean_average_precision([], {}, NAMES, "voc")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_against_the_plain_way(protocol, dtype):
    # scores are eighths and boxes whole pixels, so that fgfa's rounding changes nothing
    for seed in range(30):
        frames = grid_set(seed)
        _, detections, motion = as_arrays(frames)
        records = [record("v", t, [(k, b) for b, k, _ in f.objects]) for t, f in enumerate(frames)]
        detections = {
            ("v", t): (boxes.astype(dtype), scores.astype(dtype), labels)
            for t, (boxes, scores, labels) in enumerate(detections)
        }
        for one in records:
            one.update(height=1000, width=1000)  # nothing to be clipped
        result = mean_average_precision(records, detections, CLASSES, protocol, motion)
        parts = {"whole": result}
        parts |= {f"motion-{name}": result["motion"][name] for name in MOTION}
        parts |= {f"area-{name}": result["area"][name] for name in AREA}
        for name, part in parts.items():
            expected = plain_metrics.average_precisions(
                frames, NUM_CLASSES, protocol, *RANGES[name]
            )
            values = list(part["AP"].values())
            np.testing.assert_allclose(values, 100 * np.array(expected), rtol=0, atol=1e-10)
            assert part["mAP"] == pytest.approx(mean_of(values), nan_ok=True)


def mean_of(values):
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else math.nan


def test_the_size_of_blocks_is_nothing(monkeypatch):
    frames = [frame for seed in range(10) for frame in grid_set(seed)]
    _, detections, motion = as_arrays(frames)
    records = [record("v", t, [(k, b) for b, k, _ in f.objects]) for t, f in enumerate(frames)]
    detections = {("v", t): found for t, found in enumerate(detections)}
    results = []
    for block in (2**20, 7, 1):
        monkeypatch.setattr("d2_plugtrack.core.frame_columns.BLOCK", block)
        results.append(mean_average_precision(records, detections, CLASSES, "fgfa", motion))
    assert str(results[0]) == str(results[1]) == str(results[2])
