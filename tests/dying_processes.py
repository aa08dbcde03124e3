"""train_net.py, one of whose processes ends before its time, for test_dying_processes.py.

    dying_processes.py WORK HOW RANK FILE [what train_net.py takes]

FILE is made just before process RANK dies. It is a script because the processes that detectron2
starts must be able to import what they run.
"""

import os
import signal
import sys
import time
from argparse import Namespace
from pathlib import Path

import torch.distributed as dist

import train_net
from d2_plugtrack.errors import UserError
from d2_plugtrack.results.video_file import VideoWriter
from d2_plugtrack.train_step import StepTrainer

WORKS = {  # where it dies: at the end of a video, when the others wait already; in the third step
    "evaluation": (VideoWriter, "finish", 1),
    "training": (StepTrainer, "run_step", 3),
}
whole_main = train_net.main


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise RuntimeError("of the process that failed")


def mistake() -> None:
    raise UserError("image.png: expected a whole image")


def hang() -> None:
    time.sleep(1000)


HOW = {"kill": kill, "fail": fail, "mistake": mistake, "hang": hang}


def main(args: Namespace) -> object:
    work, how, rank, file = args.dying
    if dist.get_rank() == int(rank):
        die_in(*WORKS[work], HOW[how], Path(file))
    return whole_main(args)


def die_in(owner: type, name: str, times: int, how, file: Path) -> None:
    """Have a method end this process when it is called for the ``times``-th time."""
    method, calls = getattr(owner, name), 0

    def dying(*args):
        nonlocal calls
        calls += 1
        if calls == times:
            time.sleep(3)
            file.touch()
            how()
        return method(*args)

    setattr(owner, name, dying)


def run(dying: list[str], argv: list[str]) -> None:
    parse_args = train_net.parse_args

    def parse_with_dying(argv):
        args = parse_args(argv)
        args.dying = dying
        return args

    train_net.main, train_net.parse_args = main, parse_with_dying
    train_net.run(argv)


if __name__ == "__main__":
    run(sys.argv[1:5], sys.argv[5:])
