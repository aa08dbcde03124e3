"""The benchmark of inference: with weights nothing is forced; and tables worked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from d2_plugtrack.benchmarks import inference
from d2_plugtrack.benchmarks.inference import Plan, measure_inference
from d2_plugtrack.benchmarks.inference_tables import as_markdown, tracker_share
from d2_plugtrack.errors import UserError
from d2_plugtrack.video_io import VideoWriter

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ["network inputs", "backbone", "RPN", "R-CNN", "tracker", "merge", "classify"]
REST = ["Seq-Track-NMS", "the rest"]
MEMORY = {"of": "GPU memory", "detector_mb": 1590.0, "with_tracker_mb": 1650.0, "kept_mb": 12.3}


@pytest.fixture
def no_processes(monkeypatch):
    """tests/test_benchmark.py measures memory, in processes that take their time to start."""
    asked = []
    monkeypatch.setattr(inference, "measure_memory", lambda *given: asked.append(given) or MEMORY)
    return asked


def test_given_weights_and_a_video_are_measured_as_they_are(tmp_path, no_processes):
    config_file = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
    with VideoWriter(tmp_path / "clip.mp4", 10) as writer:
        for _ in range(5):
            writer.write(np.full((128, 160, 3), 90, np.uint8))
    plan = Plan((8, 8), frames=3, rounds=2, batch_size=2, boxes=None)
    plan = replace(plan, video=tmp_path / "clip.mp4", profile=tmp_path / "p.txt")
    opts = ["MODEL.WEIGHTS", str(ROOT / "demo/torchvision_tiny.pth")]
    figures = measure_inference(config_file, opts, plan)
    ((subject, frames),) = no_processes
    assert subject.boxes is None and subject.opts == opts and figures["boxes"] is None
    assert [frame.shape for frame in frames] == [(128, 160, 3)] * 3
    assert figures["memory"] == MEMORY and figures["size"] == [128, 160]
    assert list(figures["milliseconds"]) == [*COMPONENTS, *REST]
    assert all(len(v) == 2 and min(v) > 0 for v in figures["milliseconds"].values())
    rates = figures["frames_per_second"]
    names = ["detector", "+ TFD", "+ TFD + Seq-NMS", "+ TFD + Seq-Track-NMS"]
    assert list(rates) == names
    assert all(len(rates[n][m]) == 2 for n in names for m in ("streaming", "offline"))
    assert "aten::" in (tmp_path / "p.txt").read_text()


def test_boxes_are_not_forced_on_given_weights(no_processes):
    config_file = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
    opts = ["MODEL.WEIGHTS", str(ROOT / "demo/torchvision_tiny.pth")]
    plan = Plan((64, 64), frames=1, rounds=1, batch_size=None, boxes=9)
    with pytest.raises(UserError, match="--boxes 9: expected none, MODEL.WEIGHTS are given"):
        measure_inference(config_file, opts, plan)


def test_without_a_tracker_there_is_nothing_to_measure(no_processes):
    config_file = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
    plan = Plan((64, 64), frames=1, rounds=1, batch_size=None, boxes=None)
    opts = ["TEST.TFD.TRACK", "False", "TEST.SEQ_NMS.TRACK_LINKS", "False"]
    with pytest.raises(UserError, match="TEST.TFD.TRACK: expected True"):
        measure_inference(config_file, opts, plan)
    assert no_processes == []


def test_tables_beside_the_papers_figures():
    figures = {
        "config_file": "some.yaml",
        "opts": ["INPUT.MIN_SIZE_TEST", "600"],
        "device": "CPU",
        "threads": 1,
        "frames": 16,
        "size": [600, 1066],
        "boxes": 10,
        "rounds": 3,
        "batch_size": 4,
        "baseline": "DefaultPredictor",
        "milliseconds": {
            "backbone": [40.0, 42.0, 90.0],
            "RPN": [8.0, 10.0, 9.0],
            "R-CNN": [5.0, 9.0, 7.0],
            "tracker": [2.9, 1.0, 3.0],
        },
        "memory": MEMORY,
        "frames_per_second": {
            "detector": {"streaming": [10.0, 20.0, 40.0], "offline": [20.0, 20.0, 20.0]},
            "+ TFD + Seq-NMS": {"streaming": [9.0, 16.0, 40.0], "offline": [5.0, 10.0, 20.0]},
        },
    }
    # 2.9 of 42 + 9 + 7
    assert tracker_share(figures["milliseconds"]) == pytest.approx(0.05)
    lines = as_markdown(figures).split("\n")
    for line in (
        "some.yaml INPUT.MIN_SIZE_TEST 600",
        "| backbone | 43 | 42.0 (40.0 to 90.0) |",
        "| tracker | 3 | 2.9 (1.0 to 3.0) |",
        "| tracker over backbone + RPN + R-CNN | 5.0% | 5.0% |",
        "| GPU memory | paper, GB | GB |",
        "| with tracker | 1.65 | 1.65 |",
        "| more | +3.8% | +3.8% |",  # 60 of 1590
        "| kept from one frame to the next | | 0.0123 |",
        # in each round: 9 / 10, 16 / 20, 40 / 40; and 5 / 10, 10 / 20, 20 / 40
        "| + TFD + Seq-NMS | 11 (0.73) |  | 16 (0.90, 0.80 to 1.00) | 10 (0.50, 0.50 to 0.50) |",
    ):
        assert line in lines
    assert "random weights, 10 boxes a frame" in lines[1]
