"""What is shipped works as a user would run it: the weights, the demo, the README's example."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from d2_plugtrack.data.tiny_vid import write_tiny_vid
from d2_plugtrack.video_io import VideoWriter, open_frames

ROOT = Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / "configs/TinyVID/plugtrack_tiny.yaml")
WEIGHTS = str(ROOT / "demo/plugtrack_tiny.pth")
CLIP = "tiny_vid/Data/VID/test/tiny_test_00000"

pytestmark = pytest.mark.detectron2


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Six test videos of the tiny VID set, of a seed of their own."""
    root = tmp_path_factory.mktemp("datasets")
    write_tiny_vid(root / "tiny_vid", seed=0, splits=["test"], num_videos=6)
    return root


def run(data_root, *command, cwd=ROOT):
    environment = {**os.environ, "DETECTRON2_DATASETS": str(data_root), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_weights_are_small():
    assert Path(WEIGHTS).stat().st_size < 6e6


def test_evaluation_of_the_shipped_weights(data_root, tmp_path):
    expected = '[["vid", "mAP", 85.5, 2.0]]'
    result = run(
        data_root,
        *("train_net.py", "--config-file", CONFIG, "--eval-only"),
        *("MODEL.WEIGHTS", WEIGHTS, "OUTPUT_DIR", tmp_path / "out"),
        *("TEST.EXPECTED_RESULTS", expected),
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]


def test_video_demo_on_a_folder_of_frames(data_root, tmp_path):
    result = run(
        data_root,
        *("demo/video_demo.py", "--config-file", CONFIG, "--input", data_root / CLIP),
        *("--output", tmp_path / "clip.mp4", "--zoom", "2", "MODEL.WEIGHTS", WEIGHTS),
    )
    assert result.returncode == 0, result.stderr[-2000:]
    frames = list(open_frames(tmp_path / "clip.mp4"))
    assert len(frames) == 30 and frames[0].shape == (256, 320, 3)
    report = json.loads((tmp_path / "clip.json").read_text())
    assert [f["frame"] for f in report["frames"]] == list(range(30))
    found = [o for f in report["frames"] for o in f["objects"]]
    assert found and all(o["score"] >= 0.3 and o["class"] in report["classes"] for o in found)
    for o in found:
        x1, y1, x2, y2 = o["box"]
        assert 0 <= x1 <= x2 <= 160 and 0 <= y1 <= y2 <= 128
    per_track = [o["track_id"] for o in found]
    assert max(per_track.count(i) for i in set(per_track)) > 5  # ids last


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--input", "nowhere.mp4", "--output", "o.mp4"], "nowhere.mp4"),
        (["--input", "text.mp4", "--output", "o.mp4"], "text.mp4"),
        (["--input", "clip.mp4", "--output", "no/folder/o.mp4"], "no/folder"),
        (["--input", "clip.mp4", "--output", "clip.mp4"], "clip.mp4"),
        (["--input", "clip.mp4", "--output", "o.mp4", "MODEL.WEIGHT", "w"], "MODEL.WEIGHT"),
        (["--input", "clip.mp4", "--output", "o.mp4", "MODEL.WEIGHTS", "w.pth"], "w.pth"),
    ],
)
def test_video_demo_refuses_bad_input_in_one_line(tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("not a video")
    with VideoWriter("clip.mp4", 10) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    demo = load_script(ROOT / "demo/video_demo.py")
    with pytest.raises(SystemExit) as stop:
        demo["main"](["--config-file", CONFIG, *arguments])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and named in message and message.count("\n") == 1
    assert not (tmp_path / "o.mp4").exists()


def load_script(path: Path) -> dict:
    import runpy

    return runpy.run_path(str(path))


def test_the_readmes_example(data_root, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for name in ("configs", "demo"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "output/demo").mkdir(parents=True)
    with VideoWriter(tmp_path / "output/demo/clip.mp4", 10) as writer:
        for frame in open_frames(data_root / CLIP):
            writer.write(frame)
    result = run(data_root, "-c", example, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.count("tensor(") > 30 and "_" in result.stdout
