#!/usr/bin/env python3
"""Train either stage and evaluate, from yacs configs.

Stage one trains a stock detector on single frames, stage two the tracker of a PlugTrackRCNN on
pairs of frames; MODEL.META_ARCHITECTURE says which. --num-gpus N divides SOLVER.IMS_PER_BATCH
between N processes, on the CPU where there is no GPU.

Examples:
    python train_net.py --config-file configs/TinyVID/detector_tiny.yaml OUTPUT_DIR output/detector
    python train_net.py --config-file configs/TinyVID/plugtrack_tiny.yaml \\
        MODEL.WEIGHTS output/detector/model_final.pth OUTPUT_DIR output/tracker
    python train_net.py --config-file configs/TinyVID/plugtrack_tiny.yaml --eval-only \\
        MODEL.WEIGHTS demo/plugtrack_tiny.pth
"""

import argparse
import sys

from d2_plugtrack.errors import UserError, exit_on_user_error, mistake_of
from d2_plugtrack.prerequisites import require_detectron2

exit_on_user_error(require_detectron2)()

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup, launch
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from d2_plugtrack.commands.arguments import (
    CommandParser,
    add_config_file,
    add_opts,
    non_negative_int,
    positive_int,
)
from d2_plugtrack.commands.speed_options import add_speed_arguments, speed_opts
from d2_plugtrack.config_file import read_host
from d2_plugtrack.plugin import load_config, load_model
from d2_plugtrack.training import (
    Trainer,
    check_datasets,
    check_files,
    check_weights,
    scale_to_processes,
)
from d2_plugtrack.weights import ensure_weights


def main(args: argparse.Namespace) -> dict | None:
    cfg = load_config(args.config_file, args.opts)
    cfg.freeze()
    check_datasets(cfg, args.eval_only)
    if args.eval_only:
        ensure_weights(cfg.MODEL.WEIGHTS)
    try:
        default_setup(cfg, args)
    except OSError as error:
        raise UserError(f"OUTPUT_DIR {cfg.OUTPUT_DIR}: cannot be written: {error}") from error
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="d2_plugtrack")
    check_files(cfg, args.eval_only)
    if not args.eval_only:
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        return trainer.train()
    results = Trainer.test(cfg, load_model(cfg))
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


def check_processes(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Refuse, once and before they start, processes that cannot work together."""
    gpus = torch.cuda.device_count()
    if gpus and args.num_gpus > gpus:
        raise UserError(f"--num-gpus {args.num_gpus}: this machine has {gpus}")
    count = args.num_gpus * args.num_machines
    if args.machine_rank >= args.num_machines:
        raise UserError(
            f"--machine-rank {args.machine_rank}: expected less than --num-machines, "
            f"{args.num_machines}"
        )
    if args.num_machines > 1 and args.dist_url == "auto":
        raise UserError("--dist-url: expected with --num-machines, as tcp://FIRST_MACHINE:PORT")
    if gpus and count > 1 and cfg.MODEL.DEVICE == "cpu":
        raise UserError(f"MODEL.DEVICE cpu: {count} processes of a machine with GPUs need cuda")
    if not args.eval_only:
        scale_to_processes(cfg, count)
        check_weights(cfg, args.resume)


@exit_on_user_error
def run(argv: list[str] | None = None) -> None:
    """The command line.

    Where one of several processes ends before its time, the others are ended too, and what
    happened to the first is said once.
    """
    args = parse_args(argv)
    speed = speed_opts(args)
    if speed and not args.eval_only:
        raise UserError(
            "--amp, --channels-last, --compile: expected with --eval-only; training has SOLVER.AMP"
        )
    args.opts = [*speed, *args.opts]
    if read_host(args.config_file) == "torchvision":
        raise UserError(
            f"{args.config_file}: HOST torchvision: train with tools/train_torchvision.py"
        )
    cfg = load_config(args.config_file, args.opts)  # a mistake is reported once, not per process
    check_processes(cfg, args)
    try:
        launch(
            main,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except ProcessRaisedException as error:
        raise mistake_of(str(error)) or error from None
    except ProcessExitedException as error:
        if error.signal_name is None:  # it has said why
            sys.exit(error.exit_code)
        print(
            f"error: process {error.error_index} of {args.num_gpus} was ended by "
            f"{error.signal_name}; the others were ended too",
            file=sys.stderr,
        )
        sys.exit(128 - error.exit_code)  # as a shell says it


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The options of detectron2's own train_net.py, with checks."""
    parser = CommandParser(__doc__)
    add_config_file(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR"
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate, and do not train")
    for name, kind, default, about in (
        ("--num-gpus", positive_int, 1, "processes on this machine, on a GPU each"),
        ("--num-machines", positive_int, 1, "machines that train together"),
        ("--machine-rank", non_negative_int, 0, "of this one among them, from 0"),
    ):
        about += " (default: %(default)s)"
        parser.add_argument(name, type=kind, default=default, metavar="N", help=about)
    parser.add_argument(
        "--dist-url",
        default="auto",  # a free port: detectron2's default is the same for every run
        metavar="URL",
        help="of the first machine, tcp://NAME:PORT; needed where there are several",
    )
    add_speed_arguments(parser)
    add_opts(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    run()
