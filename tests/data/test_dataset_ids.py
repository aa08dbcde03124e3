"""Ids of frames, videos and classes: a dataset and what is converted from it have the same."""

import json
import runpy
from pathlib import Path

import pytest

from d2_plugtrack.data.catalog import DATASETS, find_videos
from d2_plugtrack.data.dataset_ids import DatasetIds, dataset_ids
from d2_plugtrack.data.tiny_vid import write_tiny_vid
from tests.data.video_sets import coco_vid, write_images, youtube_vis

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ids_of(tmp_path, monkeypatch):
    """The ids of a dataset below an empty data root."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))

    def ids_of(name: str) -> DatasetIds:
        entry = find_videos(name)
        return dataset_ids(name, entry, entry.load_records())

    return ids_of


def written(folder: Path, data: dict) -> str:
    write_images(folder, data)
    (folder / "mine.json").write_text(json.dumps(data))
    return "mine.json"


def converted(tmp_path: Path, *options: str) -> dict:
    """What ``tools/convert.py`` makes of something, as a COCO-VID file beside it."""
    main = runpy.run_path(str(ROOT / "tools/convert.py"))["main"]
    output = tmp_path / "converted.json"
    main([*options, "--to", "coco-vid", "--output", str(output)])
    return json.loads(output.read_text())


def as_numbers(ids: DatasetIds) -> tuple:
    """(video, frame index, image) of every frame, and the categories: what a file can say."""
    frames = [(ids.videos[video], index, image) for (video, index), image in ids.frames.items()]
    return frames, dict(ids.categories)


def numbers_in(data: dict) -> tuple:
    frames = [(i["video_id"], i["frame_id"], i["id"]) for i in data["images"]]
    return frames, {c["id"]: c["name"] for c in data["categories"]}


def test_of_imagenets_layout(tmp_path, ids_of):
    write_tiny_vid(tmp_path / "tiny_vid", seed=0, splits=["test"], num_videos=2)
    ids = ids_of("tiny_vid_test")
    names = ["test/tiny_test_00000", "test/tiny_test_00001"]
    assert list(ids.frames) == [(name, t) for name in names for t in range(30)]
    assert list(ids.frames.values()) == list(range(1, 61))
    assert ids.videos == dict(zip(names, (1, 2), strict=True))
    assert ids.video_names == {name: name for name in names}
    classes = DATASETS["tiny_vid_test"].class_names
    assert ids.categories == dict(zip(range(1, 9), classes, strict=True))
    # names are understood as well
    assert ids.frames_by_id[31] == ids.frames_by_id[f"{names[1]}/000000"] == (names[1], 0)
    assert ids.videos_by_id[2] == ids.videos_by_id[names[1]] == names[1]


def test_of_imagenets_layout_and_converted(tmp_path, ids_of):
    root = tmp_path / "tiny_vid"
    write_tiny_vid(root, seed=0, splits=["test"], num_videos=2)
    given = ["--from", "imagenet", "--input", str(root)]
    given += ["--list", "VID_test_videos.txt", "--classes", "tiny"]
    data = converted(tmp_path, *given)
    assert as_numbers(ids_of("tiny_vid_test")) == numbers_in(data)
    assert as_numbers(ids_of("converted.json")) == numbers_in(data)


@pytest.mark.parametrize("seed", range(3))
def test_of_coco_vid_are_its_own(tmp_path, ids_of, seed):
    data = coco_vid(seed)
    ids = ids_of(written(tmp_path, data))
    frames, categories = as_numbers(ids)
    expected = numbers_in(data)
    assert sorted(frames) == sorted(expected[0]) and categories == expected[1]
    assert list(categories) == sorted(categories)  # the order of labels
    assert ids.video_names == {}
    for (video, index), image in ids.frames.items():
        assert ids.frames_by_id[image] == (video, index)
        assert ids.videos_by_id[ids.videos[video]] == ids.videos_by_id[str(ids.videos[video])]


@pytest.mark.parametrize("seed", range(3))
def test_of_youtube_vis_and_converted(tmp_path, ids_of, seed):
    name = written(tmp_path, youtube_vis(seed))
    ids = ids_of(name)
    data = converted(tmp_path, "--from", "youtube-vis", "--input", str(tmp_path / name))
    assert as_numbers(ids) == numbers_in(data) == as_numbers(ids_of("converted.json"))
    assert list(ids.frames.values()) == list(range(1, len(ids.frames) + 1))


def test_of_a_file_that_calls_by_names(tmp_path, ids_of):
    data = coco_vid(0)
    for image in data["images"]:
        image["id"], image["video_id"] = f"image {image['id']}", f"video {image['video_id']}"
    for annotation in data["annotations"]:
        annotation["image_id"] = f"image {annotation['image_id']}"
    for video in data["videos"]:
        video["id"] = f"video {video['id']}"
    ids = ids_of(written(tmp_path, data))
    frames, _ = as_numbers(ids)
    assert sorted(frames) == sorted(numbers_in(data)[0])
