"""A process that reads with workers, killed while they wait to hand over what they have read."""

import multiprocessing
import os
import signal
import time

import torch
from torch.utils.data import DataLoader, Dataset

from d2_plugtrack.data.workers import end_with_parent


class Large(Dataset):
    """Items of more than a pipe holds, with the process that made them."""

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> list[int]:
        return [os.getpid()] * 200_000


def read(pids) -> None:
    loader = DataLoader(
        Large(), batch_size=None, collate_fn=list, num_workers=2, worker_init_fn=end_with_parent
    )
    batches = iter(loader)
    pids.send([next(batches)[0] for _ in range(2)])
    time.sleep(60)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"  # ended, not yet collected
    except FileNotFoundError:
        return False


def test_workers_of_a_killed_process_end():
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=read, args=(sending,))
    process.start()
    workers = receiving.recv()
    assert len(set(workers)) == 2 and all(map(is_running, workers))
    process.kill()
    process.join()
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in workers if is_running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
