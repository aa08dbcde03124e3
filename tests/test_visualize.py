"""tools/visualize.py: a picture from each command, and mistakes said before a model is loaded."""

import re
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

from d2_plugtrack.commands import picture_options
from d2_plugtrack.video_io import VideoWriter, read_image
from tests.tiny_clips import CONFIG, WEIGHTS, tiny_clip

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ["correlation", "strips", "boxes"]


@pytest.fixture(scope="module")
def visualize():
    return runpy.run_path(str(ROOT / "tools/visualize.py"))["main"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder of five images."""
    folder = tmp_path_factory.mktemp("clip")
    for index, image in enumerate(tiny_clip(5)):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


@pytest.fixture
def arguments(clip, tmp_path):
    """Of any command, but for the KEY VALUE pairs."""
    output = str(tmp_path / "picture.png")
    return ["--input", str(clip), "--output", output, "--config-file", CONFIG]


def refused(main, *argv):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in argv])
    return stopped.value.code


# ---- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("command, size", [("strips", (2, 4)), ("boxes", (2, 1))])
def test_sheets(visualize, arguments, tmp_path, capsys, command, size):
    words = ["--frames", "1,3", "--width", "200"]
    visualize([command, *arguments, *words, *WEIGHTS])
    picture = read_image(tmp_path / "picture.png")
    columns, rows = size
    assert 0 <= picture.shape[1] - columns * 200 < 100
    assert 0 <= picture.shape[0] - rows * 160 < 100  # a frame of 160x128 is 200x160
    assert "picture.png: 2 frames of clip" in capsys.readouterr().out


def test_correlation(visualize, arguments, tmp_path):
    visualize(["correlation", *arguments, "--frames", "0,3", "--channels", "0-2", *WEIGHTS])
    two = read_image(tmp_path / "picture.png")
    visualize(
        ["correlation", *arguments, "--frames", "0", "--channels", "0-2", "--overwrite", *WEIGHTS]
    )
    one = read_image(tmp_path / "picture.png")
    assert two.shape[0] == 2 * one.shape[0]
    np.testing.assert_array_equal(two[: len(one)], one)


def test_one_frame_has_no_tracks_but_a_picture(visualize, tmp_path, capsys):
    with VideoWriter(tmp_path / "one.mp4", 25) as writer:
        writer.write(tiny_clip(1)[0])
    common = ["--input", str(tmp_path / "one.mp4"), "--config-file", CONFIG]
    for command in ("strips", "boxes"):
        output = str(tmp_path / f"{command}.png")
        visualize([command, *common, "--output", output, "--width", "100", *WEIGHTS])
    output = tmp_path / "correlation.png"
    assert refused(visualize, "correlation", *common, "--output", output, *WEIGHTS) == 2
    assert "one.mp4: expected two frames or more, found 1" in capsys.readouterr().err


def test_no_box_at_all(visualize, arguments, capsys):
    none = [*WEIGHTS, "TEST.TFD.SCORE_THRESH", "1.0", "TEST.PER_FRAME.SCORE_THRESH", "1.0"]
    for command in ("strips", "boxes"):
        visualize([command, *arguments, "--width", "100", "--overwrite", *none])
    assert refused(visualize, "correlation", *arguments, "--overwrite", *none) == 2
    assert "--input: expected a frame with a box to follow" in capsys.readouterr().err
    words = ["--overwrite", "--frames", "1"]
    assert refused(visualize, "correlation", *arguments, *words, *none) == 2
    assert "frame 1: expected a box to follow, found none" in capsys.readouterr().err


# ---- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command, words, message",
    [
        ("strips", ["--frames", "2,5"], "--frames 5: expected at most 4, clip"),
        ("boxes", ["--frames", "7"], "--frames 7: expected at most 4, clip"),
        (
            "correlation",
            ["--frames", "4"],
            "--frames 4: expected at most 3, clip.* without its last",
        ),
        ("strips", ["--frames", "5-2"], "--frames: expected numbers from 0 on"),
        ("strips", ["--threshold", "2"], "--threshold: expected a number from 0 to 1, found '2'"),
        ("strips", ["--columns", "0"], "--columns: expected a whole number of at least 1"),
        ("boxes", ["--width", "90000"], "--width 90000: expected a sheet of at most 100 million"),
        ("correlation", ["--at", "nan", "3"], "--at: expected a number of at least 0, found 'nan'"),
        ("correlation", ["--channels", "x"], "--channels: expected numbers from 0 on"),
        ("boxes", ["--input", "none.mp4"], "none.mp4: expected a video"),
        ("boxes", ["--output", "a.jpg"], "a.jpg: expected a name ending in .png"),
        ("boxes", ["--config-file", "none.yaml"], "none.yaml: expected a file, found none"),
    ],
)
def test_mistakes_are_said_before_a_model_is_loaded(
    visualize, arguments, monkeypatch, capsys, command, words, message
):
    monkeypatch.setattr(picture_options, "open_host", None)
    assert refused(visualize, command, *arguments, *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and re.search(message, line)


def test_an_older_picture_stays(visualize, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(picture_options, "open_host", None)
    (tmp_path / "picture.png").write_bytes(b"older")
    assert refused(visualize, "strips", *arguments) == 2
    assert "is there already; --overwrite would replace it" in capsys.readouterr().err
    assert (tmp_path / "picture.png").read_bytes() == b"older"


def test_pictures_are_named_after_the_input_and_the_command(
    visualize, arguments, clip, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(picture_options, "open_host", None)
    older = tmp_path / f"output/visualize/{clip.name}_strips.png"
    older.parent.mkdir(parents=True)
    older.write_bytes(b"older")
    source = [*arguments[:1], str(clip)]
    assert refused(visualize, "strips", *source) == 2
    assert f"{clip.name}_strips.png: is there already" in capsys.readouterr().err


def test_what_only_the_model_knows(visualize, arguments, capsys):
    assert refused(visualize, "correlation", *arguments, "--channels", "1,32", *WEIGHTS) == 2
    assert "--channels 32: expected at most 31, the tracker has 32" in capsys.readouterr().err
    assert refused(visualize, "boxes", *arguments, *WEIGHTS, "TEST.TFD.TRACK", "False") == 2
    assert "expected True, to show tracking" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_parse(visualize, capsys, command):
    assert refused(visualize, command, "--help") == 0
    help_text = capsys.readouterr().out
    examples = re.findall(rf"^    tools/visualize.py ({command}.*)$", help_text, re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        args = visualize.__wrapped__.__globals__["parse_args"](example.split())
        assert args.command == command and args.opts == []
