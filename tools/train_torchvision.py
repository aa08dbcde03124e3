#!/usr/bin/env python3
"""Train a torchvision detector, or the tracker on one: both stages, without detectron2.

Each leaves OUTPUT_DIR/model_final.pth, and checkpoints beside it from which --resume goes on: a
training that was stopped ends with the same bits as one that was not.

Examples:
    python tools/train_torchvision.py --stage detector \\
        --config-file configs/TinyVID/torchvision_detector_tiny.yaml OUTPUT_DIR output/detector
    python tools/train_torchvision.py --stage tracker \\
        --config-file configs/TinyVID/torchvision_tiny.yaml \\
        MODEL.WEIGHTS output/detector/model_final.pth OUTPUT_DIR output/tracker
"""

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from d2_plugtrack.build import build_region_sampling
from d2_plugtrack.checkpoint_file import read_checkpoint
from d2_plugtrack.checkpoint_folder import clear_unfinished, find_checkpoint, save_checkpoint
from d2_plugtrack.commands.arguments import CommandParser, add_config_file, add_opts
from d2_plugtrack.config_file import read_host
from d2_plugtrack.data.bad_images import BadImages
from d2_plugtrack.data.catalog import check_order_of_classes, find_dataset
from d2_plugtrack.data.imagenet.records import group_by_video
from d2_plugtrack.data.labeled_frames import PairDrawing, RandomFrames, RandomPairs
from d2_plugtrack.data.tables.frame_table import joined
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.host import load_torchvision_config, open_torchvision
from d2_plugtrack.hosts.torchvision import detector_losses
from d2_plugtrack.hosts.torchvision_models import build_torchvision_model
from d2_plugtrack.outputs import ensure_writable
from d2_plugtrack.progress import Progress
from d2_plugtrack.random_state import chosen_seed
from d2_plugtrack.tracker_training import load_batches, optimize, tracker_losses
from d2_plugtrack.weights import ensure_weights, joined_state, load_joined, write_weights

if TYPE_CHECKING:
    from yacs.config import CfgNode

LOG_PERIOD = 100  # iterations


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = load_config(args.config_file, args.opts)
    check_datasets(cfg, args.stage)
    if args.stage == "tracker" and not args.resume:
        ensure_weights(cfg.MODEL.WEIGHTS)
    output = Path(cfg.OUTPUT_DIR) / "model_final.pth"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"OUTPUT_DIR {cfg.OUTPUT_DIR}: cannot be written: {error}") from error
    ensure_writable(output)
    if cfg.SOLVER.CHECKPOINT_PERIOD < 1:
        raise UserError(
            f"SOLVER.CHECKPOINT_PERIOD {cfg.SOLVER.CHECKPOINT_PERIOD}: expected at least 1"
        )
    clear_unfinished(cfg.OUTPUT_DIR)
    start = find_checkpoint(cfg.OUTPUT_DIR) if args.resume else None
    cfg.SEED = chosen_seed(cfg.SEED)
    torch.manual_seed(cfg.SEED)
    state = (train_detector if args.stage == "detector" else train_tracker)(cfg, start)
    write_weights(output, state)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def load_config(config_file: str, opts: Sequence[str]) -> "CfgNode":
    """A config of torchvision; one that is none and does not say so is sent to train_net.py."""
    try:
        return load_torchvision_config(config_file, opts)
    except UserError as error:
        if read_host(config_file) == "torchvision":
            raise
        raise UserError(
            f"{error}; without HOST: torchvision it is a config of detectron2: train with "
            "train_net.py"
        ) from error


def train_detector(cfg, start: Path | None) -> dict[str, torch.Tensor]:
    """Stage one, on single frames and stills, from nothing or from a checkpoint."""
    sizes = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
    model = build_torchvision_model(cfg.MODEL.NAME, cfg.MODEL.NUM_CLASSES, *sizes)
    if model.roi_heads.has_mask():
        raise UserError(
            f"MODEL.NAME {cfg.MODEL.NAME}: needs masks to train on, which these datasets do not "
            "have; train it elsewhere and name its weights for the tracker's stage"
        )
    if start is not None:
        load_joined(start, model, torch.nn.Module(), tracker_required=True)
    model.to(cfg.MODEL.DEVICE).train()
    records = joined(load_datasets(cfg))
    frames = RandomFrames(records, cfg.SEED, BadImages(cfg.DATASETS.STRICT))
    training = Training(model, lambda batch: detector_losses(model, batch), frames, "detector")
    return run(cfg, training, lambda: joined_state(model, None), start)


def train_tracker(cfg, start: Path | None) -> dict[str, torch.Tensor]:
    """Stage two, on pairs of frames, the detector frozen."""
    if start is not None:
        cfg.MODEL.WEIGHTS = str(start)
    host = open_torchvision(cfg, tracker_required=start is not None)
    keys = cfg.INPUT.PAIR
    drawing = PairDrawing(keys.MIN_GAP, keys.MAX_GAP, keys.REVERSE_PROB)
    videos = [video for records in load_datasets(cfg) for video in group_by_video(records)]
    pairs = RandomPairs(videos, drawing, cfg.SEED, BadImages(cfg.DATASETS.STRICT))
    sampling = build_region_sampling(cfg)
    tracker = host.tracker.train()
    training = Training(
        tracker,
        lambda batch: tracker_losses(host.detector, tracker, batch, sampling),
        pairs,
        "tracker",
    )
    return run(cfg, training, lambda: joined_state(host.detector.model, tracker), start)


def check_datasets(cfg, stage: str) -> None:
    """Refuse, before anything is built, datasets that a stage cannot be trained on."""
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty: expected names of datasets")
    if stage == "detector":
        check_classes(cfg)
        return
    for name in cfg.DATASETS.TRAIN:
        if not find_dataset(name).has_videos:
            raise UserError(f"DATASETS.TRAIN {name}: pairs need videos, not stills")


def check_classes(cfg) -> None:
    """Refuse datasets of other classes than the detector's, as far as names and numbers tell."""
    names = {name: find_dataset(name).class_names for name in cfg.DATASETS.TRAIN}
    for name, classes in names.items():
        if len(classes) != cfg.MODEL.NUM_CLASSES:
            raise UserError(
                f"MODEL.NUM_CLASSES {cfg.MODEL.NUM_CLASSES}: dataset {name} has {len(classes)} "
                "classes"
            )
        for other, other_classes in names.items():
            check_order_of_classes(name, classes, other, other_classes)


def load_datasets(cfg) -> list[Sequence[dict]]:
    """The records of each of ``DATASETS.TRAIN``."""
    entries = [find_dataset(name) for name in cfg.DATASETS.TRAIN]
    return [entry.load_records(strict=cfg.DATASETS.STRICT) for entry in entries]


class Training(NamedTuple):
    """What a stage trains, and on what."""

    trained: torch.nn.Module
    compute_losses: Callable[[Any], Mapping[str, torch.Tensor]]
    dataset: RandomFrames | RandomPairs
    stage: str


def run(
    cfg, training: Training, state: Callable[[], dict[str, torch.Tensor]], start: Path | None
) -> dict[str, torch.Tensor]:
    """Go through ``SOLVER.MAX_ITER`` steps, saying now and then how it goes; the weights.

    Args:
        state: gives the weights as they are.
        start: the checkpoint that they are from.
    """
    solver, dataset, stage = cfg.SOLVER, training.dataset, training.stage
    settings = {"items in a batch": solver.IMS_PER_BATCH, "records": dataset.num_records}
    progress = Progress(cfg.SEED, settings)
    if start is not None:
        progress.load_state_dict(saved_progress(start, stage))
        dataset.seed = progress.seed
    workers = cfg.DATALOADER.NUM_WORKERS
    steps = optimize(
        training.compute_losses,
        training.trained,
        load_batches(dataset, solver.IMS_PER_BATCH, workers, progress.step),
        max_iter=solver.MAX_ITER,
        base_lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        warmup_iters=solver.WARMUP_ITERS,
        clip_value=solver.CLIP_VALUE,
        description=stage,
        progress=progress,
    )
    for losses in steps:
        step = progress.step
        if step % LOG_PERIOD == 0:
            values = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            logging.info("%s, step %d of %d: %s", stage, step, solver.MAX_ITER, values)
        if step % solver.CHECKPOINT_PERIOD == 0:
            content = {"model": state(), stage: progress.state_dict()}
            save_checkpoint(cfg.OUTPUT_DIR, step - 1, content)
    dataset.bad_images.log_summary()
    return state()


def saved_progress(start: Path, stage: str) -> Mapping[str, Any]:
    """Where a checkpoint of the same stage says that its training stands."""
    content = read_checkpoint(start)
    if stage not in content:
        raise UserError(f"{start}: expected a checkpoint of this tool's --stage {stage}")
    logging.info("going on from %s", start)
    return content[stage]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    add_config_file(parser)
    parser.add_argument(
        "--stage", required=True, choices=("detector", "tracker"), help="what is trained"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR"
    )
    add_opts(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
