"""Where one of several processes ends before its time, all end, and what happened is said once."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import torch

from d2_plugtrack.data.tiny_vid import write_tiny_vid

ROOT = Path(__file__).resolve().parents[1]
MARK = "PLUGTRACK_TEST_OF_PROCESSES"  # in the environment of all of them
PATIENCE = 60  # seconds from the end of one process to the end of all: what is promised
START = 300  # seconds in which a process must have come to where it dies

pytestmark = [
    pytest.mark.detectron2,
    pytest.mark.skipif(torch.cuda.is_available(), reason="two processes want two GPUs"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A video for each of two processes, and two to train on."""
    root = tmp_path_factory.mktemp("datasets")
    write_tiny_vid(root / "tiny_vid", seed=0, splits=["train", "test"], num_videos=2)
    return root


class Run:
    """A run of dying_processes.py, and all processes that come of it."""

    def __init__(self, data: Path, folder: Path, work: str, how: str, rank: int, *more_keys):
        self.file, self.mark = folder / "dies", uuid.uuid4().hex
        config = ROOT / "configs/TinyVID/plugtrack_tiny.yaml"
        flags = ["--config-file", config, "--num-gpus", 2]
        flags += ["--eval-only"] if work == "evaluation" else []
        keys = ["MODEL.WEIGHTS", ROOT / "demo/plugtrack_tiny.pth", "MODEL.DEVICE", "cpu"]
        keys += ["OUTPUT_DIR", folder / "output", "DATALOADER.NUM_WORKERS", 0]
        keys += ["SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", 5, "SEED", 1, *more_keys]
        script = ROOT / "tests/dying_processes.py"
        command = [sys.executable, script, work, how, rank, self.file, *flags, *keys]
        environment = {
            **os.environ,
            **{"DETECTRON2_DATASETS": str(data), "PYTHONPATH": str(ROOT)},
            **{MARK: self.mark, "OMP_NUM_THREADS": "1"},
        }
        self.process = subprocess.Popen(
            [*map(str, command)],
            **{"cwd": ROOT, "env": environment, "text": True, "stderr": subprocess.PIPE},
            stdout=subprocess.DEVNULL,
        )

    def pids(self) -> list[int]:
        """Of the processes that are alive."""
        mark, found = f"{MARK}={self.mark}".encode(), []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:  # of somebody else, or gone
                continue
        return found

    def wait_for_death(self) -> None:
        end = time.monotonic() + START
        while not self.file.exists():
            assert time.monotonic() < end and self.process.poll() is None, self.end()[1]
            time.sleep(0.1)

    def end(self) -> tuple[int, str]:
        """Exit status and what was said, when nothing of it is left."""
        end = time.monotonic() + PATIENCE
        _, said = self.process.communicate(timeout=PATIENCE)
        while self.pids():
            assert time.monotonic() < end, f"processes {self.pids()} stay behind"
            time.sleep(0.1)
        return self.process.returncode, said


@pytest.fixture
def launch(data, tmp_path):
    """``launch(work, how, rank, *keys)``; nothing of it outlives the test."""
    runs = []

    def launch(*how) -> Run:
        runs.append(Run(data, tmp_path, *how))
        return runs[-1]

    yield launch
    for run in runs:
        for pid in run.pids():
            os.kill(pid, signal.SIGKILL)
        run.process.communicate()


@pytest.fixture
def start(launch):
    """``start(work, how, rank)``: a run of which a process dies now."""

    def start(*how) -> Run:
        run = launch(*how)
        run.wait_for_death()
        return run

    return start


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("work", "rank"),
    [("evaluation", 1), slow("evaluation", 0), slow("training", 0), slow("training", 1)],
)
def test_a_killed_process_ends_the_others_and_is_named(start, work, rank):
    status, said = start(work, "kill", rank).end()
    assert status == 137
    last = [line for line in said.splitlines() if line.startswith("error: ")]
    assert last == [f"error: process {rank} of 2 was ended by SIGKILL; the others were ended too"]
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("work", ["evaluation", "training"])
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_process_ends_the_others_and_is_said(start, work, rank):
    status, said = start(work, "fail", rank).end()
    assert status == 1
    assert f"Process {rank} terminated with the following error" in said
    assert said.count("RuntimeError: of the process that failed") == 1
    assert "Connection closed" not in said


@pytest.mark.slow
@pytest.mark.parametrize("work", ["evaluation", "training"])
def test_a_mistake_that_one_process_finds_is_said_once(start, work):
    status, said = start(work, "mistake", 1).end()
    assert status == 2
    assert said.count("error: image.png: expected a whole image") == 1
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_mistake_that_all_processes_find_is_said_once(launch):
    run = launch("evaluation", "kill", 1, "MODEL.PLUGTRACK.CONV_DIM", 4)
    _, said = run.process.communicate(timeout=START)
    assert run.process.returncode == 2 and not run.file.exists()
    assert said.count("error: ") == 1 and "not weights of this architecture" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("work", ["evaluation", "training"])
@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_command(start, work, signal_):
    run = start(work, "hang", 1)
    assert len(run.pids()) >= 3
    run.process.send_signal(signal_)
    assert run.end()[0] == -signal_
