"""tools/visualize.py page and animation: limits, refusals before a model is loaded, and files."""

import base64
import io
import json
import re
import runpy
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2_plugtrack.data.tiny_vid import write_tiny_vid
from d2_plugtrack.errors import UserError
from d2_plugtrack.pictures import video_page
from d2_plugtrack.pictures.picture_file import write_animation
from d2_plugtrack.pictures.video_page import check_page_size, page_frames, write_page

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = [
    *("--config-file", str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")),
    *("MODEL.WEIGHTS", str(ROOT / "demo/torchvision_tiny.pth"), "MODEL.DEVICE", "cpu"),
]


@pytest.fixture(scope="module")
def main():
    return runpy.run_path(str(ROOT / "tools/visualize.py"))["main"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The first five frames of a clip."""
    root = tmp_path_factory.mktemp("tiny")
    write_tiny_vid(root, seed=0, splits=["test"], num_videos=1)
    folder = root / "Data/VID/test/tiny_test_00000"
    for path in sorted(folder.iterdir())[5:]:
        path.unlink()
    return folder


def data_in(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search('<script id="data"[^>]*>(.*?)</script', text)[1])


def size_of(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).size


# ---- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_frames", "stride", "enough"), [(2001, 1, 2), (6000, 2, 3), (6001, 2, 4)]
)
def test_a_video_that_is_too_long_is_refused_with_a_stride_that_would_do(
    num_frames, stride, enough
):
    with pytest.raises(UserError, match=rf"at most 2000 .* of clip; --stride {enough} is enough"):
        page_frames(num_frames, stride, "clip")
    assert len(page_frames(num_frames, enough, "clip")) <= 2000


def test_frames_of_a_stride():
    assert [*page_frames(5, 2, "clip")] == [0, 2, 4]
    assert page_frames(2000, 1, "clip") == range(2000)


def test_a_page_that_would_be_too_large_is_refused(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    check_page_size(noise, 100, 160)
    monkeypatch.setattr(video_page, "MOST_BYTES", 1_000_000)
    with pytest.raises(UserError, match="--width 160: expected a page of at most 1 MB, 100 frames"):
        check_page_size(noise, 100, 160)
    check_page_size(noise, 100, 40)


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["page", "--stride", "0"], "--stride: expected a whole number of at least 1"),
        (["page", "--stride", "2", "--frames", "1"], "--stride: expected without --frames"),
        (["page", "--frames", "7"], "--frames 7: expected at most 4"),
        (["page", "--threshold", "2"], "--threshold: expected a number from 0 to 1"),
        (["page", "--width", "0"], "--width: expected a whole number of at least 1"),
        (["page", "--frame-rate", "0"], "--frame-rate: expected a number above 0"),
        (["page", "--output", "OUT.png"], "expected a name ending in .html"),
        (["animation", "--output", "OUT.gif"], "expected a name ending in .webp"),
        (["animation", "--width", "20"], "--width 20: expected at least"),
        (["animation", "--frames", "5"], "--frames 5: expected at most 4"),
    ],
)
def test_mistakes_are_one_line_before_a_model_is_loaded(
    main, clip, tmp_path, monkeypatch, capsys, arguments, message
):
    command = main.__wrapped__.__globals__
    monkeypatch.setitem(command, "open_detector", lambda _: pytest.fail("loaded"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([arguments[0], "--input", str(clip), *arguments[1:]])
    lines = capsys.readouterr().err.strip().split("\n")
    assert stop.value.code == 2 and lines[-1].startswith("error: ") and message in lines[-1]


# ---- files ---------------------------------------------------------------------------------------


def test_a_moving_picture_has_an_end(main, clip, tmp_path, monkeypatch, capsys):
    command = main.__wrapped__.__globals__
    monkeypatch.setitem(command, "open_detector", lambda _: pytest.fail("loaded"))
    monkeypatch.setitem(command, "LONGEST", 4)
    with pytest.raises(SystemExit):
        main(["animation", "--input", str(clip), "--output", str(tmp_path / "beside.webp")])
    assert "--frames: expected at most 4 frames, found 5" in capsys.readouterr().err


def test_a_page_of_every_other_frame(main, clip, tmp_path, monkeypatch, capsys):
    output, pages = tmp_path / "page.html", []
    arguments = ["--input", str(clip), "--output", str(output), "--stride", "2", "--width", "80"]
    monkeypatch.setitem(
        *(main.__wrapped__.__globals__, "write_page"),
        lambda *args, **more: pages.append(write_page(*args, **more)),
    )
    main(["page", *arguments, *DETECTOR])
    assert [stage.image.shape for stage in pages[0]] == [(64, 80, 3)] * 3  # large ones are not kept
    assert capsys.readouterr().out.startswith(f"{output}: 3 frames of tiny_test_00000, ")
    data = data_in(output)
    assert [(f["index"], f["time"]) for f in data["frames"]] == [(0, 0), (2, 0.08), (4, 0.16)]
    assert data["frame_rate"] == 12.5 and data["frames"][0]["width"] == 160
    assert [size_of(picture) for picture in data["pictures"]] == [(80, 64)] * 3
    assert data["facts"] == {
        "frames": "3 of 5",
        "size": "160 × 128",
        "rate": "25 frames/s",
        "detector": "torchvision_tiny.pth (torchvision)",
    }
    assert data["settings"]["TEST.TFD.ENABLED"] == "True"
    assert data["tracks"] and str(ROOT) not in output.read_text(encoding="utf-8")
    # the frames between are tracked through: of what is followed most was there two frames before
    assert any(row[7] for row in data["frames"][1]["tracked"])


def test_one_image_in_which_there_is_nothing(main, clip, tmp_path):
    output = tmp_path / "page.html"
    nothing = ["TEST.TFD.SCORE_THRESH", "1.0", "TEST.PER_FRAME.SCORE_THRESH", "1.0"]
    image = str(clip / "000000.JPEG")
    main(["page", "--input", image, "--output", str(output), *DETECTOR, *nothing])
    data = data_in(output)
    assert data["tracks"] == [] and data["frame_rate"] == 1
    assert [frame["detector"] for frame in data["frames"]] == [[]]
    assert data["facts"]["frames"] == "1" and "rate" not in data["facts"]


def test_a_moving_picture(main, clip, tmp_path, capsys):
    output = tmp_path / "beside.webp"
    arguments = ["--input", str(clip), "--output", str(output), "--frames", "1-3"]
    main(["animation", *arguments, "--frame-rate", "10", "--width", "200", *DETECTOR])
    assert capsys.readouterr().out.startswith(f"{output}: 3 frames of tiny_test_00000, ")
    with Image.open(output) as picture:
        assert (picture.n_frames, picture.width, picture.info["loop"]) == (3, 200, 0)
        picture.seek(1)
        picture.load()
        assert picture.info["duration"] == 100


def test_frames_of_a_moving_picture_keep_their_order_and_colors(tmp_path):
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]  # BGR
    images = [np.full((16, 24, 3), color, np.uint8) for color in colors]
    write_animation(tmp_path / "colors.webp", images, 25)
    with Image.open(tmp_path / "colors.webp") as picture:
        for index, color in enumerate(colors):
            picture.seek(index)
            pixel = np.array(picture.convert("RGB"))[8, 12]
            np.testing.assert_allclose(pixel, color[::-1], atol=12)


@pytest.mark.parametrize("rate", [1, 30000 / 1001, 60])
def test_a_moving_picture_lasts_as_long_as_the_video(tmp_path, rate):
    rng, count = np.random.default_rng(0), 7
    images = (rng.integers(0, 256, (16, 24, 3), np.uint8) for _ in range(count))
    write_animation(tmp_path / "a.webp", images, rate)
    durations = []
    with Image.open(tmp_path / "a.webp") as picture:
        assert picture.n_frames == count
        for index in range(count):
            picture.seek(index)
            picture.load()
            durations.append(picture.info["duration"])
    assert sum(durations) == pytest.approx(1000 * count / rate, abs=1 + 500 / rate)
    assert max(durations) - min(durations) <= 1


def test_images_of_a_moving_picture_are_taken_one_by_one(tmp_path):
    held = []

    def images():
        for shade in range(9):
            image = np.full((16, 24, 3), 20 * shade, np.uint8)
            held.append(weakref.ref(image))
            yield image
            del image
            assert sum(reference() is not None for reference in held) <= 1

    write_animation(tmp_path / "a.webp", images(), 25)
    assert len(held) == 9


def test_a_moving_picture_of_one_image_and_of_none(tmp_path):
    write_animation(tmp_path / "one.webp", [np.full((16, 24, 3), 90, np.uint8)], 25)
    with Image.open(tmp_path / "one.webp") as picture:
        assert picture.size == (24, 16)
    with pytest.raises(ValueError, match="expected an image or more"):
        write_animation(tmp_path / "none.webp", [], 25)
    assert not (tmp_path / "none.webp").exists()


def test_the_picture_of_the_readme_is_small_and_moves():
    path = ROOT / "docs/plugtrack.webp"
    with Image.open(path) as picture:
        assert picture.n_frames == 30 and 800 <= picture.width <= 900
    assert path.stat().st_size < 800_000
