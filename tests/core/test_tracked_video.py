"""Track ids in the order of appearance, and the sequence of a video's objects."""

import numpy as np
import pytest
import torch

from d2_plugtrack.core import tracked_video
from d2_plugtrack.core.open_part import RescoredFrame
from d2_plugtrack.core.rescoring import Rescoring, TrackedObjects
from d2_plugtrack.core.spool import Spooling
from d2_plugtrack.core.tracked_video import TrackedVideo, TrackNumbers
from d2_plugtrack.core.video_rescorer import VideoRescorer
from tests.core.video_results import frame_result, generic_video, random_video, reorder

PAPER = Rescoring(enabled=True, track_links=True, link_iou=0.5, nms_iou=0.45, min_score=0.01)
BOX, BESIDE, FAR = [0, 0, 9, 9], [10, 0, 19, 9], [20, 0, 29, 9]


def rescored(scores, kept, paths, boxes=None, masks=None) -> RescoredFrame:
    scores = np.array(scores, np.float32)
    boxes = np.zeros((len(scores), 4)) if boxes is None else np.array(boxes, np.float32)
    return RescoredFrame(boxes, scores, np.array(kept, bool), np.array(paths), masks)


def objects_of(video, how=PAPER):
    rescorer, numbers = VideoRescorer(how, None), TrackNumbers()
    frames = [frame for result in video for frame in rescorer.push(result)]
    return [numbers.objects(frame) for frame in [*frames, *rescorer.finish()]]


# ---- objects and their track ids -----------------------------------------------------------------


def test_objects_are_kept_boxes_under_their_best_kept_class():
    boxes = [BOX, BESIDE, FAR, [30, 0, 39, 9]]
    scores = [[0.2, 0.9, 0.5], [0.8, 0.9, 0.1], [0.3, 0.2, 0.1], [0.0, 0.0, 0.0]]
    kept = [[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 1]]
    objects = TrackNumbers().objects(rescored(scores, kept, np.arange(12).reshape(4, 3), boxes))
    # the second box is no object of its best class; the third one is none at all
    assert objects.boxes.tolist() == [boxes[0], boxes[1], boxes[3]]
    torch.testing.assert_close(objects.scores, torch.tensor([0.9, 0.8, 0]))
    assert objects.classes.tolist() == [1, 0, 2]
    assert objects.track_ids.tolist() == [0, 1, 2] and objects.masks is None
    assert objects.classes.dtype == objects.track_ids.dtype == torch.int64


def test_of_equal_classes_the_first_counts():
    objects = TrackNumbers().objects(rescored([[0.1, 0.5, 0.5]], [[1, 1, 1]], [[0, 1, 2]]))
    assert objects.classes.tolist() == [1]


def test_tracks_are_numbered_as_they_appear():
    numbers = TrackNumbers()
    # paths 6 and 9 appear in this order; then 4, whose path is there from the first frame on but
    # was not the best; 6 comes back
    frames = [
        rescored([[0.5, 0.1], [0.2, 0.6]], [[1, 1], [1, 1]], [[6, 4], [3, 9]]),
        rescored([[0.1, 0.2], [0.2, 0.6]], [[1, 1], [0, 1]], [[6, 4], [-1, 9]]),
        rescored([[0.5, 0.2]], [[1, 1]], [[6, 4]]),
    ]
    assert [numbers.objects(f).track_ids.tolist() for f in frames] == [[0, 1], [2, 1], [0]]


def test_what_is_not_asked_for_is_left_out_and_not_numbered():
    scores = [[0.2, 0.9, 0.5], [0.8, 0.1, 0.1], [0.3, 0.2, 0.4], [0.3, 0.4, 0.1]]
    frame = rescored(scores, np.ones((4, 3)), np.arange(12).reshape(4, 3), masks=np.eye(4)[:, None])

    def found(*wanted):
        objects = TrackNumbers(*wanted).objects(frame)
        assert len({len(field) for field in objects}) == 1  # of the masks as well
        rows = zip(objects.classes.tolist(), objects.scores.tolist(), strict=True)
        return [(label, round(score, 2)) for label, score in rows]

    assert found() == found(0.0, range(3)) == [(1, 0.9), (0, 0.8), (2, 0.4), (1, 0.4)]
    assert found(0.8) == [(1, 0.9), (0, 0.8)]
    assert found(0.0, [1]) == [(1, 0.9), (1, 0.4)]
    assert found(0.3, {0, 2}) == [(0, 0.8), (2, 0.4)]
    assert found(0.95) == found(0.0, []) == []
    numbers = TrackNumbers(0.0, [0, 2])
    assert [numbers.objects(frame).track_ids.tolist() for _ in range(2)] == [[0, 1]] * 2


@pytest.mark.parametrize("seed", range(5))
def test_forgetting_old_paths_changes_no_number(monkeypatch, seed):
    video = random_video(seed, 60)
    expected = objects_of(video)
    monkeypatch.setattr(tracked_video, "_FORGET_FROM", 2)
    numbers, most = TrackNumbers(), 0
    rescorer = VideoRescorer(PAPER, None)
    frames = [frame for result in video for frame in rescorer.push(result)]
    for frame, wanted in zip([*frames, *rescorer.finish()], expected, strict=True):
        assert numbers.objects(frame).track_ids.tolist() == wanted.track_ids.tolist()
        most = max(most, len(numbers._known))
    ids = torch.cat([o.track_ids for o in expected]).tolist()
    assert list(dict.fromkeys(ids)) == list(range(max(ids) + 1))  # each new one is the next
    assert most < max(ids)


def test_objects_of_a_video_have_one_track():
    # the object jumps, and only the tracker knows
    video = [
        frame_result([[0, 0, 10, 10]], [[0.2, 0.6]]),
        frame_result([[50, 50, 60, 60]], [[0.4, 0.8]], mapped_boxes=[[50, 50, 60, 59]]),
    ]
    objects = objects_of(video)
    assert [(o.track_ids.tolist(), o.classes.tolist()) for o in objects] == [([0], [1])] * 2
    for o in objects:
        torch.testing.assert_close(o.scores, torch.tensor([0.7]))
    without = objects_of(video, PAPER._replace(enabled=False))
    assert [o.track_ids.tolist() for o in without] == [[-1], [-1]]


@pytest.mark.parametrize("num_videos", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_order_of_boxes_and_classes_only_names_the_tracks(num_videos):
    rng, num_objects = np.random.default_rng(0), 0
    for number in range(num_videos):
        how = PAPER._replace(track_links=number % 2 == 0)
        video = generic_video(rng)
        moved, orders, columns = reorder(rng, video)
        names = set()
        frames = zip(objects_of(video, how), objects_of(moved, how), video, orders, strict=True)
        for one, other, result, order in frames:
            # all boxes differ: where each of the second lot is among the objects of the first
            is_same = (other.boxes[:, None] == one.boxes[None]).all(dim=2).int()
            assert is_same.sum(dim=0).eq(1).all() and is_same.sum(dim=1).eq(1).all()
            where = is_same.argmax(dim=1) if len(one.boxes) else is_same.sum(dim=1)
            assert other.scores.equal(one.scores[where])
            assert [columns[k] for k in other.classes] == one.classes[where].tolist()
            rows = [tuple(box) for box in result.boxes[order].tolist()]
            found = [rows.index(tuple(box)) for box in other.boxes.tolist()]
            assert found == sorted(found)  # objects are in the order of the boxes
            names |= set(zip(other.track_ids.tolist(), one.track_ids[where].tolist(), strict=True))
            num_objects += len(found)
        assert len(names) == len({a for a, _ in names}) == len({b for _, b in names})
    assert num_objects > num_videos


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("enabled", [True, False])
def test_a_frame_without_boxes_has_no_objects(num_classes, enabled):
    result = frame_result([], [], num_classes=num_classes)
    (objects,) = objects_of([result], PAPER._replace(enabled=enabled))
    assert [tuple(t.shape) for t in objects[:4]] == [(0, 4), (0,), (0,), (0,)]
    assert objects.masks is None
    assert objects.classes.dtype == objects.track_ids.dtype == torch.int64


def test_masks_stay_with_their_boxes():
    masks = torch.rand(3, 2, 2)
    video = [
        frame_result([BOX, BESIDE, FAR], [[0.1, 0.4], [0, 0], [0.3, 0.2]], masks=masks),
        frame_result([], [], masks=torch.zeros(0, 1, 1)),
    ]
    first, second = objects_of(video, PAPER._replace(enabled=False))
    assert first.boxes.tolist() == [BOX, FAR]
    assert first.masks.equal(masks[[0, 2]]) and second.masks.shape == (0, 1, 1)


# ---- the sequence --------------------------------------------------------------------------------


@pytest.fixture
def packed(monkeypatch, tmp_path):
    """A function that puts objects in a sequence, a few frames to a block, in memory or on disk."""
    monkeypatch.setattr(tracked_video, "FRAMES_OF_BLOCK", 4)

    def pack(frames, limit=None):
        video = TrackedVideo(None if limit is None else Spooling(limit, tmp_path))
        for frame in frames:
            video.append(frame)
        return video

    return pack


def same(one: TrackedObjects, other: TrackedObjects) -> bool:
    """Equal values, shapes and types in every field."""
    return all(
        (a is None) == (b is None) and (a is None or (a.dtype == b.dtype and torch.equal(a, b)))
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("limit", [None, 0, 200])
@pytest.mark.parametrize("num_frames", [0, 1, 4, 11])
@pytest.mark.parametrize("masks", [True, False])
def test_a_sequence_gives_what_was_put_in(packed, limit, num_frames, masks):
    frames = objects_of(random_video(5, num_frames, masks=masks))
    video = packed(frames, limit)
    assert len(video) == num_frames
    for _ in range(2):  # as often as one likes
        assert all(map(same, video, frames)) and len(list(video)) == num_frames
    if limit is None or num_frames < 4:  # no block yet
        assert video.bytes_on_disk == 0
    elif limit == 0:
        assert video.bytes_on_disk > 0


def test_it_is_used_like_a_list(packed):
    frames = objects_of(random_video(6, 11))
    video = packed(frames, 0)
    assert same(video[-1], frames[10]) and same(video[3], frames[3])
    assert [same(a, b) for a, b in zip(video[2:9:3], frames[2:9:3], strict=True)] == [True] * 3
    assert video[20:] == [] and all(map(same, reversed(video), frames[::-1]))
    for index in (11, -12):
        with pytest.raises(IndexError):
            _ = video[index]
    with pytest.raises(TypeError):
        _ = video["0"]


def test_sequences_are_equal_where_all_frames_are(packed):
    frames = objects_of(random_video(6, 11, empty=0))
    video = packed(frames, 0)
    assert video == frames and video == packed(frames) and frames == video
    other = frames[3]._replace(scores=frames[3].scores + 1)
    assert video != [*frames[:3], other, *frames[4:]]
    assert video != frames[:10] and video != [] and video != 3 and video != [None] * 11
    assert packed([]) == [] == packed([], 0)


def test_a_change_of_what_was_asked_for_changes_nothing(packed):
    frames = objects_of(random_video(6, 11, empty=0))
    for limit in (None, 0):
        video = packed(frames, limit)
        video[1].boxes.zero_()
        assert same(video[1], frames[1])


def test_frames_are_mapped_when_they_are_asked_for(packed):
    frames = objects_of(random_video(6, 9, empty=0))
    video, asked = packed(frames, 0), []

    def first_only(objects):
        asked.append(len(objects.boxes))
        return objects.map(lambda field: field[:1])

    mapped = video.map(first_only)
    assert len(mapped) == 9 and asked == []
    assert [len(o.boxes) for o in mapped] == [1] * 9 and len(asked) == 9
    twice = mapped.map(lambda objects: objects.map(lambda field: field[:0]))
    assert [len(o.boxes) for o in twice] == [0] * 9
    assert all(map(same, video, frames))  # it is as it was
