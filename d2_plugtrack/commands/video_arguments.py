"""Options of commands that run videos through a detector, and the outputs that they mean."""

import argparse
from functools import partial
from pathlib import Path

from ..errors import UserError
from ..outputs import ensure_writable
from ..video_io.excerpts import checked_rate
from ..video_jobs.output_paths import OutputPaths, is_video_name
from . import arguments
from .speed_options import add_speed_arguments, speed_opts

EXPORTS = {
    "json": (".json", "COCO-VID, for tools/convert.py and pycocotools"),
    "mot": (".txt", "MOTChallenge's ten columns; frames, ids and classes from 1"),
    "csv": (".csv", "a table: index, time, track_id, class, score, x1, y1, x2, y2"),
}


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """``--input``, ``--start``, ``--end``, ``--stride`` and ``--frame-rate``."""
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "--input",
        nargs="+",
        metavar="SOURCE",
        help="videos, folders of images, images, patterns ('frames/*.jpg'), the number of a camera,"
        " addresses (rtsp://, http://)",
    )
    seconds = {"type": arguments.non_negative_number, "metavar": "SECONDS"}
    group.add_argument("--start", **seconds, default=0.0, help="in the input")
    group.add_argument("--end", **seconds, help="in the input")
    group.add_argument(
        "--stride",
        type=arguments.positive_int,
        default=1,
        metavar="N",
        help="every N-th frame only (default: %(default)s)",
    )
    group.add_argument("--frame-rate", type=_frame_rate, metavar="FPS", help="of images (25)")


def add_outputs(parser: argparse.ArgumentParser, default: Path) -> None:
    """``--output`` and what else is made; the ``default`` folder is only said."""
    group = parser.add_argument_group("outputs")
    group.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="a name ending in .mp4 (for one input), or a folder, into which goes NAME.mp4 or a "
        f"folder NAME of images for each input (default: {default})",
    )
    group.add_argument("--output-format", choices=("mp4", "images"), default="mp4")
    for name, (suffix, what) in EXPORTS.items():
        group.add_argument(
            f"--save-{name}",
            nargs="?",
            const=True,
            type=partial(arguments.output_file, suffix=suffix),
            metavar="FILE",
            help=f"{what}; without FILE beside the output",
        )
    group.add_argument("--overwrite", action="store_true", help="replace outputs that are there")
    group.add_argument(
        "--zoom",
        type=arguments.positive_int,
        metavar="N",
        help="draw on frames enlarged so many times; chosen by itself for small frames",
    )
    group.add_argument("--show", action="store_true", help="in a window; q or Esc ends the video")
    group.add_argument("--show-fps", action="store_true", help="say how many frames per second")


def add_detector(parser: argparse.ArgumentParser, default: str) -> None:
    """``--config-file`` (``default`` says what is used without), how it runs, and ``--opts``."""
    group = parser.add_argument_group("detector")
    group.add_argument(
        "--config-file",
        type=lambda text: str(arguments.existing_file(text)),
        metavar="FILE",
        help=f"YAML, such as those below configs/ (default: {default})",
    )
    group.add_argument(
        "--mode",
        choices=("offline", "online"),
        help="re-score over the whole video, or frame by frame (default: offline for files and "
        "folders, online for cameras and streams)",
    )
    group.add_argument("--classes", nargs="+", metavar="NAME", help="objects of these only")
    group.add_argument(
        "--confidence-threshold",
        type=arguments.fraction,
        default=0.3,
        metavar="SCORE",
        help="objects that score less are left out (default: %(default)s)",
    )
    group.add_argument(
        "--device",
        type=arguments.device,
        help="cpu, cuda, cuda:1, ... (default: CUDA where there is one)",
    )
    group.add_argument(
        "--batch-size",
        type=arguments.positive_int,
        metavar="N",
        help="frames that go through the detector together; usually 4 on a GPU, otherwise 1",
    )
    add_speed_arguments(group)
    group.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        action=arguments.KeyValuePairs,
        default=[],
        metavar="KEY VALUE",
        help="config keys and their values, after all other options",
    )


def _frame_rate(text: str) -> float:
    """Frames a second that a video can have."""
    try:
        return float(checked_rate(arguments.positive_number(text)))
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse what does not go together.

    Raises:
        UserError: an ``--output`` that cannot be written.
    """
    if args.end is not None and args.end <= args.start:
        parser.error(f"argument --end: expected more than --start {args.start}, found {args.end}")
    if names_a_video(args):
        if args.output_format == "images":
            parser.error(f"argument --output: expected a folder for images, found {args.output}")
        ensure_writable(args.output)
    several = len(args.input or []) > 1
    if several and names_a_video(args):
        parser.error(
            f"argument --output: expected a folder for several inputs, found {args.output}"
        )
    for name in EXPORTS:
        file = getattr(args, f"save_{name}")
        if several and isinstance(file, Path):
            parser.error(
                f"argument --save-{name}: expected no FILE for several inputs, found {file}"
            )


def names_a_video(args: argparse.Namespace) -> bool:
    """Whether ``--output`` is an mp4's name."""
    return args.output is not None and is_video_name(args.output)


def output_folder(args: argparse.Namespace, default: Path) -> Path:
    """Where outputs go that have no name of their own."""
    if args.output is None:
        return default
    return args.output.parent if names_a_video(args) else args.output


def output_paths(args: argparse.Namespace, default: Path, name: str) -> OutputPaths:
    """The outputs of the input of this name: exports alone where only they are asked for."""
    folder = output_folder(args, default)
    stem = args.output.stem if names_a_video(args) else name
    exports = []
    for export, (suffix, _) in EXPORTS.items():
        asked = getattr(args, f"save_{export}")
        exports.append(folder / (stem + suffix) if asked is True else asked)
    if args.output is None and any(exports):
        return OutputPaths(None, None, *exports)
    if args.output_format == "images":
        return OutputPaths(None, folder / name, *exports)
    return OutputPaths(folder / f"{stem}.mp4", None, *exports)


def detector_opts(args: argparse.Namespace) -> list[str]:
    """``KEY VALUE`` pairs of the detector's options, those of ``--opts`` last."""
    device = ["MODEL.DEVICE", args.device] if args.device else []
    return [*speed_opts(args), *device, *args.opts]
