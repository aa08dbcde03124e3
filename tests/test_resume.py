"""Processes that are killed at random moments: no checkpoint is lost, and no bit of a training.

Where the moments fall differs between machines and runs; the laws hold for all of them.
"""

import random
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.engine import launch

from d2_plugtrack.checkpoint_file import read_checkpoint
from tests import resume_runs

PATIENCE = 120  # seconds, of what takes one or two


def wait_for(connection, process):
    """What a process says; an error where it says nothing."""
    assert connection.poll(PATIENCE), "a process hangs"
    try:
        return connection.recv()
    except EOFError:
        process.join()
        raise AssertionError(f"a process stopped with exit status {process.exitcode}") from None


def kill(process, connection) -> None:
    process.kill()
    process.join()
    connection.close()


# ---- checkpoints ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_writers_that_are_killed_leave_only_whole_checkpoints(tmp_path, kills):
    rng, unfinished, last = random.Random(0), 0, -1
    for _ in range(kills):
        process, connection = resume_runs.start(resume_runs.write_checkpoints, tmp_path)
        first, left = wait_for(connection, process)
        assert first > last  # what it found was whole, and not older than what was there
        assert not left
        time.sleep(rng.uniform(0, 0.1))
        kill(process, connection)
        unfinished += len(list(tmp_path.glob(".*.part")))
        for path in tmp_path.glob("model_*.pth"):
            content = read_checkpoint(path)
            assert (content["model"]["weight"] == content["iteration"]).all()
        named = tmp_path / "last_checkpoint"
        if named.exists():
            last = read_checkpoint(tmp_path / named.read_text())["iteration"]
    print(f"{kills} kills, {last + 1} checkpoints, {unfinished} files unfinished")
    assert last > 0
    assert kills < 100 or unfinished > 0  # some of the moments were those of writing


# ---- trainings -----------------------------------------------------------------------------------


def assert_identical(found: object, expected: object, where: str = "") -> None:
    """Bit for bit, all the way down."""
    assert type(found) is type(expected), where
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype and torch.equal(found, expected), where
    elif isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            assert_identical(found[key], value, f"{where}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for index, value in enumerate(expected):
            assert_identical(found[index], value, f"{where}/{index}")
    else:
        assert found == expected, where


def run(folder: Path, data, stage: str, kills: list[float], *opts) -> list[int]:
    """Train to the end, killed after so many seconds of training each time; where runs began."""
    begun = []
    for delay in [*kills, None]:
        process, connection = resume_runs.start(resume_runs.train, folder, data, stage, opts)
        begun.append(wait_for(connection, process))
        if delay is None or connection.poll(delay):
            assert wait_for(connection, process) == "finished"
            process.join()
            connection.close()
            break
        kill(process, connection)
    return begun


def outcome(folder: Path) -> list[dict]:
    """What a training of eight iterations ends with: weights, and all that it would go on with."""
    return [read_checkpoint(folder / f"model_{name}.pth") for name in ("final", "0000007")]


DETECTRON2, TORCHVISION = ["images", "pairs"], ["detector", "tracker"]


@pytest.fixture(scope="module", params=[*DETECTRON2, *TORCHVISION])
def whole(request, tmp_path_factory):
    """A training that nobody disturbed: what it ended with, and how long it took."""
    stage, folder = request.param, tmp_path_factory.mktemp(request.param)
    data = resume_runs.write_data(folder, stage)
    process, connection = resume_runs.start(resume_runs.write_start, folder, data, stage)
    wait_for(connection, process)
    process.join()
    began = time.perf_counter()
    run(folder / "whole", data, stage, [])
    seconds = time.perf_counter() - began
    final = outcome(folder / "whole")
    return SimpleNamespace(stage=stage, folder=folder, data=data, seconds=seconds, final=final)


def test_the_training_is_one_that_could_go_wrong(whole):
    """Something was learned, momentum and batch norm's statistics among it, and is finite."""
    start = torch.load(whole.folder / "start.pth")["model"]
    model, last = whole.final[0]["model"], whole.final[1]
    moved = {key for key, value in start.items() if not torch.equal(value, model[key])}
    assert bool(moved) == (whole.stage in ("images", "detector"))
    assert all(v.isfinite().all() for v in model.values())
    counters = [v for key, v in model.items() if key.endswith("num_batches_tracked") and v]
    assert (whole.stage == "detector") or {v.item() for v in counters} == {8}
    if whole.stage in TORCHVISION:
        optimizer = last[whole.stage]["parts"]["optimizer"]
    else:
        optimizer = last["trainer"]["_trainer"]["optimizer"]
        assert last["trainer"]["hooks"]["Replay"]["stream"]["groups of records"] == 2
    state = next(iter(optimizer["state"].values()))
    assert ("momentum_buffer" if whole.stage == "pairs" else "exp_avg_sq") in state


@pytest.mark.parametrize("whole", ["pairs"], indirect=True)
def test_another_seed_is_another_training(whole):
    folder = whole.folder / "seed"
    run(folder, whole.data, whole.stage, [], "SEED", 4, "SOLVER.MAX_ITER", 1)
    other = read_checkpoint(folder / "model_final.pth")
    first = read_checkpoint(whole.folder / "whole/model_0000001.pth")
    assert not torch.equal(*(next(reversed(f["model"].values())) for f in (other, first)))


@pytest.mark.parametrize("runs", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_training_that_was_killed_ends_with_the_same_bits(whole, runs):
    rng, killed, went_on = random.Random(1), 0, 0
    for number in range(runs):
        folder = whole.folder / f"killed_{runs}_{number}"
        kills = rng.randint(1, 3) if runs > 2 else 1
        delays = [rng.uniform(0, 0.8 * whole.seconds) for _ in range(kills)]
        workers = "DATALOADER.NUM_WORKERS", (0, 2)[number % 2]
        begun = run(folder, whole.data, whole.stage, delays, *workers)
        killed, went_on = killed + len(begun) - 1, went_on + sum(first > 0 for first in begun)
        assert_identical(outcome(folder), whole.final)
    print(f"{whole.stage}: {runs} runs, {killed} kills, {went_on} times gone on from a checkpoint")
    assert runs <= 2 or (killed and went_on)


def test_one_that_was_killed_before_its_last_file_gets_it(whole):
    folder = whole.folder / "almost"
    folder.mkdir()
    (folder / "model_0000007.pth").write_bytes(
        (whole.folder / "whole/model_0000007.pth").read_bytes()
    )
    (folder / "last_checkpoint").write_text("model_0000007.pth")
    assert run(folder, whole.data, whole.stage, []) == [8]
    assert_identical(outcome(folder), whole.final)


@pytest.mark.slow
@pytest.mark.parametrize("whole", DETECTRON2, indirect=True)
def test_two_processes_go_on_with_the_same_bits(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "start.pth").write_bytes((whole.folder / "start.pth").read_bytes())
    given = tmp_path, whole.data, whole.stage
    launch(resume_runs.train_twice, 2, dist_url="auto", args=given, timeout=timedelta(minutes=5))
    expected = outcome(tmp_path / "whole")
    assert_identical(outcome(tmp_path / "rest"), expected)
    assert not torch.equal(*(list(o[0]["model"].values())[-1] for o in (expected, whole.final)))


# At a moment that is chosen, whatever the machine, and with workers where there were none.
def test_a_damaged_checkpoint_costs_its_iterations_and_no_bit(whole):
    folder = whole.folder / "damaged"
    folder.mkdir()
    for last in (3, 5):
        content = (whole.folder / f"whole/model_{last:07d}.pth").read_bytes()
        content = content if last == 3 else content[: len(content) // 2]
        (folder / f"model_{last:07d}.pth").write_bytes(content)
    (folder / "last_checkpoint").write_text("model_0000005.pth")
    begun = run(folder, whole.data, whole.stage, [], "DATALOADER.NUM_WORKERS", 2)
    assert begun == [4]
    said = (folder / "log.txt").read_text()
    assert said.count("going on from") == 1 and f"{folder}/model_0000005.pth: " in said
    assert_identical(outcome(folder), whole.final)


@pytest.mark.parametrize("whole", ["pairs"], indirect=True)
def test_a_seed_that_was_drawn_is_the_checkpoints(whole):
    folder = whole.folder / "drawn"
    drawn = ["SEED", -1]
    run(folder, whole.data, whole.stage, [], *drawn, "SOLVER.MAX_ITER", 4)
    before = read_checkpoint(folder / "model_0000001.pth")
    seed = before["trainer"]["hooks"]["Replay"]["seed"]
    assert seed >= 0
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    expected = read_checkpoint(folder / "model_final.pth")
    assert run(folder, whole.data, whole.stage, [], *drawn, "SOLVER.MAX_ITER", 4) == [2]
    assert_identical(read_checkpoint(folder / "model_final.pth"), expected)
    assert f"has {seed}, and goes on with that" in (folder / "log.txt").read_text()


@pytest.mark.parametrize("whole", ["pairs"], indirect=True)
def test_another_batch_is_said_aloud(whole):
    folder = whole.folder / "batch"
    run(folder, whole.data, whole.stage, [], "SOLVER.MAX_ITER", 2)
    other = ["SOLVER.IMS_PER_BATCH", 1, "SOLVER.MAX_ITER", 3]
    assert run(folder, whole.data, whole.stage, [], *other) == [2]
    said = (folder / "log.txt").read_text()
    assert "items in a batch 2 then, 1 now; it will not end as it would have" in said
    assert np.isfinite(
        next(iter(read_checkpoint(folder / "model_final.pth")["model"].values()))
    ).all()
