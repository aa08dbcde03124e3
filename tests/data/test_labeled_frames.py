"""Frames and pairs to train on: which are drawn, and that boxes move with the pixels."""

from collections import Counter
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from d2_plugtrack.data.bad_images import BadImages
from d2_plugtrack.data.labeled_frames import (
    MAX_BAD_IMAGES,
    LabeledFrame,
    PairDrawing,
    RandomFrames,
    RandomPairs,
    load_labeled_frame,
)
from d2_plugtrack.errors import UserError
from d2_plugtrack.tracker_training import load_batches

HEIGHT, WIDTH = 24, 40


def drawing(**keys) -> PairDrawing:
    return PairDrawing(**{"min_gap": 1, "max_gap": 9, "reverse_prob": 0.5, **keys})


def draws(num_frames: int, times: int = 3000, **keys) -> list[tuple[int, int]]:
    rng = np.random.default_rng(0)
    return [drawing(**keys).draw(num_frames, rng) for _ in range(times)]


def share(count: int, times: int) -> float:
    return pytest.approx(count / times, abs=5 * 0.5 / times**0.5)  # five standard deviations


# ---- which frames --------------------------------------------------------------------------------


@pytest.mark.parametrize("num_frames", [1, 2, 3, 5, 9, 10, 11, 40])
def test_pairs_stay_in_the_video_and_the_gap_in_its_range(num_frames):
    pairs = draws(num_frames)
    assert {i for pair in pairs for i in pair} == set(range(num_frames))
    gaps = {abs(curr - prev) for prev, curr in pairs}
    assert gaps == set(range(min(1, num_frames - 1), min(9, num_frames - 1) + 1))


def test_short_videos():
    assert set(draws(1)) == {(0, 0)}
    assert set(draws(2)) == {(0, 1), (1, 0)}
    counts = Counter(abs(curr - prev) for prev, curr in draws(3))
    assert share(1, 9) == counts[1] / 3000  # gaps 2 to 9 all become 2


def test_gaps_are_uniform():
    counts = Counter(abs(curr - prev) for prev, curr in draws(100, times=9000))
    assert sorted(counts) == list(range(1, 10))
    deviation = (9000 * (1 / 9) * (8 / 9)) ** 0.5
    assert all(abs(count - 1000) < 5 * deviation for count in counts.values())


def test_first_frames_are_uniform():
    counts = Counter(min(pair) for pair in draws(5, times=4000, max_gap=1))
    assert sorted(counts) == [0, 1, 2, 3]
    assert all(share(1, 4) == count / 4000 for count in counts.values())


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5, 1.0])
def test_share_of_reversed_pairs(probability):
    reversed_pairs = sum(curr < prev for prev, curr in draws(50, reverse_prob=probability))
    if probability in (0.0, 1.0):
        assert reversed_pairs == 3000 * probability
    assert share(3000 * probability, 3000) == reversed_pairs / 3000


def test_gap_range_is_configurable():
    assert {abs(curr - prev) for prev, curr in draws(50, min_gap=4, max_gap=6)} == {4, 5, 6}


@pytest.mark.parametrize("rng", [np.random, np.random.RandomState(0), np.random.default_rng(0)])
def test_any_of_numpys_generators_will_do(rng):
    assert {drawing().draw(2, rng) for _ in range(60)} == {(0, 1), (1, 0)}


@pytest.mark.parametrize("gaps", [(3, 2), (-1, 4)])
def test_gap_range_that_cannot_be_is_refused(gaps):
    with pytest.raises(UserError, match=f"MIN_GAP {gaps[0]} and MAX_GAP {gaps[1]}"):
        drawing(min_gap=gaps[0], max_gap=gaps[1])


# ---- pairs whose first frame has objects ---------------------------------------------------------


def bare_frames(with_objects: str) -> list[dict]:
    """One frame a character; those that are ``x`` have an object."""
    return [{"annotations": [{"iscrowd": 0}] if c == "x" else []} for c in with_objects]


def starts(with_objects: str, times: int = 300, **keys) -> set[int | None]:
    """The first frames that are drawn; None stands for no pair."""
    rng = np.random.default_rng(0)
    frames, how = bare_frames(with_objects), drawing(**keys)
    pairs = [how.draw_with_objects(frames, rng) for _ in range(times)]
    return {None if pair is None else pair[0] for pair in pairs}


def test_first_frame_always_has_objects():
    assert starts("x.x..x") == {0, 2, 5}
    assert starts("..x.........") == {2}  # most draws find none, and go on
    assert starts("x") == {0}


@pytest.mark.parametrize("with_objects", [".", "..", "......"])
def test_no_objects_give_no_pair(with_objects):
    assert starts(with_objects, times=5) == {None}


def test_pairs_with_objects_are_drawn_as_the_others():
    frames, rng, other = bare_frames("x" * 12), np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(50):
        assert drawing().draw_with_objects(frames, rng) == drawing().draw(12, other)


def test_one_frame_with_objects_among_thousands_is_found_at_both_ends_of_every_gap():
    frames, how = bare_frames("." * 999 + "x" + "." * 2000), drawing()
    rng = np.random.default_rng(0)
    pairs = [how.draw_with_objects(frames, rng) for _ in range(400)]
    assert {prev for prev, _ in pairs} == {999}
    gaps = Counter(curr - prev for prev, curr in pairs)
    expected = {s * g for g in range(how.min_gap, how.max_gap + 1) for s in (-1, 1)}
    assert set(gaps) == expected
    assert max(gaps.values()) < 3 * 400 / len(expected)  # about equally often


def test_a_video_with_objects_only_where_no_pair_begins_gives_none():
    assert starts("....x", times=5, reverse_prob=0.0) == {None}
    assert starts("x....", times=5, reverse_prob=1.0) == {None}
    assert starts("..x", times=5, min_gap=2) == {2}
    assert starts(".x.", times=5, min_gap=2) == {None}


@pytest.mark.parametrize("reverse_prob", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("min_gap", [0, 1, 2, 4])
def test_whether_a_pair_can_be_drawn(min_gap, reverse_prob):
    keys = {"min_gap": min_gap, "max_gap": 4, "reverse_prob": reverse_prob}
    for length in (1, 2, 3, 5, 6):
        first = {prev for prev, _ in draws(length, times=300, **keys)}
        for i in range(length):
            frames = bare_frames("." * i + "x" + "." * (length - i - 1))
            assert drawing(**keys).can_draw_with_objects(frames) == (i in first)
        assert not drawing(**keys).can_draw_with_objects(bare_frames("." * length))


# ---- images that say what they are ---------------------------------------------------------------
# Blue is the number of the frame, green is light on the left, red is 100 more than an object's
# track id where the object is. Objects are whole pixels and do not overlap.


def box_of(track_id: int, t: int) -> list[float]:
    return [2.0 + 9 * track_id + t, 3.0 + t, 8.0 + 9 * track_id + t, 14.0 + t + track_id]


def write_frame(folder: Path, number: int, t: int, track_ids, video: str | None) -> dict:
    """The record of a frame whose file is written; a still where ``video`` is None."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = number
    image[..., 1] = np.linspace(200, 20, WIDTH)
    annotations = []
    for track_id in track_ids:
        x1, y1, x2, y2 = box = box_of(track_id, t)
        image[int(y1) : int(y2), int(x1) : int(x2), 2] = 100 + track_id
        known = {} if video is None else {"track_id": track_id}
        annotations.append({"bbox": box, "category_id": 7 - track_id, **known})
    path = folder / f"{number:03d}.png"
    cv2.imwrite(str(path), image)
    place = {} if video is None else {"video_id": video, "frame_index": t}
    return {"file_name": str(path), "annotations": annotations, **place}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[dict]:
    """``a``: 1 leaves at 2, nobody in the last frame; ``b``: one frame; ``c``: no objects."""
    folder = tmp_path_factory.mktemp("videos")
    objects = {"a": [(0, 1), (1, 0), (0,), (0,), ()], "b": [(0, 1, 2)], "c": [(), ()]}
    return [
        {
            "video_id": video,
            "frames": [
                write_frame(folder, 50 * i + t, t, ids, video) for t, ids in enumerate(frames)
            ],
        }
        for i, (video, frames) in enumerate(objects.items())
    ]


def number_of(frame: LabeledFrame) -> int:
    return int(frame.image[0, 0, 0])


def is_flipped(frame: LabeledFrame) -> bool:
    return bool(frame.image[0, 0, 1] < frame.image[0, -1, 1])


def assert_boxes_are_where_the_objects_are(frame: LabeledFrame):
    red = frame.image[..., 2]
    for box, track_id in zip(frame.boxes.tolist(), frame.track_ids.tolist(), strict=True):
        rows, columns = np.nonzero(red == 100 + track_id)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box == found
    assert len(np.unique(red)) == len(frame.boxes) + 1


def assert_well_formed(frame: LabeledFrame):
    assert frame.image.shape == (HEIGHT, WIDTH, 3) and frame.image.dtype == np.uint8
    assert frame.image.flags.c_contiguous
    count = len(frame.boxes)
    assert frame.boxes.shape == (count, 4) and frame.boxes.dtype == torch.float32
    for numbers in (frame.labels, frame.track_ids):
        assert numbers.shape == (count,) and numbers.dtype == torch.int64


# ---- one frame -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_move_with_the_pixels(videos, flip):
    for record in (r for video in videos for r in video["frames"]):
        frame = load_labeled_frame(record, flip=flip)
        assert_well_formed(frame)
        assert is_flipped(frame) == flip
        assert_boxes_are_where_the_objects_are(frame)
        assert frame.track_ids.tolist() == [a["track_id"] for a in record["annotations"]]
        assert frame.labels.tolist() == [7 - i for i in frame.track_ids.tolist()]


def test_image_is_bgr_and_flipping_twice_is_nothing(videos):
    record = videos[0]["frames"][1]
    plain, flipped = (load_labeled_frame(record, flip=flip) for flip in (False, True))
    assert np.array_equal(plain.image, cv2.imread(record["file_name"]))
    assert np.array_equal(flipped.image[:, ::-1], plain.image)
    assert torch.equal(WIDTH - flipped.boxes[:, [2, 0]], plain.boxes[:, [0, 2]])
    assert torch.equal(flipped.boxes[:, [1, 3]], plain.boxes[:, [1, 3]])


@pytest.mark.parametrize("flip", [False, True])
def test_a_frame_without_objects(videos, flip):
    frame = load_labeled_frame(videos[2]["frames"][0], flip=flip)
    assert_well_formed(frame)
    assert len(frame.boxes) == 0


def test_objects_of_stills_have_no_track(tmp_path):
    record = write_frame(tmp_path, 1, 0, (0, 1), video=None)
    frame = load_labeled_frame(record, flip=False)
    assert_well_formed(frame)
    assert frame.track_ids.tolist() == [-1, -1]
    assert frame.labels.tolist() == [7, 6]


def test_crowds_are_not_trained_on(tmp_path):
    record = write_frame(tmp_path, 1, 0, (0, 1), video=None)
    record["annotations"][0]["iscrowd"] = 1
    frame = load_labeled_frame(record, flip=False)
    assert_well_formed(frame)
    assert frame.labels.tolist() == [6]


def test_records_are_left_as_they_were(videos):
    before = repr(videos)
    load_labeled_frame(videos[0]["frames"][0], flip=True)
    next(iter(RandomPairs(videos, drawing(), seed=0)))
    assert repr(videos) == before


def test_an_absent_image_is_named(tmp_path):
    record = {"file_name": str(tmp_path / "none.png"), "annotations": []}
    with pytest.raises(UserError, match="none.png"):
        load_labeled_frame(record, flip=False)


# ---- random frames -------------------------------------------------------------------------------

WITH_OBJECTS = [0, 1, 2, 3, 50]  # numbers of the frames


def all_records(videos: list[dict]) -> list[dict]:
    return [r for video in videos for r in video["frames"]]


def take(dataset, count: int) -> list:
    return list(islice(iter(dataset), count))


def said(frame: LabeledFrame) -> tuple[int, bool]:
    return number_of(frame), is_flipped(frame)


def test_every_frame_with_objects_comes_once_an_epoch(videos):
    frames = take(RandomFrames(all_records(videos), seed=0), 60 * 5)
    for frame in frames:
        assert_well_formed(frame)
        assert_boxes_are_where_the_objects_are(frame)
    numbers = [number_of(frame) for frame in frames]
    epochs = [tuple(numbers[i : i + 5]) for i in range(0, len(numbers), 5)]
    assert all(sorted(epoch) == WITH_OBJECTS for epoch in epochs)
    assert len(set(epochs)) > 30  # of 120 orders, 60 times; 47 are expected
    assert share(1, 2) == np.mean([is_flipped(frame) for frame in frames])


def test_same_seed_same_frames_and_another_seed_others(videos):
    orders = [
        [said(frame) for frame in take(RandomFrames(all_records(videos), seed), 15)]
        for seed in (4, 4, 5)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_iterating_again_begins_again(videos):
    frames = RandomFrames(all_records(videos), seed=0)
    assert [said(f) for f in take(frames, 8)] == [said(f) for f in take(frames, 8)]


@pytest.mark.parametrize("records", [[], [{"file_name": "none.png", "annotations": []}]])
def test_no_frame_with_objects_is_refused(records):
    with pytest.raises(UserError, match="DATASETS.TRAIN: no frame has an object"):
        RandomFrames(records, seed=0)


# ---- random pairs --------------------------------------------------------------------------------


def test_pairs_are_of_one_video_and_flipped_together(videos):
    pairs = take(RandomPairs(videos, drawing(), seed=0), 800)
    for pair in pairs:
        for frame in pair:
            assert_well_formed(frame)
            assert_boxes_are_where_the_objects_are(frame)
        prev, curr = map(number_of, pair)
        assert prev // 50 == curr // 50
        assert prev != curr or prev == 50  # the one frame of its video
        assert is_flipped(pair[0]) == is_flipped(pair[1])
        assert len(pair[0].boxes) > 0
    assert share(1, 2) == np.mean([is_flipped(prev) for prev, _ in pairs])
    assert share(1, 2) == np.mean([number_of(prev) == 50 for prev, _ in pairs])
    of_a = {tuple(map(number_of, pair)) for pair in pairs} - {(50, 50)}
    assert of_a == {(i, j) for i in range(4) for j in range(5) if i != j}


def test_an_object_may_be_in_one_frame_only(videos):
    seen = set()
    for prev, curr in take(RandomPairs(videos[:1], drawing(), seed=0), 100):
        for frame in (prev, curr):
            there = [{0, 1}, {0, 1}, {0}, {0}, set()][number_of(frame)]
            assert set(frame.track_ids.tolist()) == there
        seen.add((len(prev.boxes), len(curr.boxes)))
    assert seen == {(2, 2), (2, 1), (1, 2), (1, 1), (2, 0), (1, 0)}


def test_gaps_are_those_of_the_drawing(videos):
    how = drawing(min_gap=2, max_gap=3, reverse_prob=0.0)
    pairs = take(RandomPairs(videos[:1], how, seed=0), 100)
    assert {number_of(c) - number_of(p) for p, c in pairs} == {2, 3}


def test_same_seed_same_pairs_and_another_seed_others(videos):
    drawn = [
        [(said(p), said(c)) for p, c in take(RandomPairs(videos, drawing(), seed), 15)]
        for seed in (4, 4, 5)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_no_video_with_objects_is_refused(videos):
    for given in ([], videos[2:], [{"video_id": "d", "frames": []}]):
        with pytest.raises(UserError, match="DATASETS.TRAIN: no video has an object"):
            RandomPairs(given, drawing(), seed=0)


def test_objects_where_no_pair_begins_are_refused_and_not_waited_for(videos):
    last_only = [{**r, "annotations": []} for r in videos[0]["frames"][1:]]
    last_only.append(videos[0]["frames"][0])
    with pytest.raises(UserError, match="DATASETS.TRAIN: no video has an object"):
        RandomPairs([{"video_id": "d", "frames": last_only}], drawing(reverse_prob=0.0), seed=0)


# ---- positions and loader workers ----------------------------------------------------------------


def key_of(item) -> object:
    return said(item) if isinstance(item, LabeledFrame) else tuple(map(said, item))


def build(kind: str, videos: list[dict], seed: int, *bad_images):
    if kind == "frames":
        return RandomFrames(all_records(videos), seed, *bad_images)
    return RandomPairs(videos, drawing(), seed, *bad_images)


@pytest.mark.parametrize("kind", ["frames", "pairs"])
def test_an_item_is_that_of_its_position_in_whatever_order_they_are_asked_for(videos, kind):
    expected = [key_of(item) for item in take(build(kind, videos, 0), 23)]
    items = build(kind, videos, 0)
    for position in np.random.permutation(23).tolist():
        np.random.seed(position)  # nor on numpy's global state
        assert key_of(items[position]) == expected[position]
    assert len(set(expected)) > 5


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("kind", ["frames", "pairs"])
def test_batches_do_not_depend_on_workers_nor_on_where_one_begins(videos, kind, start):
    expected = [key_of(item) for item in take(build(kind, videos, 0), 18)][2 * start :]
    for workers in (0, 2):
        batches = load_batches(build(kind, videos, 0), 2, workers, start)
        found = [key_of(item) for batch in islice(batches, 9 - start) for item in batch]
        assert found == expected


@pytest.mark.parametrize("kind", ["frames", "pairs"])
def test_another_seed_given_later_is_that_seed(videos, kind):
    items = build(kind, videos, 0)
    take(items, 3)
    items.seed = 7
    assert [*map(key_of, take(items, 9))] == [*map(key_of, take(build(kind, videos, 7), 9))]


# ---- bad images ----------------------------------------------------------------------------------


def without_files(videos: list[dict], *numbers: tuple[int, int]) -> list[dict]:
    """The videos, some (video, frame) of which have no file."""
    return [
        {
            **video,
            "frames": [
                {**r, "file_name": f"{r['file_name']}.gone"} if (v, t) in numbers else r
                for t, r in enumerate(video["frames"])
            ],
        }
        for v, video in enumerate(videos)
    ]


@pytest.mark.parametrize("kind", ["frames", "pairs"])
def test_bad_images_are_skipped_and_counted(videos, kind):
    """Of the five frames with objects one is bad."""
    some, bad_images = without_files(videos, (0, 1)), BadImages(strict=False)
    if kind == "frames":
        items = take(RandomFrames(all_records(some), 0, bad_images), 4 * 10)
        counts = Counter(said(frame)[0] for frame in items)
        good = [n for n in WITH_OBJECTS if n != 1]
        assert sorted(counts) == good and min(counts.values()) >= 8  # each once an epoch of 5
        assert bad_images.count >= 8  # once an epoch, and where its replacement was bad as well
    else:
        items = take(RandomPairs(some, drawing(), 0, bad_images), 200)
        assert 1 not in {said(frame)[0] for pair in items for frame in pair}
        assert bad_images.count > 0


@pytest.mark.parametrize("kind", ["frames", "pairs"])
def test_bad_images_are_errors_where_strict_and_where_nothing_else_is_left(videos, kind):
    numbers = {(v, t) for v, video in enumerate(videos) for t in range(len(video["frames"]))}
    gone = without_files(videos, *numbers)

    def dataset(*bad_images):
        if kind == "frames":
            return RandomFrames(all_records(gone), 0, *bad_images)
        return RandomPairs(gone, drawing(), 0, *bad_images)

    with pytest.raises(UserError, match=r"\.gone: expected a whole image"):
        next(iter(dataset()))
    bad_images = BadImages(strict=False)
    with pytest.raises(UserError, match=f"{MAX_BAD_IMAGES} images, one after another"):
        next(iter(dataset(bad_images)))
    assert bad_images.count == MAX_BAD_IMAGES
