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
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..build import needs_tracker
from ..errors import UserError
from ..host import Host
from ..hosts import torchvision as torchvision_host
from ..outputs import write_text
from ..predictor import VideoPredictor, usual_batch_size
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


class Pass(NamedTuple):
    """Goes through a video once."""

    run: Callable[[Frames], object]
    start: Callable[[Frames], object] = lambda frames: None  # before, and not counted


Passes = dict[str, Pass]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    size: tuple[int, int]  # (height, width) of synthetic frames
    frames: int  # of a pass
    rounds: int  # that count, after one that does not
    batch_size: int | None  # of the offline passes; None: what is usual on the device
    boxes: int | None  # of a frame, where they are forced, BOXES where None
    video: Path | None = None  # instead of synthetic frames
    profile: Path | None = None  # where torch.profiler's table goes


BOXES = 10
QUICK = {"size": (96, 128), "frames": 4, "rounds": 2, "batch_size": 2}


def measure_inference(config_file: str, opts: Sequence[str], plan: Plan) -> dict[str, Any]:
    """Measure a config, with the weights that ``opts`` name or with random ones.

    Returns:
        The figures, and tables of them as ``markdown``.

    Raises:
        UserError: a mistake in the config, more boxes than its detector can be made to find, or
            boxes to be forced on given weights.
    """
    frames = _load_frames(plan)
    with _weights(config_file, opts) as (all_opts, are_random):
        if plan.boxes is not None and not are_random:
            raise UserError(f"--boxes {plan.boxes}: expected none, MODEL.WEIGHTS are given")
        subject = Subject(config_file, all_opts, (plan.boxes or BOXES) if are_random else None)
        host, model = open_subject(subject)
        if not needs_tracker(host.cfg):
            raise UserError("TEST.TFD.ENABLED, TEST.TFD.TRACK: expected True, found a False")
        reference = open_stock(subject)
        device = next(model.parameters()).device
        if device.type == "cuda":  # as those do who want speed; both sides, convolutions have it
            torch.set_float32_matmul_precision("high")
        batch_size = plan.batch_size or usual_batch_size(device)
        passes = [_streaming(reference, host), _offline(reference, host, batch_size)]
        memory = measure_memory(subject, frames)
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
        "batch_size": batch_size,
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
    turns = [
        (count, *turn)  # there and back, so that no setting always comes after the same one
        for count in range(rounds + 1)
        for turn in list(product(rates, modes))[:: -1 if count % 2 else 1]
    ]
    for count, name, mode in tqdm(turns, "passes", disable=None):
        rate = _rate(modes[mode][name], frames, device)
        if count > 0:
            rates[name][mode].append(rate)
    return rates


def _rate(one: Pass, frames: Frames, device: torch.device) -> float:
    one.start(frames)
    synchronize(device)
    start = time.perf_counter()
    one.run(frames)
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
        (torchvision_host, "to_image", "network inputs"),
        (*parts.preprocess, "network inputs"),
        (detector, "extract", "backbone"),
        (parts.rpn, "forward", "RPN"),
        (detector, "detect", "R-CNN"),
        (pipeline.tracker, "reduced_maps", "tracker"),
        (pipeline.tracker, "remember", "tracker"),
        (pipeline.tracker, "follow", "tracker"),
        (pipeline, "step", "merge"),
        (detector, "classify", "classify"),
        (predictor, "_keep", "Seq-Track-NMS"),
        (predictor, "step_batch", "the rest"),
        (predictor, "finish", "the rest"),
    ]
    if getattr(detector, "segment", None):
        watched.append((detector, "_segment", "masks"))
    milliseconds = {name: [] for *_, name in watched}
    with Stopwatch(next(model.parameters()).device) as watch:
        for owner, method, name in watched:
            watch.watch(owner, method, name)
        for _ in range(rounds):
            _step_first(predictor, frames)
            watch.take_milliseconds()
            _track(predictor, frames, 1)
            for name, spent in watch.take_milliseconds().items():
                milliseconds[name].append(spent / len(frames))
    return milliseconds


def _streaming(reference: Reference, host: Host) -> Passes:
    def detect(frames: Frames) -> None:
        for frame in frames:
            reference.predict(frame)

    return {"detector": Pass(detect), **_video_passes(host, 1)}


def _offline(reference: Reference, host: Host, batch_size: int) -> Passes:
    def detect(frames: Frames) -> None:
        for batch in batches(frames, batch_size):
            reference.predict_batch(batch)

    return {"detector": Pass(detect), **_video_passes(host, batch_size)}


def _video_passes(host: Host, batch_size: int) -> Passes:
    passes = {}
    for name in RESCORING:
        predictor = _predictor(host, name)
        # a video's first frame has nothing to track
        start = partial(_step_first, predictor)
        passes[name] = Pass(partial(_track, predictor, batch_size=batch_size), start)
    return passes


def _step_first(predictor: VideoPredictor, frames: Frames) -> None:
    predictor.reset()
    predictor.step(frames[0])


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
    device = getattr(predictor.detector, "device", torch.device("cpu"))
    order = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
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
