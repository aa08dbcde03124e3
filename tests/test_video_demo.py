"""demo/video_demo.py as its user meets it: what it makes, refuses, says, and how it exits."""

import csv
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from d2_plugtrack.data.problems import Problems
from d2_plugtrack.data.tiny_scenes import render_video
from d2_plugtrack.data.video_json.datasets import read_video_json
from d2_plugtrack.exports import CsvWriter
from d2_plugtrack.host import open_host
from d2_plugtrack.predictor import VideoPredictor
from d2_plugtrack.video_io import VideoWriter, open_frames

ROOT = Path(__file__).resolve().parents[1]
CONFIG = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
WEIGHTS = ["MODEL.WEIGHTS", str(ROOT / "demo/torchvision_tiny.pth"), "MODEL.DEVICE", "cpu"]
DETECTOR = ["--config-file", CONFIG, "--opts", *WEIGHTS]


@pytest.fixture(scope="module")
def script():
    """The script's names; a detector is opened once for all tests."""
    script = runpy.run_path(str(ROOT / "demo/video_demo.py"))
    opened = cache(lambda file, opts: open_host(file, opts))
    names = script["main"].__wrapped__.__globals__
    names["open_host"] = lambda file, opts, check: opened(file, tuple(opts))
    return names


@pytest.fixture
def demo(script, tmp_path, monkeypatch, capsys):
    """Run it in an empty folder; (exit status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def demo(*words, detector=DETECTOR):
        try:
            script["main"]([*map(str, words), *detector])
            status = 0
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return demo


@cache
def scene(count=12) -> list[np.ndarray]:
    """A video of the tiny set."""
    return [image for image, _ in render_video(np.random.default_rng(3), 30)][:count]


def write_clip(path, frames, rate=10) -> Path:
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path, rate) as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.fixture
def clip(tmp_path) -> Path:
    return write_clip(tmp_path / "in/clip.mp4", scene())


def count(path) -> int:
    return len(list(open_frames(path)))


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---- what is made --------------------------------------------------------------------------------


def test_without_arguments_there_is_a_sample_and_it_can_be_said_again(demo, tmp_path):
    for _ in range(2):
        status, said, errors = demo(detector=[])
        assert status == 0, errors
        made = "output/video_demo/tiny_test_00000.mp4"
        assert re.search(rf"^{made}: 30 frames, \d+ tracks$", said, re.M)
        assert "no --input: a sample clip" in said and "no --config-file: the tiny" in said
        assert re.search(r"^detector: .*tiny.yaml, .*tiny.pth, on (cpu|cuda)", said, re.M)
    frames = list(open_frames(made))
    assert len(frames) == 30 and frames[0].shape == (512, 640, 3)  # 4 times 128x160
    assert sorted(path.name for path in (tmp_path / "output/video_demo").iterdir()) == [
        "tiny_sample",
        "tiny_test_00000.mp4",
    ]


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_files_say_what_the_predictor_says(demo, clip, mode):
    status, said, errors = demo(
        *("--input", clip, "--output", "a.mp4", "--mode", mode, "--confidence-threshold", 0.2),
        *("--save-json", "--save-csv", "b.csv", "--save-mot", "--classes", "striped_disk"),
        *("dotted_star", "striped_square"),
    )
    assert (status, errors) == (0, "")
    assert re.fullmatch(r".*\na.mp4, a.json, a.txt, b.csv: 12 frames, \d+ tracks\n", said)
    predictor = VideoPredictor.from_config_file(
        CONFIG, WEIGHTS, mode, 0.2, ["striped_disk", "dotted_star", "striped_square"]
    )
    expected = list(predictor(open_frames(clip)))
    problems = Problems(strict=True)
    videos = read_video_json("a.json", problems)
    assert videos.class_names == predictor.class_names and count("a.mp4") == 12
    for record, objects in zip(videos.records, expected, strict=True):
        boxes = np.reshape([a["bbox"] for a in record["annotations"]], (-1, 4))
        np.testing.assert_allclose(boxes, objects.boxes, atol=1e-4)
        assert [a["track_id"] for a in record["annotations"]] == objects.track_ids.tolist()
    tracks = [track for objects in expected for track in objects.track_ids.tolist()]
    assert len(tracks) > 5 and [int(row["track_id"]) for row in rows_of("b.csv")] == tracks
    ids = [int(line.split(",")[1]) for line in Path("a.txt").read_text().splitlines()]
    assert ids == [track + 1 for track in tracks]


def test_a_part_of_the_input_keeps_its_times(demo, clip):
    status, _, errors = demo(
        *("--input", clip, "--start", 0.2, "--end", 1.05, "--stride", 2, "--output", "out"),
        *("--save-csv", "--save-json", "--confidence-threshold", 0),
    )
    assert (status, errors) == (0, "")
    # 10 frames a second: 2, 4, 6, 8, 10; the first of them begins the mp4
    images = json.loads(Path("out/clip.json").read_text())["images"]
    assert [image["frame_id"] for image in images] == [2, 4, 6, 8, 10]
    assert [image["time"] for image in images] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert {row["index"] for row in rows_of("out/clip.csv")} <= set("2468") | {"10"}
    frames = list(open_frames("out/clip.mp4").timed())
    assert [float(frame.time) for frame in frames] == [0, 0.2, 0.4, 0.6, 0.8]


def test_exports_alone_make_no_video(demo, clip, tmp_path):
    assert demo("--input", clip, "--save-csv", "--save-mot", "a.txt")[0] == 0
    assert sorted(path.name for path in (tmp_path / "output/video_demo").iterdir()) == ["clip.csv"]
    assert (tmp_path / "a.txt").exists()


def test_images_are_a_folder_for_each_input(demo, clip, tmp_path):
    frames = tmp_path / "in/frames"
    frames.mkdir()
    for number, image in enumerate(scene(3)):
        Image.fromarray(image).save(frames / f"{number}.png")
    words = ("--input", clip, frames, "--output", "out", "--output-format", "images", "--save-json")
    status, _, errors = demo(*words)
    assert (status, errors) == (0, "")
    assert count("out/clip") == 12 and count("out/frames") == 3
    images = json.loads((tmp_path / "out/frames.json").read_text())["images"]
    assert [image["file_name"] for image in images] == [f"../in/frames/{t}.png" for t in range(3)]
    assert demo(*words)[0] == 2 and demo(*words, "--overwrite")[0] == 0


def test_json_names_the_images_that_were_written(demo, clip, tmp_path):
    words = ("--output", "out", "--output-format", "images", "--save-json", "--stride", 3)
    assert demo("--input", clip, "--start", 0.2, *words)[0] == 0
    images = json.loads((tmp_path / "out/clip.json").read_text())["images"]
    assert [(image["frame_id"], image["file_name"]) for image in images] == [
        (2, "clip/000000.jpg"),  # frames 2, 5, 8, 11
        (5, "clip/000001.jpg"),
        (8, "clip/000002.jpg"),
        (11, "clip/000003.jpg"),
    ]
    assert Image.open("out/clip/000003.jpg").size == (images[3]["width"], images[3]["height"])
    assert count("out/clip") == 4


def test_an_output_has_the_name_it_was_given_and_its_folders(demo, clip, tmp_path):
    words = ("--input", clip, "--output", "a/b/out.MP4", "--save-csv", "c/d/o.csv", "--save-json")
    for more in ([], ["--overwrite"]):  # in the second run the folders are there
        assert demo(*words, *more)[0] == 0
        made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
        assert made == {"in/clip.mp4", "a/b/out.MP4", "a/b/out.json", "c/d/o.csv"}


@pytest.mark.parametrize("name", ["in", "in/*.mp4"])
def test_a_folder_or_a_pattern_of_videos_is_its_videos(demo, clip, tmp_path, name):
    write_clip(tmp_path / "in/b10.mp4", scene(2))
    write_clip(tmp_path / "in/b9.mp4", scene(3))
    status, said, errors = demo("--input", name, "--output", "out", "--classes", "dotted_star")
    assert (status, errors) == (0, "")
    made = re.findall(r"^(\S+): (\d+) frames", said, re.M)
    assert made == [("out/b9.mp4", "3"), ("out/b10.mp4", "2"), ("out/clip.mp4", "12")]


def test_the_sample_replaces_nothing_that_was_named(demo, tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    folder = tmp_path / "output/video_demo"
    folder.mkdir(parents=True)
    (folder / "mine.csv").write_text("a")
    (folder / "tiny_test_00000.txt").write_text("an earlier sample's")
    for words in (["--save-json", "mine.json"], ["--save-csv", folder / "mine.csv"]):
        status, _, errors = demo(*words, detector=[])
        assert status == 2 and "is there already; --overwrite replaces it" in errors
    assert demo("--save-mot", "--save-csv", "new.csv", detector=DETECTOR)[0] == 0
    assert "," in (folder / "tiny_test_00000.txt").read_text()
    assert (tmp_path / "mine.json").read_text() == "{}" and (folder / "mine.csv").read_text() == "a"


def test_a_name_that_is_not_text_is_said_all_the_same(demo, clip, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    clip.rename(tmp_path / f"{name}.mp4")
    with (
        open(tmp_path / "said", "w", encoding="utf-8") as file,  # as strict as a terminal
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", file)
        status, _, errors = demo("--input", f"{name}.mp4", "--output", "out", "--save-json")
    assert (status, errors) == (0, "") and count(f"out/{name}.mp4") == 12
    assert "out/caf\\udce9.mp4, out/caf\\udce9.json: 12 frames" in (tmp_path / "said").read_text()


def test_frames_per_second_are_said_and_drawn(demo, clip):
    words = ("--input", clip, "--mode", "online", "--classes", "dotted_star", "--zoom", 2)
    assert demo(*words, "--output", "a.mp4")[0] == 0
    status, said, _ = demo(*words, "--output", "b.mp4", "--show-fps")
    assert status == 0 and re.search(r"12 frames, \d+ tracks, [\d.]+ frames/s in all\n", said)
    corners = [list(open_frames(name))[-1][:16, :60].astype(int) for name in ("a.mp4", "b.mp4")]
    assert abs(corners[0] - corners[1]).mean() > 20


def test_without_a_screen_one_warning_and_the_work_goes_on(demo, clip, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    status, _, errors = demo("--input", clip, "--output", "a.mp4", "--show")
    assert status == 0 and count("a.mp4") == 12
    assert re.fullmatch("warning: --show: .*DISPLAY.*\n", errors)


# ---- inputs that are not as they should be -------------------------------------------------------


def test_a_truncated_video_gives_what_decodes_and_1(demo, tmp_path, caplog):
    whole = write_clip(tmp_path / "in/clip.mp4", scene(30)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    status, said, errors = demo("--input", "cut.mp4", "--output", "a.mp4")
    frames = count("a.mp4")
    assert status == 1 and 5 < frames < 25 and f"a.mp4: {frames} frames" in said
    assert caplog.text.count(f"read {frames} frames of 30") == 1 and errors == ""


def test_a_folder_with_a_broken_image_gives_the_others_and_1(demo, tmp_path, caplog):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, image in enumerate(scene(4)):
        Image.fromarray(image).save(frames / f"{number}.jpg")
    (frames / "1.jpg").write_bytes((frames / "2.jpg").read_bytes()[:900])
    status, _, errors = demo("--input", frames, "--output", "a.mp4", "--save-json")
    assert status == 1 and count("a.mp4") == 3
    assert caplog.text.count("read 3 frames of 4; 1 did not decode") == 1 and errors == ""
    images = json.loads(Path("a.json").read_text())["images"]
    assert [image["frame_id"] for image in images] == [0, 2, 3]


def test_sizes_may_change_and_videos_may_be_turned(demo, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, image in enumerate(scene(3)):
        Image.fromarray(image[: 128 - 20 * number]).save(frames / f"{number}.png")
    status, _, errors = demo("--input", frames, "--output", "a.mp4", "--save-json")
    assert (status, errors) == (0, "") and count("a.mp4") == 3
    images = json.loads(Path("a.json").read_text())["images"]
    assert [image["height"] for image in images] == [128, 108, 88]
    Image.fromarray(scene(1)[0]).save(tmp_path / "turned.jpg", exif=_turned())
    assert demo("--input", "turned.jpg", "--output", "b.mp4", "--zoom", 1)[0] == 0
    assert next(iter(open_frames("b.mp4"))).shape == (160, 128, 3)


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    return exif


def test_inputs_that_fail_are_said_and_the_others_go_on(demo, clip, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    other = write_clip(tmp_path / "in/other.mp4", scene(3))
    words = ("--input", clip, "empty.mp4", other, "nowhere.mp4", "--output", "out")
    status, said, errors = demo(*words)
    assert status == 1 and count("out/clip.mp4") == 12 and count("out/other.mp4") == 3
    assert said.count(" tracks\n") == 2 and said.count(", on cpu") == 1
    *each, last = errors.splitlines()
    assert [line.split(": ")[:2] for line in each] == [
        ["error", "empty.mp4"],
        ["error", "nowhere.mp4"],
    ]
    assert last == "2 of 4 inputs failed or lost frames: empty.mp4, nowhere.mp4"


def test_an_input_that_fails_later_is_said_and_the_others_go_on(demo, clip, tmp_path, script):
    def run(predictor, source, *others, **more):
        if source.name == "clip":
            raise FloatingPointError("boxes are not finite in frame 3")
        return script["VideoReport"](7, 1, 1.0, source.losses, True)

    other = write_clip(tmp_path / "in/other.mp4", scene(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(script, "run_video", run)
        status, said, errors = demo("--input", clip, other, "--output", "out")
    assert status == 1 and "out/other.mp4: 7 frames, 1 tracks" in said
    first, last = errors.splitlines()
    assert first == f"error: {clip}: boxes are not finite in frame 3"
    assert last == f"1 of 2 inputs failed or lost frames: {clip}"


def test_an_output_that_fails_is_said_and_the_others_are_kept(demo, clip, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CsvWriter, "_write", full)
    words = ("--input", clip, "--output", "a.mp4", "--save-csv", "--mode", "online")
    status, said, errors = demo(*words)
    assert status == 1 and re.search(r"^a.mp4: 12 frames, ", said, re.M)
    assert errors == "error: a.csv: cannot be written: No space left on device\n"
    assert count("a.mp4") == 12 and not Path("a.csv").exists()


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_scores_that_are_no_numbers_are_one_line(demo, clip, script, mode):
    class Broken:
        def __init__(self, detector):
            self.detector = detector

        def __getattr__(self, name):
            return getattr(self.detector, name)

        def classify(self, *given):
            return self.detector.classify(*given) * torch.nan

    def predictor(host, args, mode):
        made = script["VideoPredictor"].from_host(host, mode, 0.3)
        made.detector = Broken(made.detector)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(script, "predictor_of", predictor)
        status, _, errors = demo("--input", clip, "--output", "a.mp4", "--mode", mode)
    assert status == 1 and errors.startswith(f"error: {clip}: frame 0: ")
    assert "finite" in errors and errors.count("\n") == 1 and not Path("a.mp4").exists()


# ---- refused -------------------------------------------------------------------------------------

REFUSED = {
    "--input nowhere.mp4": "nowhere.mp4",
    "--input empty.mp4": "empty.mp4",
    "--input text.mp4": "text.mp4",
    "--input in/clip.mp4 --output text.mp4/a/o.mp4": "text.mp4 is a file",
    "--input in/clip.mp4 --output o --output-format images --save-json o/clip/a.json": "outside of",
    "--input in/clip.mp4 --output o.json": "--save-json o.json makes such a file",
    "--input in/clip.mp4 --output o.txt": "--save-mot o.txt makes such a file",
    "--input in/clip.mp4 --output o.csv": "--save-csv o.csv makes such a file",
    "--input in/clip.mp4 --output o.mkv": "o.mkv: expected a name ending in .mp4 or a folder",
    "--input 7 rtsp://me:secret@127.0.0.1/no": "found 2: 7, rtsp://127.0.0.1/no",
    "--input rtsp://me:secret@127.0.0.1:1/no": "error: rtsp://127.0.0.1:1/no: expected a video",
    "--input rtsp://me:secret@127.0.0.1/no --mode offline": "for rtsp://127.0.0.1/no,",
    "--input in/clip.mp4 --stride 30000": "stride to be at least 0.001, found 10 by 30000",
    "--input in/clip.mp4 --frame-rate 1 --stride 2000": "--stride 2000 leaves 0.0005",
    "--input in/clip.mp4 --output in/clip.mp4 --overwrite": "is the input",
    "--input in/clip.mp4 --output there.mp4": "there.mp4: is there already; --overwrite",
    "--input in/clip.mp4 --output o.avi": "o.avi: expected a name ending in .mp4 or a folder",
    "--input in/clip.mp4 --output text.mp4/out": "text.mp4 is a file",
    "--input in/clip.mp4 --output o.mp4 --output-format images": "expected a folder for images",
    "--input in/clip.mp4 again/clip.mp4": "would share it",
    "--input in/clip.mp4 again/clip.mp4 --output o.mp4": "expected a folder for several inputs",
    "--input in/clip.mp4 again/clip.mp4 --save-csv o.csv": "expected no FILE for several inputs",
    "--input in/clip.mp4 --save-json o.txt": "expected a name ending in .json",
    "--input in/clip.mp4 --save-csv text.mp4/o.csv": "text.mp4/o.csv: cannot be written",
    "--input frames --output . --output-format images --overwrite": "is the input",
    "--input frames/*.png --output . --output-format images --overwrite": "is the input",
    "--input in/clip.mp4 --start 2 --end 1": "--end: expected more than",
    "--input in/clip.mp4 --start 9": "in/clip.mp4",
    "--input in/clip.mp4 --stride 0": "--stride: expected a whole number of at least 1",
    "--input in/clip.mp4 --batch-size 0": "--batch-size",
    "--input in/clip.mp4 --zoom 1.5": "--zoom",
    "--input in/clip.mp4 --frame-rate 1e9": "--frame-rate",
    "--input in/clip.mp4 --confidence-threshold 1.5": "--confidence-threshold",
    "--input in/clip.mp4 --device gpu": "--device",
    "--input in/clip.mp4 --mode later": "--mode",
    "--input in/clip.mp4 --config-file no.yaml": "--config-file: no.yaml: expected a file",
    "--input in/clip.mp4 --opts MODEL.WEIGHTS": "expected a VALUE",
}


@pytest.fixture
def bad_inputs(clip, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "frames").mkdir()
    Image.fromarray(scene(1)[0]).save(tmp_path / "frames/0.png")
    (tmp_path / "again").mkdir()
    for name in ("there.mp4", "again/clip.mp4"):
        (tmp_path / name).write_bytes(clip.read_bytes())


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("words", REFUSED)
def test_what_can_be_refused_is_before_a_model_is_loaded(
    demo, bad_inputs, words, tmp_path, script, monkeypatch
):
    monkeypatch.setitem(script, "open_host", lambda *_: pytest.fail("a model was loaded"))
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    status, said, errors = demo(*words.split(), detector=[])
    assert (status, said) == (2, ""), errors
    assert errors.startswith("error: ") and errors.count("\n") == 1, errors
    assert REFUSED[words] in errors and "secret" not in errors
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("name", ["other/clip.mp4", "other/*.mp4"])
def test_an_input_that_cannot_be_opened_is_not_overwritten_either(demo, clip, tmp_path, name):
    broken = tmp_path / "other/clip.mp4"
    broken.parent.mkdir()
    broken.write_text("not a video, but the user's")
    words = ("--input", name, clip, "--output", "other", "--overwrite")
    status, said, errors = demo(*words)
    assert status == 2 and errors.endswith(
        "error: other/clip.mp4: is the input; name another output\n"
    )
    assert said == "" and broken.read_text() == "not a video, but the user's"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--classes horse --config-file CONFIG --opts WEIGHTS", "class horse: expected one of"),
        ("--config-file CONFIG --opts MODEL.WEIGHTS w.pth", "w.pth"),
        ("--config-file CONFIG --opts MODEL.WEIGHT w.pth", "MODEL.WEIGHT"),
    ],
)
def test_what_only_the_detector_knows_is_refused_before_the_work(demo, clip, words, named):
    given = {"CONFIG": [CONFIG], "WEIGHTS": WEIGHTS}
    words = [w for word in words.split() for w in given.get(word, [word])]
    status, _, errors = demo("--input", clip, "--output", "o.mp4", *words, detector=[])
    assert status == 2 and errors.startswith("error: ") and named in errors
    assert errors.count("\n") == 1 and not Path("o.mp4").exists()


@pytest.mark.parametrize("words", ["--input clip.mp4 --mode online", "--input 7"])
def test_a_mode_that_needs_a_tracker_is_refused_before_weights_are_looked_at(
    demo, clip, script, monkeypatch, words
):
    monkeypatch.setitem(script, "open_frames", lambda *_, **others: open_frames(clip))
    monkeypatch.setitem(script, "open_host", open_host)
    keys = "MODEL.WEIGHTS none.pth TEST.TFD.TRACK False TEST.SEQ_NMS.TRACK_LINKS False"
    words = [*words.split(), "--output", "o.mp4", "--config-file", CONFIG, "--opts", *keys.split()]
    status, _, errors = demo(*words, detector=[])
    assert status == 2 and errors.startswith("error: TEST.VID.MODE needs tracked boxes")


def test_a_camera_has_no_offline_mode_and_is_online_otherwise(demo, clip, script, monkeypatch):
    for name in ("7", "rtsp://127.0.0.1/no"):  # before either is opened
        status, _, errors = demo("--input", name, "--mode", "offline")
        assert status == 2
        assert errors.startswith(f"error: --mode offline: expected online for {name}")

    def live(*given, **others):
        source = open_frames(*given, **others)
        source.is_live = True
        return source

    monkeypatch.setitem(script, "open_frames", live)
    assert demo("--input", clip, "--output", "o.mp4")[0] == 0 and count("o.mp4") == 12


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_cuda_is_picked_by_itself_and_named_by_device(demo, clip, mode):
    detector = ["--config-file", CONFIG, "--mode", mode, "--overwrite", "--save-csv"]
    for device in ([], ["--device", "cuda"], ["--device", "cpu"]):
        words = [*detector, *device, "--opts", *WEIGHTS[:2]]
        status, said, errors = demo("--input", clip, "--output", "o.mp4", detector=words)
        assert (status, errors) == (0, "") and count("o.mp4") == 12
        assert (", on cpu" if device[1:] == ["cpu"] else ", on cuda") in said


def test_help_has_examples_that_are_understood(script, capsys, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        script["main"](["--help"])
    assert stop.value.code == 0
    monkeypatch.chdir(ROOT)
    text = capsys.readouterr().out
    examples = text.partition("Examples:\n")[2].replace("\\\n", " ").strip().splitlines()
    assert len(examples) >= 4
    for line in examples:
        python, name, *words = line.split()
        assert (python, name) == ("python", "demo/video_demo.py")
        script["parse_args"](words)


# ---- interrupted ---------------------------------------------------------------------------------


def test_a_signal_between_two_inputs_is_noted_and_what_was_made_is_said(
    demo, clip, script, tmp_path
):
    def run(predictor, source, *others, **more):
        os.kill(os.getpid(), signal.SIGTERM)
        return script["VideoReport"](7, 1, 1.0, source.losses, True)

    other = write_clip(tmp_path / "in/other.mp4", scene(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(script, "run_video", run)
        status, said, errors = demo("--input", clip, other, "--output", "out")
    assert status == 143 and "out/clip.mp4: 7 frames, 1 tracks" in said and "other" not in said
    assert errors == "inputs that were not begun: 1\n"  # the notice goes past capsys


# A shell's & and pytest in the background ignore SIGINT: the script shall not.
RUN = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(folder: Path, *words) -> subprocess.Popen:
    command = [sys.executable, "-u", "-c", RUN, str(ROOT / "demo/video_demo.py"), *words, *DETECTOR]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def wait_until(happened, process) -> None:
    for _ in range(2400):
        if happened():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    pytest.fail("it never came to it")


@pytest.fixture
def long_clip(tmp_path) -> None:
    """A folder that takes minutes on any machine, to be in the middle of it."""
    (tmp_path / "clip").mkdir()
    Image.fromarray(scene(1)[0]).save(tmp_path / "image.jpg")
    for number in range(9000):
        os.link(tmp_path / "image.jpg", tmp_path / f"clip/{number}.jpg")


def test_ctrl_c_online_keeps_what_was_written(long_clip, tmp_path):
    words = ("--input", "clip", "image.jpg", "--mode", "online", "--output", "out")
    process = start(tmp_path, *words, "--save-json", "--save-csv")
    wait_until(lambda: any(p.stat().st_size for p in tmp_path.glob("out/.*.part")), process)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    frames = count(tmp_path / "out/clip.mp4")
    assert f"out/clip.mp4, out/clip.json, out/clip.csv: the first {frames} frames" in said
    assert errors.startswith("interrupted") and "Traceback" not in errors
    assert "inputs that were not begun: 1" in errors
    images = json.loads((tmp_path / "out/clip.json").read_text())["images"]
    assert 0 < len(images) == frames < 9000
    assert all(int(row["index"]) < frames for row in rows_of(tmp_path / "out/clip.csv"))
    assert sorted(os.listdir(tmp_path / "out")) == ["clip.csv", "clip.json", "clip.mp4"]


def test_sigterm_while_detecting_leaves_nothing(long_clip, tmp_path):
    process = start(tmp_path, "--input", "clip", "--output", "out", "--save-json")
    assert process.stdout.readline().endswith(", on cpu\n")  # detection begins
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=100)
    assert (process.returncode, said) == (143, ""), errors
    assert errors.endswith("interrupted: nothing of clip was written\n")
    assert "Traceback" not in errors and not (tmp_path / "out").exists()
