"""Several processes of one group, forked from the test: nothing is imported or built again."""

import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from detectron2.utils import comm

PATIENCE = 120  # seconds, of processes that wait for one another: ends a hang


def run_forked(count: int, function: Callable[..., object], *args) -> list[int | None]:
    """Call a function in ``count`` new processes; their exit codes, None of one that hangs.

    One process is in no group. Every one computes on one thread.
    """
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        given = count, Path(folder) / "meeting", function, args
        processes = [context.Process(target=_run, args=(rank, *given)) for rank in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(PATIENCE)
        codes = [process.exitcode for process in processes]
        for process in processes:
            process.kill()
    return codes


def _run(rank: int, count: int, meeting: Path, function: Callable, args: tuple) -> None:
    torch.set_num_threads(1)
    try:
        if count > 1:
            dist.init_process_group(
                "gloo",
                init_method=f"file://{meeting}",
                rank=rank,
                world_size=count,
                timeout=timedelta(seconds=PATIENCE),
            )
            comm.create_local_process_group(count)
        function(*args)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # the test's own exit handlers are not this process's
