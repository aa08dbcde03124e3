"""One evaluation by any number of processes, or by several runs of which all but the last died.

All of them leave the same bytes. The detector and the tracker are the shipped ones, on a few
videos of the tiny set, one of which has a single frame.
"""

import json
import os
import signal
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2_plugtrack.data.imagenet.records import load_vid_videos
from d2_plugtrack.data.tiny_vid import TINY_CLASSES, write_tiny_vid
from d2_plugtrack.plugin import load_config, load_model
from d2_plugtrack.results.run_folder import RunFolder
from d2_plugtrack.results.video_file import VideoWriter
from d2_plugtrack.training import Trainer
from tests.forked_processes import run_forked

ROOT = Path(__file__).resolve().parents[1]
NAME = "t_many_processes"
LENGTHS = [6, 1, 9, 1]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Four videos of the tiny test set, cut short."""
    root = tmp_path_factory.mktemp("datasets") / "tiny_vid"
    write_tiny_vid(root, seed=0, splits=["test"], num_videos=len(LENGTHS))
    records = [*load_vid_videos(root, root / "ImageSets/VID_test_videos.txt", TINY_CLASSES)]
    videos = list(dict.fromkeys(r["video_id"] for r in records))
    length_of = dict(zip(videos, LENGTHS, strict=True))
    short = [r for r in records if r["frame_index"] < length_of[r["video_id"]]]
    DatasetCatalog.register(NAME, lambda: short)
    MetadataCatalog.get(NAME).set(thing_classes=list(TINY_CLASSES.values()), evaluator_type="vid")
    yield
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.fixture(scope="module")
def cfg(dataset):
    weights = ["MODEL.WEIGHTS", str(ROOT / "demo/plugtrack_tiny.pth"), "MODEL.DEVICE", "cpu"]
    keys = ["DATASETS.TEST", f"('{NAME}',)", "DATASETS.TRAIN", "()", "DATALOADER.NUM_WORKERS", "0"]
    return load_config(str(ROOT / "configs/TinyVID/plugtrack_tiny.yaml"), [*weights, *keys])


@pytest.fixture(scope="module")
def model(cfg):
    return load_model(cfg)


@pytest.fixture
def evaluate(cfg, model):
    """``evaluate(folder, processes)``: exit codes; the results are in the folder."""

    def evaluate(folder: Path, processes: int, before=lambda: None) -> list[int | None]:
        mine = cfg.clone()
        mine.OUTPUT_DIR = str(folder)

        def run():
            before()
            Trainer.test(mine, model)

        return run_forked(processes, run)

    return evaluate


def files_of(folder: Path) -> dict[str, bytes]:
    """All but the config's text, which has the folder's name."""
    found = {p.name: p.read_bytes() for p in (folder / "inference" / NAME).iterdir()}
    run = json.loads(found.pop("run.json"))
    return {**found, "fingerprint": run["fingerprint"], "videos": run["videos"]}


@pytest.fixture(scope="module")
def of_one_process(cfg, model, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("one")
    mine = cfg.clone()
    mine.OUTPUT_DIR = str(folder)
    assert run_forked(1, Trainer.test, mine, model) == [0]
    return files_of(folder)


def test_the_run_has_something_to_say(of_one_process):
    assert len([name for name in of_one_process if name.endswith(".npz")]) == len(LENGTHS)
    assert json.loads(of_one_process["results.json"])["vid"]["mAP"] > 20


# five: more processes than videos
SLOW = [pytest.param(count, marks=pytest.mark.slow) for count in (3, 5)]


@pytest.mark.parametrize("processes", [2, *SLOW])
def test_any_number_of_processes_leave_the_same_bytes(
    evaluate, of_one_process, tmp_path, processes
):
    assert evaluate(tmp_path, processes) == [0] * processes
    assert files_of(tmp_path) == of_one_process


def die_in(owner, name: str, calls: int):
    """Have this process killed when a function has been called so many times, and is again."""

    def before():
        function = getattr(owner, name)

        def function_or_death(*args, **kwargs):
            nonlocal calls
            calls -= 1
            if calls < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        setattr(owner, name, function_or_death)

    return before


# frames that are written when the kill comes, and videos that are finished by then
KILLS = [(0, 0), (6, 1), (7, 2), (16, 3)]


@pytest.mark.parametrize(
    ("frames", "kept", "processes"),
    [
        (10, 2, 1),
        *(pytest.param(f, k, p, marks=pytest.mark.slow) for f, k in KILLS for p in (1, 2, 5)),
    ],
)
def test_a_killed_evaluation_goes_on(evaluate, of_one_process, tmp_path, frames, kept, processes):
    assert evaluate(tmp_path, 1, die_in(VideoWriter, "append", frames)) == [-signal.SIGKILL]
    folder = tmp_path / "inference" / NAME
    assert len(RunFolder(folder).finished()) == kept
    assert len(list(folder.glob(".*.part"))) == 1 and not (folder / "results.json").exists()
    untouched = {p: p.stat().st_mtime_ns for p in folder.glob("*.npz")}
    assert evaluate(tmp_path, processes) == [0] * processes
    assert files_of(tmp_path) == of_one_process
    assert {p: p.stat().st_mtime_ns for p in untouched} == untouched


# what puts files in their places, makes sure of them, and removes those of another run
STEPS = [(os, "replace"), (os, "fsync"), (Path, "unlink")]


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
def test_an_evaluation_killed_at_any_step_goes_on(evaluate, of_one_process, tmp_path, owner, name):
    deaths = 0
    for calls in range(100):
        folder = tmp_path / str(calls)
        assert evaluate(folder, 1) == [0]
        run = folder / "inference" / NAME / "run.json"
        run.write_text(run.read_text().replace('"weights": "', '"weights": "other '))
        codes = evaluate(folder, 1, die_in(owner, name, calls))
        if codes == [0]:
            break
        assert codes == [-signal.SIGKILL]
        deaths += 1
        assert evaluate(folder, 1) == [0]
        assert files_of(folder) == of_one_process
    assert deaths >= 4
