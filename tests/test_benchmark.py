"""tools/benchmark.py: the small size of each measurement, from the command line."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / "tools/benchmark.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_annotations_are_measured_and_removed(tmp_path):
    options = ["--videos", 3, "--frames", 20, "--json", tmp_path / "out.json"]
    result = run("annotations", "--output", tmp_path / "work", *options)
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert (figures["videos"], figures["frames"]) == (3, 20)
    assert list(figures["runs"]) == [
        "first start",
        "second start",
        "of which looking at every file",
    ]
    assert all(r["seconds"] > 0 and r["peak_mb"] > 1 for r in figures["runs"].values())
    assert "| first start |" in result.stdout and figures["machine"] in result.stdout
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.detectron2
@pytest.mark.parametrize(
    "name", [pytest.param("detector_tiny", marks=pytest.mark.slow), "plugtrack_tiny"]
)
def test_training_of_either_stage_is_measured(tmp_path, name):
    config = f"configs/TinyVID/{name}.yaml"
    options = ["--quick", "--json", tmp_path / "out.json", "--images", 3]
    result = run("training", "--config-file", config, *options, "SOLVER.ACCUMULATE", 3)
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert (figures["config_file"], figures["images"], figures["size"]) == (config, 3, [64, 96])
    assert len(figures["seconds"]) == 2 and min(figures["seconds"]) > 0
    assert figures["peak_mb"] > 1 and f"| {config} |" in result.stdout


@pytest.mark.slow  # two processes of thousands of frames; core/test_spool.py has the law
def test_memory_of_a_video_is_measured(tmp_path):
    options = ["--quick", "--memory-mb", 1, "--json", tmp_path / "out.json"]
    result = run("memory", "--output", tmp_path / "spool", *options)
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    with_cuts, parked = figures["runs"].values()
    assert 0 < with_cuts["spooled"] < parked["spooled"]
    assert all(r["growth_mib"] > 0 and r["objects"] > 0 for r in (with_cuts, parked))
    assert "| a parked car in every frame |" in result.stdout
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.slow  # three processes that load everything; its parts: benchmarks/test_inference.py
@pytest.mark.detectron2
def test_inference_is_measured(tmp_path):
    config = "configs/TinyVID/plugtrack_tiny.yaml"
    options = ["--quick", "--json", tmp_path / "out.json", "--boxes", 5]
    result = run("inference", "--config-file", config, *options, "INPUT.MIN_SIZE_TEST", 96)
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert (figures["config_file"], figures["size"], figures["boxes"]) == (config, [96, 128], 5)
    assert figures["opts"] == ["INPUT.MIN_SIZE_TEST", "96"]
    assert figures["baseline"] == "DefaultPredictor"
    assert all(min(ms) > 0 for ms in figures["milliseconds"].values())
    memory = figures["memory"]
    assert memory["detector_mb"] > 100 and memory["with_tracker_mb"] > 100
    # at most a whole batch's map of 48 channels at stride 4 of 96x128, and change
    assert 0 < memory["kept_mb"] < 0.5
    assert f"\n{config} INPUT.MIN_SIZE_TEST 96\n" in result.stdout


@pytest.mark.detectron2
def test_a_config_without_a_tracker_is_one_line(capsys):
    main = runpy.run_path(str(ROOT / "tools/benchmark.py"))["main"]
    with pytest.raises(SystemExit) as stop:
        main(["inference", "--config-file", str(ROOT / "configs/TinyVID/detector_tiny.yaml")])
    message = capsys.readouterr().err
    assert stop.value.code == 2
    assert message == "error: MODEL.META_ARCHITECTURE GeneralizedRCNN: expected PlugTrackRCNN\n"


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "benchmark_vid").mkdir()
    result = run("annotations", "--output", tmp_path, "--quick")
    assert result.returncode == 2
    assert (
        result.stderr
        == f"error: {tmp_path}/benchmark_vid: expected nothing here, found something\n"
    )
    assert (tmp_path / "benchmark_vid").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--batch-size", "0"], "--batch-size: expected a whole number of at least 1, found '0'"),
        (["--boxes", "51", "--quick"], "--boxes 51: expected 1 to 50 of this detector"),
        (["--input", "nowhere.mp4"], "nowhere.mp4: expected a file or a folder, found none"),
        (["MODEL.WEIGHT", "w.pth"], "MODEL.WEIGHT"),
        (["MODEL.WEIGHTS", "w.pth"], "w.pth: no such file"),
    ],
)
def test_mistakes_about_inference_are_one_line(capsys, arguments, named):
    main = runpy.run_path(str(ROOT / "tools/benchmark.py"))["main"]
    config_file = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
    with pytest.raises(SystemExit) as stop:
        main(["inference", "--config-file", config_file, "--size", "32", "32", *arguments])
    message = capsys.readouterr().err
    assert stop.value.code == 2 and message.startswith("error: ") and named in message
    assert message.count("\n") == 1
