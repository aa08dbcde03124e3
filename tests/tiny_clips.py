"""The tiny set's detector on torchvision, and clips of the set, for tests of what stands on top."""

from pathlib import Path

import numpy as np

from d2_plugtrack.data.tiny_scenes import render_video
from d2_plugtrack.host import Host, open_host

ROOT = Path(__file__).resolve().parents[1]
CONFIG = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
WEIGHTS = ["MODEL.WEIGHTS", str(ROOT / "demo/torchvision_tiny.pth"), "MODEL.DEVICE", "cpu"]


def tiny_host(*opts: str) -> Host:
    return open_host(CONFIG, [*WEIGHTS, *opts])


def tiny_clip(num_frames: int, seed: int = 0) -> list[np.ndarray]:
    """Frames of 160x128, BGR."""
    return [image for image, _ in render_video(np.random.default_rng(seed), num_frames)]
