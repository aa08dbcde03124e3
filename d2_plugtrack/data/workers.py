"""Loader workers that do not outlive the process that they read for."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def end_with_parent(worker: int) -> None:
    """For a DataLoader's ``worker_init_fn``: where the parent is killed, so is the worker.

    It would else wait for ever to hand over what it has read: the pipe's other end is its own, too.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
