"""Seq-NMS and Seq-Track-NMS against hand-worked videos, laws and two slow oracles.

The oracles are plain Python over lists: one computes the whole graph again for every path, the
other lists all paths of a tiny video. Nothing of the module is used in them.
"""

import itertools
import warnings

import numpy as np
import pytest
import torch

from d2_plugtrack.core.seq_nms import Rescored, seq_nms
from tests.core.video_results import generic_video, reorder

# ---- oracles --------------------------------------------------------------------------------


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area_a + area_b - width * height)


def best_path_by_recomputing(scores, in_play, links):
    """(sum, path as [(frame, box), ...]) or None; scores, in_play and links of one class."""
    total, origin, best = {}, {}, None
    for t, scores_t in enumerate(scores):
        for j, score in enumerate(scores_t):
            if (t, j) not in in_play:
                continue
            total[t, j], origin[t, j] = score, None
            for i in range(len(scores[t - 1]) if t else 0):
                if (t - 1, i) in in_play and links[t][i][j]:
                    extended = score + total[t - 1, i]
                    if extended > total[t, j]:
                        total[t, j], origin[t, j] = extended, (t - 1, i)
            if best is None or total[t, j] > total[best]:
                best = (t, j)
    if best is None:
        return None
    path = [best]
    while origin[path[0]] is not None:
        path.insert(0, origin[path[0]])
    return total[best], path


def best_path_by_listing(scores, in_play, links):
    """The same for positive scores, from a list of all paths there are."""
    candidates = []
    for first, last in itertools.combinations_with_replacement(range(len(scores)), 2):
        for boxes in itertools.product(*(range(len(scores[t])) for t in range(first, last + 1))):
            path = list(zip(range(first, last + 1), boxes, strict=True))
            linked = all(links[t][i][j] for (_, i), (t, j) in itertools.pairwise(path))
            if linked and all(node in in_play for node in path):
                total = sum(scores[t][i] for t, i in path)
                candidates.append((-total, path[::-1]))
    if not candidates:
        return None
    negative, backwards = min(candidates)
    return -negative, backwards[::-1]


def oracle(find, boxes, scores, mapped=None, link_iou=0.5, nms_iou=0.45, min_score=0.01):
    """Lists over frames of new scores and path numbers, as nested lists."""
    boxes, scores = [b.tolist() for b in boxes], [s.double().tolist() for s in scores]
    before = ([[]] + boxes)[: len(boxes)] if mapped is None else [m.tolist() for m in mapped]
    links = [
        [[iou(a, b) >= link_iou for b in here] for a in there]
        for there, here in zip(before, boxes, strict=True)
    ]
    new = [[[0.0] * len(row) for row in frame] for frame in scores]
    paths = [[[-1] * len(row) for row in frame] for frame in scores]
    starts = [0, *itertools.accumulate(map(len, boxes))]
    num_classes = max((len(row) for frame in scores for row in frame), default=0)
    for k in range(num_classes):
        of_class = [[row[k] for row in frame] for frame in scores]
        in_play = {(t, i) for t, f in enumerate(of_class) for i, s in enumerate(f) if s != 0}
        while (found := find(of_class, in_play, links)) and found[0] >= min_score:
            total, path = found
            number = (starts[path[0][0]] + path[0][1]) * num_classes + k
            for t, i in path:
                new[t][i][k], paths[t][i][k] = total / len(path), number
                in_play.remove((t, i))
                here = [j for j in range(len(boxes[t])) if (t, j) in in_play]
                in_play -= {(t, j) for j in here if iou(boxes[t][i], boxes[t][j]) >= nms_iou}
    return new, paths


# ---- random videos --------------------------------------------------------------------------


def grid_video(seed, frames=8, most_boxes=5, classes=3, grid=4):
    """Few integer coordinates and quantised scores: ties, exact thresholds, zeros, no area."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(0, most_boxes + 1, size=rng.integers(0, frames + 1))]

    def some(count):
        corners = rng.integers(0, grid + 1, size=(count, 2, 2))
        return torch.tensor(np.sort(corners, axis=1).reshape(count, 4) * 5.0).float()

    boxes = [some(n) for n in sizes]
    mapped = [
        torch.where(torch.tensor(rng.random((len(b), 1)) < 0.5), b, some(len(b))) for b in boxes
    ]
    scores = [torch.tensor(rng.integers(0, 9, size=(n, classes)) / 64).float() for n in sizes]
    return boxes, scores, [torch.zeros(0, 4), *mapped[:-1]][: len(boxes)]


def smooth_video(seed, frames, per_frame, classes, objects=4):
    """Objects on smooth tracks, jittered boxes, drop-outs, scores as from a softmax: no ties."""
    rng = np.random.default_rng(seed)
    centers, speed = rng.uniform(100, 900, (objects, 2)), rng.normal(0, 4, (objects, 2))
    sizes, label = rng.uniform(60, 200, (objects, 2)), rng.integers(0, classes, objects)
    boxes, scores, mapped, before = [], [], [], np.zeros(0, dtype=int)
    for _ in range(frames):
        centers += speed + rng.normal(0, 1, (objects, 2))
        owner = rng.integers(0, objects, per_frame)[rng.random(per_frame) > 0.1]

        def around(owner, jitter, centers=centers):
            c = centers[owner] + rng.normal(0, jitter, (len(owner), 2))
            return torch.tensor(np.hstack([c - sizes[owner] / 2, c + sizes[owner] / 2])).float()

        logits = rng.normal(0, 1.5, (len(owner), classes + 1))
        logits[np.arange(len(owner)), label[owner]] += 4
        boxes.append(around(owner, 10))
        mapped.append(around(before, 4))
        odds = np.exp(logits)
        odds /= odds.sum(axis=1, keepdims=True)
        scores.append(torch.tensor(odds[:, :classes]).float())
        before = owner
    return boxes, scores, mapped


def assert_equals_oracle(result, expected, scores):
    new, paths = expected
    for t, old in enumerate(scores):
        want_paths = torch.tensor(paths[t], dtype=torch.int64).reshape(old.shape)
        assert torch.equal(result.paths[t], want_paths)
        assert torch.equal(result.kept[t], want_paths >= 0)
        want = torch.tensor(new[t], dtype=torch.float64).reshape(old.shape).to(old)
        assert torch.equal(result.scores[t], want)


@pytest.mark.parametrize("tracked", [False, True], ids=["seq_nms", "seq_track_nms"])
class TestAgainstOracles:
    @pytest.mark.parametrize("num_cases", [400, pytest.param(10_000, marks=pytest.mark.slow)])
    def test_ties_thresholds_and_empty_frames(self, tracked, num_cases):
        for seed in range(num_cases):
            boxes, scores, mapped = grid_video(seed, classes=(3, 1)[seed % 2])
            how = {"mapped": mapped if tracked else None, "min_score": [0.01, 0.125, 0.0][seed % 3]}
            expected = oracle(best_path_by_recomputing, boxes, scores, **how)
            result = seq_nms(boxes, scores, how["mapped"], min_score=how["min_score"])
            assert_equals_oracle(result, expected, scores)

    @pytest.mark.parametrize("num_cases", [200, pytest.param(10_000, marks=pytest.mark.slow)])
    def test_every_path_listed(self, tracked, num_cases):
        for seed in range(num_cases):
            boxes, scores, mapped = grid_video(
                1000 + seed, frames=6, most_boxes=3, classes=1 + seed % 3, grid=2
            )
            mapped, min_score = mapped if tracked else None, (0.01, 0.125, 0.5)[seed % 3]
            expected = oracle(best_path_by_listing, boxes, scores, mapped, min_score=min_score)
            result = seq_nms(boxes, scores, mapped, min_score=min_score)
            assert_equals_oracle(result, expected, scores)

    @pytest.mark.parametrize("seed", range(12))
    def test_smooth_videos(self, tracked, seed):
        boxes, scores, mapped = smooth_video(seed, frames=20, per_frame=6, classes=3)
        mapped = mapped if tracked else None
        expected = oracle(best_path_by_recomputing, boxes, scores, mapped)
        assert_equals_oracle(seq_nms(boxes, scores, mapped), expected, scores)

    @pytest.mark.parametrize("thresholds", [(0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.3, 0.8, 0.2)])
    def test_other_thresholds(self, tracked, thresholds):
        for seed in range(30):
            boxes, scores, mapped = grid_video(2000 + seed)
            mapped = mapped if tracked else None
            expected = oracle(best_path_by_recomputing, boxes, scores, mapped, *thresholds)
            assert_equals_oracle(seq_nms(boxes, scores, mapped, *thresholds), expected, scores)


def rounding_video(seed):
    """Scores that differ by more than float64 holds, some below 0: sums that do not grow."""
    boxes, scores, mapped = grid_video(seed)
    rng = np.random.default_rng(seed)
    factors = [torch.tensor(rng.choice([1, 1e-9, 1e-20, -0.01], tuple(s.shape))) for s in scores]
    return boxes, [s.double() * f for s, f in zip(scores, factors, strict=True)], mapped


def cut_video(seed):
    """Two smooth videos with an empty frame between them: parts that know nothing of each other."""
    first, second = (smooth_video(s, frames=9, per_frame=5, classes=3) for s in (seed, seed + 500))
    boxes = [*first[0], torch.zeros(0, 4), *second[0]]
    scores = [*first[1], torch.zeros(0, 3), *second[1]]
    return boxes, scores, [*first[2], torch.zeros(len(first[0][-1]), 4), *second[2]]


@pytest.mark.parametrize("tracked", [False, True], ids=["seq_nms", "seq_track_nms"])
@pytest.mark.parametrize("make", [rounding_video, cut_video])
def test_rounding_and_separate_parts(make, tracked):
    for seed in range(60 if make is rounding_video else 6):
        boxes, scores, mapped = make(seed)
        mapped = mapped if tracked else None
        for min_score in (0.01, -1.0):
            expected = oracle(best_path_by_recomputing, boxes, scores, mapped, 0.5, 0.45, min_score)
            result = seq_nms(boxes, scores, mapped, min_score=min_score)
            assert_equals_oracle(result, expected, scores)


def test_more_classes_than_are_done_at_once():
    boxes, scores, _ = smooth_video(5, frames=8, per_frame=5, classes=70)
    expected = oracle(best_path_by_recomputing, boxes, scores, min_score=0.001)
    assert_equals_oracle(seq_nms(boxes, scores, min_score=0.001), expected, scores)


def test_a_video_in_two_parts_is_two_videos():
    """Nothing links across an empty frame: flushing there changes nothing but the numbering."""
    first, second = (smooth_video(seed, 15, 6, 3)[:2] for seed in (1, 2))
    boxes = [*first[0], torch.zeros(0, 4), *second[0]]
    scores = [*first[1], torch.zeros(0, 3), *second[1]]
    whole, parts = seq_nms(boxes, scores), (seq_nms(*first), seq_nms(*second))
    nodes = sum(map(len, first[0])) * 3  # numbers of the second part rise by its first box's
    for t, (scores_of_frame, paths) in enumerate(zip(whole.scores, whole.paths, strict=True)):
        if t == 15:
            continue
        part, frame, rise = (parts[0], t, 0) if t < 15 else (parts[1], t - 16, nodes)
        assert torch.equal(scores_of_frame, part.scores[frame])
        alone = part.paths[frame]
        assert torch.equal(paths, torch.where(alone >= 0, alone + rise, -1))


# ---- laws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tracked", [False, True], ids=["seq_nms", "seq_track_nms"])
class TestLaws:
    @pytest.fixture
    def video(self, tracked):
        boxes, scores, mapped = smooth_video(7, frames=30, per_frame=8, classes=4)
        return boxes, scores, mapped if tracked else None

    def test_inputs_stay_as_they_are(self, video):
        boxes, scores, mapped = video
        copies = [[v.clone() for v in values] for values in (boxes, scores, mapped or [])]
        seq_nms(*video)
        for values, copied in zip((boxes, scores, mapped or []), copies, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(values, copied, strict=True))

    def test_a_path_is_one_box_in_each_of_consecutive_frames_of_one_class(self, video):
        _, scores, _ = video
        result = seq_nms(*video)
        starts = [0, *itertools.accumulate(map(len, scores))]
        on_path = {}
        for t, paths in enumerate(result.paths):
            for i, k in (paths >= 0).nonzero().tolist():
                on_path.setdefault(int(paths[i, k]), []).append((t, i, k))
        assert max(map(len, on_path.values())) > 10
        for number, path in on_path.items():
            frames = [t for t, _, _ in path]
            assert frames == list(range(frames[0], frames[0] + len(frames)))
            (k,) = {k for _, _, k in path}
            assert number == (starts[frames[0]] + path[0][1]) * scores[0].shape[1] + k
            old = np.mean([float(scores[t][i, k]) for t, i, k in path])
            new = {float(result.scores[t][i, k]) for t, i, k in path}
            assert len(new) == 1 and new.pop() == pytest.approx(old, rel=1e-6)

    def test_kept_boxes_of_a_class_do_not_overlap(self, video):
        for boxes, kept in zip(video[0], seq_nms(*video).kept, strict=True):
            for k in range(kept.shape[1]):
                rest = boxes[kept[:, k]].tolist()
                assert all(iou(a, b) < 0.45 for a, b in itertools.combinations(rest, 2))

    def test_order_of_boxes_only_orders_the_result(self, video):
        boxes, scores, mapped = video
        starts, num_classes = [0, *itertools.accumulate(map(len, boxes))], scores[0].shape[1]
        orders = [torch.randperm(len(b), generator=torch.Generator().manual_seed(1)) for b in boxes]
        shuffled = [
            [value[order] for value, order in zip(values, orders, strict=True)]
            for values in (boxes, scores)
        ]
        if mapped is not None:
            before = [torch.arange(0), *orders[:-1]]
            mapped = [m[order] for m, order in zip(mapped, before, strict=True)]
        expected, result = seq_nms(*video), seq_nms(*shuffled, mapped)
        # a path's number names its first box, which has another index now
        old_nodes = torch.cat([start + order for start, order in zip(starts, orders, strict=False)])
        for t, order in enumerate(orders):
            paths = result.paths[t]
            numbers = old_nodes[paths.clamp(min=0) // num_classes] * num_classes
            numbers = torch.where(paths >= 0, numbers + torch.arange(num_classes), -1)
            assert torch.equal(expected.scores[t][order], result.scores[t])
            assert torch.equal(expected.kept[t][order], result.kept[t])
            assert torch.equal(expected.paths[t][order], numbers)

    def test_double_precision_gives_the_same(self, video):
        boxes, scores, mapped = video
        doubled = [[v.double() for v in values] for values in (boxes, scores, mapped or [])]
        expected, result = seq_nms(*video), seq_nms(*doubled[:2], doubled[2] or None)
        for t in range(len(boxes)):
            assert torch.equal(expected.paths[t], result.paths[t])
            assert result.scores[t].dtype == torch.float64
            assert torch.equal(expected.scores[t], result.scores[t].float())

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    def test_cuda_gives_the_same(self, video):
        boxes, scores, mapped = video
        moved = [[v.cuda() for v in values] for values in (boxes, scores, mapped or [])]
        expected, result = seq_nms(*video), seq_nms(*moved[:2], moved[2] or None)
        for want, got in zip(expected, result, strict=True):
            assert all(b.is_cuda for b in got)
            assert all(torch.equal(a, b.cpu()) for a, b in zip(want, got, strict=True))

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    def test_cuda_waits_a_few_times_whatever_the_length(self, video):
        moved = [[v.cuda() for v in values] for values in (video[0], video[1], video[2] or [])]
        seq_nms(*moved[:2], moved[2] or None)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                seq_nms(*moved[:2], moved[2] or None)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert len([w for w in caught if "synchroniz" in str(w.message)]) <= 10


def as_lists(video, tracked):
    mapped = [r.mapped_boxes for r in video] if tracked else None
    return [r.boxes for r in video], [r.scores for r in video], mapped


def assert_same_but_for_names(result, expected):
    """Scores and what is kept are equal, and paths but for their numbers."""
    assert len(result.scores) == len(expected.scores)
    pairs = set()
    for t in range(len(expected.scores)):
        assert torch.equal(result.scores[t], expected.scores[t])
        assert torch.equal(result.kept[t], expected.kept[t])
        one, other = (r.paths[t].flatten().tolist() for r in (result, expected))
        pairs |= set(zip(one, other, strict=True))
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


@pytest.mark.parametrize("num_cases", [200, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tracked", [False, True], ids=["seq_nms", "seq_track_nms"])
def test_order_scale_and_the_direction_of_time_change_no_decision(num_cases, tracked):
    rng, num_links = np.random.default_rng(0), 0
    for _ in range(num_cases):
        video = generic_video(rng)
        boxes, scores, mapped = as_lists(video, tracked)
        expected = seq_nms(boxes, scores, mapped)
        doubled = seq_nms([2 * b for b in boxes], scores, mapped and [2 * m for m in mapped])
        assert all(map(torch.equal, doubled.scores, expected.scores))
        assert all(map(torch.equal, doubled.paths, expected.paths))

        moved, orders, columns = reorder(rng, video)
        wanted = (
            [v[order][:, columns] for v, order in zip(values, orders, strict=True)]
            for values in expected
        )
        assert_same_but_for_names(seq_nms(*as_lists(moved, tracked)), Rescored(*wanted))

        if not tracked:  # where a box was tracked from is not known backwards
            backwards = seq_nms(boxes[::-1], scores[::-1])
            assert_same_but_for_names(Rescored(*(v[::-1] for v in backwards)), expected)
        on_path = [n for paths in expected.paths for n in paths.flatten().tolist() if n >= 0]
        num_links += len(on_path) - len(set(on_path))
    assert num_links > 2 * num_cases


# ---- by hand --------------------------------------------------------------------------------

BOX = [0.0, 0.0, 20.0, 10.0]
FAR = [100.0, 0.0, 120.0, 10.0]
HALF = [0.0, 0.0, 10.0, 10.0]  # IoU with BOX 100 / 200 = 0.5
BELOW_HALF = [0.0, 0.0, 9.75, 10.0]  # 97.5 / 200 = 0.4875
NINE = [0.0, 0.0, 9.0, 10.0]  # 90 / 200 = 0.45
EIGHT = [0.0, 0.0, 8.0, 10.0]  # 80 / 200 = 0.4


def video(*frames):
    """Frames of (box, score) or (box, scores of the classes) pairs as the tensors they are."""
    boxes = [torch.tensor([box for box, _ in frame]).reshape(-1, 4) for frame in frames]
    classes = max((np.size(score) for frame in frames for _, score in frame), default=1)
    scores = [
        torch.tensor(np.array([s for _, s in frame], dtype=np.float64).reshape(-1, classes))
        for frame in frames
    ]
    return boxes, scores


def flat(values):
    return [v.flatten().tolist() for v in values]


class TestByHand:
    def test_linked_boxes_get_their_mean(self):
        # (0.5 + 0.75 + 0.25) / 3 = 0.5
        result = seq_nms(*video([(BOX, 0.5)], [(BOX, 0.75)], [(BOX, 0.25)]))
        assert flat(result.scores) == [[0.5], [0.5], [0.5]]
        assert flat(result.paths) == [[0], [0], [0]]

    def test_links_at_the_threshold_and_not_below(self):
        # linked: (0.5 + 0.25) / 2 = 0.375
        assert flat(seq_nms(*video([(BOX, 0.5)], [(HALF, 0.25)])).scores) == [[0.375], [0.375]]
        assert flat(seq_nms(*video([(HALF, 0.5)], [(BOX, 0.25)])).scores) == [[0.375], [0.375]]
        result = seq_nms(*video([(BOX, 0.25)], [(BELOW_HALF, 0.5)]))
        assert flat(result.scores) == [[0.25], [0.5]]
        assert flat(result.paths) == [[0], [1]]

    def test_deletes_at_the_threshold_and_not_below(self):
        result = seq_nms(*video([(NINE, 0.25), (BOX, 0.5)]))
        assert flat(result.scores) == [[0.0, 0.5]]
        assert flat(result.paths) == [[-1, 1]]
        assert flat(result.kept) == [[False, True]]
        assert flat(seq_nms(*video([(EIGHT, 0.25), (BOX, 0.5)])).scores) == [[0.25, 0.5]]

    def test_single_boxes_without_links_delete_one_another(self):
        # 0.5 deletes 0.4; FAR stays; the frames are not linked
        result = seq_nms(*video([(BOX, 0.5), (HALF, 0.4)], [(FAR, 0.25)]))
        assert flat(result.scores) == [[0.5, 0.0], [0.25]]

    def test_a_deleted_box_no_longer_links(self):
        # Path 0: BOX, BOX, 0.5 + 0.5 = 1, deletes HALF (0.25) of frame 1. In frame 2 HALF (0.125)
        # was linked with it, and is left alone.
        frames = [(BOX, 0.5)], [(BOX, 0.5), (NINE, 0.25)], [(NINE, 0.125)]
        result = seq_nms(*video(*frames))
        assert flat(result.scores) == [[0.5], [0.5, 0.0], [0.125]]
        assert flat(result.paths) == [[0], [0, -1], [3]]

    def test_stops_below_the_smallest_sum_and_not_at_it(self):
        frames = [(BOX, 0.125)], [(BOX, 0.125)], [], [(FAR, 0.1875)]
        result = seq_nms(*video(*frames), min_score=0.25)  # 0.125 + 0.125 = 0.25
        assert flat(result.scores) == [[0.125], [0.125], [], [0.0]]
        assert flat(result.kept) == [[True], [True], [], [False]]
        assert flat(seq_nms(*video([(BOX, 0.01)])).kept) == [[True]]
        assert flat(seq_nms(*video([(BOX, 0.0099)])).kept) == [[False]]

    def test_zero_is_not_in_the_list(self):
        # without the middle box the path is broken, and the box itself is not kept
        result = seq_nms(*video([(BOX, 0.5)], [(BOX, 0.0)], [(BOX, 0.25)]), min_score=0.0)
        assert flat(result.scores) == [[0.5], [0.0], [0.25]]
        assert flat(result.paths) == [[0], [-1], [2]]

    def test_an_empty_frame_breaks_a_path(self):
        result = seq_nms(*video([(BOX, 0.5)], [], [(BOX, 0.25)]))
        assert flat(result.scores) == [[0.5], [], [0.25]]

    def test_equal_predecessors_and_ends_take_the_lower_index(self):
        # EIGHT and BOX do not delete each other; both link with a box between them (HALF):
        # 80/100 and 100/200. Sums 0.5 + 0.25 either way.
        result = seq_nms(*video([(EIGHT, 0.25), (BOX, 0.25)], [(HALF, 0.5)]))
        assert flat(result.scores) == [[0.375, 0.25], [0.375]]
        assert flat(result.paths) == [[0, 1], [0]]
        # equal ends, 0.5 + 0.25 and 0.75: the lower index, which deletes NINE
        result = seq_nms(*video([(BOX, 0.5)], [(BOX, 0.25), (NINE, 0.75)]))
        assert flat(result.scores) == [[0.375], [0.375, 0.0]]
        # equal ends, 0.5 + 0.25 and 0.25 + 0.5: the earlier frame, though its index is higher
        result = seq_nms(*video([(BOX, 0.5)], [(NINE, 0.25), (BOX, 0.25)], [(NINE, 0.5)]))
        assert flat(result.scores) == [[0.375], [0.0, 0.375], [0.5]]

    def test_classes_are_apart_and_numbered_apart(self):
        # class 0: one path of both frames; class 1: the second frame's box is not in its list,
        # and HALF, deleted by BOX for class 0, is the stronger one
        frames = [(BOX, [0.5, 0.125]), (HALF, [0.25, 0.25])], [(BOX, [0.25, 0.0])]
        result = seq_nms(*video(*frames))
        assert result.scores[0].tolist() == [[0.375, 0.0], [0.0, 0.25]]
        # the first box of class 0 is node 0, of class 1 node 1: 0 * 2 + 0 and 1 * 2 + 1
        assert result.paths[0].tolist() == [[0, -1], [-1, 3]]
        assert result.paths[1].tolist() == [[0, -1]]

    def test_tracked_boxes_link_what_moves_fast(self):
        boxes, scores = video([(BOX, 0.5)], [(FAR, 0.25)])
        mapped = [torch.zeros(0, 4), torch.tensor([FAR])]
        assert flat(seq_nms(boxes, scores).scores) == [[0.5], [0.25]]
        assert flat(seq_nms(boxes, scores, mapped).scores) == [[0.375], [0.375]]

    def test_tracked_boxes_unlink_what_lies_in_one_place(self):
        boxes, scores = video([(BOX, 0.5)], [(BOX, 0.25)])
        mapped = [torch.zeros(0, 4), torch.tensor([BELOW_HALF])]
        assert flat(seq_nms(boxes, scores, mapped).scores) == [[0.5], [0.25]]
        mapped = [torch.zeros(0, 4), torch.tensor([HALF])]  # exactly 0.5
        assert flat(seq_nms(boxes, scores, mapped).scores) == [[0.375], [0.375]]

    def test_boxes_without_area_overlap_nothing(self):
        point = [5.0, 5.0, 5.0, 5.0]
        result = seq_nms(*video([(point, 0.5), (point, 0.25), (BOX, 0.125)], [(point, 0.5)]))
        assert flat(result.scores) == [[0.5, 0.25, 0.125], [0.5]]


# ---- nothing, and mistakes ------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[], [0], [0, 0, 0], [1], [3]])
@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("tracked", [False, True])
def test_nothing_is_a_case(sizes, classes, tracked):
    boxes = [torch.tensor([BOX]).repeat(n, 1) for n in sizes]
    scores = [torch.full((n, classes), 0.5, dtype=torch.float16) for n in sizes]
    mapped = [torch.zeros(n, 4) for n in [0, *sizes[:-1]][: len(sizes)]]
    result = seq_nms(boxes, scores, mapped if tracked else None)
    for values, dtype in zip(result, (torch.float16, torch.bool, torch.int64), strict=True):
        assert [tuple(v.shape) for v in values] == [(n, classes) for n in sizes]
        assert all(v.dtype == dtype for v in values)


def test_gradients_do_not_matter():
    boxes, scores = video([(BOX, 0.5)], [(BOX, 0.25)])
    result = seq_nms([b.requires_grad_() for b in boxes], [s.requires_grad_() for s in scores])
    assert flat(result.scores) == [[0.375], [0.375]]


class TestMistakes:
    @pytest.fixture
    def good(self):
        boxes, scores = video([(BOX, 0.5)], [(BOX, 0.5), (FAR, 0.5)])
        return {"boxes": boxes, "scores": scores, "mapped_boxes": [torch.zeros(0, 4), boxes[0]]}

    @pytest.mark.parametrize(
        ("name", "frame", "shape", "expected"),
        [
            ("boxes", 1, (2, 5), r"\(2, 4\)"),
            ("boxes", 1, (8,), r"\(8, 4\)"),
            ("scores", 1, (3, 1), r"\(2, 1\)"),
            ("scores", 1, (2, 7), r"\(2, 1\)"),
            ("mapped_boxes", 0, (1, 4), r"\(0, 4\)"),
            ("mapped_boxes", 1, (2, 4), r"\(1, 4\)"),
        ],
    )
    def test_shapes(self, good, name, frame, shape, expected):
        good[name][frame] = torch.zeros(shape)
        found = rf"\({', '.join(map(str, shape))},?\)"
        with pytest.raises(ValueError, match=f"frame {frame}: .*{name}.*{expected}.*{found}"):
            seq_nms(**good)

    @pytest.mark.parametrize("name", ["scores", "mapped_boxes"])
    def test_number_of_frames(self, good, name):
        good[name] = good[name][:1]
        with pytest.raises(ValueError, match=f"2 frames of {name}, got 1"):
            seq_nms(**good)

    @pytest.mark.parametrize("name", ["boxes", "scores", "mapped_boxes"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_values_that_are_not_finite(self, good, name, value):
        good[name][1] = good[name][1].clone()
        good[name][1][-1, -1] = value
        with pytest.raises(ValueError, match=f"frame 1: {name} must be finite"):
            seq_nms(**good)
