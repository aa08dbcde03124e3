"""tools/train_torchvision.py: both stages on a few videos, and mistakes in one line."""

import runpy
from pathlib import Path

import pytest
import torch

from d2_plugtrack.data.tiny_vid import write_tiny_vid
from d2_plugtrack.host import open_host
from d2_plugtrack.weights import read_weights

ROOT = Path(__file__).resolve().parents[1]
DETECTOR = str(ROOT / "configs/TinyVID/torchvision_detector_tiny.yaml")
TRACKER = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
OTHER_HOST = str(ROOT / "configs/TinyVID/plugtrack_tiny.yaml")
SMALL = ["MODEL.DEVICE", "cpu", "SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2"]


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "train_torchvision"
    if not root.exists():
        write_tiny_vid(root / "tiny_vid", seed=0, splits=["train"], num_videos=1)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))


def train(stage: str, config: str, *opts, flags=()) -> None:
    tool = runpy.run_path(str(ROOT / "tools/train_torchvision.py"))
    tool["main"]([*flags, "--stage", stage, "--config-file", config, *SMALL, *map(str, opts)])


def test_both_stages_and_the_detector_stays_as_it_is(tmp_path):
    train("detector", DETECTOR, "OUTPUT_DIR", tmp_path / "one")
    first = tmp_path / "one/model_final.pth"
    train("tracker", TRACKER, "OUTPUT_DIR", tmp_path / "two", "MODEL.WEIGHTS", first)
    before, after = read_weights(first), read_weights(tmp_path / "two/model_final.pth")
    assert not any(key.startswith("tracker.") for key in before)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert {key for key in after if key not in before} == {
        f"tracker.{key}"
        for key in open_host(
            TRACKER, ["MODEL.WEIGHTS", str(tmp_path / "two/model_final.pth")]
        ).tracker.state_dict()
    }


def test_the_same_seed_gives_the_same_weights(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train("detector", DETECTOR, "OUTPUT_DIR", tmp_path / name, "SEED", seed)
    a, b, c = (read_weights(tmp_path / f"{name}/model_final.pth") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_going_on_with_the_other_stage_is_refused(tmp_path, capsys):
    keys = ["OUTPUT_DIR", tmp_path, "SOLVER.CHECKPOINT_PERIOD", 1]
    train("detector", DETECTOR, *keys)
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"
    with pytest.raises(SystemExit):
        train("tracker", TRACKER, *keys, flags=["--resume"])
    assert "model_0000001.pth: not weights of this architecture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "config", "opts", "said"),
    [
        ("detector", DETECTOR, ["DATASETS.TRAIN", "()"], "DATASETS.TRAIN is empty"),
        ("detector", DETECTOR, ["DATASETS.TRAIN", "('nothing',)"], "dataset nothing: expected one"),
        ("detector", DETECTOR, ["MODEL.NAME", "yolo"], "MODEL.NAME yolo: expected one of tiny_"),
        ("detector", DETECTOR, ["MODEL.NAME", "maskrcnn_resnet50_fpn"], "needs masks to train on"),
        ("detector", DETECTOR, ["SOLVER.MAX_ITERS", "1"], "SOLVER.MAX_ITERS"),
        ("detector", DETECTOR, ["OUTPUT_DIR", "/proc/nowhere"], "/proc/nowhere: cannot be written"),
        ("tracker", TRACKER, ["DATASETS.TRAIN", "('tiny_det_train',)"], "pairs need videos"),
        ("tracker", TRACKER, [], "MODEL.WEIGHTS is empty"),
        ("tracker", OTHER_HOST, [], "a config of detectron2: train with train_net.py"),
        ("detector", DETECTOR, ["SOLVER.CHECKPOINT_PERIOD", 0], "CHECKPOINT_PERIOD 0: expected at"),
    ],
)
def test_a_mistake_is_one_line(stage, config, opts, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        train(stage, config, "OUTPUT_DIR", tmp_path, *opts)
    assert stop.value.code == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert said in line
    assert not (tmp_path / "model_final.pth").exists()
