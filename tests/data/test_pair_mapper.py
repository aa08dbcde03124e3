"""Pairs of frames for detectron2: both are mapped alike, boxes with pixels."""

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import get_cfg

from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.data.labeled_frames import PairDrawing
from d2_plugtrack.data.pair_mapper import PairMapper
from d2_plugtrack.errors import UserError

HEIGHT, WIDTH, LENGTH = 60, 80, 12
COLORS = {3: (0, 0, 255), 9: (0, 255, 0)}  # of the objects, by track id, BGR
LEAVES_AT = 5  # the frame from which object 9 is gone


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
    cfg.INPUT.PAIR.update({key.upper(): value for key, value in keys.items()})
    return PairMapper(cfg)


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


def test_crowds_are_not_trained_on(video):
    def annotations(t: int) -> list[dict]:
        return [annotation(box_of(3, t), 3), {**annotation(box_of(9, t), 9), "iscrowd": 1}]

    pair = mapper()(with_frames(video, annotations))
    for key in ("prev", "curr"):
        assert pair[key]["instances"].gt_track_ids.tolist() == [3]


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


def test_pairs_are_drawn_as_the_config_says(video):
    assert mapper().drawing == PairDrawing(min_gap=1, max_gap=9, reverse_prob=0.5)
    keys = {"min_gap": 2, "max_gap": 4, "reverse_prob": 1.0}
    assert mapper(**keys).drawing == PairDrawing(**keys)
    cfg = get_cfg()
    pair_mapper = PairMapper(
        augmentations=[], image_format=cfg.INPUT.FORMAT, drawing=PairDrawing(**keys)
    )
    assert {pair_mapper(video)["gap"] for _ in range(40)} == {-4, -3, -2}


@pytest.mark.parametrize("gaps", [(3, 2), (-1, 4)])
def test_gap_range_that_cannot_be_is_refused(gaps):
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.INPUT.PAIR.MIN_GAP, cfg.INPUT.PAIR.MAX_GAP = gaps
    with pytest.raises(UserError, match=f"MIN_GAP {gaps[0]} and MAX_GAP {gaps[1]}"):
        PairMapper(cfg)
