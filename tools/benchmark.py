#!/usr/bin/env python3
"""Measure on this machine; each subcommand prints Markdown, and writes JSON with --json.

Each has a --help of its own. --quick is for trying: the same at a small size.

Examples:
    python tools/benchmark.py seq-nms --quick
    python tools/benchmark.py annotations --help
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from d2_plugtrack.benchmarks.annotations import FULL, QUICK, measure_annotations
from d2_plugtrack.benchmarks.machine import describe_machine
from d2_plugtrack.commands.arguments import (
    CommandParser,
    add_config_file,
    add_json,
    add_opts,
    existing_path,
    non_negative_int,
    output_file,
    output_folder,
    positive_int,
)
from d2_plugtrack.commands.speed_options import add_speed_arguments, speed_opts
from d2_plugtrack.errors import exit_on_user_error
from d2_plugtrack.outputs import write_json


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    result = args.measure(args)
    print(f"\n{describe_machine()}\n\n{result.pop('markdown')}")
    if args.json:
        write_json(args.json, {"machine": describe_machine(), **result})


def annotations(args: argparse.Namespace) -> dict:
    """Measure how fast a data set loads, first without and then with the annotation cache.

    A synthetic data set of ImageNet VID's size and layout (2.6 million small files, about 6 GB,
    removed afterwards) is loaded in fresh processes.

    Examples:
        python tools/benchmark.py annotations --output /tmp --json annotations.json
    """
    return measure_annotations(args.output, *(QUICK if args.quick else (args.videos, args.frames)))


def training(args: argparse.Namespace) -> dict:
    """Measure steps of a config's own trainer, either stage.

    Images are random, and so are weights.

    Examples:
        python tools/benchmark.py training --size 600 1000 --images 2 \\
            --config-file configs/ImageNetVID/faster_rcnn_hrnet_w32.yaml SOLVER.AMP.ENABLED True
    """
    from d2_plugtrack.benchmarks.training import measure_training  # needs detectron2
    from d2_plugtrack.plugin import load_config

    size, steps = ((64, 96), 2) if args.quick else (tuple(args.size), args.steps)
    cfg = load_config(args.config_file, args.opts)
    return measure_training(cfg, args.config_file, size, args.images, steps)


def memory(args: argparse.Namespace) -> dict:
    """Measure the memory of the video path over a long video, and its time.

    A synthetic video of an hour, with cuts and without a single one: what the process's memory
    grows by.

    Examples:
        python tools/benchmark.py memory --output /tmp --frames 10000
    """
    from d2_plugtrack.benchmarks.memory import QUICK as SMALL
    from d2_plugtrack.benchmarks.memory import measure_memory

    frames, boxes, classes = SMALL if args.quick else (args.frames, args.boxes, args.classes)
    return measure_memory(frames, boxes, classes, args.memory_mb, args.output)


def seq_nms(args: argparse.Namespace) -> dict:
    """Measure re-scoring of synthetic videos of 200 to 20,000 frames.

    Examples:
        python tools/benchmark.py seq-nms --plot seq_nms.png
        python tools/benchmark.py seq-nms --quick --reference
    """
    from d2_plugtrack.benchmarks.seq_nms import FULL, QUICK, measure_seq_nms

    return measure_seq_nms(QUICK if args.quick else FULL, args.reference, args.plot)


def evaluation(args: argparse.Namespace) -> dict:
    """Measure the counting of mAP: seconds and peak memory.

    Detections are synthetic, on a set of ImageNet VID validation's size; under each protocol and
    in all ranges.

    Examples:
        python tools/benchmark.py evaluation --frames 10000
    """
    from d2_plugtrack.benchmarks.evaluation import FULL, QUICK, measure_evaluation

    size = FULL._replace(detections=args.detections).with_frames(args.frames)
    return measure_evaluation(QUICK if args.quick else size)


def inference(args: argparse.Namespace) -> dict:
    """Measure video detection beside the image detector it is made of.

    The paper's Tables 3, 4 and 5 of any config: time of each component, memory and frames a
    second. Without MODEL.WEIGHTS among the KEY VALUE pairs, weights are random and realistic
    numbers of boxes are forced.

    Examples:
        python tools/benchmark.py inference --boxes 10 \\
            --config-file configs/COCO/plugtrack_faster_rcnn_R_50_FPN.yaml INPUT.MIN_SIZE_TEST 600
        python tools/benchmark.py inference --config-file configs/TinyVID/plugtrack_tiny.yaml \\
            --size 128 160 MODEL.WEIGHTS demo/plugtrack_tiny.pth
    """
    from d2_plugtrack.benchmarks.inference import QUICK as SMALL
    from d2_plugtrack.benchmarks.inference import Plan, measure_inference

    counts = {name: getattr(args, name) for name in ("frames", "rounds", "batch_size")}
    plan = Plan(
        tuple(args.size), **counts, boxes=args.boxes, video=args.input, profile=args.profile
    )
    if args.quick:
        plan = replace(plan, **SMALL)
    return measure_inference(args.config_file, [*speed_opts(args), *args.opts], plan)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = add_command(
        commands, "annotations", annotations, "loading a data set, with the cache"
    )
    command.add_argument("--output", type=output_folder, required=True, metavar="DIR")
    command.add_argument("--videos", type=positive_int, default=FULL[0], metavar="N")
    command.add_argument("--frames", type=positive_int, default=FULL[1], metavar="N")

    command = add_command(commands, "training", training, "a step of either stage, random images")
    add_config_file(command)
    add_size(command, (600, 1000))
    command.add_argument("--images", type=positive_int, default=2, help="or pairs, of a step")
    command.add_argument(
        "--steps", type=positive_int, default=5, help="that count, after one that does not"
    )
    add_opts(command)

    command = add_command(commands, "memory", memory, "the video path over a long video")
    command.add_argument(
        "--output", type=output_folder, required=True, metavar="DIR", help="to spool to"
    )
    command.add_argument(
        "--frames", type=positive_int, default=108_000, help="an hour at 30 a second"
    )
    command.add_argument("--boxes", type=positive_int, default=100, help="of a frame")
    command.add_argument("--classes", type=positive_int, default=30)
    command.add_argument(
        "--memory-mb", type=non_negative_int, help="instead of TEST.SEQ_NMS.MEMORY_MB"
    )

    command = add_command(commands, "seq-nms", seq_nms, "re-scoring a video")
    command.add_argument(
        "--plot",
        type=partial(output_file, suffix=".png"),
        metavar="FILE",
        help="seconds against frames, as PNG",
    )
    command.add_argument("--reference", action="store_true", help="and the plain implementation")

    command = add_command(commands, "evaluation", evaluation, "mAP over a whole data set")
    command.add_argument("--frames", type=positive_int, default=176_126, help="of the set")
    command.add_argument("--detections", type=positive_int, default=300, help="of a frame")

    command = add_command(
        commands, "inference", inference, "video detection beside image detection"
    )
    add_config_file(command)
    add_size(command, (600, 1066))
    command.add_argument(
        "--input", type=existing_path, metavar="PATH", help="a video or a folder, instead of noise"
    )
    command.add_argument("--frames", type=positive_int, default=16, help="of a pass")
    command.add_argument(
        "--rounds", type=positive_int, default=3, help="that count, after one that does not"
    )
    command.add_argument(
        "--batch-size", type=positive_int, metavar="N", help="offline; 4 on a GPU, otherwise 1"
    )
    command.add_argument(
        "--boxes", type=positive_int, help="of a frame, with random weights; usually 10"
    )
    command.add_argument(
        "--profile", type=output_file, metavar="FILE", help="torch.profiler's table"
    )
    add_speed_arguments(command)
    add_opts(command, "with MODEL.WEIGHTS these are measured; otherwise random ones")
    return parser.parse_args(argv)


def add_command(commands, name: str, measure: Callable, summary: str) -> CommandParser:
    """A subcommand whose text is that of what it calls."""
    command = commands.add_parser(name, help=summary, text=measure.__doc__)
    command.set_defaults(measure=measure)
    command.add_argument("--quick", action="store_true", help="the same, small")
    add_json(command)
    return command


def add_size(command: CommandParser, default: tuple[int, int]) -> None:
    """``--size`` of a frame."""
    command.add_argument(
        "--size",
        type=positive_int,
        nargs=2,
        default=default,
        metavar=("H", "W"),
        help=f"of a frame in pixels (default: {' '.join(map(str, default))})",
    )


if __name__ == "__main__":
    main()
