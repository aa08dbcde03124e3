"""What is shipped works as a user would run it: the weights, the demo, the README's example."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from d2_plugtrack.data.tiny_vid import write_tiny_vid
from d2_plugtrack.video_io import open_frames

ROOT = Path(__file__).resolve().parent.parent
CLIP = "tiny_vid/Data/VID/test/tiny_test_00000"
NAMES = [pytest.param("plugtrack_tiny", marks=pytest.mark.detectron2), "torchvision_tiny"]


def config(name: str) -> str:
    return str(ROOT / f"configs/TinyVID/{name}.yaml")


def weights(name: str) -> str:
    return str(ROOT / f"demo/{name}.pth")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Six test videos of the tiny VID set, of a seed of their own."""
    root = tmp_path_factory.mktemp("datasets")
    write_tiny_vid(root / "tiny_vid", seed=0, splits=["test"], num_videos=6)
    return root


@pytest.fixture(scope="module")
def three_videos(tmp_path_factory):
    """The first three of them: tools/ablation.py runs eight settings on each."""
    root = tmp_path_factory.mktemp("datasets")
    write_tiny_vid(root / "tiny_vid", seed=0, splits=["test"], num_videos=3)
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


@pytest.mark.parametrize("name", ["plugtrack_tiny", "torchvision_tiny"])
def test_the_weights_are_small(name):
    assert Path(weights(name)).stat().st_size < 6e6


@pytest.mark.detectron2
def test_evaluation_of_the_shipped_weights(data_root, tmp_path):
    expected = '[["vid", "mAP", 86.7, 2.0]]'
    result = run(
        data_root,
        *("train_net.py", "--config-file", config("plugtrack_tiny"), "--eval-only"),
        *("MODEL.WEIGHTS", weights("plugtrack_tiny"), "OUTPUT_DIR", tmp_path / "out"),
        *("TEST.EXPECTED_RESULTS", expected),
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]


@pytest.mark.parametrize("name", NAMES)
def test_tracking_pays_in_the_ablation(three_videos, tmp_path, name):
    result = run(
        three_videos,
        *("tools/ablation.py", "--config-file", config(name), "--dataset", "tiny_vid_test"),
        *("--json", tmp_path / "rows.json", "MODEL.WEIGHTS", weights(name)),
    )
    assert result.returncode == 0, result.stderr[-2000:]
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    values = {row["name"]: row["mAP"] for row in rows}
    assert len(values) == 8 and result.stdout.count("|\n") == 10 + 10  # settings, classes
    for tracked in ("TFD(0.7) + Seq-Track-NMS", "TFD(0.7), online"):
        assert values[tracked] > values["per frame"] + 2
    assert 40 < values["per frame"] < 90


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_online_is_between_per_frame_and_offline(tmp_path, name):
    # the videos of `make demo`; on few videos online may be as good as offline
    write_tiny_vid(tmp_path / "tiny_vid", seed=0, splits=["test"], num_videos=8)
    result = run(
        tmp_path,
        *("tools/ablation.py", "--config-file", config(name), "--dataset", "tiny_vid_test"),
        *("--settings", "per-frame", "tfd0.7-online", "tfd0.7-track"),
        *("--json", tmp_path / "rows.json", "MODEL.WEIGHTS", weights(name)),
    )
    assert result.returncode == 0, result.stderr[-2000:]
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    values = [row["mAP"] for row in rows if row["mAP"] is not None]
    per_frame, offline, online = values  # in the order of the rows
    assert per_frame + 5 < online < offline


@pytest.mark.parametrize("name", NAMES)
def test_tracker_evaluation(three_videos, tmp_path, name):
    result = run(
        three_videos,
        *("tools/eval_tracker.py", "--config-file", config(name), "--dataset", "tiny_vid_test"),
        *("--gaps", "1", "9", "--json", tmp_path / "rows.json", "MODEL.WEIGHTS", weights(name)),
    )
    assert result.returncode == 0, result.stderr[-2000:]
    near, far = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert near["gap"] == 1 and near["tracked"] > 0.75
    assert far["gap"] == 9 and far["tracked"] > far["unmoved"] + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_video_demo_on_a_folder_of_frames(data_root, tmp_path, name):
    result = run(
        data_root,
        *("demo/video_demo.py", "--config-file", config(name), "--input", data_root / CLIP),
        *("--output", tmp_path / "clip.mp4", "--zoom", "2", "--save-json"),
        *("--opts", "MODEL.WEIGHTS", weights(name)),
    )
    assert result.returncode == 0, result.stderr[-2000:]
    frames = list(open_frames(tmp_path / "clip.mp4"))
    assert len(frames) == 30 and frames[0].shape == (256, 320, 3)
    report = json.loads((tmp_path / "clip.json").read_text())
    assert [image["frame_id"] for image in report["images"]] == list(range(30))
    found = report["annotations"]
    assert found and all(a["score"] >= 0.3 for a in found)
    for a in found:
        x, y, width, height = a["bbox"]
        assert x >= 0 and y >= 0 and x + width <= 160 and y + height <= 128
    per_track = [a["instance_id"] for a in found]
    assert max(per_track.count(i) for i in set(per_track)) > 5  # ids last


def test_the_example_runs_without_detectron2(tmp_path):
    hidden = "import sys, runpy; sys.modules['detectron2'] = None; sys.argv = sys.argv[1:]; "
    result = run(
        tmp_path,
        *("-c", hidden + "runpy.run_path(sys.argv[0], run_name='__main__')"),
        *("examples/torchvision_detector.py", "--output", tmp_path, "--steps", 5, "--videos", 2),
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "the detector:" not in result.stdout  # nothing that check() complains about
    assert len(list(open_frames(tmp_path / "clip.mp4"))) == 30
    assert len((ROOT / "examples/torchvision_detector.py").read_text().splitlines()) < 120


def test_the_documented_check_runs():
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/DETECTORS.md").read_text(), re.S)
    frames = "import numpy as np; frames = [np.zeros((64, 96, 3), np.uint8)] * 2\n"
    result = run(ROOT, "-c", frames + example)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr[-2000:]
    assert len((ROOT / "docs/toy_detector.py").read_text().splitlines()) <= 40
