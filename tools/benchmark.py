#!/usr/bin/env python3
"""Measure on this machine; each subcommand prints Markdown, and writes JSON with --json.

    benchmark.py annotations --output /tmp/benchmark --json annotations.json
    benchmark.py training --config-file configs/ImageNetVID/faster_rcnn_hrnet_w32.yaml \\
        --size 600 1000 --images 2 SOLVER.AMP.ENABLED True
    benchmark.py inference --config-file configs/COCO/plugtrack_faster_rcnn_R_50_FPN.yaml \\
        --boxes 10 INPUT.MIN_SIZE_TEST 600

annotations: a synthetic data set of ImageNet VID's size and layout (2.6 million small files,
about 6 GB, removed afterwards) is loaded in fresh processes, first without and then with the
annotation cache.
training: steps of a config's own trainer, either stage, on random images with random weights.
memory: a synthetic video of an hour goes through the video path, with cuts and without a single
one: growth of the process's memory, and time.
seq-nms: re-scoring synthetic videos of 200 to 20,000 frames; --plot draws seconds against frames,
--reference runs the plain implementation too.
evaluation: mAP of synthetic detections on a set of ImageNet VID validation's size, under each
protocol and in all ranges: seconds and peak memory.
inference: the paper's Tables 3, 4 and 5 of any config: time of each component, memory and frames a
second of video detection beside those of the image detector it is made of. Without MODEL.WEIGHTS
among the KEY VALUE pairs, weights are random and realistic numbers of boxes are forced.

--quick is for trying: the same at a small size.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from d2_plugtrack.benchmarks.annotations import FULL, QUICK, measure_annotations
from d2_plugtrack.benchmarks.machine import describe_machine
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.outputs import ensure_writable, write_json
from d2_plugtrack.speed_options import add_speed_arguments, speed_opts


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.json:
        ensure_writable(args.json)
    result = args.measure(args)
    print(f"\n{describe_machine()}\n\n{result.pop('markdown')}")
    if args.json:
        write_json(args.json, {"machine": describe_machine(), **result})


def annotations(args: argparse.Namespace) -> dict:
    """See ``d2_plugtrack.benchmarks.annotations``."""
    return measure_annotations(args.output, *(QUICK if args.quick else (args.videos, args.frames)))


def training(args: argparse.Namespace) -> dict:
    """See ``d2_plugtrack.benchmarks.training``."""
    from d2_plugtrack.benchmarks.training import measure_training  # needs detectron2
    from d2_plugtrack.plugin import load_config

    size, steps = ((64, 96), 2) if args.quick else (tuple(args.size), args.steps)
    for name, value in (("--size", min(size)), ("--images", args.images), ("--steps", steps)):
        if value < 1:
            raise UserError(f"{name} {value}: expected at least 1")
    cfg = load_config(args.config_file, args.opts)
    return measure_training(cfg, args.config_file, size, args.images, steps)


def memory(args: argparse.Namespace) -> dict:
    """See ``d2_plugtrack.benchmarks.memory``."""
    from d2_plugtrack.benchmarks.memory import QUICK as SMALL
    from d2_plugtrack.benchmarks.memory import measure_memory

    frames, boxes, classes = SMALL if args.quick else (args.frames, args.boxes, args.classes)
    return measure_memory(frames, boxes, classes, args.memory_mb, args.output)


def seq_nms(args: argparse.Namespace) -> dict:
    """See ``d2_plugtrack.benchmarks.seq_nms``."""
    from d2_plugtrack.benchmarks.seq_nms import FULL, QUICK, measure_seq_nms

    if args.plot:
        ensure_writable(args.plot, ".png")
    return measure_seq_nms(QUICK if args.quick else FULL, args.reference, args.plot)


def evaluation(args: argparse.Namespace) -> dict:
    """See ``d2_plugtrack.benchmarks.evaluation``."""
    from d2_plugtrack.benchmarks.evaluation import FULL, QUICK, measure_evaluation

    size = FULL._replace(detections=args.detections).with_frames(args.frames)
    return measure_evaluation(QUICK if args.quick else size)


def inference(args: argparse.Namespace) -> dict:
    """See ``d2_plugtrack.benchmarks.inference``."""
    from d2_plugtrack.benchmarks.inference import QUICK as SMALL
    from d2_plugtrack.benchmarks.inference import Plan, measure_inference

    counts = {name: getattr(args, name) for name in ("frames", "rounds", "batch_size")}
    for name, value in (("size", min(args.size)), *counts.items()):
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: expected at least 1")
    if args.profile:
        ensure_writable(args.profile)
    plan = Plan(
        tuple(args.size), **counts, boxes=args.boxes, video=args.input, profile=args.profile
    )
    if args.quick:
        plan = replace(plan, **SMALL)
    return measure_inference(args.config_file, [*speed_opts(args), *args.opts], plan)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("annotations", help="loading a data set, with the cache")
    command.set_defaults(measure=annotations)
    command.add_argument("--output", type=Path, required=True, metavar="DIR")
    command.add_argument("--videos", type=int, default=FULL[0])
    command.add_argument("--frames", type=int, default=FULL[1])

    command = commands.add_parser("training", help="a step of either stage, on random images")
    command.set_defaults(measure=training)
    command.add_argument("--config-file", required=True, metavar="FILE")
    command.add_argument("--size", type=int, nargs=2, default=(600, 1000), metavar=("H", "W"))
    command.add_argument("--images", type=int, default=2, help="or pairs, of a step")
    command.add_argument("--steps", type=int, default=5, help="that count, after one that does not")
    command.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")

    command = commands.add_parser("memory", help="the video path over a long video")
    command.set_defaults(measure=memory)
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="to spool to")
    command.add_argument("--frames", type=int, default=108_000, help="an hour at 30 a second")
    command.add_argument("--boxes", type=int, default=100, help="of a frame")
    command.add_argument("--classes", type=int, default=30)
    command.add_argument("--memory-mb", type=int, help="instead of TEST.SEQ_NMS.MEMORY_MB")

    command = commands.add_parser("seq-nms", help="re-scoring a video")
    command.set_defaults(measure=seq_nms)
    command.add_argument("--plot", type=Path, metavar="FILE", help="seconds against frames, as PNG")
    command.add_argument("--reference", action="store_true", help="and the plain implementation")

    command = commands.add_parser("evaluation", help="mAP over a whole data set")
    command.set_defaults(measure=evaluation)
    command.add_argument("--frames", type=int, default=176_126, help="of the set")
    command.add_argument("--detections", type=int, default=300, help="of a frame")

    command = commands.add_parser("inference", help="video detection beside image detection")
    command.set_defaults(measure=inference)
    command.add_argument("--config-file", required=True, metavar="FILE")
    command.add_argument("--size", type=int, nargs=2, default=(600, 1066), metavar=("H", "W"))
    command.add_argument("--input", type=Path, help="a video or a folder, instead of noise")
    command.add_argument("--frames", type=int, default=16, help="of a pass")
    command.add_argument(
        "--rounds", type=int, default=3, help="that count, after one that does not"
    )
    command.add_argument(
        "--batch-size", type=int, metavar="N", help="offline; 4 on a GPU, otherwise 1"
    )
    command.add_argument("--boxes", type=int, help="of a frame, with random weights; usually 10")
    command.add_argument("--profile", type=Path, metavar="FILE", help="torch.profiler's table")
    add_speed_arguments(command)
    command.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        metavar="KEY VALUE",
        help="with MODEL.WEIGHTS these are measured, as they are; otherwise random ones, and not "
        "those of the config",
    )

    for command in commands.choices.values():
        command.add_argument("--quick", action="store_true", help="the same, small")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
