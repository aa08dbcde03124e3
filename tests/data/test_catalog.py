"""Datasets by name: where they are looked for, what is in them, and what is said of no data."""

import json
from pathlib import Path

import pytest

from d2_plugtrack.data.catalog import (
    DATASETS,
    check_order_of_classes,
    find_dataset,
    find_videos,
    mark_last_frames,
)
from d2_plugtrack.data.imagenet.classes import DET_IDS, VID_CLASSES
from d2_plugtrack.data.tiny_vid import TINY_CLASSES, write_tiny_vid
from d2_plugtrack.errors import UserError
from tests.data.video_sets import coco_vid, write_images

VIDEO_SETS = [
    *("imagenet_vid_train_15frames", "imagenet_vid_train"),
    *("imagenet_vid_val", "imagenet_vid_val_frames"),
]
TINY_VIDEO_SETS = ["tiny_vid_train_15frames", "tiny_vid_train", "tiny_vid_val", "tiny_vid_test"]
ROOT = Path(__file__).resolve().parents[2]
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
        expected = f"{root}/ILSVRC2015, .*: expected Data/{'DET' if 'det' in name else 'VID'}/"
        if name.startswith("tiny"):
            expected = f"{root}/tiny_vid.*: expected"
        with pytest.raises(UserError, match=expected):
            find_dataset(name).load_records()


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "tiny_vid_test"])
def test_a_missing_list_is_said_with_the_command_that_makes_it(monkeypatch, tmp_path, name):
    entry = find_dataset(name)
    root = tmp_path / (entry.folder or "ILSVRC2017")
    kind = "VID" if entry.has_videos else "DET"
    for side in ("Data", "Annotations"):
        for split in ("train", "val"):
            (root / side / kind / split).mkdir(parents=True)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    command = f"datasets/prepare_{'tiny' if entry.folder else 'imagenet'}_vid.py"
    expected = f"{root}/ImageSets/{entry.list_name}: expected a list.*`python {command}` makes it"
    assert (ROOT / command).is_file()
    with pytest.raises(UserError, match=expected):
        entry.load_records()


# ---- ImageNet, of one year or of two -------------------------------------------------------------


@pytest.fixture
def imagenet(tmp_path, files):
    """A function that makes a tiny VID or DET with its list in a folder."""

    def make(folder, kind: str, lists=None) -> None:
        dog = files.xml_object("n02084071")
        if kind == "VID":
            files.add(folder, kind, "val/a/000000", files.xml(dog))
            row, name = "val/a 1 0 1\n", "VID_val_videos.txt"
        else:
            text = files.xml(dog, *(files.xml_object(name) for name in sorted(DET_IDS)))
            files.add(folder, kind, "train/x/x_1", text)
            row, name = "train/x/x_1 1\n", "DET_train_30classes.txt"
        files.write((lists or folder) / "ImageSets" / name, row)

    return make


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("variable", [".", "ILSVRC2015"])
def test_the_variable_names_the_folder_or_what_holds_it(
    monkeypatch, tmp_path, imagenet, variable, strict
):
    imagenet(tmp_path / "ILSVRC2015", "VID")
    imagenet(tmp_path / "ILSVRC2015", "DET")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / variable))
    (frame,) = find_dataset("imagenet_vid_val").load_records(strict=strict)
    assert frame["image_id"] == "val/a/000000"
    assert [a["category_id"] for a in frame["annotations"]] == [8]
    (still,) = find_dataset("imagenet_det_train").load_records(strict=strict)
    # the dog, and of DET's 200 classes the 30 of VID, each with its label
    labels = [a["category_id"] for a in still["annotations"]]
    assert labels[0] == 8 and sorted(labels[1:]) == list(range(30))


@pytest.mark.parametrize("year", ["ILSVRC2017", "ILSVRC"])
@pytest.mark.parametrize("lists", ["ILSVRC2015", None, "."])
def test_vid_and_det_of_two_years(monkeypatch, tmp_path, imagenet, year, lists):
    """The lists may lie beside their data, or all beside VID's, as the community has them."""
    imagenet(tmp_path / "ILSVRC2015", "VID")
    imagenet(tmp_path / year, "DET", lists and tmp_path / lists)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    (frame,) = find_dataset("imagenet_vid_val").load_records()
    (still,) = find_dataset("imagenet_det_train").load_records()
    assert frame["file_name"].startswith(f"{tmp_path}/ILSVRC2015/")
    assert still["file_name"].startswith(f"{tmp_path}/{year}/")


# ---- what is bad ---------------------------------------------------------------------------------


def test_what_was_left_out_is_said_once(monkeypatch, tmp_path, caplog):
    write_tiny_vid(tmp_path / "tiny_vid", seed=0, splits=["test"], num_videos=1)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    entry = find_dataset("tiny_vid_test")
    good = entry.load_records(strict=True)
    assert caplog.text == ""
    (tmp_path / "tiny_vid/Data/VID/test/tiny_test_00000/000004.JPEG").unlink()
    with pytest.raises(UserError, match="000004.JPEG: expected an image"):
        entry.load_records(strict=True)
    for _ in range(3):  # opened again and again, as a training and its evaluations do
        assert entry.load_records() == [*good[:4], *good[5:]]
    (record,) = caplog.records
    message = record.getMessage()
    assert record.levelname == "WARNING" and record.name.startswith("d2_plugtrack.data")
    assert "VID_test_videos.txt: left out 1 missing images; the first: " in message
    assert "VID_test_videos.txt, line 1: " in message


def test_a_frame_that_the_list_of_validation_frames_lacks_is_said(
    monkeypatch, tmp_path, files, imagenet, fails
):
    for number in range(3):
        files.add(tmp_path, "VID", f"val/a/{number:06d}", files.xml())
    files.write(tmp_path / "ImageSets/VID_val_frames.txt", "val/a 1 0 3\nval/a 3 2 3\n")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    entry = find_dataset("imagenet_vid_val_frames")
    with fails("VID_val_frames.txt, line 1: ", "the 3 frames of val/a, found none for frame 1"):
        entry.load_records(strict=True)
    assert [r["frame_index"] for r in entry.load_records()] == [0, 2]


# ---- the last frames of videos -------------------------------------------------------------------


def test_last_flags():
    frames = [{"video_id": v, "n": i} for i, v in enumerate("aabccc")]
    marked = mark_last_frames(frames)
    assert [m["last"] for m in marked] == [False, True, True, False, False, True]
    assert [m["n"] for m in marked] == list(range(6))
    assert "last" not in frames[0]
    assert mark_last_frames([]) == []


def test_the_same_classes_in_another_order_are_refused():
    check_order_of_classes("a", ["x", "y"], "b", ["x", "y"])
    check_order_of_classes("a", ["x", "y"], "b", ["x", "z"])  # others are somebody's own affair
    with pytest.raises(UserError, match="a and b: .* class 0 to be x and y"):
        check_order_of_classes("a", ["x", "y"], "b", ["y", "x"])


# ---- files and the cache -------------------------------------------------------------------------


def test_a_json_file_is_a_dataset(monkeypatch, tmp_path):
    data = coco_vid(0)
    (tmp_path / "mine.json").write_text(json.dumps(data))
    write_images(tmp_path, data)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for find in (find_dataset, find_videos):
        entry = find("mine.json")
        assert len(entry.classes) == len(data["categories"]) and entry.has_videos
        assert len(entry.load_records(strict=True)) == len(data["images"])
        with pytest.raises(UserError, match=r"dataset no\.json: expected a JSON file"):
            find("no.json")


def test_a_second_load_reads_no_annotation(monkeypatch, tmp_path):
    monkeypatch.delenv("PLUGTRACK_CACHE", raising=False)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_tiny_vid(tmp_path / "tiny_vid", seed=0, num_videos=1)
    names = [*TINY_VIDEO_SETS, "tiny_det_train"]
    first = [find_dataset(name).load_records() for name in names]
    monkeypatch.setattr("d2_plugtrack.data.imagenet.record_reader.read_annotation", None)
    assert [find_dataset(name).load_records() for name in names] == first


@pytest.mark.parametrize("name", ["tiny_vid_test", "tiny_det_train"])
def test_what_is_not_there_is_said_before_anything_is_read(monkeypatch, tmp_path, name):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(
        UserError, match="expected the dataset's folder, .*prepare_tiny_vid.py"
    ) as e:
        DATASETS[name].ensure_there()
    assert f"--output {tmp_path / 'tiny_vid'}" in str(e.value)
    (tmp_path / "tiny_vid").mkdir()
    with pytest.raises(UserError, match=f"{DATASETS[name].list_name}: expected a list file"):
        DATASETS[name].ensure_there()
    (tmp_path / "tiny_vid/ImageSets").mkdir()
    (tmp_path / "tiny_vid/ImageSets" / DATASETS[name].list_name).write_text("no such video 1\n")
    DATASETS[name].ensure_there()
