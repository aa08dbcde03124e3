"""Frames are re-scored over their past alone, as a plain reading of the rule says."""

import gc

import numpy as np
import pytest
import torch

from d2_plugtrack.core import tracked_video
from d2_plugtrack.core.modes import build_rescorer
from d2_plugtrack.core.online_rescorer import OnlineRescorer
from d2_plugtrack.core.rescoring import Rescoring, rescore_video
from d2_plugtrack.core.spool import Spooling
from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.core.tracked_video import TrackNumbers
from d2_plugtrack.core.video_rescorer import VideoRescorer
from tests.core.video_results import frame_result, generic_video, linked, random_video

ONLINE = Rescoring(True, True, link_iou=0.5, nms_iou=0.45, min_score=0.01, online=True)
BOX, BESIDE, FAR = [0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]  # IoU of the first two: 9/11


def how(**changes) -> Rescoring:
    return ONLINE._replace(**changes)


def send(video, rule=ONLINE):
    rescorer = OnlineRescorer(rule)
    frames = [frame for result in video for frame in rescorer.push(result)]
    assert list(rescorer.finish()) == []
    return frames


def link(result: FrameResult, source: list[int], ious: list[float]) -> FrameResult:
    return result._replace(source=torch.tensor(source), track_scores=torch.tensor(ious))


# ---- the rule ------------------------------------------------------------------------------------


def test_a_score_is_the_mean_of_the_past_weighted_by_the_links():
    video = [
        frame_result([BOX], [[0.9, 0.1]]),
        link(frame_result([BOX], [[0.5, 0.3]]), [0], [0.5]),
        link(frame_result([BOX], [[0.1, 0.8]]), [0], [1.0]),
        link(frame_result([BOX], [[0.0, 0.8]]), [0], [0.0]),
    ]
    scores = [frame.scores[0].tolist() for frame in send(video)]
    # (0.9 + 0.5 * 0.5) / 1.5 and (0.1 + 0.5 * 0.3) / 1.5; then, of a weight of 2.5 in all,
    # (1.15 + 0.1) / 2.5 and (0.25 + 0.8) / 2.5; a link of no weight changes nothing
    expected = [[0.9, 0.1], [1.15 / 1.5, 0.25 / 1.5], [0.5, 0.42], [0.5, 0.42]]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_what_is_suppressed_goes_on_with_its_past():
    # two tracks of an object: the second is weaker, until the first ends
    video = [
        frame_result([BOX, BESIDE], [[0.9, 0.2], [0.8, 0.1]]),
        link(frame_result([BOX, BESIDE], [[0.9, 0.2], [0.4, 0.1]]), [0, 1], [1.0, 1.0]),
        link(frame_result([BESIDE, FAR], [[0.6, 0.1], [0.7, 0.2]]), [1, -1], [1.0, np.nan]),
    ]
    frames = send(video)
    assert [f.kept[:, 0].tolist() for f in frames] == [[True, False], [True, False], [True, True]]
    # (0.8 + 0.4 + 0.6) / 3 in the last frame
    np.testing.assert_allclose(frames[2].scores[:, 0], [0.6, 0.7], rtol=1e-6)
    numbers = [f.paths[:, 0].tolist() for f in frames]
    assert numbers == [[0, 1], [0, 1], [1, 2]]
    for frame in frames:  # kept or not, of every class
        assert (frame.paths == frame.paths[:, :1]).all() and frame.paths.dtype == np.int64
        assert (frame.scores[~frame.kept] == 0).all()


def box(left: float, width: float = 10) -> list[float]:
    return [left, 0, left + width, 10]


def numbers_of(frame) -> list[int]:
    return frame.paths[:, 0].tolist()


def test_a_detection_goes_on_with_the_track_that_the_tracker_let_go():
    first = frame_result([BOX, FAR], [[0.9, 0.1], [0.8, 0.2]])
    # nobody's source is the first box, mapped to 2 beside the new one: IoU (10 - 2) / (10 + 2)
    second = frame_result([FAR, box(5)], [[0.6, 0.2], [0.4, 0.3]], [box(7), FAR])
    third = frame_result([box(6)], [[0.5, 0.5]], [FAR, box(6)])
    frames = send([first, link(second, [1, -1], [1.0, np.nan]), link(third, [1], [0.5])])
    assert [numbers_of(frame) for frame in frames] == [[0, 1], [1, 0], [0]]
    # weight 2/3, and 5/3 in all: (0.9 + 2/3 * 0.4) / (5/3) and (0.1 + 2/3 * 0.3) / (5/3)
    np.testing.assert_allclose(frames[1].scores, [[0.7, 0.2], [0.7, 0.18]], rtol=1e-6)
    # and on with it: (7/6 + 0.5 * 0.5) / (13/6) and (0.3 + 0.5 * 0.5) / (13/6)
    np.testing.assert_allclose(frames[2].scores, [[17 / 26, 3.3 / 13]], rtol=1e-6)


def test_the_track_of_a_source_is_not_taken():
    # the second of two tracked boxes was suppressed: the detection has its place, not the first's
    first = frame_result([BOX, BESIDE], [[0.9, 0.1], [0.8, 0.1]])
    second = frame_result([box(3), box(4)], [[0.9, 0.1], [0.7, 0.1]], [box(4), box(2)])
    frames = send([first, link(second, [0, -1], [0.9, np.nan])])
    assert [numbers_of(frame) for frame in frames] == [[0, 1], [0, 1]]
    # whatever is left is taken, but not what was taken: of three boxes in one place two are new
    second = frame_result([BOX, BOX, BOX], [[0.5, 0.1]] * 3, [BOX])
    frames = send([one_box(0.9), link(second, [-1, 0, -1], [np.nan, 1.0, np.nan])])
    assert numbers_of(frames[1]) == [1, 0, 2]


@pytest.mark.parametrize(
    ("lefts", "mapped", "expected"),
    [
        ([2, 1], [0], [1, 0]),  # the closer of two detections
        ([1], [3, 2], [1]),  # the closer of two tracks
        # pair by pair, not the best sum: 0 to 1 and 1 to 3 would overlap by more
        ([3, 1], [0, 2.9], [1, 0]),
        ([2, 3.5], [3, 1], [1, 0]),  # 1 takes track 0 (0.5 away), and 0 what is left
        ([1, 1], [0], [0, 1]),  # of equal pairs the lower box of this frame
        ([1], [2, 0], [0]),  # then of the frame before
        ([1, 3], [2, 0], [0, 2]),  # 0 has both tracks alike, and takes what 1 could have had
        ([3, 1], [2, 0], [0, 1]),
        ([1, 3], [0, 2], [0, 1]),
    ],
)
def test_of_several_the_closest_pair_goes_first(lefts, mapped, expected):
    """Boxes that are 10 wide, by their left sides; two thirds and more link, 2 away and less."""
    first = frame_result([box(40 * i) for i in range(len(mapped))], [[0.9, 0.1]] * len(mapped))
    boxes, mapped = [box(left) for left in lefts], [box(left) for left in mapped]
    second = frame_result(boxes, [[0.5, 0.1]] * len(lefts), mapped)
    assert numbers_of(send([first, second], how(link_iou=2 / 3))[1]) == expected


def test_a_link_needs_an_overlap_of_just_link_iou():
    # 10 and 8 wide: 0.8, which no float is; 10 and 5: half
    for width, at_least in ((8, 0.8), (5, 0.5)):
        video = [one_box(0.9), frame_result([box(0, width)], [[0.3, 0.1]], [BOX])]
        assert numbers_of(send(video, how(link_iou=at_least))[1]) == [0]
        more = float(np.nextafter(at_least, 1))
        assert numbers_of(send(video, how(link_iou=more))[1]) == [1]
    away = [one_box(0.9), frame_result([FAR], [[0.3, 0.1]], [BOX])]
    assert numbers_of(send(away, how(link_iou=1e-9))[1]) == [1]


@pytest.mark.parametrize("at_least", [1 / 3, 0.5, 2 / 3, 0.25])
def test_what_may_link_is_what_seq_track_nms_links(at_least):
    """One box in each of two frames, anywhere on a coarse grid, often just at the threshold."""
    rng, links = np.random.default_rng(0), []
    for _ in range(200):
        corners = rng.integers(0, 2, (2, 2)) * 5.0
        sizes = rng.integers(2, 5, (2, 2)) * 5
        mapped, found = np.concatenate([corners, corners + sizes], axis=1).tolist()
        video = [one_box(0.9), frame_result([found], [[0.9, 0.1]], [mapped])]
        offline = rescore_video(video, how(online=False, link_iou=at_least)).paths
        links.append(bool(offline[0][0, 0] == offline[1][0, 0]))
        online = send(video, how(link_iou=at_least))[1]
        assert numbers_of(online) == ([0] if links[-1] else [1])
    assert 10 < sum(links) < 190


def test_weak_scores_are_not_kept():
    (frame,) = send([frame_result([BOX, FAR], [[0.3, 0.1], [0.29, 0.0]])], how(min_score=0.3))
    assert frame.kept.tolist() == [[True, False], [False, False]]
    (frame,) = send([frame_result([BOX, FAR], [[0.3, 0.1], [0.29, 0.0]])], how(min_score=0.0))
    assert frame.kept.tolist() == [[True, True], [True, False]]  # 0: not in the class's list


def plain(video: list[FrameResult], rule: Rescoring) -> list[tuple[list, list, list]]:
    """Scores, kept and track numbers of every frame, from each track's whole history."""
    frames, tracks, num_tracks = [], [], 0  # tracks of the frame before: (number, history)
    for result in video:
        before, tracks = tracks, []
        rows = (*plain_links(result, rule.link_iou), result.scores.tolist())
        for source, iou, scores in zip(*rows, strict=True):
            if source < 0:
                tracks.append((num_tracks, [(1.0, scores)]))
                num_tracks += 1
            else:
                number, history = before[source]
                tracks.append((number, [*history, (iou, scores)]))
        means = [mean(history, result.scores.shape[1]) for _, history in tracks]
        kept = suppress(result.boxes.tolist(), means, rule)
        frames.append((means, kept, [number for number, _ in tracks]))
    return frames


def plain_links(result: FrameResult, link_iou: float) -> tuple[list[int], list[float]]:
    """Source and weight of every box; the best pair of those that are left, until there is none."""
    sources, weights = result.source.tolist(), result.track_scores.tolist()
    boxes, mapped = result.boxes.tolist(), result.mapped_boxes.tolist()
    while True:
        pairs = [
            (iou(mapped[old], boxes[new]), -new, -old)
            for new in range(len(boxes))
            for old in range(len(mapped))
            if sources[new] < 0 and old not in sources
        ]
        overlap, new, old = max(pairs, default=(-1, 0, 0))
        if overlap < link_iou:
            return sources, weights
        sources[-new], weights[-new] = -old, overlap


def mean(history: list, num_classes: int) -> list[float]:
    weight = sum(w for w, _ in history)
    sums = [sum(w * scores[k] for w, scores in history) for k in range(num_classes)]
    return [float(np.float32(s / weight)) for s in sums]


def suppress(boxes: list, means: list, rule: Rescoring) -> list[list[bool]]:
    kept = [[False] * len(row) for row in means]
    for k in range(len(means[0]) if means else 0):
        order = sorted(range(len(boxes)), key=lambda i: -means[i][k])
        for i in order:
            stronger = [boxes[j] for j in order if kept[j][k]]
            good = means[i][k] >= rule.min_score and means[i][k] > 0
            kept[i][k] = good and all(iou(boxes[i], box) < rule.nms_iou for box in stronger)
    return kept


def iou(box: list[float], other: list[float]) -> float:
    width = max(min(box[2], other[2]) - max(box[0], other[0]), 0.0)
    height = max(min(box[3], other[3]) - max(box[1], other[1]), 0.0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("num_videos", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_result_is_that_of_the_plain_rule(num_videos):
    num_linked = num_found = num_suppressed = 0
    for seed in range(num_videos):
        rng = np.random.default_rng(seed)
        # on a coarse grid: many boxes overlap by exactly a third or two, and as much as others
        rule = how(
            link_iou=[0.5, 1 / 3, 2 / 3, 0.1][seed % 4],
            nms_iou=[0.45, 1 / 3, 0.5][seed % 3],
            min_score=[0.01, 0.3][seed % 2],
        )
        num_frames, num_classes = int(rng.integers(1, 12)), int(rng.integers(1, 4))
        video = linked(rng, random_video(seed, num_frames, num_classes, parked=seed % 4 == 1))
        for frame, expected in zip(send(video, rule), plain(video, rule), strict=True):
            means, kept = (np.reshape(rows, (-1, num_classes)) for rows in expected[:2])
            np.testing.assert_array_equal(frame.kept, kept)
            np.testing.assert_array_equal(frame.scores, np.where(kept, means, 0))
            assert frame.scores.dtype == np.float32
            assert frame.paths.tolist() == [[n] * num_classes for n in expected[2]]
            num_suppressed += int((~frame.kept).sum())
        links = [(r.source.tolist(), plain_links(r, rule.link_iou)[0]) for r in video]
        num_linked += sum(old >= 0 for before, _ in links for old in before)
        num_found += sum(before != after for before, after in links)
    assert min(num_linked, num_suppressed) > 5 * num_videos and num_found > num_videos


@pytest.mark.parametrize("seed", range(10))
def test_without_links_a_frame_is_a_video_of_its_own(seed):
    # as of a pipeline without a tracker, that maps no boxes
    none = torch.zeros(0, 4)
    video = [result._replace(mapped_boxes=none) for result in random_video(seed, 10)]
    for frame, result in zip(send(video), video, strict=True):
        alone = rescore_video([result], how(online=False, track_links=False))
        np.testing.assert_array_equal(frame.scores, alone.scores[0].numpy())
        np.testing.assert_array_equal(frame.kept, alone.kept[0].numpy())


@pytest.mark.parametrize("num_videos", [100, pytest.param(5_000, marks=pytest.mark.slow)])
def test_the_order_of_boxes_only_names_the_tracks(num_videos):
    rng = np.random.default_rng(0)
    for _ in range(num_videos):
        video, moved, orders = linked(rng, generic_video(rng)), [], []
        before = np.zeros(0, np.int64)
        for result in video:  # box i was number order[i], and box j is number place[j]
            order = rng.permutation(len(result.boxes))
            source = result.source.numpy()[order]
            place = np.argsort(before)
            source = np.where(source < 0, -1, place[source] if len(place) else source)
            mapped = result.mapped_boxes[before]
            fields = {"boxes", "scores", "track_scores"}
            changed = {name: getattr(result, name)[order] for name in fields}
            changed |= {"source": torch.from_numpy(source), "mapped_boxes": mapped}
            moved.append(result._replace(**changed))
            orders.append(order)
            before = order
        names = set()
        for one, other, order in zip(send(video), send(moved), orders, strict=True):
            np.testing.assert_array_equal(other.scores, one.scores[order])
            np.testing.assert_array_equal(other.kept, one.kept[order])
            names |= set(zip(other.paths[:, 0].tolist(), one.paths[order, 0].tolist(), strict=True))
        assert len(names) == len({a for a, _ in names}) == len({b for _, b in names})


@pytest.mark.parametrize("seed", range(5))
def test_what_comes_later_changes_nothing(seed):
    video = linked(np.random.default_rng(seed), random_video(seed, 12, masks=True))
    whole, part = send(video), send(video[:7])
    for one, other in zip(whole[:7], part, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_boxes_and_masks_stay():
    video = linked(np.random.default_rng(0), random_video(0, 12, masks=True))
    sources = [result.source.tolist() for result in video]
    for frame, result in zip(send(video), video, strict=True):
        np.testing.assert_array_equal(frame.boxes, result.boxes.numpy())
        np.testing.assert_array_equal(frame.masks, result.masks.numpy())
    assert [result.source.tolist() for result in video] == sources


def one_box(score: float) -> FrameResult:
    return frame_result([BOX], [[score, 0.1]])


# ---- streams -------------------------------------------------------------------------------------


def test_a_frame_without_boxes_ends_all_tracks():
    empty = frame_result([], [])
    first, second, third = send([frame_result([BOX], [[0.9, 0.2]]), empty, one_box(0.5)])
    assert second.scores.shape == second.kept.shape == second.paths.shape == (0, 2)
    assert first.paths.tolist() == [[0, 0]] and third.paths.tolist() == [[1, 1]]
    assert third.scores[0, 0] == np.float32(0.5)  # nothing of the first
    assert [f.scores.shape for f in send([empty] * 3)] == [(0, 2)] * 3
    assert send([]) == []


@pytest.mark.parametrize("num_classes", [0, 1])
def test_few_classes_or_none(num_classes):
    video = linked(np.random.default_rng(0), random_video(0, 6, num_classes))
    assert [f.scores.shape for f in send(video)] == [(len(r.boxes), num_classes) for r in video]


def test_a_video_after_another_begins_anew():
    rescorer = OnlineRescorer(ONLINE)
    for seed in range(4):  # of other classes, too
        video = linked(np.random.default_rng(seed), random_video(seed, 8, num_classes=seed + 1))
        frames = list(rescorer.rescore(video))
        for frame, expected in zip(frames, send(video), strict=True):
            np.testing.assert_array_equal(frame.scores, expected.scores)
            np.testing.assert_array_equal(frame.paths, expected.paths)
        list(rescorer.push(video[0]))
        rescorer.reset()


def test_where_it_is_not_enabled_frames_stay_as_they_are():
    video = linked(np.random.default_rng(2), random_video(2, 9, masks=True))
    for frame, result in zip(send(video, how(enabled=False)), video, strict=True):
        np.testing.assert_array_equal(frame.scores, result.scores.numpy())
        np.testing.assert_array_equal(frame.kept, frame.scores > 0)
        assert (frame.paths == -1).all()


def test_an_endless_stream_needs_no_more_memory(monkeypatch):
    # ten boxes a frame; three tracks go on, seven begin in every frame
    monkeypatch.setattr(tracked_video, "_FORGET_FROM", 50)
    rescorer, numbers, found = OnlineRescorer(ONLINE), TrackNumbers(), []
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(10)]
    first = frame_result(boxes, [[0.3, 0.2]] * 10)
    later = link(first, [0, 1, 2, *[-1] * 7], [0.9, 0.8, 0.7, *[np.nan] * 7])
    for number in range(600):
        (frame,) = rescorer.push(later if number else first)
        ids = numbers.objects(frame).track_ids.tolist()
        assert ids == [0, 1, 2, *range(7 * number + 3, 7 * number + 10)]
        assert len(numbers._known) <= 50 + 2 * 10 + 10
        if number in (200, 599):
            gc.collect()
            sizes = sum(array.nbytes for array in rescorer._tracks)
            found.append((len(gc.get_objects()), sizes))
    (objects_before, sizes_before), (objects, sizes) = found
    assert sizes_before == sizes == 8 * (10 * 2 + 10 + 10)  # S, W and numbers, 8 bytes each
    assert objects - objects_before < 20


@pytest.mark.parametrize("forget_from", [1, 10_000])
def test_a_track_that_was_out_of_sight_keeps_its_number(monkeypatch, forget_from):
    monkeypatch.setattr(tracked_video, "_FORGET_FROM", forget_from)
    numbers, ids = TrackNumbers(), []
    # one track, and beside it in every frame a new one, which is stronger from the second on
    for number, other in enumerate([0.3, *[0.5] * 6, 0.3]):
        result = frame_result([BESIDE, BOX], [[other, 0], [0.4, 0]])
        if number == 0:
            rescorer = OnlineRescorer(ONLINE)
        else:
            result = link(result, [-1, 1], [np.nan, 1.0])
        (frame,) = rescorer.push(result)
        ids.append(numbers.objects(frame).track_ids.tolist())
    assert ids == [[0], [1], [2], [3], [4], [5], [6], [0]]


def test_ids_stay_when_the_class_changes():
    scores = [[0.6, 0.3], [0.1, 0.8], [0.1, 0.8], [0.9, 0.0]]
    video = [link(frame_result([BOX], [row]), [0], [1.0]) for row in scores]
    video[0] = frame_result([BOX], [scores[0]])
    numbers = TrackNumbers()
    objects = [numbers.objects(frame) for frame in send(video)]
    # means of class 0 and 1: 0.6, 0.3; 0.35, 0.55; 0.267, 0.633; 0.425, 0.475
    assert [o.classes.tolist() for o in objects] == [[0], [1], [1], [1]]
    assert [o.track_ids.tolist() for o in objects] == [[0]] * 4


# ---- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": torch.tensor([[np.nan, 0.1]])}, "frame 1: scores must be finite"),
        ({"boxes": torch.tensor([[0, 0, np.inf, 1]])}, "frame 1: boxes must be finite"),
        ({"scores": torch.zeros(1, 3)}, r"frame 1: expected scores of shape \(1, 2\), got \(1, 3"),
        (
            {"source": torch.tensor([1])},
            r"frame 1: expected source to name each of 1 boxes .*\[1\]",
        ),
        ({"source": torch.tensor([0, 0])}, r"frame 1: expected source of shape \(1,\), got \(2,\)"),
        ({"track_scores": torch.zeros(0)}, r"frame 1: expected track_scores of shape \(1,\)"),
        ({"track_scores": torch.tensor([np.nan])}, r"track_scores must be from 0 to 1 .*\[nan\]"),
        ({"mapped_boxes": torch.full((1, 4), np.nan)}, "frame 1: mapped_boxes must be finite"),
        (
            {"mapped_boxes": torch.zeros(2, 4)},
            r"frame 1: expected mapped_boxes of shape \(1, 4\), got \(2, 4\)",
        ),
        ({"track_scores": torch.tensor([-1.0])}, r"track_scores must be from 0 to 1 .*\[-1.0\]"),
    ],
)
def test_what_cannot_be_is_refused_and_the_video_forgotten(changes, message):
    rescorer = OnlineRescorer(ONLINE)
    good = link(one_box(0.5), [0], [0.5])
    list(rescorer.push(one_box(0.9)))
    with pytest.raises(ValueError, match=message):
        list(rescorer.push(good._replace(**changes)))
    (frame,) = rescorer.push(one_box(0.5))
    assert frame.paths.tolist() == [[0, 0]] and frame.scores[0, 0] == np.float32(0.5)


def test_a_box_is_linked_once():
    rescorer = OnlineRescorer(ONLINE)
    list(rescorer.push(one_box(0.9)))
    with pytest.raises(ValueError, match=r"each of 1 boxes at most once, got \[0, 0\]"):
        list(rescorer.push(link(frame_result([BOX, FAR], [[0.5, 0.1]] * 2), [0, 0], [1.0, 1.0])))


def test_links_to_what_an_earlier_video_left_are_refused():
    rescorer = OnlineRescorer(ONLINE)
    list(rescorer.rescore([one_box(0.9)]))
    with pytest.raises(ValueError, match="frame 0: expected source to name each of 0 boxes"):
        list(rescorer.push(link(one_box(0.5), [0], [0.5])))


def test_what_is_not_linked_may_have_any_track_score():
    video = [link(one_box(0.5), [-1], [value]) for value in (np.nan, np.inf, -3.0)]
    assert [f.scores[0, 0] for f in send(video)] == [np.float32(0.5)] * 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_scores_of_other_types(dtype):
    rng = np.random.default_rng(0)
    video = [r._replace(scores=r.scores.to(dtype)) for r in linked(rng, random_video(2, 9))]
    wide = dtype if dtype == torch.float64 else torch.float32  # has all values of the halves
    for frame, same in zip(
        send(video), send([r._replace(scores=r.scores.to(wide)) for r in video]), strict=True
    ):
        assert frame.scores.dtype == same.scores.dtype == torch.zeros(0, dtype=wide).numpy().dtype
        np.testing.assert_array_equal(frame.scores, same.scores)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_results_on_a_gpu():
    video = linked(np.random.default_rng(2), random_video(2, 9, masks=True))
    on_gpu = [r._replace(scores=r.scores.cuda(), masks=r.masks.cuda()) for r in video]
    for frame, expected in zip(send(on_gpu), send(video), strict=True):
        for found, wanted in zip(frame, expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_the_mode_chooses(tmp_path):
    assert isinstance(build_rescorer(ONLINE, Spooling(0, tmp_path)), OnlineRescorer)
    offline = build_rescorer(how(online=False), Spooling(0, tmp_path))
    assert isinstance(offline, VideoRescorer) and offline.spooling == Spooling(0, tmp_path)
