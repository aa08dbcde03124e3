"""The same video on the same machine: the same bits, again and again, and in another process.

The tiny detectors with their trained weights, from pixels to re-scored objects. Another number of
threads or frames at once is another order of additions, and other last bits: each is compared with
itself. That training gives the same weights is in the tests of training.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from d2_plugtrack.predictor import VideoPredictor

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ["torchvision_tiny", pytest.param("plugtrack_tiny", marks=pytest.mark.detectron2)]


def open_predictor(name: str, device: str = "cpu") -> VideoPredictor:
    weights = ["MODEL.WEIGHTS", str(ROOT / f"demo/{name}.pth"), "MODEL.DEVICE", device]
    return VideoPredictor.from_config_file(str(ROOT / f"configs/TinyVID/{name}.yaml"), weights)


def moving_boxes(num_frames: int) -> list[np.ndarray]:
    """Two plain boxes that cross each other before noise."""
    background = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    frames = []
    for t in range(num_frames):
        frame = background.copy()
        frame[30:60, 3 * t : 3 * t + 30] = (40, 200, 90)
        frame[10:40, 100 - 4 * t : 125 - 4 * t] = (200, 30, 40)
        frames.append(frame)
    return frames


def fingerprint(predictor: VideoPredictor, batch_size: int) -> str:
    """Of every bit of what is said of a video, before and after re-scoring."""
    digest, num_boxes, num_tracks = hashlib.sha256(), 0, -1
    for result in predictor.results(moving_boxes(8), batch_size):
        num_boxes += len(result.boxes)
        for field in result[:5]:
            digest.update(field.contiguous().cpu().numpy().tobytes())
    for objects in predictor.finish():
        num_tracks = max(num_tracks, *objects.track_ids.tolist())
        for field in objects[:4]:
            digest.update(field.contiguous().numpy().tobytes())
    assert num_boxes > 50 and num_tracks > 10
    return digest.hexdigest()


@pytest.fixture
def set_threads():
    threads = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(threads)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", HOSTS)
def test_again_and_by_another_predictor(set_threads, name, threads, batch_size):
    set_threads(threads)
    predictor = open_predictor(name)
    first = fingerprint(predictor, batch_size)
    assert fingerprint(predictor, batch_size) == first
    assert fingerprint(open_predictor(name), batch_size) == first


@pytest.mark.parametrize(
    ("name", "hash_seed"),
    [
        ("torchvision_tiny", "1"),
        pytest.param("torchvision_tiny", "2", marks=pytest.mark.slow),
        pytest.param("plugtrack_tiny", "1", marks=[pytest.mark.slow, pytest.mark.detectron2]),
        pytest.param("plugtrack_tiny", "2", marks=[pytest.mark.slow, pytest.mark.detectron2]),
    ],
)
def test_in_another_process(set_threads, name, hash_seed):
    """With other hashes of strings, on which the order of a set depends."""
    set_threads(1)
    code = f"""import torch
from tests.test_determinism import fingerprint, open_predictor
torch.set_num_threads(1)
print(fingerprint(open_predictor({name!r}), 2))"""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        **{"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "check": False},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split()[-1] == fingerprint(open_predictor(name), 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", HOSTS)
def test_on_a_gpu(name):
    predictor = open_predictor(name, "cuda")
    assert len({fingerprint(predictor, 2) for _ in range(3)}) == 1
