"""Datasets by name: where they are looked for, what is in them, and what is said of no data."""

from pathlib import Path

import pytest

from d2_plugtrack.data.catalog import DATASETS, data_root, find_dataset, mark_last_frames
from d2_plugtrack.data.imagenet_vid import VID_CLASSES
from d2_plugtrack.data.tiny_vid import TINY_CLASSES, write_tiny_vid
from d2_plugtrack.errors import UserError

VIDEO_SETS = ["imagenet_vid_train_15frames", "imagenet_vid_train", "imagenet_vid_val"]
TINY_VIDEO_SETS = ["tiny_vid_train_15frames", "tiny_vid_train", "tiny_vid_val", "tiny_vid_test"]
STILLS = ["imagenet_det_train", "tiny_det_train"]


# ---- names ---------------------------------------------------------------------------------------


def test_names_and_what_they_are():
    assert sorted(DATASETS) == sorted([*VIDEO_SETS, *TINY_VIDEO_SETS, *STILLS])
    assert all(find_dataset(name).has_videos == (name not in STILLS) for name in DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_classes_are_in_label_order(name):
    entry = find_dataset(name)
    expected = TINY_CLASSES if name.startswith("tiny") else VID_CLASSES
    assert list(entry.classes) == list(expected)
    assert entry.class_names == list(expected.values())
    if not name.startswith("tiny"):
        assert entry.class_names[:2] == ["airplane", "antelope"] and len(entry.class_names) == 30


@pytest.mark.parametrize("name", ["no_such_set", "", "coco_2017_val"])
def test_an_unknown_name_is_refused_with_those_that_are_known(name):
    with pytest.raises(UserError, match=f"^dataset {name}: expected one of") as error:
        find_dataset(name)
    assert all(known in str(error.value) for known in DATASETS)


# ---- data ----------------------------------------------------------------------------------------


def test_data_root_is_detectron2s_variable(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/somewhere")
    assert data_root() == Path.home() / "somewhere"
    monkeypatch.delenv("DETECTRON2_DATASETS")
    assert data_root() == Path("datasets")


def test_sets_are_read_below_the_data_root(monkeypatch, tmp_path):
    write_tiny_vid(tmp_path / "tiny_vid", seed=0, num_videos=1)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))  # looked at when used, not imported
    records = {n: find_dataset(n).load_records() for n in [*TINY_VIDEO_SETS, "tiny_det_train"]}
    lengths = {name: len(found) for name, found in records.items()}
    test = records["tiny_vid_test"]
    assert lengths["tiny_vid_test"] == len(test) == test[0]["video_length"]
    assert lengths["tiny_vid_train_15frames"] == 15 <= lengths["tiny_vid_train"]
    assert lengths["tiny_det_train"] == 10
    assert test[0]["file_name"].startswith(str(tmp_path))
    assert all(("video_id" in r) == find_dataset(n).has_videos for n in records for r in records[n])


@pytest.mark.parametrize("made", [[], ["tiny_vid"], ["tiny_vid", "ILSVRC2015"]])
def test_absent_or_empty_data_is_named(monkeypatch, tmp_path, made):
    root = tmp_path / "data"
    for folder in made:
        (root / folder).mkdir(parents=True)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    for name in DATASETS:
        folder = "tiny_vid" if name.startswith("tiny") else "ILSVRC2015"
        with pytest.raises(UserError, match=f"{root}/{folder}: expected"):
            find_dataset(name).load_records()


# ---- the last frames of videos -------------------------------------------------------------------


def test_last_flags():
    frames = [{"video_id": v, "n": i} for i, v in enumerate("aabccc")]
    marked = mark_last_frames(frames)
    assert [m["last"] for m in marked] == [False, True, True, False, False, True]
    assert [m["n"] for m in marked] == list(range(6))
    assert "last" not in frames[0]
    assert mark_last_frames([]) == []
