"""Pairs of frames: which frames are drawn, and that both are mapped alike, boxes with pixels."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import get_cfg

from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.data.pair_mapper import PairMapper, draw_pair
from d2_plugtrack.errors import UserError

HEIGHT, WIDTH, LENGTH = 60, 80, 12
COLORS = {3: (0, 0, 255), 9: (0, 255, 0)}  # of the objects, by track id, BGR
LEAVES_AT = 5  # the frame from which object 9 is gone


def draws(num_frames: int, times: int = 3000, **keys) -> list[tuple[int, int]]:
    keys = {"min_gap": 1, "max_gap": 9, "reverse_prob": 0.5, **keys}
    rng = np.random.default_rng(0)
    return [draw_pair(num_frames, rng=rng, **keys) for _ in range(times)]


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


# ---- mapped frames -------------------------------------------------------------------------------


def box_of(track_id: int, t: int) -> list[float]:
    """Where the object is in frame ``t``; whole pixels, away from one another."""
    return [5.0 + 3 * t, 8, 25 + 3 * t, 22] if track_id == 3 else [40.0 + 2 * t, 30, 50 + 2 * t, 55]


def annotation(box: list[float], track_id: int) -> dict:
    return {"bbox": box, "bbox_mode": 0, "category_id": 0, "track_id": track_id, "iscrowd": 0}


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> dict:
    """Coloured rectangles on a background that is dark on the left and light on the right."""
    folder = tmp_path_factory.mktemp("video")
    frames = []
    for t in range(LENGTH):
        image = np.repeat(np.linspace(20, 200, WIDTH)[None, :, None], HEIGHT, axis=0)
        image = np.repeat(image, 3, axis=2).astype(np.uint8)
        annotations = []
        for track_id, color in COLORS.items():
            if track_id == 3 or t < LEAVES_AT:
                x1, y1, x2, y2 = map(int, box_of(track_id, t))
                image[y1:y2, x1:x2] = color
                annotations.append(annotation(box_of(track_id, t), track_id))
        path = folder / f"{t:06d}.png"
        cv2.imwrite(str(path), image)
        if t % 2:
            annotations.reverse()  # the order of objects means nothing
        frames.append(
            {
                **{"file_name": str(path), "height": HEIGHT, "width": WIDTH, "video_id": "v"},
                **{"image_id": f"v/{t:06d}", "frame_index": t, "annotations": annotations},
            }
        )
    return {"video_id": "v", "frames": frames}


def mapper(**keys) -> PairMapper:
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.INPUT.MIN_SIZE_TRAIN = (45, 60, 120)
    pair_mapper = PairMapper(cfg)
    pair_mapper.drawing.update(keys)
    return pair_mapper


def with_frames(video: dict, annotations_of) -> dict:
    """The video with other annotations, a function of the frame's number."""
    frames = [{**f, "annotations": annotations_of(f["frame_index"])} for f in video["frames"]]
    return {**video, "frames": frames}


def is_flipped(frame: dict) -> bool:
    left, right = frame["image"][:, -2:, :3].float(), frame["image"][:, -2:, -3:].float()
    return bool(left.mean() > right.mean())


def assert_boxes_lie_on_their_colours(frame: dict):
    image, instances = frame["image"], frame["instances"]
    assert instances.image_size == tuple(image.shape[1:])
    for box, track_id in zip(instances.gt_boxes.tensor, instances.gt_track_ids, strict=True):
        color = torch.tensor(COLORS[int(track_id)])[:, None, None]
        off = (image.float() - color).abs().amax(dim=0)
        x1, y1, x2, y2 = box.tolist()
        rows, columns = torch.arange(image.shape[1]) + 0.5, torch.arange(image.shape[2]) + 0.5

        def area(margin, rows=rows, columns=columns, edges=(x1, y1, x2, y2)):
            inside_rows = (rows > edges[1] + margin) & (rows < edges[3] - margin)
            inside_columns = (columns > edges[0] + margin) & (columns < edges[2] - margin)
            return inside_rows[:, None] & inside_columns[None, :]

        assert area(2).any() and (off[area(2)] < 8).all()  # inside, away from the blurred edge
        assert (off[area(-4) & ~area(-2)] > 50).all()  # all around


def test_both_frames_get_the_same_size_and_flip_and_boxes_follow(video):
    pair_mapper = mapper()
    seen = set()
    for _ in range(40):
        pair = pair_mapper(video)
        prev, curr = pair["prev"], pair["curr"]
        assert prev["image"].shape == curr["image"].shape
        assert is_flipped(prev) == is_flipped(curr)
        for frame in (prev, curr):
            assert frame["image"].dtype == torch.uint8
            assert_boxes_lie_on_their_colours(frame)
        seen.add((prev["image"].shape[1], is_flipped(prev)))
    assert seen == {(size, flip) for size in (45, 60, 120) for flip in (False, True)}


def test_gap_and_names_of_a_pair(video):
    gaps = []
    for _ in range(40):
        pair = mapper(max_gap=3)(video)
        prev, curr = pair["prev"], pair["curr"]
        assert pair["gap"] == curr["frame_index"] - prev["frame_index"]
        assert pair["video_id"] == "v"
        assert (pair["height"], pair["width"]) == (HEIGHT, WIDTH)
        assert prev["file_name"] == video["frames"][prev["frame_index"]]["file_name"]
        gaps.append(pair["gap"])
    assert set(gaps) == {-3, -2, -1, 1, 2, 3}


def test_objects_that_leave_and_come_are_in_one_frame_only(video):
    seen = set()
    for _ in range(60):
        pair = mapper()(video)
        for frame in (pair["prev"], pair["curr"]):
            present = {3, 9} if frame["frame_index"] < LEAVES_AT else {3}
            assert set(frame["instances"].gt_track_ids.tolist()) == present
        seen.add((len(pair["prev"]["instances"]), len(pair["curr"]["instances"])))
    assert seen == {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_empty_second_frame_is_a_pair(video):
    only_first = with_frames(video, lambda t: [annotation(box_of(3, 0), 3)] if t == 0 else [])
    short = {**only_first, "frames": only_first["frames"][:2]}
    for _ in range(5):
        pair = mapper()(short)
        assert pair["prev"]["frame_index"] == 0
        assert len(pair["prev"]["instances"]) == 1
        empty = pair["curr"]["instances"]
        assert empty.gt_boxes.tensor.shape == (0, 4)
        assert empty.gt_track_ids.shape == (0,) and empty.gt_track_ids.dtype == torch.int64


def test_first_frame_has_objects_although_most_have_none(video):
    only_one = with_frames(video, lambda t: [annotation(box_of(3, t), 3)] if t == 4 else [])
    pairs = [mapper()(only_one) for _ in range(30)]
    assert all(pair["prev"]["frame_index"] == 4 for pair in pairs)  # None would be an error here


def test_no_objects_give_none(video):
    assert mapper()(with_frames(video, lambda t: [])) is None


def test_objects_without_area_in_the_image_give_none(video):
    outside = with_frames(video, lambda t: [annotation([WIDTH + 5.0, 5, WIDTH + 20.0, 20], 1)])
    assert mapper()(outside) is None


def test_track_ids_stay_with_their_boxes_where_one_is_dropped(video):
    gone = annotation([-30.0, 5, -10, 20], 1)
    pair = mapper()(with_frames(video, lambda t: [gone, annotation(box_of(3, t), 3)]))
    for frame in (pair["prev"], pair["curr"]):
        assert frame["instances"].gt_track_ids.tolist() == [3]
        assert_boxes_lie_on_their_colours(frame)


def test_one_frame_is_paired_with_itself(video):
    pair = mapper()({**video, "frames": video["frames"][:1]})
    assert pair["gap"] == 0
    assert torch.equal(pair["prev"]["image"], pair["curr"]["image"])


def test_records_are_left_as_they_were(video):
    before = repr(video)
    mapper()(video)
    assert repr(video) == before


@pytest.mark.parametrize("gaps", [(3, 2), (-1, 4)])
def test_gap_range_that_cannot_be_is_refused(gaps):
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.INPUT.PAIR.MIN_GAP, cfg.INPUT.PAIR.MAX_GAP = gaps
    with pytest.raises(UserError, match=f"MIN_GAP {gaps[0]} and MAX_GAP {gaps[1]}"):
        PairMapper(cfg)
