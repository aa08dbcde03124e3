"""Memory of the video path over a long video, with cuts and without a single one.

Shape letters: B boxes of a frame, K classes. Frame results are made up as they are needed and go
through ``VideoPredictor`` as a detector's do; there is no network. The objects of the finished
video are gone through once. Each video has a process of its own, whose growth is its peak resident
memory less what it had before the first frame.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm
from yacs.config import CfgNode

from ..build import build_rescoring, build_spooling
from ..config import add_torchvision_config
from ..core.detector import FrameFeatures, Proposals
from ..core.rescoring import Rescoring
from ..core.spool import Spooling
from ..core.tfd import FrameResult
from ..errors import UserError
from ..predictor import VideoPredictor
from .machine import memory_mib

FULL = 108_000, 100, 30  # frames (an hour at 30 a second), boxes of a frame, classes
QUICK = 2_000, 20, 3
SCENE = 300  # frames
WIDTH, HEIGHT = 1280, 720
VIDEOS = {"a cut every 300 frames": False, "a parked car in every frame": True}


class Video(NamedTuple):
    """A synthetic one."""

    frames: int
    boxes: int  # B
    classes: int  # K
    parked: bool  # one object stays all along, and no frame is empty


def measure_memory(
    frames: int, boxes: int, classes: int, memory_mb: float | None, folder: Path
) -> dict[str, Any]:
    """Send both videos through a predictor, each in a process of its own.

    Args:
        frames, boxes, classes: of a video.
        memory_mb: instead of ``TEST.SEQ_NMS.MEMORY_MB``; None leaves it.
        folder: of the temporary files.

    Returns:
        The figures, and a table of them as ``markdown``.

    Raises:
        UserError: a number that cannot be, or a folder that cannot be written.
    """
    for name, value in (("--frames", frames), ("--boxes", boxes), ("--classes", classes)):
        if value < 1:
            raise UserError(f"{name} {value}: expected at least 1")
    cfg = CfgNode()
    add_torchvision_config(cfg)  # any host's: the keys of re-scoring are the same
    cfg.OUTPUT_DIR = str(folder)
    if memory_mb is not None:
        cfg.TEST.SEQ_NMS.MEMORY_MB = memory_mb
    how = build_rescoring(cfg), build_spooling(cfg)
    runs = {}
    for name, parked in VIDEOS.items():
        work = partial(send, Video(frames, boxes, classes, parked), *how)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            runs[name] = pool.submit(work).result()
    lines = [
        f"{frames} frames of {boxes} boxes, {classes} classes, "
        f"{cfg.TEST.SEQ_NMS.MEMORY_MB:g} MB kept in memory",
        "",
        "| video | growth, MiB | seconds | frames/s | s after the last frame | GB on disk |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {name} | {r['growth_mib']:.0f} | {r['seconds']:.0f} | "
            f"{frames / r['seconds']:.0f} | {r['finish_seconds']:.1f} | {r['spooled'] / 1e9:.2f} |"
            for name, r in runs.items()
        ),
    ]
    return {
        "markdown": "\n".join(lines),
        "frames": frames,
        "boxes": boxes,
        "classes": classes,
        "memory_mb": cfg.TEST.SEQ_NMS.MEMORY_MB,
        "runs": runs,
    }


def send(video: Video, rescoring: Rescoring, spooling: Spooling) -> dict[str, float]:
    """Runs in the fresh process: the video through a predictor, and once through its objects."""
    pipeline = SimpleNamespace(tracker=None, reset=lambda: None, step=lambda frame: next(results))
    names = [str(label) for label in range(video.classes)]
    predictor = VideoPredictor(_Nothing(video.classes), pipeline, rescoring, names, None, spooling)
    results, image = synthetic(video), np.zeros((1, 1, 3), np.uint8)
    before, start = memory_mib("VmRSS"), time.perf_counter()
    for _ in tqdm(range(video.frames), "frames", unit="frame", disable=None):
        predictor.step(image)
    end = time.perf_counter()
    objects = predictor.finish()
    finish_seconds = time.perf_counter() - end
    found = sum(len(frame.boxes) for frame in objects)
    return {
        "growth_mib": memory_mib("VmHWM") - before,
        "before_mib": before,
        "seconds": time.perf_counter() - start,
        "finish_seconds": finish_seconds,
        "spooled": predictor.rescorer.bytes_spooled + objects.bytes_on_disk,
        "objects": found,
    }


class _Nothing:
    """A detector of which the pipeline asks nothing."""

    def __init__(self, num_classes: int):
        self.num_classes = num_classes

    def extract(self, frames: list[np.ndarray]) -> FrameFeatures:
        sizes = [(HEIGHT, WIDTH)] * len(frames)
        return FrameFeatures({"map": torch.zeros(len(frames), 1, 1, 1)}, sizes, sizes)

    def detect(self, features: FrameFeatures) -> list[Proposals]:
        empty = Proposals(torch.zeros(0, 1, 4), torch.zeros(0, self.num_classes))
        return [empty] * len(features.image_sizes)


def synthetic(video: Video) -> Iterator[FrameResult]:
    """Objects that move evenly, two boxes each, through scenes of 300 frames.

    A scene ends with an empty frame, unless a car is parked there all along.
    """
    rng = np.random.default_rng(0)
    boxes = np.zeros((0, 4), np.float32)
    for number in range(video.frames):
        mapped = boxes
        if number % SCENE == 0:
            scene = _Scene(rng, video)
        elif len(boxes):
            mapped = boxes + scene.steps + rng.normal(0, 1, boxes.shape).astype(np.float32)
        is_end = number % SCENE == SCENE - 1 and not video.parked
        boxes, scores = scene.frame(rng, number % SCENE)
        if is_end:
            boxes, scores = boxes[:0], scores[:0]
        nothing = torch.full((len(boxes),), -1)
        yield FrameResult(
            torch.from_numpy(boxes),
            torch.from_numpy(scores),
            nothing.float(),
            torch.from_numpy(mapped),
            nothing,
            (HEIGHT, WIDTH),
        )


class _Scene:
    """Where objects start, how they move, and what they look like."""

    def __init__(self, rng: np.random.Generator, video: Video):
        size = (video.boxes, 1)
        self.owners = np.arange(video.boxes) // 2  # two boxes an object
        centers = rng.uniform((0, 0), (WIDTH, HEIGHT), (video.boxes, 2))[self.owners]
        halves = rng.uniform(20, 60, (video.boxes, 2))[self.owners]
        steps = rng.uniform(-1, 1, (video.boxes, 2))[self.owners]
        if video.parked:
            centers[:2], halves[:2], steps[:2] = (640, 360), 50, 0
        centers += rng.normal(0, 8, (video.boxes, 2))
        self.boxes = np.concatenate([centers - halves, centers + halves], 1).astype(np.float32)
        self.steps = np.tile(steps, 2).astype(np.float32)
        self.logits = np.zeros((video.boxes, video.classes), np.float32)
        classes = rng.integers(video.classes, size=size)
        np.put_along_axis(self.logits, classes, rng.uniform(0, 6, size).astype(np.float32), 1)

    def frame(self, rng: np.random.Generator, time: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (B, 4) and scores (B, K) of one frame."""
        noise = rng.standard_normal(self.logits.shape, np.float32)
        scores = np.exp(self.logits + noise)
        boxes = self.boxes + time * self.steps
        boxes += rng.standard_normal(boxes.shape, np.float32)
        return boxes, scores / (1 + scores.sum(axis=1, keepdims=True))
