"""The tiny VID set: read as ImageNet VID is, and the same from the same seed."""

import hashlib
import os
import runpy
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from d2_plugtrack.data.imagenet.records import (
    load_det_images,
    load_sampled_videos,
    load_vid_frames,
    load_vid_videos,
)
from d2_plugtrack.data.imagenet.sampling import FRAMES_PER_VIDEO, sample_evenly
from d2_plugtrack.data.tiny_scenes import HEIGHT, WIDTH
from d2_plugtrack.data.tiny_vid import SPLITS, TINY_CLASSES, write_tiny_vid
from d2_plugtrack.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "datasets/prepare_tiny_vid.py"
NUM_VIDEOS = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The first videos of every split, and stills."""
    root = tmp_path_factory.mktemp("datasets") / "tiny_vid"
    write_tiny_vid(root, seed=0, num_videos=NUM_VIDEOS)
    return root


@pytest.fixture(scope="module")
def videos(root) -> dict[str, list[dict]]:
    """The records of each split."""
    lists = root / "ImageSets"
    return {
        "train": load_sampled_videos(root, lists / "VID_train_15frames.txt", TINY_CLASSES),
        "val": load_vid_videos(root, lists / "VID_val_videos.txt", TINY_CLASSES),
        "test": load_vid_videos(root, lists / "VID_test_videos.txt", TINY_CLASSES),
    }


@pytest.fixture(scope="module")
def stills(root) -> list[dict]:
    return load_det_images(root, root / "ImageSets/DET_train.txt", TINY_CLASSES)


def contents(root: Path) -> dict[str, str]:
    """Every file below a folder, by its path, as a hash."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# ---- what is in it -------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_every_frame_of_every_video_is_listed_and_read(videos, split):
    length = SPLITS[split][1]
    keys = [(r["video_id"], r["frame_index"]) for r in videos[split]]
    names = [f"{split}/tiny_{split}_{v:05d}" for v in range(NUM_VIDEOS)]
    assert keys == [(name, t) for name in names for t in range(length)]


def test_training_list_samples_frames_evenly(root, videos):
    path = root / "ImageSets/VID_train_15frames.txt"
    sampled = load_vid_frames(root, path, TINY_CLASSES)
    times = sample_evenly(SPLITS["train"][1], FRAMES_PER_VIDEO)
    ids = dict.fromkeys(r["video_id"] for r in videos["train"])
    assert [(r["video_id"], r["frame_index"]) for r in sampled] == [
        (v, t) for v in ids for t in times
    ]


def test_images_have_the_size_of_their_records(videos, stills):
    for record in [*videos["test"], *stills][:: len(stills)]:
        image = cv2.imread(record["file_name"])
        assert image.shape == (record["height"], record["width"], 3) == (HEIGHT, WIDTH, 3)
        assert image.std() > 5


def test_boxes_lie_inside_the_image(videos, stills):
    records = [r for split in videos.values() for r in split] + list(stills)
    boxes = np.array([a["bbox"] for r in records for a in r["annotations"]])
    assert len(boxes) > len(stills)
    assert (boxes >= 0).all() and (boxes <= [WIDTH - 1, HEIGHT - 1] * 2).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_every_class_appears(stills):
    assert {a["category_id"] for r in stills for a in r["annotations"]} == set(
        range(len(TINY_CLASSES))
    )
    assert all("track_id" not in a for r in stills for a in r["annotations"])


def test_objects_keep_their_class_and_track_id(videos):
    classes = defaultdict(set)
    for record in (r for split in videos.values() for r in split):
        ids = [a["track_id"] for a in record["annotations"]]
        assert len(ids) == len(set(ids))
        for a in record["annotations"]:
            classes[record["video_id"], a["track_id"]].add(a["category_id"])
    assert all(len(labels) == 1 for labels in classes.values())


def iou(a: list[float], b: list[float]) -> float:
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    overlap = max(width, 0) * max(height, 0)
    return overlap / (sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)) - overlap)


def test_some_objects_move_too_fast_to_be_linked_by_overlap(videos):
    overlaps = []
    for records in videos.values():
        for prev, curr in zip(records, records[1:], strict=False):
            if prev["video_id"] == curr["video_id"]:
                there = {a["track_id"]: a["bbox"] for a in curr["annotations"]}
                overlaps += [
                    iou(a["bbox"], there[a["track_id"]])
                    for a in prev["annotations"]
                    if a["track_id"] in there
                ]
    fast = np.mean(np.array(overlaps) < 0.5)  # the threshold of Seq-NMS
    assert 0.01 < fast < 0.5


# ---- the same again ------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(root, tmp_path):
    write_tiny_vid(tmp_path, seed=0, num_videos=NUM_VIDEOS)
    files = contents(root)
    assert len(files) > 2 * NUM_VIDEOS * sum(length for _, length in SPLITS.values())
    assert contents(tmp_path) == files


def test_another_seed_gives_other_pictures_under_the_same_names(root, tmp_path):
    write_tiny_vid(tmp_path, seed=1, num_videos=1)
    first, other = contents(root), contents(tmp_path)
    pictures = [name for name in other if name.endswith(".JPEG")]
    assert set(pictures) <= set(first)
    assert not [name for name in pictures if other[name] == first[name]]


@pytest.mark.parametrize("split", SPLITS)
def test_one_split_or_its_first_videos_alone_are_the_same(root, tmp_path, split):
    write_tiny_vid(tmp_path, seed=0, splits=[split], num_videos=1)
    alone, whole = contents(tmp_path), contents(root)
    pictures = {name: value for name, value in alone.items() if not name.startswith("ImageSets")}
    assert pictures.items() <= whole.items()
    expected = 2 * SPLITS[split][1] + (2 * 10 if split == "train" else 0)  # with ten stills
    assert len(pictures) == expected
    for name in set(alone) - set(pictures):
        lines = (tmp_path / name).read_text()
        assert lines and (root / name).read_text().startswith(lines)


def test_splits_show_different_videos(videos):
    firsts = {Path(records[0]["file_name"]).read_bytes() for records in videos.values()}
    assert len(firsts) == len(SPLITS)


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"splits": ["val", "tset"]}, "'tset': expected one of train, val, test"),
        ({"num_videos": 0}, "0 videos"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(tmp_path, keys, named):
    with pytest.raises(UserError, match=named):
        write_tiny_vid(tmp_path, **{"seed": 0, **keys})
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=str(tmp_path / "file")):
        write_tiny_vid(tmp_path / "file", seed=0, splits=["test"], num_videos=1)


@pytest.fixture
def prepare(monkeypatch, capsys):
    """Run the command; its exit status and what it wrote to stderr."""

    def prepare(*arguments) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return exit_.value.code, capsys.readouterr().err

    return prepare


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--splits", "tset"], "tset"),
        (["--splits", "test", "--videos", "0"], "of at least 1, found '0'"),
        (["--seed", "-3"], "of at least 0, found '-3'"),
        (["--output", "{file}/below", "--splits", "test", "--videos", "1"], "{file}/below"),
    ],
)
def test_command_reports_a_mistake_in_one_line(prepare, tmp_path, arguments, named):
    (tmp_path / "file").write_text("")
    fill = {"file": tmp_path / "file"}
    status, error = prepare("--output", tmp_path, *(a.format(**fill) for a in arguments))
    assert status == 2
    assert error.startswith("error: ") and error.count("\n") == 1
    assert named.format(**fill) in error


def test_command_writes_the_set(tmp_path, root):
    command = [sys.executable, SCRIPT, "--output", tmp_path, "--splits", "test", "--videos", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert str(tmp_path) in result.stdout
    name = "Data/VID/test/tiny_test_00000/000000.JPEG"
    assert (tmp_path / name).read_bytes() == (root / name).read_bytes()
