"""Video detection against the image detector it is made of: the paper's Tables 3, 4 and 5.

Any config of either framework. Time of each component and frames a second, frame by frame and in
batches, in rounds that go from one setting to the next, so that a machine that slows down slows all
of them; memory in processes of their own. The image detector is its framework's own
(``reference.py``). Without weights, random ones are made (``random_weights.py``), proposals and
classes are forced (``forced_boxes.py``), on both sides alike; with weights nothing is. Reading and
decoding frames is left out, making network inputs of them is not.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..host import Host
from ..outputs import write_text
from ..predictor import VideoPredictor
from ..prefetch import batches
from ..video_io import open_frames
from .inference_memory import measure_memory
from .inference_tables import as_markdown
from .machine import device_name
from .random_weights import write_random_weights
from .reference import Frames, Reference, find_parts
from .stopwatch import Stopwatch, synchronize
from .subject import Subject, open_stock, open_subject

RESCORING = {  # the rows of Table 5 after the detector's
    "+ TFD": ["TEST.SEQ_NMS.ENABLED", "False"],
    "+ TFD + Seq-NMS": ["TEST.SEQ_NMS.ENABLED", "True", "TEST.SEQ_NMS.TRACK_LINKS", "False"],
    "+ TFD + Seq-Track-NMS": ["TEST.SEQ_NMS.ENABLED", "True", "TEST.SEQ_NMS.TRACK_LINKS", "True"],
}
Passes = dict[str, Callable[[Frames], object]]  # each goes through a video once


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    size: tuple[int, int]  # (height, width) of synthetic frames
    frames: int  # of a pass
    rounds: int  # that count, after one that does not
    batch_size: int  # of the offline passes
    boxes: int  # of a frame, where they are forced
    video: Path | None = None  # instead of synthetic frames
    profile: Path | None = None  # where torch.profiler's table goes


QUICK = {"size": (96, 128), "frames": 4, "rounds": 2, "batch_size": 2}


def measure_inference(config_file: str, opts: Sequence[str], plan: Plan) -> dict[str, Any]:
    """Measure a config, with the weights that ``opts`` name or with random ones.

    Returns:
        The figures, and tables of them as ``markdown``.

    Raises:
        UserError: a mistake in the config, or more boxes than its detector can be made to find.
    """
    frames = _load_frames(plan)
    with _weights(config_file, opts) as (all_opts, are_random):
        subject = Subject(config_file, all_opts, plan.boxes if are_random else None)
        host, model = open_subject(subject)
        reference = open_stock(subject)
        memory = measure_memory(subject, frames)
        device = next(model.parameters()).device
        passes = [_streaming(reference, host), _offline(reference, host, plan.batch_size)]
        rates = measure_rates(*passes, frames, plan.rounds, device)
        predictor = _predictor(host, "+ TFD + Seq-Track-NMS")
        milliseconds = measure_components(predictor, model, frames, plan.rounds)
        if plan.profile:
            _write_profile(predictor, frames[:4], plan.profile)
    figures = {
        "config_file": config_file,
        "opts": list(opts),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "size": list(frames[0].shape[:2]),
        "frames": len(frames),
        "rounds": plan.rounds,
        "batch_size": plan.batch_size,
        "boxes": subject.boxes,
        "baseline": reference.name,
        "milliseconds": milliseconds,
        "memory": memory,
        "frames_per_second": rates,
    }
    return {**figures, "markdown": as_markdown(figures)}


def measure_rates(
    streaming: Passes, offline: Passes, frames: Frames, rounds: int, device: torch.device
) -> dict[str, dict[str, list[float]]]:
    """Frames a second of each setting, one figure a round, after a round that does not count."""
    modes = {"streaming": streaming, "offline": offline}
    rates = {name: {mode: [] for mode in modes} for name in streaming}
    turns = list(product(range(rounds + 1), rates, modes))
    for count, name, mode in tqdm(turns, "passes", disable=None):
        rate = _rate(modes[mode][name], frames, device)
        if count > 0:
            rates[name][mode].append(rate)
    return rates


def _rate(once: Callable[[Frames], object], frames: Frames, device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    once(frames)
    synchronize(device)
    return len(frames) / (time.perf_counter() - start)


def measure_components(
    predictor: VideoPredictor, model: nn.Module, frames: Frames, rounds: int
) -> dict[str, list[float]]:
    """Milliseconds a frame of each part of video detection, frame by frame, a figure a round.

    What makes network inputs, links boxes over time or only hands things over has a row too, so
    that the rows add up to the whole.
    """
    detector, pipeline, parts = predictor.detector, predictor.pipeline, find_parts(model)
    watched = [
        (predictor, "prepare", "network inputs"),
        (*parts.preprocess, "network inputs"),
        (detector, "extract", "backbone"),
        (parts.rpn, "forward", "RPN"),
        (detector, "detect", "R-CNN"),
        (pipeline.tracker, "reduced_maps", "tracker"),
        (pipeline.tracker, "remember", "tracker"),
        (pipeline.tracker, "follow", "tracker"),
        (pipeline, "step", "merge"),
        (detector, "classify", "classify"),
        (predictor, "step_batch", "Seq-Track-NMS, and the rest"),
        (predictor, "finish", "Seq-Track-NMS, and the rest"),
    ]
    milliseconds = {name: [] for *_, name in watched}
    with Stopwatch(next(model.parameters()).device) as watch:
        for owner, method, name in watched:
            watch.watch(owner, method, name)
        for _ in range(rounds):
            predictor.step(frames[0])  # a video's first frame, which has nothing to track
            watch.take_milliseconds()
            _track(predictor, frames, 1)
            for name, spent in watch.take_milliseconds().items():
                milliseconds[name].append(spent / len(frames))
    return milliseconds


def _streaming(reference: Reference, host: Host) -> Passes:
    def detect(frames: Frames) -> None:
        for frame in frames:
            reference.predict(frame)

    return {"detector": detect, **_video_passes(host, 1)}


def _offline(reference: Reference, host: Host, batch_size: int) -> Passes:
    def detect(frames: Frames) -> None:
        for batch in batches(frames, batch_size):
            reference.predict_batch(batch)

    return {"detector": detect, **_video_passes(host, batch_size)}


def _video_passes(host: Host, batch_size: int) -> Passes:
    return {
        name: partial(_track, _predictor(host, name), batch_size=batch_size) for name in RESCORING
    }


def _predictor(host: Host, setting: str) -> VideoPredictor:
    cfg = host.cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(RESCORING[setting])
    return VideoPredictor.from_host(replace(host, cfg=cfg))


def _track(predictor: VideoPredictor, frames: Frames, batch_size: int) -> None:
    for batch in batches(frames, batch_size):
        predictor.step_batch(batch)
    predictor.finish()


def _write_profile(predictor: VideoPredictor, frames: Frames, path: Path) -> None:
    """What PyTorch's operators take, those that take the most first."""
    _track(predictor, frames, 1)
    with torch.profiler.profile() as profiler:
        _track(predictor, frames, 1)
    on_cuda = torch.cuda.is_available()
    order = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    write_text(path, profiler.key_averages().table(sort_by=order, row_limit=40))


@contextmanager
def _weights(config_file: str, opts: Sequence[str]) -> Iterator[tuple[list[str], bool]]:
    """``KEY VALUE`` pairs with weights, and whether these are random: where ``opts`` name none."""
    pairs = dict(zip(opts[::2], opts[1::2], strict=False))
    if pairs.get("MODEL.WEIGHTS"):
        yield list(opts), False
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        write_random_weights(config_file, opts, path)
        yield [*opts, "MODEL.WEIGHTS", str(path)], True


def _load_frames(plan: Plan) -> list[np.ndarray]:
    """The first frames of a video, or noise."""
    if plan.video is not None:
        return list(islice(open_frames(plan.video), plan.frames))
    random = np.random.default_rng(0)
    return list(random.integers(0, 256, (plan.frames, *plan.size, 3), dtype=np.uint8))
