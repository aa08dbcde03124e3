"""The machine that figures are of, and the memory of a process on it."""

import os
import platform
import resource
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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3  # of KiB, on Linux
