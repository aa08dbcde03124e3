"""Training a tracker on any frozen detector, and the optimizer's loop for it; no framework needed.

Shape letters: N pairs. detectron2's detectors are trained by ``train_net.py`` with detectron2's own
trainer; the losses are the same.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from .core.boxes import scale_boxes
from .core.detector import VideoDetector
from .core.finite import (
    Snapshot,
    Watch,
    bad_gradients,
    refuse_bad_true_boxes,
    summarize,
    training_buffers,
    watch,
)
from .core.pair_losses import Objects, pair_losses
from .core.tracker import TrackerHead
from .data.labeled_frames import LabeledFrame
from .data.training_stream import ConsecutiveBatches
from .data.workers import end_with_parent
from .progress import Progress

Pair = tuple[LabeledFrame, LabeledFrame]


def tracker_losses(
    detector: VideoDetector,
    tracker: TrackerHead,
    pairs: Sequence[Pair],
    region_sampling: Mapping[str, Any],
    prepare: Callable[[Any], Any] = lambda frame: frame,
) -> dict[str, Tensor]:
    """``loss_track_box`` and ``loss_track_iou`` of N pairs on a detector that takes BGR frames.

    Args:
        pairs: as from ``data.labeled_frames.RandomPairs``.
        region_sampling: keyword arguments of ``core.sampling.sample_regions``.
        prepare: makes of a BGR frame what ``detector.extract`` takes.

    Raises:
        FloatingPointError: a true box that is not finite.
    """
    frames = [prev for prev, _ in pairs] + [curr for _, curr in pairs]
    refuse_bad_true_boxes([frame.boxes for frame in frames])
    with torch.no_grad():
        features = detector.extract([prepare(frame.image) for frame in frames])
        maps = tracker.tracking_map(features.maps, features.image_sizes)
        watch("tracking map", maps, lambda i: f"image {i}")
    sizes = zip(features.original_sizes, features.image_sizes, strict=True)
    objects = [
        Objects(
            scale_boxes(frame.boxes.to(maps.device), original, size),
            frame.track_ids.to(maps.device),
        )
        for frame, (original, size) in zip(frames, sizes, strict=True)
    ]
    count = len(pairs)
    prev_maps, curr_maps = maps.split(count)
    return pair_losses(
        tracker, prev_maps, curr_maps, objects[:count], objects[count:], region_sampling
    )


def load_batches(
    dataset: Dataset, batch_size: int, num_workers: int = 0, start: int = 0
) -> DataLoader:
    """Lists of ``batch_size`` items of an endless dataset, whose items have positions from 0 on.

    Args:
        start: the first batch that is wanted.
    """
    return DataLoader(
        dataset,
        batch_sampler=ConsecutiveBatches(batch_size, start),
        num_workers=num_workers,
        worker_init_fn=end_with_parent,
        collate_fn=list,
        generator=torch.Generator(),  # its own: beginning to read draws from nobody else's
    )


def optimize(
    compute_losses: Callable[[Any], Mapping[str, Tensor]],
    trained: nn.Module,
    batches: Iterable[Any],
    *,
    max_iter: int,
    base_lr: float,
    weight_decay: float,
    warmup_iters: int,
    clip_value: float = math.inf,
    description: str = "training",
    progress: Progress | None = None,
) -> Iterator[dict[str, float]]:
    """Train with AdamW: a linear warm-up, then a cosine down to nothing; a progress bar.

    Args:
        compute_losses: a batch to losses by name, whose sum is minimised.
        trained: all of its parameters are.
        batches: at least ``max_iter`` of them, less the steps that have been made.
        clip_value: largest norm of the gradient.
        description: of the progress bar.
        progress: where the training stands, kept up to date; None at its beginning, without a seed.

    Yields:
        The losses of every iteration that is still to be made.

    Raises:
        FloatingPointError: something that is not finite; the iteration and the tensor are named.
            Weights, optimizer and batch norm are as before the step.
    """
    named, before = list(trained.named_parameters()), Snapshot(training_buffers(trained))
    optimizer = torch.optim.AdamW(trained.parameters(), lr=base_lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min((step + 1) / max(warmup_iters, 1), 1.0)
            * 0.5
            * (1 + math.cos(math.pi * step / max(max_iter, 1)))
        ),
    )
    progress = Progress() if progress is None else progress
    progress.begin(optimizer=optimizer, schedule=schedule)
    made, batches = progress.step, islice(batches, max(max_iter - progress.step, 0))
    bar = tqdm(batches, description, max_iter, unit="step", disable=None, initial=made)
    for step, batch in enumerate(bar, made):
        progress.seed_step()
        before.save()
        optimizer.zero_grad()
        try:
            values = _backward(compute_losses, batch, named, clip_value)
        except FloatingPointError as error:
            before.restore()
            raise FloatingPointError(f"{description}, step {step}: {error}") from None
        optimizer.step()
        schedule.step()
        progress.step = step + 1
        bar.set_postfix(loss=f"{sum(values.values()):.3f}", refresh=False)
        yield values


def _backward(
    compute_losses: Callable[[Any], Mapping[str, Tensor]],
    batch: Any,
    named: Sequence[tuple[str, nn.Parameter]],
    clip_value: float,
) -> dict[str, float]:
    """The losses of a batch, and their gradients left in the parameters, clipped.

    Raises:
        FloatingPointError: what is not finite.
    """
    with Watch() as seen:
        losses = compute_losses(batch)
    values = {name: loss.item() for name, loss in losses.items()}
    problems = seen.names() if seen.flag(torch.device("cpu")) else []
    problems += [f"{name} is {v}" for name, v in values.items() if not math.isfinite(v)]
    if not problems:
        sum(losses.values()).backward()
        parameters = [p for _, p in named]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not norm.isfinite():
            problems = bad_gradients(named) or [f"norm of the gradient is {norm.item()}"]
        clip_grads_with_norm_(parameters, clip_value, norm)
    if problems:
        raise FloatingPointError(summarize(problems))
    return values
