"""Loaders on a few tiny frames: whole videos in order, pairs, and what they refuse."""

import cv2
import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm

from d2_plugtrack import plugin  # noqa: F401 (registers)
from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.data.loaders import (
    build_image_train_loader,
    build_pair_train_loader,
    build_vid_test_loader,
    build_video_loader,
    check_registered,
    load_test_videos,
)
from d2_plugtrack.errors import UserError

LENGTHS = {"a": 3, "b": 1, "c": 5, "d": 4}
BOX = {"bbox": [2.0, 2, 9, 9], "bbox_mode": 0, "category_id": 0, "track_id": 0, "iscrowd": 0}


def frame_record(folder, video: str, t: int, annotations: list[dict]) -> dict:
    path = folder / f"{video}_{t}.png"
    cv2.imwrite(str(path), np.full((12, 16, 3), 10 * t, np.uint8))
    return {
        **{"file_name": str(path), "height": 12, "width": 16, "image_id": f"{video}/{t}"},
        **{"video_id": video, "frame_index": t, "video_length": LENGTHS[video]},
        "annotations": annotations,
    }


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("frames")
    return [frame_record(folder, v, t, [BOX]) for v, n in LENGTHS.items() for t in range(n)]


@pytest.fixture
def register():
    """``register(name, records)``; forgotten afterwards."""
    names = []

    def register(name: str, records: list[dict], evaluator_type: str = "vid") -> str:
        DatasetCatalog.register(name, lambda: records)
        MetadataCatalog.get(name).set(thing_classes=["x", "y"], evaluator_type=evaluator_type)
        names.append(name)
        return name

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def cfg():
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (12,), 12
    return cfg


# ---- whole videos --------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (3, 0), (2, 2)])
def test_every_frame_once_in_order(cfg, register, records, batch_size, num_workers):
    cfg.DATALOADER.NUM_WORKERS = num_workers
    loader = build_vid_test_loader(cfg, register("t_videos", records), batch_size=batch_size)
    items = [item for batch in loader for item in batch]
    keys = [(item["video_id"], item["frame_index"]) for item in items]
    assert keys == [(v, t) for v, n in LENGTHS.items() for t in range(n)]
    assert [key for key, item in zip(keys, items, strict=True) if item["last"]] == [
        (v, n - 1) for v, n in LENGTHS.items()
    ]
    assert all(item["image"].shape == (3, 12, 16) for item in items)
    assert all((item["image"] == 10 * t).all() for (_, t), item in zip(keys, items, strict=True))
    assert all((item["height"], item["width"]) == (12, 16) for item in items)
    assert not any("annotations" in item or "instances" in item for item in items)


def test_processes_share_the_videos(cfg, register, records, monkeypatch):
    name = register("t_shared", records)
    monkeypatch.setattr(comm, "get_world_size", lambda: 6)
    keys = []
    for rank in range(6):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        items = [item for batch in build_vid_test_loader(cfg, name) for item in batch]
        assert {i["video_id"] for i in items if i["last"]} == {i["video_id"] for i in items}
        keys += [(i["video_id"], i["frame_index"]) for i in items]
    assert sorted(keys) == [(v, t) for v, n in LENGTHS.items() for t in range(n)]


@pytest.mark.parametrize("finished", [{"a"}, {"b", "d"}, set(LENGTHS)])
def test_finished_videos_do_not_come_again(cfg, register, records, finished):
    found = load_test_videos(cfg, register("t_finished", records))
    items = [i for batch in build_video_loader(cfg, found, finished=finished) for i in batch]
    keys = [(item["video_id"], item["frame_index"]) for item in items]
    assert keys == [(v, t) for v, n in LENGTHS.items() if v not in finished for t in range(n)]


def test_unknown_dataset_is_refused_with_those_that_are_known(cfg):
    with pytest.raises(UserError, match="no_such_set.*imagenet_vid_val.*tiny_vid_test") as error:
        build_vid_test_loader(cfg, "no_such_set")
    assert "tiny_det_train" not in str(error.value) and "coco" not in str(error.value)
    with pytest.raises(UserError, match="no_such_set"):
        check_registered(["tiny_vid_val", "no_such_set"])
    check_registered(["tiny_vid_val", "coco_2017_val"])


def test_stills_are_refused_for_evaluation(cfg, register, records):
    with pytest.raises(UserError, match="t_stills: expected videos"):
        build_vid_test_loader(cfg, register("t_stills", records, evaluator_type="none"))


def test_another_number_of_classes_is_refused(cfg, register, records):
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 30
    with pytest.raises(UserError, match="NUM_CLASSES 30.*t_classes has 2"):
        build_vid_test_loader(cfg, register("t_classes", records))


# ---- pairs ---------------------------------------------------------------------------------------


def pairs(cfg, num_batches: int) -> list[dict]:
    batches = iter(build_pair_train_loader(cfg))
    return [pair for _ in range(num_batches) for pair in next(batches)]


def test_pairs_are_of_one_video(cfg, register, records):
    cfg.DATASETS.TRAIN = (register("t_pairs", records),)
    drawn = pairs(cfg, 10)
    assert len(drawn) == 40
    assert {pair["video_id"] for pair in drawn} == set(LENGTHS)
    for pair in drawn:
        assert pair["prev"]["video_id"] == pair["curr"]["video_id"] == pair["video_id"]
        limit = LENGTHS[pair["video_id"]] - 1
        assert min(1, limit) <= abs(pair["gap"]) <= limit


def test_pairs_of_several_datasets(cfg, register, records):
    halves = (
        [r for r in records if r["video_id"] in "ab"],
        [r for r in records if r["video_id"] in "cd"],
    )
    cfg.DATASETS.TRAIN = tuple(register(f"t_half{i}", half) for i, half in enumerate(halves))
    assert {pair["video_id"] for pair in pairs(cfg, 10)} == set(LENGTHS)


def test_videos_without_objects_are_left_out(cfg, register, records):
    some = [{**r, "annotations": r["annotations"] if r["video_id"] == "c" else []} for r in records]
    cfg.DATASETS.TRAIN = (register("t_some", some),)
    assert {pair["video_id"] for pair in pairs(cfg, 5)} == {"c"}


def test_a_single_video_of_mostly_empty_frames_goes_on_giving_pairs(cfg, register, records):
    few = [{**r, "annotations": r["annotations"] if r["frame_index"] == 1 else []} for r in records]
    cfg.DATASETS.TRAIN = (register("t_few", [r for r in few if r["video_id"] == "c"]),)
    assert {pair["prev"]["frame_index"] for pair in pairs(cfg, 10)} == {1}


def test_stills_are_refused_for_pairs(cfg, register, records):
    still = {k: v for k, v in records[0].items() if k not in ("video_id", "frame_index")}
    cfg.DATASETS.TRAIN = (register("t_mixed", [*records, still]),)
    with pytest.raises(UserError, match="t_mixed.*stills"):
        build_pair_train_loader(cfg)


@pytest.mark.parametrize("emptied", ["records", "annotations"])
def test_no_objects_at_all_are_refused(cfg, register, records, emptied):
    nothing = [] if emptied == "records" else [{**r, "annotations": []} for r in records]
    cfg.DATASETS.TRAIN = (register("t_nothing", nothing),)
    with pytest.raises(UserError, match="t_nothing.*no video has an object"):
        build_pair_train_loader(cfg)


@pytest.mark.parametrize("build", [build_image_train_loader, build_pair_train_loader])
def test_images_without_any_object_are_refused(cfg, register, records, build):
    cfg.DATASETS.TRAIN = (register("t_bare", [{**r, "annotations": []} for r in records]),)
    with pytest.raises(UserError, match="t_bare.*no (frame|video) has an object"):
        build(cfg)


def test_classes_of_training_sets_are_compared(cfg, register, records):
    names = register("t_one", records), register("t_two", records)
    cfg.DATASETS.TRAIN = names
    build_image_train_loader(cfg)
    MetadataCatalog.pop("t_two")
    MetadataCatalog.get("t_two").set(thing_classes=["y", "x"], evaluator_type="vid")
    for build in (build_image_train_loader, lambda cfg: build_vid_test_loader(cfg, "t_two")):
        with pytest.raises(UserError, match="same order"):
            build(cfg)
    MetadataCatalog.pop("t_two")
    MetadataCatalog.get("t_two").set(thing_classes=["x", "z"], evaluator_type="vid")
    with pytest.raises(UserError, match="t_one.*t_two.*expected datasets of the same classes"):
        build_image_train_loader(cfg)
    cfg.DATASETS.TRAIN, cfg.MODEL.ROI_HEADS.NUM_CLASSES = names[:1], 3
    with pytest.raises(UserError, match="NUM_CLASSES 3: dataset t_one has 2"):
        build_image_train_loader(cfg)


def test_unknown_training_set_is_refused(cfg):
    cfg.DATASETS.TRAIN = ("no_such_set",)
    with pytest.raises(UserError, match="no_such_set.*not registered"):
        build_pair_train_loader(cfg)


# ---- what training reads -------------------------------------------------------------------------


def read(loader, number: int) -> list[tuple]:
    """Of each item of the first batches who it is, and its pixels."""
    batches = iter(loader)
    frames = [
        [item.get("prev", item), item.get("curr", item)]
        for _ in range(number)
        for item in next(batches)
    ]
    return [(f["video_id"], f["frame_index"], f["image"].tolist()) for pair in frames for f in pair]


@pytest.mark.parametrize("build", [build_image_train_loader, build_pair_train_loader])
def test_batches_do_not_depend_on_workers_nor_on_where_one_begins(cfg, register, records, build):
    cfg.SEED = 3
    cfg.INPUT.MIN_SIZE_TRAIN = (12, 14, 16)  # drawn, as the flip is
    name = register("t_order", [damage(r) if r["frame_index"] == 2 else r for r in records])
    cfg.DATASETS.TRAIN = (name,)
    expected = read(build(cfg), 6)
    assert len({str(item) for item in expected}) > 10
    for workers, start in ((0, 0), (2, 0), (0, 2), (2, 5)):
        cfg.DATALOADER.NUM_WORKERS = workers
        loader = build(cfg)
        loader.stream.start = start
        state = np.random.get_state()[1].tolist()
        assert read(loader, 6 - start) == expected[start * len(expected) // 6 :]
        assert np.random.get_state()[1].tolist() == state
    cfg.SEED = 4
    assert read(build(cfg), 6) != expected


@pytest.mark.parametrize("build", [build_image_train_loader, build_pair_train_loader])
def test_a_batch_is_of_wide_frames_or_of_high_ones(cfg, register, records, build):
    """By what the records say: no image has to be read to know the batches."""
    high = [{**r, "height": 16, "width": 12} if r["video_id"] in "ad" else r for r in records]
    cfg.DATASETS.TRAIN = (register("t_shapes", high),)
    for grouping in (True, False):
        cfg.DATALOADER.ASPECT_RATIO_GROUPING = grouping
        stream = build(cfg).stream
        batches = [next(batches) for batches in [iter(stream)] for _ in range(20)]
        shapes = [{stream.groups[place.index] for place in batch} for batch in batches]
        assert set(map(len, shapes)) == {1}
        assert len(set.union(*shapes)) == (2 if grouping else 1)


def test_categories_that_are_few_can_be_repeated(cfg, register, records):
    rare = {**BOX, "category_id": 1}
    some = [{**r, "annotations": [rare]} if r["video_id"] == "b" else r for r in records]
    cfg.DATASETS.TRAIN = (register("t_rare", some),)
    cfg.SEED, cfg.DATALOADER.REPEAT_THRESHOLD = 0, 0.7
    shares = []
    for name in ("TrainingSampler", "RepeatFactorTrainingSampler"):
        cfg.DATALOADER.SAMPLER_TRAIN = name
        batches = iter(build_image_train_loader(cfg))
        items = [item for _ in range(26) for item in next(batches)]
        shares.append(np.mean([item["video_id"] == "b" for item in items]))
    # 1 of 13 frames; then its factor is the square root of 0.7 / (1 / 13), about 3
    assert shares[0] == pytest.approx(1 / 13) and shares[1] == pytest.approx(3 / 15, abs=0.04)


def test_other_samplers_are_refused(cfg, register, records):
    cfg.DATASETS.TRAIN = (register("t_sampler", records),)
    cfg.DATALOADER.SAMPLER_TRAIN = "WeightedTrainingSampler"
    with pytest.raises(UserError, match="SAMPLER_TRAIN WeightedTrainingSampler: expected Train"):
        build_image_train_loader(cfg)


# ---- bad images ----------------------------------------------------------------------------------


def damage(record: dict) -> dict:
    """The record of an image that is not there."""
    return {**record, "file_name": f"{record['file_name']}.gone"}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_stage_one_goes_on_without_bad_images(cfg, register, records, num_workers):
    cfg.DATALOADER.NUM_WORKERS = num_workers
    some = [damage(r) if r["video_id"] == "c" else r for r in records]
    cfg.DATASETS.TRAIN = (register("t_bad_frames", some),)
    loader = build_image_train_loader(cfg)
    batches = iter(loader)
    items = [item for _ in range(20) for item in next(batches)]
    assert len(items) == 80
    assert {item["video_id"] for item in items} == {"a", "b", "d"}
    assert all(len(item["instances"]) == 1 for item in items)
    assert loader.bad_images.count > 10  # 5 of 13 records are bad
    assert str(loader.bad_images.count) in loader.bad_images.summary() or num_workers


def test_stage_one_without_bad_images_says_nothing(cfg, register, records):
    cfg.DATASETS.TRAIN = (register("t_good_frames", records),)
    loader = build_image_train_loader(cfg)
    assert {item["video_id"] for item in next(iter(loader))} <= set(LENGTHS)
    assert loader.bad_images.summary() == ""


def test_pairs_go_on_without_bad_images(cfg, register, records):
    """A whole video is bad, and of the longest a frame."""
    some = [
        damage(r) if r["video_id"] == "d" or (r["video_id"], r["frame_index"]) == ("c", 2) else r
        for r in records
    ]
    cfg.DATASETS.TRAIN = (register("t_bad_pairs", some),)
    loader = build_pair_train_loader(cfg)
    batches = iter(loader)
    drawn = [pair for _ in range(20) for pair in next(batches)]
    assert {pair["video_id"] for pair in drawn} == {"a", "b", "c"}
    numbers = {p[k]["frame_index"] for p in drawn if p["video_id"] == "c" for k in ("prev", "curr")}
    assert numbers == {0, 1, 3, 4}
    assert loader.bad_images.count > 0


def test_a_single_video_with_bad_frames_goes_on_giving_pairs(cfg, register, records):
    some = [damage(r) if r["frame_index"] in (1, 2) else r for r in records]
    cfg.DATASETS.TRAIN = (register("t_one_bad", [r for r in some if r["video_id"] == "c"]),)
    assert len(pairs(cfg, 20)) == 80


@pytest.mark.parametrize("build", [build_image_train_loader, build_pair_train_loader])
def test_a_bad_image_is_an_error_where_strict(cfg, register, records, build):
    cfg.DATASETS.STRICT = True
    cfg.DATASETS.TRAIN = (register("t_strict", [damage(r) for r in records]),)
    with pytest.raises(UserError, match=r"\.png\.gone: expected a whole image, .*No such file"):
        next(iter(build(cfg)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_leaves_no_frame_out(cfg, register, records, num_workers):
    cfg.DATALOADER.NUM_WORKERS = num_workers
    some = [damage(r) if r["video_id"] == "d" else r for r in records]
    loader = build_vid_test_loader(cfg, register("t_bad_test", some))
    items = [item for batch in loader for item in batch]
    assert [(i["video_id"], i["frame_index"]) for i in items] == [
        (v, t) for v, n in LENGTHS.items() for t in range(n)
    ]
    assert all((i["image"] == 128).all() for i in items if i["video_id"] == "d")
    assert all(i["image"].shape == (3, 12, 16) for i in items)
    assert loader.bad_images.count == LENGTHS["d"]


def test_a_bad_frame_of_an_evaluation_is_an_error_where_strict(cfg, register, records):
    cfg.DATASETS.STRICT = True
    name = register("t_strict_test", [damage(r) for r in records])
    with pytest.raises(UserError, match=r"a_0\.png\.gone: expected a whole image"):
        next(iter(build_vid_test_loader(cfg, name)))


def test_unknown_images_are_refused(cfg):
    cfg.DATASETS.TRAIN = ("no_such_set",)
    with pytest.raises(UserError, match="no_such_set.*not registered"):
        build_image_train_loader(cfg)
