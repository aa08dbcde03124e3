"""tools/benchmark.py evaluation at its small size, and the set that it makes."""

import json
import os
import runpy
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from d2_plugtrack.benchmarks import evaluation
from d2_plugtrack.benchmarks.evaluation import (
    FULL,
    QUICK,
    SyntheticDetections,
    evaluate,
    synthetic_records,
)
from d2_plugtrack.data.tables.frame_table import FrameTable

ROOT = Path(__file__).resolve().parents[2]


class AtOnce:
    """A pool that does its work here, which saves starting processes."""

    def __init__(self, workers, mp_context):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, work, *arguments):
        future = Future()
        future.set_result(work(*arguments))
        return future


def check(figures, printed):
    assert list(figures["runs"]) == ["fgfa", "mega", "coco"]
    for run in figures["runs"].values():
        assert run["seconds"] > run["making_seconds"] > 0
        assert run["peak_mib"] >= run["before_mib"] > 10
    assert (figures["frames"], figures["objects"], figures["detections"]) == (500, 800, 30)
    assert "500 frames of 5 videos, 800 objects, 30 detections a frame, 3 classes" in printed
    assert "| mega |" in printed


def test_evaluation_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "ProcessPoolExecutor", AtOnce)
    main = runpy.run_path(str(ROOT / "tools/benchmark.py"))["main"]
    main(["evaluation", "--quick", "--json", str(tmp_path / "out.json")])
    check(json.loads((tmp_path / "out.json").read_text()), capsys.readouterr().out)


@pytest.mark.slow
def test_evaluation_is_measured_in_processes_of_its_own(tmp_path):
    result = subprocess.run(
        [sys.executable, "tools/benchmark.py", "evaluation", "--quick", "--json", tmp_path / "o"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    check(json.loads((tmp_path / "o").read_text()), result.stdout)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--frames", "100"], "--frames 100: expected at least 555"),
        (["--detections", "0"], "--detections: expected a whole number of at least 1, found '0'"),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, named):
    main = runpy.run_path(str(ROOT / "tools/benchmark.py"))["main"]
    with pytest.raises(SystemExit):
        main(["evaluation", *arguments])
    assert capsys.readouterr().err == f"error: {named}\n"


def test_the_full_size_is_imagenets():
    assert (FULL.frames, FULL.objects, FULL.videos) == (176_126, 273_505, 555)
    assert FULL.with_frames(17_613).objects == 27_351  # 27,350.6


def test_the_set():
    records = FrameTable.from_records(synthetic_records(QUICK))
    detections = SyntheticDetections(records, QUICK)
    counts = [len(record["annotations"]) for record in records]
    assert (len(records), sum(counts)) == (500, 800) and min(counts) == 0
    assert len(set(records.video_ids)) == 5
    keys = [(record["video_id"], record["frame_index"]) for record in records]
    assert list(detections) == keys and keys[0] in detections
    assert len(set(keys)) == 500 and ("video 0", 500) not in detections
    for key, count in zip(keys, counts, strict=True):
        boxes, scores, labels = detections[key]
        assert boxes.shape == (30, 4) and scores.shape == labels.shape == (30,)
        objects = np.array([a["bbox"] for a in records[keys.index(key)]["annotations"]])
        assert np.abs(boxes[:count] - objects.reshape(-1, 4)).max(initial=0) <= 5
    assert 0 < evaluate(QUICK, "fgfa")["mAP"] < 100
