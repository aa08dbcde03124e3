"""What the commands that make pictures have in common: options, and what they stand for.

Without an input a clip of the tiny set is made and shown, without a config the tiny set's detector
looks at it, and either is said. A mistake is refused before a model is loaded.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ..build import needs_tracker
from ..errors import UserError
from ..host import Host, open_host
from ..pictures.frame_choice import index_list
from ..pictures.picture_file import ensure_new
from ..video_io import FrameSource, open_frames
from .arguments import (
    CommandParser,
    add_opts,
    existing_file,
    fraction,
    positive_int,
    positive_number,
)
from .sample import SAMPLE_FRAME_RATE, sample_detector, write_sample_clip

if TYPE_CHECKING:
    from yacs.config import CfgNode

OUTPUT = Path("output/visualize")  # what nobody asked to be elsewhere
IMAGE_FRAME_RATE = 25  # where nothing says how fast images follow one another
MOST_PIXELS = 100e6  # of a picture


def add_threshold(command: CommandParser) -> None:
    """``--threshold``."""
    command.add_argument(
        "--threshold",
        type=fraction,
        default=0.2,
        metavar="SCORE",
        help="boxes of no class that scores as high are left out (default: %(default)s)",
    )


def add_width(command: CommandParser) -> None:
    """``--width``."""
    command.add_argument(
        "--width",
        type=positive_int,
        default=480,
        metavar="PIXELS",
        help="of a frame in the picture (default: %(default)s)",
    )


def add_frame_rate(command: CommandParser) -> None:
    """``--frame-rate``."""
    command.add_argument(
        "--frame-rate",
        type=positive_number,
        metavar="FPS",
        help=f"of images (default: {IMAGE_FRAME_RATE}); videos have their own",
    )


def add_shared(command: CommandParser) -> None:
    """What every subcommand takes."""
    command.add_argument("--input", help="a video or a folder of images")
    command.add_argument(
        "--output", type=Path, metavar="FILE", help=f"(default: in {OUTPUT}, named after the input)"
    )
    command.add_argument(
        "--frames",
        type=index_list,
        metavar="N,N-N",
        help="which to show, counted from 0: 0,20,40 or 10-17",
    )
    command.add_argument("--overwrite", action="store_true", help="replace an older output")
    command.add_argument(
        "--config-file",
        type=lambda text: str(existing_file(text)),
        metavar="FILE",
        help="of the detector with its tracker; MODEL.WEIGHTS among the KEY VALUE pairs",
    )
    add_opts(command)


def open_input(args: argparse.Namespace) -> tuple[FrameSource, int]:
    """The frames to show and their number, after a look at where the picture goes.

    Where nobody said where, ``args.output`` gets the name of the input and of the command.

    Raises:
        UserError: no such input, one without an end, or an output that cannot be written or is
            there and not to be replaced.
    """
    if args.output is not None:
        ensure_new(args.output, args.suffix, args.overwrite)
    rate = args.frame_rate or IMAGE_FRAME_RATE
    if args.input is None:
        args.input = write_sample_clip(OUTPUT / "tiny_vid")
        rate = args.frame_rate or SAMPLE_FRAME_RATE
        print(f"--input: none given, {args.input} was made")
    source = open_frames(args.input, rate)
    if source.is_live:
        raise UserError(f"--input {args.input}: expected a video or images, which have an end")
    if args.output is None:
        args.output = OUTPUT / f"{source.name}_{args.command}{args.suffix}"
        args.output.parent.mkdir(parents=True, exist_ok=True)
        ensure_new(args.output, args.suffix, args.overwrite)
    # what a video's header says of its length is an estimate
    return source, sum(1 for _ in tqdm(source, "counting", unit="frame", disable=None))


def check_sheet(source: FrameSource, width: int, num_pictures: int) -> None:
    """Refuse a sheet that no viewer opens, if all its pictures were as high as the first."""
    height = width * np.divide(*next(iter(source)).shape[:2])
    if num_pictures * width * height > MOST_PIXELS:
        raise UserError(
            f"--width {width}: expected a sheet of at most {MOST_PIXELS / 1e6:.0f} million pixels, "
            f"{num_pictures} pictures have {num_pictures * width * height / 1e6:.0f}; take a "
            "smaller width or fewer frames"
        )


def open_detector(args: argparse.Namespace) -> Host:
    """The detector with its tracker: without one there is nothing to show.

    Raises:
        UserError: a mistake in the config, weights that do not fit, or tracking switched off.
    """
    config_file, opts = args.config_file, args.opts
    if config_file is None:
        config_file, weights = sample_detector()
        opts = [*weights, *opts]
        print(f"--config-file: none given, {config_file} looks at it")
    return open_host(config_file, opts, tracker_required=True, check=_check_tracking)


def _check_tracking(cfg: "CfgNode") -> None:
    if not needs_tracker(cfg):
        raise UserError("TEST.TFD.ENABLED, TEST.TFD.TRACK: expected True, to show tracking")
