"""FrameTable gives back what went in, through views, pickles and files, without holding dicts."""

import itertools
import pickle
import random

import numpy as np
import pytest

from d2_plugtrack.data.catalog import mark_last_frames
from d2_plugtrack.data.imagenet.records import group_by_video
from d2_plugtrack.data.labeled_frames import PairDrawing, RandomFrames, RandomPairs
from d2_plugtrack.data.tables.frame_store import BBOX_MODE
from d2_plugtrack.data.tables.frame_table import (
    FrameTable,
    has_objects,
    has_videos,
    joined,
    video_ids,
    with_objects,
)
from d2_plugtrack.data.tables.packed_names import NamePacker
from d2_plugtrack.errors import UserError


def annotation(rng: random.Random, *, tracked: bool) -> dict:
    x1, y1 = rng.choice([(3.0, 4.0), (rng.random() * 100, 0.1)])  # with and without loss in float32
    found = {
        "bbox": [x1, y1, x1 + rng.randint(1, 90), y1 + rng.randint(1, 90)],
        "bbox_mode": BBOX_MODE,
        "category_id": rng.randrange(30),
        "iscrowd": rng.randrange(2),
    }
    return {**found, "track_id": rng.choice([0, 5, -1, 2**40])} if tracked else found


def frame(rng: random.Random, video, index: int, length: int) -> dict:
    return {
        **still(rng, f"{video}/{index:06d}", tracked=True),
        "video_id": video,
        "frame_index": index,
        "video_length": length,
    }


def still(rng: random.Random, image_id, *, tracked: bool = False) -> dict:
    return {
        "file_name": f"/data/{image_id}.JPEG",
        "height": rng.randint(1, 5000),
        "width": rng.randint(1, 5000),
        "image_id": image_id,
        "annotations": [annotation(rng, tracked=tracked) for _ in range(rng.randrange(4))],
    }


def dataset(seed: int, *, shuffled: bool = False) -> list[dict]:
    """Videos of 1 to 6 frames, some without objects."""
    rng = random.Random(seed)
    videos = [(rng.choice([f"val/v{i}", i]), rng.randint(1, 6)) for i in range(rng.randint(1, 6))]
    records = [frame(rng, video, i, length) for video, length in videos for i in range(length)]
    if shuffled:
        rng.shuffle(records)
    return records


def types(value):
    """Types of everything inside, since 1 == 1.0 == np.float32(1) == True."""
    if isinstance(value, dict):
        return {key: types(inner) for key, inner in value.items()}
    return [types(inner) for inner in value] if isinstance(value, list) else type(value)


def assert_same(found, expected: list[dict]) -> None:
    found = list(found)
    assert found == expected
    assert types(found) == types(expected)


# ---- records in, records out ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_records_come_out_as_they_went_in(seed):
    records = dataset(seed)
    table = FrameTable.from_records(iter(records))
    assert len(table) == len(records)
    assert_same(table, records)
    assert_same(pickle.loads(pickle.dumps(table)), records)
    assert_same(reversed(table), records[::-1])


def test_tables_compare_record_by_record():
    records = dataset(1)
    table = FrameTable.from_records(records)
    changed = [{**records[0], "height": 0}, *records[1:]]
    for other in (records, FrameTable.from_records(records[::-1])[::-1]):
        assert table == other and other == table
    for other in (changed, records[1:], FrameTable.from_records(changed), table[1:], None, "no"):
        assert table != other and other != table
    assert FrameTable.from_records([]) == []


def test_stills_and_frames_and_ids_of_both_kinds():
    rng = random.Random(0)
    records = [
        still(rng, "train/x/1"),
        frame(rng, 3, 0, 1),
        {**still(rng, 17), "file_name": "no_folder.jpg"},
        {**still(rng, "17"), "file_name": "/odd/\udcff/ü/日.png"},
        {**still(rng, -(10**30)), "file_name": ""},
    ]
    table = FrameTable.from_records(records)
    assert_same(table, records)
    assert not table.has_videos
    assert table.video_ids == [None, 3, None, None, None]
    with pytest.raises(ValueError, match="found stills"):
        table.videos()


def test_boxes_keep_every_bit():
    values = [0.1, 1 / 3, 1e300, 5e-324]  # none survives float32; 1e300 overflows it
    record = still(random.Random(0), "a")
    for value in values:
        record["annotations"] = [annotation(random.Random(1), tracked=True)]
        record["annotations"][0]["bbox"] = [0.5, value, 2.0, 3.0]
        assert_same(FrameTable.from_records([record]), [record])


def test_no_records():
    table = FrameTable.from_records([])
    assert len(table) == 0 and list(table) == [] and list(table[:3]) == []
    assert table.has_objects.tolist() == [] and table.video_ids == []
    assert list(table.mark_last()) == [] and len(table.videos()) == 0
    assert list(table.select([])) == [] and list(table.videos().select([])) == []
    assert list(pickle.loads(pickle.dumps(table))) == []
    with pytest.raises(IndexError):
        table[0]


def test_other_keys_of_annotations_are_not_kept():
    record = still(random.Random(0), 1)
    record["annotations"] = [annotation(random.Random(0), tracked=True)]
    more = {**record["annotations"][0], "segmentation": [[1, 2, 3]], "area": 3.0, "id": 5}
    assert_same(FrameTable.from_records([{**record, "annotations": [more]}]), [record])


@pytest.mark.parametrize(
    "change", [{"bbox_mode": 1}, {"bbox": [1.0, 2.0, 3.0]}, {"bbox": [1.0] * 5}]
)
def test_boxes_of_another_form_are_refused(change):
    record = still(random.Random(0), "a")
    record["annotations"] = [{**annotation(random.Random(0), tracked=True), **change}]
    with pytest.raises(ValueError, match="expected a box as xyxy"):
        FrameTable.from_records([record])


def test_half_a_frame_is_refused():
    record = frame(random.Random(0), "v", 0, 1)
    del record["video_length"]
    with pytest.raises(ValueError, match="video_length"):
        FrameTable.from_records([record])


def test_records_are_taken_one_after_another_and_let_go():
    taken = 0

    def endless():
        nonlocal taken
        for taken in itertools.count(1):  # noqa: B007 (seen outside)
            yield still(random.Random(taken), taken)

    table = FrameTable.from_records(itertools.islice(endless(), 1000))
    assert len(table) == taken == 1000
    assert FrameTable.from_records(table) is table


def test_a_frame_takes_about_a_hundred_bytes():
    rng = random.Random(0)
    records = (
        frame(rng, f"train/ILSVRC2015_train_{i // 300:08d}", i % 300, 300) for i in range(3000)
    )
    table = FrameTable.from_records(records)
    # At most 3 objects; 1.3 M frames of 200 bytes would be 260 MB.
    assert len(pickle.dumps(table)) < 200 * len(table)


# ---- views ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_views_are_what_lists_give(seed):
    records, rng = dataset(seed), random.Random(seed)
    table = FrameTable.from_records(records)
    start, stop = (rng.randint(-9, 20) for _ in range(2))
    step = rng.choice([-2, -1, 1, 3])
    assert_same(table[start:stop:step], records[start:stop:step])
    assert_same(table[start:stop][::-1], records[start:stop][::-1])
    chosen = [rng.randrange(len(records)) for _ in range(5)]
    assert_same(table.select(chosen), [records[i] for i in chosen])
    assert_same(table[::-1].select(chosen), [records[::-1][i] for i in chosen])
    assert_same([table[-1], table[np.int64(0)]], [records[-1], records[0]])
    with pytest.raises(IndexError):
        table[len(records)]


def test_the_store_of_a_view_holds_the_view_alone():
    records = dataset(3)
    table = FrameTable.from_records(records)
    assert_same(FrameTable.whole(table[::-1].store), records[::-1])
    assert table.store is table[:].store


@pytest.mark.parametrize("seed", range(10))
def test_which_have_objects(seed):
    records = dataset(seed)
    table = FrameTable.from_records(records)
    expected = [any(not a["iscrowd"] for a in r["annotations"]) for r in records]
    assert table.has_objects.tolist() == has_objects(table).tolist() == expected
    assert has_objects(records).tolist() == expected
    assert table[::-1].has_objects.tolist() == expected[::-1]
    assert_same(with_objects(table), with_objects(records))
    assert len(with_objects(records)) == sum(expected)


def test_functions_that_take_lists_as_well():
    frames, stills = dataset(4), [still(random.Random(0), i) for i in range(3)]
    tables = [FrameTable.from_records(records) for records in (frames, stills)]
    assert [has_videos(x) for x in (frames, stills, frames + stills, *tables)] == [
        *(True, False, False),
        *(True, False),
    ]
    assert video_ids(tables[0]) == video_ids(frames) == [r["video_id"] for r in frames]
    assert joined([frames]) is frames and joined([tables[0]]) is tables[0]
    for parts in (tables, [frames, tables[1]], [frames, stills]):
        assert isinstance(joined(parts), FrameTable) == (parts is tables)
        assert_same(joined(parts), frames + stills)
    assert list(joined([])) == [] and has_videos([]) and video_ids([]) == []


# ---- videos --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_videos_are_those_of_a_list(seed):
    records = dataset(seed, shuffled=True)  # frames of several videos in any order
    table = FrameTable.from_records(records)
    for view, listed in ((table, records), (table[::-1], records[::-1])):
        videos, expected = view.videos(), group_by_video(listed)
        assert [v["video_id"] for v in videos] == [v["video_id"] for v in expected]
        for video, wanted in zip(videos, expected, strict=True):
            assert set(video) == {"video_id", "frames"}
            assert_same(video["frames"], wanted["frames"])


def test_videos_are_a_sequence_with_views():
    records = dataset(5)
    videos = FrameTable.from_records(records).videos()
    assert len(videos) > 2
    assert videos[-1]["video_id"] == records[-1]["video_id"]
    assert [v["video_id"] for v in videos[1:]] == [v["video_id"] for v in videos][1:]
    chosen = videos.select([2, 0])
    assert_same(chosen[1]["frames"], list(videos[0]["frames"]))
    assert_same(pickle.loads(pickle.dumps(chosen))[0]["frames"], list(videos[2]["frames"]))
    with pytest.raises(IndexError):
        videos[len(videos)]


@pytest.mark.parametrize("seed", range(10))
def test_last_frames_are_those_of_a_list(seed):
    records = dataset(seed, shuffled=seed % 2 == 1)
    marked = FrameTable.from_records(records).mark_last()
    in_order = [r for video in group_by_video(records) for r in video["frames"]]
    expected = mark_last_frames(in_order)
    assert sum(r["last"] for r in expected) == len(group_by_video(records))
    assert_same(marked, expected)
    assert_same(marked[2:5], expected[2:5])  # what was last stays last in a view
    assert_same(pickle.loads(pickle.dumps(marked)), expected)
    assert marked.video_ids == [r["video_id"] for r in in_order]


# ---- what draws from videos ----------------------------------------------------------------------


@pytest.mark.parametrize("reverse_prob", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_pairs_are_drawn_alike_from_tables_and_lists(seed, reverse_prob):
    records = dataset(seed)
    drawing = PairDrawing(1, 3, reverse_prob)
    listed, tabled = group_by_video(records), FrameTable.from_records(records).videos()
    chosen = [v["video_id"] for v in drawing.usable(listed)]
    assert [v["video_id"] for v in drawing.usable(tabled)] == chosen
    # By hand: an object where a pair of the smallest gap can have its first frame.
    for video in listed:
        flags = [any(not a["iscrowd"] for a in r["annotations"]) for r in video["frames"]]
        gap = min(1, len(flags) - 1)
        starts = [t for t in range(len(flags)) if reverse_prob < 1 and t < len(flags) - gap]
        starts += [t for t in range(len(flags)) if reverse_prob > 0 and t >= gap]
        assert any(flags[t] for t in starts) == (video["video_id"] in chosen)
    for one, other in zip(listed, tabled, strict=True):
        rngs = np.random.default_rng(seed), np.random.default_rng(seed)
        pairs = [
            drawing.draw_with_objects(frames["frames"], rng)
            for frames, rng in zip((one, other), rngs, strict=True)
        ]
        assert pairs[0] == pairs[1]


def test_a_table_without_objects_is_refused_as_a_list_is():
    record = {**frame(random.Random(0), "v", 0, 1), "annotations": []}
    table = FrameTable.from_records([record])
    with pytest.raises(UserError, match="no frame has an object"):
        RandomFrames(table, seed=0)
    with pytest.raises(UserError, match="no video has an object"):
        RandomPairs(table.videos(), PairDrawing(1, 1, 0.5), seed=0)


def test_detectron2s_loaders_take_videos_as_they_are():
    from detectron2.data import build_detection_train_loader

    videos = FrameTable.from_records(dataset(5)).videos()
    loader = build_detection_train_loader(
        videos, mapper=dict, total_batch_size=2, aspect_ratio_grouping=False, num_workers=1
    )
    batch = next(iter(loader))
    assert len(batch) == 2 and all(isinstance(v["frames"], FrameTable) for v in batch)


# ---- names ---------------------------------------------------------------------------------------


def test_folders_are_kept_once():
    packer = NamePacker()
    for i in range(1000):
        packer.append(f"/a/long/folder/{i % 2}/{i:06d}.jpg")
    names = packer.pack()
    assert names.folders == ["/a/long/folder/0/", "/a/long/folder/1/"]
    assert len(names.arrays["text"]) == 1000 * len("000000.jpg")


@pytest.mark.parametrize("name", [None, 1.5, True, b"a"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(TypeError, match="expected a str or int"):
        NamePacker().append(name)
