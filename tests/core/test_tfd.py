"""Tracking-first detection against a plain oracle of its steps, and its laws one by one.

The detector and the tracker are doubles, whose boxes lie on a grid on which IoUs of exactly 0.3,
0.45 and 0.7 are common. The oracle works on Python lists and fractions.
"""

import math
from collections import Counter
from fractions import Fraction

import pytest
import torch

from d2_plugtrack.core.boxes import pairwise_iou
from d2_plugtrack.core.detections import per_class_detections
from d2_plugtrack.core.detector import (
    FrameFeatures,
    Proposals,
    assemble_frames,
    detect_frames,
)
from d2_plugtrack.core.rescoring import Rescoring, rescore_video
from d2_plugtrack.core.tfd import VideoPipeline, merge_tracking_first
from d2_plugtrack.core.tracker import Tracked

SIZE = (32, 48)  # of the network's input; frames as they came are twice as large
SETTINGS = {
    "per_frame": False,
    "score_threshold": 0.03,
    "nms_threshold": 0.45,
    "iou_score_threshold": 0.5,
    "track_nms_threshold": 0.7,
    "merge_threshold": 0.7,
    "max_boxes": 300,
    "masks": False,
}


def grid_boxes(*shape):
    """20 x 10 boxes, mostly cut down on one side, at one of four places."""
    sides = torch.tensor([[20.0, 10], [20, 10], [14, 10], [9, 10], [6, 10], [20, 7], [20, 1]])
    places = torch.tensor([[0.0, 0], [24, 0], [0, 16], [24, 16]])
    corners = places[torch.randint(4, shape)]
    return torch.cat([corners, corners + sides[torch.randint(7, shape)]], dim=-1)


def random_proposals(most, ties=False):
    count = int(torch.randint(0, most + 1, ()))
    scores = torch.randperm(3 * count).reshape(count, 3) / (3 * count + 1.0)
    if ties:
        scores = scores.mul(8).floor() / 8
    if count:
        scores[-1] = 0.03  # exactly at the threshold: no detection
    return Proposals(grid_boxes(count, 3), scores)


def random_answers(most, ties=False):
    """A shift for every box of the previous frame, and an IoU score; unequal but for ``ties``."""
    shifts = torch.tensor([[0.0, 0], [0, 0], [0, 3], [24, 0], [-24, 0], [0, 16], [0, -16]])
    scores = 1 - torch.randperm(most) / (1.5 * most)  # 0.5 is among them
    if ties:
        scores = scores.mul(8).floor() / 8
    return shifts[torch.randint(7, (most,))].repeat(1, 2), scores


@pytest.fixture
def build_video(toy_detector, toy_tracker):
    """A function that builds a random video as (detector, tracker, frames to step through)."""

    def build(frames, most=16, ties=False):
        detector = toy_detector(
            [random_proposals(most, ties) for _ in range(frames)],
            torch.arange(frames).reshape(-1, 1, 1, 1).expand(frames, 3, 4, 6).float(),
            image_size=SIZE,
            original_size=(64, 96),
        )
        if ties:
            classify = detector.classify
            detector.classify = lambda *given: classify(*given).mul(4).round().div(4)
        tracker = toy_tracker([random_answers(2 * most, ties) for _ in range(frames)])
        return detector, tracker

    return build


def run(detector, tracker, **changes):
    pipeline = VideoPipeline(tracker, **{**SETTINGS, **changes})
    frames = detect_frames(detector, tracker, list(range(len(detector.proposals))))
    return [pipeline.step(frame) for frame in frames]


# ---- the oracle -----------------------------------------------------------------------------


def clipped(box):
    height, width = SIZE
    return [min(max(v, 0.0), limit) for v, limit in zip(box, (width, height) * 2, strict=True)]


def exact_iou(a, b):
    width = max(int(min(a[2], b[2]) - max(a[0], b[0])), 0)
    height = max(int(min(a[3], b[3]) - max(a[1], b[1])), 0)
    union = sum(int((c[2] - c[0]) * (c[3] - c[1])) for c in (a, b)) - width * height
    return Fraction(width * height, union) if union else Fraction(0)


class Oracle:
    """Steps 2 to 5, told as they are written, with a count of IoUs that equal a threshold."""

    def __init__(self, settings):
        self.settings = settings
        self.at_threshold = Counter()

    def limit(self, name):
        return Fraction(str(self.settings[name]))

    def overlaps(self, box, others, name, equal):
        """Whether an IoU is over a threshold, or, with ``equal``, at it."""
        ious = [exact_iou(box, other) for other in others]
        self.at_threshold[name] += ious.count(self.limit(name))
        return any(iou > self.limit(name) or (equal and iou == self.limit(name)) for iou in ious)

    def detect(self, proposals):
        scores = proposals.scores.tolist()
        best = [row.index(max(row)) for row in scores]  # the first of equal ones
        boxes = proposals.class_boxes.tolist()
        found = []
        for i in sorted(range(len(boxes)), key=lambda i: -max(scores[i])):  # equal ones in order
            score, box = max(scores[i]), clipped(boxes[i][best[i]])
            threshold = float(torch.tensor(self.settings["score_threshold"]))
            if score > threshold and not self.overlaps(box, found, "nms_threshold", equal=False):
                found.append(box)
        return found

    def track(self, prev_boxes, answers):
        shifts, scores = (a.tolist() for a in answers)
        moved = zip(prev_boxes, shifts[: len(prev_boxes)], strict=True)
        mapped = [clipped([v + d for v, d in zip(*pair, strict=True)]) for pair in moved]
        tracked = []
        for i in sorted(range(len(mapped)), key=lambda i: -scores[i]):
            box, others = mapped[i], [mapped[j] for j in tracked]
            good = scores[i] >= self.settings["iou_score_threshold"]
            large = box[2] - box[0] >= 1 and box[3] - box[1] >= 1  # an empty box is no object
            if good and large and not self.overlaps(box, others, "track_nms_threshold", False):
                tracked.append(i)
        return mapped, tracked, [scores[i] for i in tracked]

    def frame(self, detector, number, prev_boxes, answers):
        mapped, tracked, track_scores = [], [], []
        if prev_boxes and answers is not None:
            mapped, tracked, track_scores = self.track(prev_boxes, answers)
        boxes = [mapped[i] for i in tracked]
        for box in self.detect(detector.proposals[number]):
            if not self.overlaps(box, boxes, "merge_threshold", equal=True):
                boxes.append(box)
        source = tracked + [-1] * (len(boxes) - len(tracked))
        track_scores = track_scores + [math.nan] * (len(boxes) - len(tracked))
        scores = torch.zeros(0, 3)
        if boxes:
            features = detector.extract([number])
            scores = detector.classify(features, torch.tensor(boxes))
        best = scores.max(dim=1).values.tolist() if boxes else []
        order = sorted(range(len(boxes)), key=lambda i: -best[i])[: self.settings["max_boxes"]]
        kept = sorted(order)
        return {
            "boxes": [boxes[i] for i in kept],
            "scores": scores[kept],
            "track_scores": [track_scores[i] for i in kept],
            "mapped": mapped,
            "source": [source[i] for i in kept],
        }


def assert_frame(result, expected):
    """``result`` is in pixels of the original frame, twice as large as those of ``expected``."""
    assert result.boxes.tolist() == [[2 * v for v in box] for box in expected["boxes"]]
    assert result.mapped_boxes.tolist() == [[2 * v for v in box] for box in expected["mapped"]]
    assert result.source.tolist() == expected["source"]
    assert result.image_size == (64, 96)
    track_scores = torch.tensor(expected["track_scores"])
    torch.testing.assert_close(result.track_scores, track_scores, equal_nan=True)
    torch.testing.assert_close(result.scores, expected["scores"])
    shapes = [tuple(t.shape[1:]) for t in (result.boxes, result.scores, result.mapped_boxes)]
    assert shapes == [(4,), (3,), (4,)] and result.source.dtype == torch.int64


@pytest.mark.parametrize("num_videos", [100, pytest.param(2500, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"merge_threshold": 0.3},
        {"max_boxes": 4},
        {"iou_score_threshold": 0.75, "track_nms_threshold": 0.3, "nms_threshold": 0.7},
    ],
    ids=["paper", "merge 0.3", "cap", "others"],
)
def test_video_is_that_of_a_plain_oracle(build_video, changes, num_videos):
    oracle = Oracle({**SETTINGS, **changes})
    for seed in range(num_videos):
        torch.manual_seed(seed)
        detector, tracker = build_video(frames=1 + seed % 5, ties=seed % 4 == 0)
        prev_boxes = []
        for number, result in enumerate(run(detector, tracker, **changes)):
            answers = tracker.answers[number]
            expected = oracle.frame(detector, number, prev_boxes, answers)
            assert_frame(result, expected)
            prev_boxes = expected["boxes"]
    # the boxes do sit on the thresholds
    assert len(oracle.at_threshold) == 3 and min(oracle.at_threshold.values()) >= 2


def test_without_tracking_is_detection_and_classification(build_video):
    oracle = Oracle(SETTINGS)
    for seed in range(60):
        torch.manual_seed(seed)
        detector, _ = build_video(frames=3)
        for number, result in enumerate(run(detector, None)):
            assert_frame(result, oracle.frame(detector, number, [], None))
            assert result.mapped_boxes.shape == (0, 4)


# ---- tracking first -------------------------------------------------------------------------


@pytest.mark.parametrize("merge_threshold", [0.3, 0.7])
def test_every_tracked_box_is_kept(build_video, merge_threshold):
    for seed in range(60):
        torch.manual_seed(seed)
        detector, tracker = build_video(frames=4)
        results = run(detector, tracker, merge_threshold=merge_threshold)
        for number, result in enumerate(results[1:], start=1):
            # those who pass the IoU score, and overlap no better one by more than 0.7
            mapped = result.mapped_boxes
            scores = tracker.answers[number][1][: len(mapped)]
            size = (mapped[:, 2:] - mapped[:, :2]).min(dim=1).values
            passing = (scores >= 0.5) & (size >= 2)
            better = (scores[None] > scores[:, None]) & passing[None]
            rivals = ((pairwise_iou(mapped, mapped) > 0.7) & better).any(dim=1)
            certain = set((passing & ~rivals).nonzero().flatten().tolist())
            assert certain <= set(result.source.tolist())
            # detections beside them are new, and come after them
            count = int((result.source >= 0).sum())
            assert (result.source[:count] >= 0).all() and (result.source[count:] == -1).all()
            ious = pairwise_iou(result.boxes[count:], result.boxes[:count])
            assert (ious < merge_threshold).all()
            assert result.track_scores[:count].tolist() == scores[result.source[:count]].tolist()
            assert result.track_scores[count:].isnan().all()


@pytest.mark.parametrize("merge_iou", [0.3, 0.45, 0.5, 0.6, 0.7, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_overlap_does_not_stay(merge_iou, dtype):
    # 100 x 10 against 100 x 10 m: an IoU of exactly m; and a hair's breadth less
    whole, less = torch.tensor([[0, 0, 100, 10]], dtype=dtype), 1 - 10 * torch.finfo(dtype).eps
    for height, stays in ((10 * merge_iou, False), (10 * merge_iou * less, True)):
        part = torch.tensor([[0, 0, 100, height]], dtype=dtype)
        score = torch.tensor([0.9], dtype=dtype)
        assert len(merge_tracking_first(whole, part, score, merge_iou)) == stays
        assert len(merge_tracking_first(part, whole, score, merge_iou)) == stays
        both, scores = torch.cat([whole, part]), torch.tensor([0.8, 0.9], dtype=dtype)
        kept = merge_tracking_first(whole[:0], both, scores, merge_iou)
        assert kept.tolist() == ([1, 0] if stays else [1])  # the strongest first


def test_a_detection_that_does_not_stay_drives_nobody_out():
    # the strongest detection is on the tracked box, the second one is on the strongest only
    tracked = torch.tensor([[0.0, 0, 10, 10]])
    detected = torch.tensor([[0.0, 0, 10, 12], [0, 4, 10, 16], [30, 30, 40, 40]])
    # IoUs 100/120 with the tracked one; 80/160 with the strongest, 60/160 with the tracked one
    kept = merge_tracking_first(tracked, detected, torch.tensor([0.9, 0.8, 0.95]), 0.45)
    assert kept.tolist() == [2, 1]


def test_merging_nothing():
    nothing, box, score = torch.zeros(0, 4), torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0.5])
    assert merge_tracking_first(nothing, nothing, score[:0], 0.7).tolist() == []
    assert merge_tracking_first(box, nothing, score[:0], 0.7).tolist() == []
    assert merge_tracking_first(nothing, box, score, 0.7).tolist() == [0]
    point = torch.tensor([[5.0, 5, 5, 5]])  # without area: overlaps nothing, not even itself
    assert merge_tracking_first(point, point, score, 0.7).tolist() == [0]


MANY = [100, pytest.param(10_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("num_cases", MANY)
def test_merging_knows_no_order_and_no_scale(num_cases):
    for seed in range(num_cases):
        torch.manual_seed(seed)
        tracked, detected = grid_boxes(seed % 6), grid_boxes(seed % 11)
        scores, merge_iou = torch.rand(len(detected)), (0.3, 0.45, 0.7)[seed % 3]
        kept = merge_tracking_first(tracked, detected, scores, merge_iou)
        assert merge_tracking_first(2 * tracked, 2 * detected, scores, merge_iou).equal(kept)
        rows, order = torch.randperm(len(tracked)), torch.randperm(len(detected))
        moved = merge_tracking_first(tracked[rows], detected[order], scores[order], merge_iou)
        assert order[moved].equal(kept)


@pytest.mark.parametrize("num_videos", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_the_order_of_proposals_changes_nothing(build_video, num_videos):
    """In five frames each: what a frame has of them is ordered by score."""
    for seed in range(num_videos):
        torch.manual_seed(seed)
        detector, tracker = build_video(frames=5)
        for proposals in detector.proposals:
            proposals.scores.add_(1e-3 * torch.rand(len(proposals.scores), 1))  # none are equal
        results = run(detector, tracker, max_boxes=9)
        orders = [torch.randperm(len(p.scores)) for p in detector.proposals]
        detector.proposals = [
            Proposals(*(field[order] for field in proposals))
            for proposals, order in zip(detector.proposals, orders, strict=True)
        ]
        for one, other in zip(results, run(detector, tracker, max_boxes=9), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


# ---- from frame to frame --------------------------------------------------------------------


@pytest.fixture
def scripted(toy_detector, toy_tracker):
    """Frames 0 and 3 with one detection, 1 with another one, 2 with none; nothing is tracked."""
    box = torch.tensor([[[4.0, 4, 20, 20]]]).expand(1, 3, 4)
    other, score = box + torch.tensor([20.0, 8, 20, 8]), torch.tensor([[0.1, 0.8, 0.1]])
    none = Proposals(box[:0], score[:0])
    proposals = [Proposals(box, score), Proposals(other, score), none, Proposals(box, score)]
    maps = torch.arange(4.0).reshape(-1, 1, 1, 1).expand(4, 3, 4, 6)
    detector = toy_detector(proposals, maps, image_size=SIZE, original_size=(64, 96))
    return detector, toy_tracker([(torch.ones(9, 4), torch.zeros(9))] * 4)


def test_first_frame_has_detections_only(scripted):
    detector, tracker = scripted
    result = run(detector, tracker)[0]
    assert result.boxes.tolist() == [[8, 8, 40, 40]]
    assert result.source.tolist() == [-1] and result.track_scores.isnan().all()
    assert result.mapped_boxes.shape == (0, 4)
    expected = detector.classify(detector.extract([0]), torch.tensor([[4.0, 4, 20, 20]]))
    torch.testing.assert_close(result.scores, expected)  # classified all the same


def test_after_a_frame_without_boxes_the_next_one_only_detects(scripted):
    detector, tracker = scripted
    results = run(detector, tracker)
    assert [len(r.boxes) for r in results] == [1, 1, 0, 1]
    assert [len(r.mapped_boxes) for r in results] == [0, 1, 1, 0]
    assert results[2].boxes.shape == (0, 4) and results[2].scores.shape == (0, 3)
    assert results[2].source.shape == results[2].track_scores.shape == (0,)
    # the tracker is asked about the frame before only, in pixels of the network's input
    assert [call[:2] for call in tracker.calls] == [(0, 1), (1, 2)]
    assert tracker.calls[0][2].tolist() == [[4, 4, 20, 20]]
    # what was let go is still mapped: one more than before, twice as large
    assert results[1].mapped_boxes.tolist() == [[10, 10, 42, 42]]


def test_one_frame_video(scripted):
    detector, tracker = scripted
    pipeline = VideoPipeline(tracker, **SETTINGS)
    (frame,) = detect_frames(detector, tracker, [0])
    assert pipeline.step(frame).boxes.tolist() == [[8, 8, 40, 40]] and not tracker.calls


def test_reset_starts_a_video(build_video):
    detector, tracker = build_video(frames=4)
    pipeline = VideoPipeline(tracker, **SETTINGS)
    frames = detect_frames(detector, tracker, [0, 1, 2, 3])
    first = [pipeline.step(frame) for frame in frames]
    assert len(tracker.calls) == 3
    for _ in range(2):  # also right after another reset
        pipeline.reset()
    again = [pipeline.step(frame) for frame in frames]
    assert [call[:2] for call in tracker.calls] == [(0, 1), (1, 2), (2, 3)] * 2
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


def test_features_of_a_frame_are_computed_once(build_video):
    detector, tracker = build_video(frames=5)
    pipeline = VideoPipeline(tracker, **SETTINGS)
    for number in range(5):  # frame by frame, as a video predictor does
        (frame,) = detect_frames(detector, tracker, [number])
        pipeline.step(frame)
    assert detector.extracted == [0, 1, 2, 3, 4]


def test_batches_of_frames_change_nothing(build_video):
    detector, tracker = build_video(frames=5)
    at_once = run(detector, tracker)
    pipeline = VideoPipeline(tracker, **SETTINGS)
    batches = [[0, 1], [2], [3, 4]]
    parts = [pipeline.step(f) for b in batches for f in detect_frames(detector, tracker, b)]
    for one, other in zip(at_once, parts, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


def test_300_boxes_are_carried_on(toy_detector, toy_tracker):
    # 20 x 20 detections of 1 x 1 pixel, none on another: the 300 best ones stay, in their order
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    corners = torch.stack([x.flatten(), y.flatten()], dim=1)
    boxes = torch.cat([corners, corners + 1], dim=1)[:, None].expand(400, 3, 4)
    scores = torch.rand(400, 3) * 0.9 + 0.05
    detector = toy_detector(
        [Proposals(boxes, scores)] * 2, torch.zeros(2, 3, 4, 6), SIZE, original_size=SIZE
    )
    tracker = toy_tracker([(torch.zeros(400, 4), torch.linspace(0.6, 0.9, 400))] * 2)
    first, second = run(detector, tracker)
    assert len(first.boxes) == 300 and len(second.mapped_boxes) == 300
    by_score = boxes[scores.max(dim=1).values.argsort(descending=True), 0]
    classified = detector.classify(detector.extract([0]), by_score).max(dim=1).values
    weakest = classified.sort(descending=True).values[299]
    assert first.boxes.equal(by_score[classified >= weakest])
    assert len(second.boxes) == 300 and (second.source >= 0).any()


def test_of_equal_boxes_the_first_stay(toy_detector):
    # 20 x 20 detections of 1 x 1 pixel; all scores are 0.1, 0.2 or 0.3, before and after
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    corners = torch.stack([x.flatten(), y.flatten()], dim=1)
    boxes = torch.cat([corners, corners + 1], dim=1)
    scores = torch.randint(1, 4, (400, 1)) / 10
    detector = toy_detector(
        [Proposals(boxes[:, None], scores)], torch.zeros(1, 3, 4, 6), SIZE, SIZE, num_classes=1
    )
    number = torch.tensor([1.0, 20.0, 0, 0])  # of a box at (x, y) that is 20 y + x
    detector.classify = lambda features, given: 0.4 - scores[(given @ number).long()]
    (result,) = run(detector, None)
    detected = sorted(range(400), key=lambda i: -scores[i].item())
    places = sorted(range(400), key=lambda place: scores[detected[place]].item())[:300]
    assert result.boxes.equal(boxes[[detected[place] for place in sorted(places)]])


# ---- what is not finite ---------------------------------------------------------------------


@pytest.mark.parametrize("where", ["boxes", "scores"])
def test_what_the_tracker_does_not_know_is_an_error_that_ends_the_video(scripted, where):
    detector, tracker = scripted
    shifts, scores = torch.full((9, 4), 1.0), torch.full((9,), 0.9)
    if where == "scores":
        scores[0] = math.nan
    else:
        tracker.follow = lambda templates, *_: Tracked(templates.boxes * math.nan, scores[:1])
    tracker.answers = [(shifts, scores)] * 4
    pipeline = VideoPipeline(tracker, **SETTINGS)
    frames = detect_frames(detector, tracker, list(range(2)))
    first = pipeline.step(frames[0])
    with pytest.raises(FloatingPointError, match="frame 1: NaN or infinity in what the tracker"):
        pipeline.step(frames[1])
    again = pipeline.step(frames[0])  # the first frame of another video
    assert again.boxes.equal(first.boxes) and len(again.mapped_boxes) == 0


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_features_that_are_not_finite_are_an_error(build_video, per_frame, value):
    detector, tracker = build_video(4)
    detector.maps = detector.maps.clone()
    detector.maps[2, -1, -1, -1] = value
    with pytest.raises(FloatingPointError, match="frame 2: NaN or infinity in the detector's feat"):
        run(detector, tracker, per_frame=per_frame)


def test_without_a_tracker_the_coarsest_map_is_looked_at(build_video):
    detector, _ = build_video(2)
    for name, value, finite in (("fine", math.nan, True), ("coarse", math.nan, False)):
        maps = {"fine": torch.ones(2, 3, 4, 6), "coarse": torch.ones(2, 3, 2, 3)}
        maps[name][1, 0, 0, 0] = value
        features = FrameFeatures(maps, [SIZE] * 2, [SIZE] * 2)
        frames = assemble_frames(detector, None, features, detector.proposals)
        assert [f.candidates.features_finite for f in frames] == [True, finite]


def test_all_proposals_but_not_some_may_be_other_than_finite(build_video):
    detector, tracker = build_video(3)
    detector.proposals = [Proposals(grid_boxes(5, 3), torch.rand(5, 3)) for _ in range(3)]
    detector.proposals[1].scores[:4, 1] = math.nan
    run(detector, tracker)
    detector.proposals[1].scores[4, 2] = math.nan
    with pytest.raises(FloatingPointError, match="frame 1: NaN, .* in all 5 proposals"):
        run(detector, tracker)


# ---- what the stock detector reports --------------------------------------------------------


def test_per_frame_is_what_the_stock_detector_reports(build_video):
    settings = {"score_threshold": 0.1, "nms_threshold": 0.45}
    detector, tracker = build_video(frames=6)
    results = run(detector, tracker, per_frame=True, max_boxes=7, **settings)
    assert not tracker.calls
    for proposals, result in zip(detector.proposals, results, strict=True):
        boxes, scores = per_class_detections(proposals, SIZE, limit=7, **settings)
        assert result.boxes.equal(2 * boxes) and result.scores.equal(scores)
        assert result.mapped_boxes.shape == (0, 4) and result.image_size == (64, 96)
        assert result.source.tolist() == [-1] * len(boxes)
        assert result.track_scores.shape == (len(boxes),) and result.track_scores.isnan().all()
    assert max(len(r.boxes) for r in results) == 7


@pytest.mark.parametrize("seed", range(10))
def test_per_frame_is_that_of_detectron2(seed, toy_detector):
    from detectron2.modeling.postprocessing import detector_postprocess
    from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference_single_image

    torch.manual_seed(seed)
    corners = 60 * torch.rand(80, 3, 2) - 10  # a part of the boxes is empty once it is clipped
    boxes = torch.cat([corners, corners + 15 * torch.rand(80, 3, 2)], dim=2)
    scores, original = torch.rand(80, 3), (71, 101)
    detector = toy_detector([Proposals(boxes, scores)], torch.zeros(1, 3, 4, 6), SIZE, original)
    (ours,) = run(detector, None, per_frame=True, score_threshold=1e-3, max_boxes=100)
    with_background = torch.cat([scores, torch.zeros(80, 1)], dim=1)
    theirs, _ = fast_rcnn_inference_single_image(
        boxes.flatten(1), with_background, SIZE, 1e-3, 0.45, 100
    )
    count = len(theirs)
    theirs = detector_postprocess(theirs, *original)
    assert len(theirs) < count
    assert ours.boxes.equal(theirs.pred_boxes.tensor)
    assert ours.scores.max(dim=1).values.equal(theirs.scores)
    assert ours.scores.argmax(dim=1).equal(theirs.pred_classes)
    assert len(ours.source) == len(ours.track_scores) == len(theirs)


# ---- masks ----------------------------------------------------------------------------------


@pytest.fixture
def build_masked(build_video):
    """The same, with 2 x 2 masks that hold the frame's number, the class and a corner."""

    def build(frames, most=16):
        detector, tracker = build_video(frames, most)

        def segment(features, boxes, labels):
            assert len(boxes) > 0
            number = features.maps["number"].expand(len(boxes))
            return torch.stack([number, labels, boxes[:, 0], boxes[:, 1]], 1).reshape(-1, 2, 2)

        detector.segment = segment
        return detector, tracker

    return build


@pytest.mark.parametrize("changes", [{}, {"max_boxes": 3}, {"per_frame": True, "max_boxes": 3}])
def test_a_box_has_the_mask_of_its_best_class_on_its_own_frame(build_masked, changes):
    detector, tracker = build_masked(frames=6)
    num_boxes = 0
    for number, result in enumerate(run(detector, tracker, masks=True, **changes)):
        best = result.scores.argmax(dim=1)
        for box, label, mask in zip(result.boxes, best, result.masks, strict=True):
            corner = box[:2] / 2  # frames as they came are twice as large as the network's input
            assert mask.flatten().tolist() == [number, label, *corner]
        num_boxes += len(result.boxes)
    assert num_boxes > 5


@pytest.mark.parametrize("per_frame", [True, False])
def test_no_boxes_have_no_masks_and_the_detector_is_not_asked(build_masked, per_frame):
    detector, tracker = build_masked(frames=2, most=0)
    for result in run(detector, tracker, masks=True, per_frame=per_frame):
        assert result.boxes.shape == (0, 4) and result.masks.shape == (0, 1, 1)


@pytest.mark.parametrize("per_frame", [True, False])
def test_without_masks_there_are_none_and_boxes_are_the_same(build_masked, per_frame):
    detector, tracker = build_masked(frames=4)
    with_masks = run(detector, tracker, masks=True, per_frame=per_frame)
    detector.segment = None  # as good as no such method
    unable = run(detector, tracker, masks=True, per_frame=per_frame)
    del detector.segment
    off = run(detector, tracker, per_frame=per_frame)
    for one, *others in zip(with_masks, unable, off, strict=True):
        for other in others:
            assert other.masks is None
            torch.testing.assert_close(one._replace(masks=None), other, equal_nan=True)


# ---- with a real tracker --------------------------------------------------------------------


def test_a_video_with_a_real_tracker(build_video, build_tracker):
    detector, _ = build_video(frames=4)
    detector.maps = torch.randn(4, 3, 4, 6)
    tracker = build_tracker().eval()
    torch.nn.init.ones_(tracker.iou_branch.bias)  # IoU scores around 0.73
    results = run(detector, tracker)
    assert sum(int((r.source >= 0).sum()) for r in results) > 5
    limit = torch.tensor([96.0, 64, 96, 64])
    for prev, curr in zip(results, results[1:], strict=False):
        assert curr.mapped_boxes.shape == prev.boxes.shape
        assert not curr.boxes.requires_grad
        for boxes in (curr.boxes, curr.mapped_boxes):
            assert boxes.isfinite().all() and (boxes >= 0).all() and (boxes <= limit).all()
        old = curr.source >= 0
        assert curr.boxes[old].equal(curr.mapped_boxes[curr.source[old]])
    rescored = rescore_video(results, Rescoring(True, True, 0.5, 0.45, 0.01))
    assert [s.shape for s in rescored.scores] == [r.scores.shape for r in results]
