"""Figures of identity: worked by hand, and against a plain count of MOTA on random videos."""

import math
import sys
from itertools import permutations

import numpy as np
import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.identity.metrics import (
    PERCENTAGES,
    SWITCHES,
    IdentityMetrics,
    NumberedBoxes,
    identity_table,
    number_boxes,
    require_packages,
    true_boxes,
)

pytest.importorskip("trackeval")

PERFECT = {**dict.fromkeys(PERCENTAGES, 100.0), SWITCHES: 0}
NOTHING = number_boxes([], [], [])


def figures(*videos, ignore_classes=False):
    metrics = IdentityMetrics(ignore_classes)
    for truth, tracked in videos:
        metrics.add_video(truth, tracked)
    return metrics.figures()


def at(*objects) -> NumberedBoxes:
    """A frame of 10 x 10 boxes; an object is where it begins from the left, class, number."""
    boxes = [[x, 0, x + 10, 10] for x, _, _ in objects]
    return number_boxes(boxes, [c for _, c, _ in objects], [i for _, _, i in objects])


def renumbered(frames, change):
    return [f._replace(ids=np.array([change(i) for i in f.ids.tolist()], np.int64)) for f in frames]


VIDEO = [at((5 * t, 0, 7), (300 - 5 * t, 1, 7), (100, 0, 2)) for t in range(6)]


def test_perfect_tracks_whatever_their_numbers():
    for change in (lambda i: i, lambda i: -10 * i + 3):
        assert figures((VIDEO, renumbered(VIDEO, change))) == pytest.approx(PERFECT)


def test_numbers_are_a_videos_own():
    other = renumbered(VIDEO, lambda i: i + 1)
    assert figures((VIDEO, VIDEO), (VIDEO, other)) == pytest.approx(PERFECT)


def test_a_switch_in_the_middle():
    """One object in 10 frames, found in all, under another number from the sixth on.

    MOTA: 10 found, none false, 1 switch: (10 - 0 - 1) / 10 = 90.
    IDF1: its number is one of the two, each right in 5 frames: IDTP 5, IDFN 5, IDFP 5;
    5 / (5 + 2.5 + 2.5) = 50.
    AssA: each found box has 5 of its track's boxes on its object: 5 / (10 + 5 - 5) = 50.
    DetA: 100, boxes are exact at every threshold. HOTA: sqrt(1 * 0.5) = 70.71.
    """
    truth = [at((t, 0, 1)) for t in range(10)]
    tracked = [at((t, 0, 1 if t < 5 else 2)) for t in range(10)]
    expected = {"HOTA": 100 * math.sqrt(0.5), "DetA": 100, "AssA": 50, "MOTA": 90, "IDF1": 50}
    assert figures((truth, tracked)) == pytest.approx({**expected, SWITCHES: 1})


def test_two_objects_that_swap_numbers():
    """Two objects in 4 frames swap numbers after two: 2 switches.

    MOTA: (8 - 0 - 2) / 8 = 75. IDF1: either assignment is right in 4 of 8: 4 / (4 + 2 + 2) = 50.
    """
    truth = [at((0, 0, 1), (50, 0, 2)) for _ in range(4)]
    tracked = [at((0, 0, 1 + t // 2), (50, 0, 2 - t // 2)) for t in range(4)]
    found = figures((truth, tracked))
    assert (found["MOTA"], found["IDF1"], found[SWITCHES]) == (75, 50, 2)


def test_misses_and_false_boxes():
    """One object in 4 frames, found in 3; one box of nothing.

    MOTA: (3 - 1) / 4 = 50. IDF1: IDTP 3, IDFN 1, IDFP 1 (a track of its own): 3 / (3 + 1) = 75.
    DetA: 3 / (3 + 1 + 1) = 60. AssA: 3 / (4 + 3 - 3) = 75. HOTA: sqrt(0.6 * 0.75).
    """
    truth = [at((0, 0, 1)) for _ in range(4)]
    tracked = [at((0, 0, 5)), NOTHING, at((0, 0, 5), (80, 0, 6)), at((0, 0, 5))]
    expected = {"HOTA": 100 * math.sqrt(0.45), "DetA": 60, "AssA": 75, "MOTA": 50, "IDF1": 75}
    assert figures((truth, tracked)) == pytest.approx({**expected, SWITCHES: 0})


def test_an_object_under_a_wrong_class_is_missed_and_its_box_false():
    """Two objects in 2 frames, one of them under a wrong class in the second.

    MOTA: 3 found, 1 false, of 4: (3 - 1) / 4 = 50. IDF1: 3 / (3 + 0.5 + 0.5) = 75.
    """
    truth = [at((0, 0, 1), (50, 1, 2))] * 2
    tracked = [at((0, 0, 1), (50, 1, 2)), at((0, 0, 1), (50, 0, 2))]
    found = figures((truth, tracked))
    assert (found["MOTA"], found["IDF1"], found[SWITCHES]) == (50, 75, 0)


def test_where_classes_are_ignored_a_track_may_change_its_class():
    """The same boxes, and one of nothing in the second frame.

    MOTA: 4 found, 1 false, of 4: (4 - 1) / 4 = 75. IDF1: 4 / (4 + 0.5) = 88.89.
    """
    truth = [at((0, 0, 1), (50, 1, 2))] * 2
    tracked = [at((0, 0, 1), (50, 1, 2)), at((0, 0, 1), (50, 0, 2), (90, 1, 3))]
    found = figures((truth, tracked), ignore_classes=True)
    assert (found["MOTA"], found[SWITCHES]) == (75, 0)
    assert found["IDF1"] == pytest.approx(100 * 4 / 4.5)


def test_where_classes_are_ignored_true_numbers_are_still_a_classs_own():
    """Of VIDEO's objects two have the number 7, in different classes."""
    tracked = [f._replace(ids=np.arange(3), classes=np.full(3, 5)) for f in VIDEO]
    assert figures((VIDEO, tracked), ignore_classes=True) == pytest.approx(PERFECT)
    assert is_undefined(figures(([], []), ([NOTHING], [NOTHING]), ignore_classes=True))


def test_boxes_that_hardly_fit():
    """An IoU of 0.6: counted at IoU 0.5, and at 12 of HOTA's 19 thresholds, 0.05 to 0.6."""
    truth, tracked = [at((0, 0, 1))] * 3, [at((2.5, 0, 1))] * 3  # 7.5 / 12.5
    expected = {**PERFECT, **dict.fromkeys(("HOTA", "DetA", "AssA"), 100 * 12 / 19)}
    assert figures((truth, tracked)) == pytest.approx(expected)


def test_nothing_found():
    assert figures((VIDEO, [NOTHING] * 6)) == {**dict.fromkeys(PERCENTAGES, 0.0), SWITCHES: 0}


def is_undefined(found):
    return found[SWITCHES] == 0 and all(math.isnan(found[name]) for name in PERCENTAGES)


def test_nothing_true():
    assert is_undefined(figures())
    assert is_undefined(figures(([], [])))
    assert is_undefined(figures(([NOTHING] * 6, VIDEO)))
    assert is_undefined(figures(([NOTHING], [NOTHING])))


def test_false_boxes_of_a_video_without_objects_count_beside_others():
    """4 objects found and 4 false boxes in a video without any: MOTA (4 - 4) / 4 = 0."""
    four = [at((0, 0, 1)) for _ in range(4)]
    found = figures((four, four), ([NOTHING] * 4, four))
    assert found["MOTA"] == 0 and found["IDF1"] == pytest.approx(100 * 4 / (4 + 2))


def test_a_video_of_one_frame():
    frame = at((0, 0, 1), (50, 1, 1), (90, 1, 2))
    assert figures(([frame], [frame])) == pytest.approx(PERFECT)
    # 2 of 3 found: MOTA 2 / 3, IDF1 2 / (2 + 0.5)
    found = figures(([frame], [at((0, 0, 9), (90, 1, 9))]))
    assert found["MOTA"] == pytest.approx(100 * 2 / 3) and found["IDF1"] == pytest.approx(80)


# ---- against others --------------------------------------------------------------------------


def random_video(generator):
    """Few boxes that jitter, vanish, change numbers and classes; frames without any."""
    truth, tracked = [], []
    for _ in range(generator.integers(1, 8)):
        objects = [(30 * i, i % 2, i) for i in range(4) if generator.random() < 0.8]
        moved = [
            (x + generator.uniform(-6, 6), c if generator.random() < 0.8 else 1 - c, i)
            for x, c, i in [*objects, (15, 0, 8), (50, 1, 9)]
            if generator.random() < 0.8
        ]
        numbers = generator.permutation(10) if generator.random() < 0.4 else np.arange(10)
        truth.append(at(*objects))
        tracked.append(at(*((x, c, numbers[i]) for x, c, i in moved)))
    return truth, tracked


def overlap(a, b):
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * 10
    return shared / (200 - shared)


def plain_counts(truth, tracked, label):
    """Objects, found, false and switches: a matching of the most continued tracks, then IoU."""
    counts = np.zeros(4, int)
    last, before = {}, {}
    for true, found in zip(truth, tracked, strict=True):
        true, found = true.of(true.classes == label), found.of(found.classes == label)
        n, m = len(true.ids), len(found.ids)
        best, chosen = -1.0, []
        for order in permutations([*range(m), *[None] * n], n):  # None: not found
            pairs = [(i, j) for i, j in enumerate(order) if j is not None]
            ious = [overlap(true.boxes[i], found.boxes[j]) for i, j in pairs]
            if any(iou < 0.5 for iou in ious):
                continue
            kept = sum(before.get(true.ids[i]) == found.ids[j] for i, j in pairs)
            if 1000 * kept + sum(ious) > best:
                best, chosen = 1000 * kept + sum(ious), pairs
        matched = {true.ids[i]: found.ids[j] for i, j in chosen}
        switched = sum(last.get(i, j) != j for i, j in matched.items())
        counts += (n, len(matched), m - len(matched), switched)
        last |= matched
        if n and m:  # trackeval looks no further back than to the last frame that has both
            before = matched
    return counts


def test_mota_is_that_of_a_plain_count():
    generator = np.random.default_rng(0)
    switches = 0
    for _ in range(40):
        videos = [random_video(generator) for _ in range(2)]
        counts = [plain_counts(*video, label) for video in videos for label in (0, 1)]
        objects, found, false, switched = np.sum(counts, axis=0).tolist()
        if not objects:
            continue
        result = figures(*videos)
        assert result["MOTA"] == pytest.approx(100 * (found - false - switched) / objects)
        assert result[SWITCHES] == switched
        switches += switched
    assert switches > 50


def test_classes_are_combined_as_trackeval_does():
    """First the videos of a class, then the classes averaged over detections: the same figures."""
    from d2_plugtrack.identity.metrics import _as_sequence, _load_metrics, _of_class

    generator = np.random.default_rng(1)
    videos = [random_video(generator) for _ in range(6)]
    expected = {}
    for metric in _load_metrics().values():
        of_classes = {}
        for label in (0, 1):
            sequences = [_as_sequence(*(_of_class(side, label) for side in v)) for v in videos]
            results = {str(i): metric.eval_sequence(s) for i, s in enumerate(sequences)}
            of_classes[str(label)] = metric.combine_sequences(results)
        expected |= metric.combine_classes_det_averaged(of_classes)
    found = figures(*videos)
    assert found[SWITCHES] == expected["IDSW"]
    for name in PERCENTAGES:
        assert found[name] == pytest.approx(100 * np.mean(expected[name]))


def test_nothing_is_printed(capsys):
    figures((VIDEO, VIDEO))
    assert capsys.readouterr() == ("", "")


# ---- what goes in ----------------------------------------------------------------------------


def test_tracks_that_cannot_be():
    metrics = IdentityMetrics()
    with pytest.raises(ValueError, match="expected 2 frames of tracks, found 1"):
        metrics.add_video([NOTHING] * 2, [NOTHING])
    with pytest.raises(ValueError, match="frame 1: expected different numbers"):
        metrics.add_video([NOTHING] * 2, [NOTHING, at((0, 0, 1), (9, 0, 1))])
    of_two_classes = [at((0, 0, 1), (9, 1, 1))]
    metrics.add_video([NOTHING], of_two_classes)
    with pytest.raises(ValueError, match="frame 0: expected different numbers"):
        IdentityMetrics(ignore_classes=True).add_video([NOTHING], of_two_classes)


def record_of(*annotations):
    return {"video_id": "v", "frame_index": 3, "annotations": list(annotations)}


def annotation(box, label, track, **others):
    return {"bbox": box, "category_id": label, "track_id": track, **others}


def test_true_boxes_of_a_record():
    crowd = annotation([0, 0, 9, 9], 0, None, iscrowd=1)
    found = true_boxes(record_of(annotation([1, 2, 3, 4], 5, 6, iscrowd=0), crowd))
    assert [field.tolist() for field in found] == [[[1, 2, 3, 4]], [5], [6]]
    assert [field.shape for field in true_boxes(record_of())] == [(0, 4), (0,), (0,)]


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        ([None, 1], "video v, frame 3: expected a track id of every object"),
        ([1, 1], "video v, frame 3: expected different track ids"),
    ],
)
def test_records_without_usable_track_ids(tracks, expected):
    with pytest.raises(UserError, match=expected):
        true_boxes(record_of(*(annotation([0, 0, 1, 1], 0, track) for track in tracks)))


def test_missing_packages_are_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackeval", None)
    with pytest.raises(UserError, match=r"trackeval is not installed: pip install -e \"\.\[ident"):
        require_packages(["trackeval"])
    with pytest.raises(UserError, match="trackeval is not installed"):
        IdentityMetrics()
    require_packages([])


def test_table():
    results = {
        "a": {**dict.fromkeys(PERCENTAGES, 50.04), "MOTA": -3.25, SWITCHES: 12},
        "b": {**dict.fromkeys(PERCENTAGES, math.nan), SWITCHES: 0},
    }
    assert identity_table(results).splitlines() == [
        "| tracks | HOTA | DetA | AssA | MOTA | IDF1 | ID switches |",
        "|---|---:|---:|---:|---:|---:|---:|",
        "| a | 50.0 | 50.0 | 50.0 | -3.2 | 50.0 | 12 |",
        "| b | no objects | no objects | no objects | no objects | no objects | 0 |",
    ]
    first, *others = identity_table(results, ignore_classes=True).splitlines()
    assert first.startswith("| tracks, classes ignored | HOTA |")
    assert others == identity_table(results).splitlines()[1:]
