"""Memory of image detection and of video detection, each in a process of its own (Table 4).

Peaks are of the GPU's memory where there is one, weights included, and otherwise of the whole
process, libraries included. What video detection keeps between two frames is counted apart: every
tensor that Python knows after two frames and did not before the video.
"""

import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn

from ..predictor import VideoPredictor
from .machine import peak_mb
from .reference import Frames
from .subject import Subject, open_stock, open_subject

FRAMES = 4  # enough for every buffer that grows


def measure_memory(subject: Subject, frames: Frames) -> dict[str, float | str]:
    """Peak MB with and without the tracker, and MB kept between frames with it."""
    some = [frames[i % len(frames)] for i in range(FRAMES)]
    of, without, _ = _in_fresh_process(_detect, subject, some)
    _, with_tracker, kept = _in_fresh_process(_track, subject, some)
    return {"of": of, "detector_mb": without, "with_tracker_mb": with_tracker, "kept_mb": kept}


def _in_fresh_process(work: Callable[[Subject, Frames], Any], subject: Subject, frames: Frames):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, subject, frames).result()


def _detect(subject: Subject, frames: Frames) -> tuple[str, float, float]:
    reference = open_stock(subject)
    for frame in frames:
        reference.predict(frame)
    return *_peak_mb(reference.model), 0.0


def _track(subject: Subject, frames: Frames) -> tuple[str, float, float]:
    host, model = open_subject(subject)
    predictor = VideoPredictor.from_host(host)
    for frame in frames:
        predictor.step(frame)
    peak = _peak_mb(model)
    predictor.finish()
    before = _tensors()
    for frame in frames[:2]:
        predictor.step(frame)
    return *peak, sum(size for place, size in _tensors().items() if place not in before) / 1e6


def _tensors() -> dict[int, int]:
    """Address and bytes of the memory of every tensor."""
    gc.collect()
    # not isinstance(): subclasses that torch.compile leaves behind have no memory, and lazy modules
    # of torch warn when they are asked for their class
    tensors = [o for o in gc.get_objects() if type(o) in (Tensor, nn.Parameter)]
    storages = [t.untyped_storage() for t in tensors if t.layout == torch.strided]
    return {s.data_ptr(): s.nbytes() for s in storages}


def _peak_mb(model: nn.Module) -> tuple[str, float]:
    device = next(model.parameters()).device
    if device.type == "cuda":
        return "GPU memory", torch.cuda.max_memory_allocated(device) / 1e6
    return "memory of the process", peak_mb()
