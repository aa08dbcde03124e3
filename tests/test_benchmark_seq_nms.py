"""tools/benchmark.py seq-nms at its small size, and the plain way that it measures against."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from d2_plugtrack.benchmarks.plain_seq_nms import plain_seq_nms
from d2_plugtrack.benchmarks.synthetic_videos import crowd, moving_objects, parked_car
from d2_plugtrack.core.seq_nms import seq_nms

ROOT = Path(__file__).resolve().parents[1]


def test_figures_tables_and_plot(tmp_path):
    options = [
        "--quick",
        "--reference",
        "--json",
        tmp_path / "a.json",
        "--plot",
        tmp_path / "a.png",
    ]
    result = subprocess.run(
        [sys.executable, ROOT / "tools/benchmark.py", "seq-nms", *map(str, options)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "a.json").read_text())
    assert [c["frames"] for c in figures["cases"][:5]] == [10, 10, 15, 100, 1000]
    assert all(min(case["seconds"]) > 0 for case in figures["cases"])
    assert figures["plain_seconds"] > 0
    assert figures["ratios"]["moving objects, N = 10: F = 1000 to 10"] > 1
    assert (figures["cuda"] is not None) == torch.cuda.is_available()
    assert "| moving objects | 10 | 10 | 30 |" in result.stdout
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("tracked", [False, True], ids=["seq_nms", "seq_track_nms"])
@pytest.mark.parametrize(
    ("make", "frames", "boxes"),
    [(moving_objects, 60, 10), (moving_objects, 20, 40), (parked_car, 40, 20), (crowd, 40, 12)],
)
def test_plain_implementation_gives_the_same(make, frames, boxes, tracked):
    for seed in range(3):
        video = make(frames, boxes, 4, seed)
        mapped = video.mapped_boxes if tracked else None
        result = seq_nms(video.boxes, video.scores, mapped)
        arrays = [None if v is None else [x.numpy() for x in v] for v in (*video[:2], mapped)]
        plain = plain_seq_nms(*arrays)
        for frame, old in enumerate(video.scores):
            paths = torch.from_numpy(plain.paths[frame])
            assert torch.equal(result.paths[frame], paths)
            assert torch.equal(result.scores[frame], torch.from_numpy(plain.scores[frame]).to(old))


@pytest.mark.parametrize("make", [moving_objects, parked_car, crowd])
def test_synthetic_videos(make):
    video = make(30, 10, 5)
    assert len(video.boxes) == len(video.scores) == len(video.mapped_boxes) == 30
    before = 0
    for boxes, scores, mapped in zip(*video, strict=True):
        assert boxes.shape == (len(scores), 4) and scores.shape[1] == 5
        assert mapped.shape == (before, 4)
        assert (scores > 0).all() and (scores.sum(dim=1) < 1).all()
        before = len(boxes)
    again = make(30, 10, 5)
    assert all(torch.equal(a, b) for a, b in zip(video.boxes, again.boxes, strict=True))


def test_kinds_of_videos():
    # a parked car: one path of its class through the whole video; a crowd: nothing is deleted
    car, row = parked_car(30, 10, 5), crowd(30, 10, 5)
    lengths = torch.cat(seq_nms(car.boxes, car.scores).paths).flatten()
    assert lengths[lengths >= 0].bincount().max() == 30
    assert torch.cat(seq_nms(row.boxes, row.scores, min_score=0.0).kept).all()


def test_nothing():
    assert plain_seq_nms([], []) == ([], [])
    video = moving_objects(3, 0, 2)
    assert [len(s) for s in plain_seq_nms(video.boxes, video.scores).scores] == [0, 0, 0]
