"""The machine that figures are of, and the memory of a process on it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def describe_machine() -> str:
    """Processor, memory and versions, in a line."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((x.split(": ")[1] for x in lines if x.startswith("model name")), name)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{name}, {os.cpu_count()} processors, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, torch {version('torch')}"
    )


def device_name(device: "torch.device") -> str:
    """The GPU's name; "CPU" of anything else."""
    if device.type != "cuda":
        return "CPU"
    import torch

    return torch.cuda.get_device_name(device)


def peak_mb() -> float:
    """Peak memory of this process so far, in MB."""
    return memory_mib("VmHWM") * 2**20 / 1e6


def memory_mib(name: str) -> float:
    """Resident memory of this process, now (``VmRSS``) or at most (``VmHWM``); Linux only.

    Not ``getrusage``: a process starts with the peak of the one that started it there.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
