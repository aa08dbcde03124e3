"""tools/convert.py: there and back between the formats, and what it refuses."""

import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

from d2_plugtrack.data.imagenet.records import load_vid_videos
from d2_plugtrack.data.problems import Problems
from d2_plugtrack.data.tiny_vid import TINY_CLASSES, write_tiny_vid
from d2_plugtrack.data.video_json.coco_vid import read_coco_vid
from tests.data.damage.image_kinds import png_of_size
from tests.data.video_sets import coco_vid, in_order, write_images, youtube_vis

ROOT = Path(__file__).resolve().parents[1]
IMAGENET = ["--list", "VID_mine_videos.txt", "--classes", "tiny"]


@pytest.fixture
def convert(tmp_path):
    """Run the command in-process; gives the exit status."""
    main = runpy.run_path(str(ROOT / "tools/convert.py"))["main"]

    def convert(source, target, given, output, *options) -> int:
        arguments = ["--from", source, "--to", target, "--input", given, "--output", output]
        try:
            main([str(argument) for argument in [*arguments, *options]])
        except SystemExit as stop:
            return stop.code
        return 0

    return convert


def written(path: Path, data) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def tiny_coco(seed: int = 0) -> dict:
    """COCO-VID of the tiny set's classes, without what its XML cannot say."""
    data = coco_vid(seed)
    names = list(TINY_CLASSES.values())
    data["categories"] = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
    for annotation in data["annotations"]:
        annotation["category_id"] = annotation["category_id"] % len(names) + 1
        annotation["iscrowd"] = 0
        del annotation["segmentation"]
    return data


# ---- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_youtube_vis_by_way_of_coco_vid(convert, tmp_path, seed, capsys):
    data = youtube_vis(seed)
    given = written(tmp_path / "in.json", data)
    between, output = tmp_path / "coco.json", tmp_path / "out.json"
    assert convert("youtube-vis", "coco-vid", given, between, "--strict") == 0
    assert convert("coco-vid", "youtube-vis", between, output, "--strict") == 0
    assert in_order(json.loads(output.read_text())) == in_order(data)
    frames = sum(len(v["file_names"]) for v in data["videos"])
    counts = f"from {len(data['videos'])} videos, {frames} frames, "
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith(f"{between}: {counts}")
    assert lines[1].startswith(f"{output}: {counts}")


def test_imagenets_layout_and_back(convert, tmp_path):
    root = tmp_path / "tiny_vid"
    write_tiny_vid(root, seed=0, splits=["test"], num_videos=2)
    given = ["--list", "VID_test_videos.txt", "--classes", "tiny"]
    between, output = tmp_path / "coco.json", tmp_path / "out"
    assert convert("imagenet", "coco-vid", root, between, *given) == 0
    assert convert("coco-vid", "imagenet", between, output, *IMAGENET, "--strict") == 0
    expected = list(load_vid_videos(root, root / "ImageSets/VID_test_videos.txt", TINY_CLASSES))
    found = list(load_vid_videos(output, output / "ImageSets/VID_mine_videos.txt", TINY_CLASSES))
    assert len(found) == len(expected) == 60
    for record, wanted in zip(found, expected, strict=True):
        image, other = (Path(r.pop("file_name")) for r in (record, wanted))
        assert image.read_bytes() == other.read_bytes()
    assert found == expected


def test_a_list_of_frames_gives_those_frames(convert, tmp_path):
    root = tmp_path / "tiny_vid"
    write_tiny_vid(root, seed=0, splits=["test"], num_videos=1)
    video = (root / "ImageSets/VID_test_videos.txt").read_text().split()[0]
    (root / "frames.txt").write_text(f"{video} 1 3 30\n{video} 1 9 30\n")
    options = ["--list", root / "frames.txt", "--classes", "tiny"]
    assert convert("imagenet", "coco-vid", root, tmp_path / "out.json", *options) == 0
    records = read_coco_vid(tmp_path / "out.json", Problems()).records
    assert [r["frame_index"] for r in records] == [3, 9]


def test_images_rebase_file_names(convert, tmp_path):
    given = written(tmp_path / "annotations/in.json", coco_vid(0))
    output = tmp_path / "out.json"
    assert convert("coco-vid", "coco-vid", given, output, "--images", tmp_path / "frames") == 0
    names = {image["file_name"] for image in json.loads(output.read_text())["images"]}
    assert names == {f"frames/{image['file_name']}" for image in coco_vid(0)["images"]}


# ---- to ImageNet's layout ------------------------------------------------------------------------


def test_frames_are_numbered_anew_and_images_become_jpeg(convert, tmp_path):
    data = tiny_coco()
    for image in data["images"]:
        image["file_name"] = image["file_name"].replace(".jpg", ".png")
    given = written(tmp_path / "in.json", data)
    write_images(tmp_path, data)
    output = tmp_path / "out"
    assert convert("coco-vid", "imagenet", given, output, *IMAGENET, "--strict") == 0
    found = load_vid_videos(output, output / "ImageSets/VID_mine_videos.txt", TINY_CLASSES)
    expected = read_coco_vid(given, Problems()).records
    boxes = [[(a["bbox"], a["track_id"]) for a in r["annotations"]] for r in found]
    assert boxes == [[(a["bbox"], a["track_id"]) for a in r["annotations"]] for r in expected]
    content = Path(found[0]["file_name"]).read_bytes()
    assert content.startswith(b"\xff\xd8")
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape == (4, 6, 3)


def test_what_the_xml_cannot_say_is_said(convert, tmp_path, capsys):
    data = tiny_coco()
    first, second, third = data["annotations"][:3]
    first["iscrowd"] = 1
    second["segmentation"] = [[1, 2, 3, 4, 5, 6]]
    third["category_id"] = 99
    data["categories"].append({"id": 99, "name": "dragon"})
    given = written(tmp_path / "in.json", data)
    write_images(tmp_path, data)
    (tmp_path / data["images"][0]["file_name"]).write_bytes(b"no image")
    assert convert("coco-vid", "imagenet", given, tmp_path / "out", *IMAGENET) == 0
    said = capsys.readouterr().out
    for kind in ("1 crowds", "1 segmentations", "1 objects of other", "1 images that cannot be re"):
        assert f"left out {kind}" in said
    status = convert("coco-vid", "imagenet", given, tmp_path / "strict", *IMAGENET, "--strict")
    assert status == 2
    assert not (tmp_path / "strict/ImageSets").exists()


def test_an_image_that_pillow_refuses_in_its_own_way(convert, tmp_path, capsys):
    data = tiny_coco()
    given = written(tmp_path / "in.json", data)
    write_images(tmp_path, data)
    path = tmp_path / data["images"][0]["file_name"]
    path.write_bytes(png_of_size(100_000, 100_000))
    assert convert("coco-vid", "imagenet", given, tmp_path / "out", *IMAGENET) == 0
    assert "left out 1 images that cannot be read; the first: " in capsys.readouterr().out
    status = convert("coco-vid", "imagenet", given, tmp_path / "strict", *IMAGENET, "--strict")
    error = capsys.readouterr().err
    assert status == 2 and error.startswith(f"error: {path}: expected an image, found Image size")


def test_names_that_a_list_or_a_path_cannot_have(convert, tmp_path):
    data = tiny_coco()
    names = ["my clip", "/abs/x", "../up", "my_clip"]
    while len(data["videos"]) < len(names):
        video = {"id": 200 + len(data["videos"])}
        data["videos"].append(video)
        data["images"].append({**data["images"][0], "id": 9000 + video["id"], "frame_id": 0})
        data["images"][-1]["video_id"] = video["id"]
    for video, name in zip(data["videos"], names, strict=False):
        video["name"] = name
    given = written(tmp_path / "in.json", data)
    write_images(tmp_path, data)
    output = tmp_path / "out"
    assert convert("coco-vid", "imagenet", given, output, *IMAGENET, "--strict") == 0
    rows = (output / "ImageSets/VID_mine_videos.txt").read_text().splitlines()
    assert {row.split()[0] for row in rows} == {"my_clip", "abs/x", "up", "my_clip_2"}
    assert all(len(row.split()) == 4 for row in rows)


def test_a_second_list_goes_into_the_same_folder_but_no_video_is_replaced(
    convert, tmp_path, capsys
):
    data = tiny_coco()
    given = written(tmp_path / "in.json", data)
    write_images(tmp_path, data)
    output = tmp_path / "out"
    assert convert("coco-vid", "imagenet", given, output, *IMAGENET) == 0
    other = ["--list", "VID_other_videos.txt", "--classes", "tiny"]
    assert convert("coco-vid", "imagenet", given, output, *other) == 2
    assert "exists; --overwrite" in capsys.readouterr().err
    assert convert("coco-vid", "imagenet", given, output, *other, "--overwrite") == 0
    assert len(list((output / "ImageSets").iterdir())) == 2


# ---- what is refused and what is left out --------------------------------------------------------


def test_an_existing_output_needs_overwrite_and_never_is_the_input(convert, tmp_path, capsys):
    given, output = written(tmp_path / "in.json", coco_vid(0)), written(tmp_path / "out.json", 1)
    assert convert("coco-vid", "coco-vid", given, output) == 2
    assert output.read_text() == "1" and "exists; --overwrite" in capsys.readouterr().err
    assert convert("coco-vid", "coco-vid", given, given, "--overwrite") == 2
    assert json.loads(given.read_text()) == coco_vid(0)
    assert convert("coco-vid", "coco-vid", given, output, "--overwrite") == 0
    assert in_order(json.loads(output.read_text())) == in_order(coco_vid(0))


def test_imagenet_is_not_written_over_its_own_images(convert, tmp_path, capsys):
    options = ["--list", "mine.txt", "--classes", "vid"]
    assert convert("imagenet", "imagenet", tmp_path, tmp_path, *options, "--overwrite") == 2
    assert "is the input; name another folder" in capsys.readouterr().err
    # the second frame's image is where the first one's would be written
    taken = tmp_path / "Data/VID/v/000000.JPEG"
    taken.parent.mkdir(parents=True)
    for path, grey in ((taken, 0), (tmp_path / "other.jpg", 255)):
        path.write_bytes(cv2.imencode(".jpg", np.full((8, 8, 3), grey, np.uint8))[1].tobytes())
    sizes = {"width": 8, "height": 8, "video_id": 1}
    images = [
        {"id": 1, "frame_id": 0, "file_name": "other.jpg", **sizes},
        {"id": 2, "frame_id": 1, "file_name": "Data/VID/v/000000.JPEG", **sizes},
    ]
    videos = {"videos": [{"id": 1, "name": "v"}], "images": images, "annotations": []}
    categories = {"categories": [{"id": 1, "name": "dog"}]}
    given, before = written(tmp_path / "in.json", {**videos, **categories}), taken.read_bytes()
    assert convert("coco-vid", "imagenet", given, tmp_path, *options) == 2
    assert "is an image of the input" in capsys.readouterr().err and taken.read_bytes() == before


def test_bad_entries_are_left_out_or_an_error(convert, tmp_path, capsys):
    data = coco_vid(0)
    data["annotations"].append({"id": 4})
    given, output = written(tmp_path / "in.json", data), tmp_path / "out.json"
    assert convert("coco-vid", "coco-vid", given, output, "--strict") == 2
    assert not output.exists() and "annotations[" in capsys.readouterr().err
    assert convert("coco-vid", "coco-vid", given, output) == 0
    assert "left out 1 entries with missing or bad keys; the first: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["imagenet", "coco-vid", "in", "out.json", "--classes", "vid"], "--list: expected"),
        (["coco-vid", "imagenet", "in.json", "out", "--list", "a"], "--classes: expected"),
        (
            ["imagenet", "coco-vid", "in", "o.json", *IMAGENET, "--images", "x"],
            "--images: imagenet",
        ),
        (["imagenet", "coco-vid", "no", "out.json", *IMAGENET], "expected a folder with Data/VID"),
        (["coco-vid", "youtube-vis", "no.json", "out.json"], "no.json: expected a JSON file"),
        (["coco-vid", "youtube-vis", "in.json", "out.txt"], "expected a name ending in .json"),
        (["coco-vid", "youtube-vis", "in.json", "no/out.json"], "expected an existing folder"),
        (
            ["coco-vid", "coco-vid", "empty.json", "out.json"],
            "expected frames of videos, found none",
        ),
    ],
)
def test_mistakes_are_one_line(convert, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "in.json", coco_vid(0))
    written(tmp_path / "empty.json", {**coco_vid(0), "images": [], "annotations": []})
    assert convert(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
