"""Options of commands that run videos through a detector, and the outputs that they mean."""

import argparse
from functools import partial
from pathlib import Path

from ..errors import UserError
from ..video_io.excerpts import SLOWEST, checked_rate
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
        help="videos, folders of images or of videos, images, patterns ('frames/*.jpg', "
        "'clips/*.mp4'), and one camera's number or one address (rtsp://, http://); every video of "
        "a folder or a pattern is an input of its own, images are one together",
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
        "folder NAME of images for each input; folders that are not there are made (default: "
        f"{default})",
    )
    group.add_argument(
        "--output-format",
        choices=("mp4", "images"),
        default="mp4",
        help="images are numbered as they are written, and what --save-json names where the input "
        "is a video and they are not enlarged (default: %(default)s)",
    )
    for name, (suffix, what) in EXPORTS.items():
        group.add_argument(
            f"--save-{name}",
            nargs="?",
            const=True,
            type=partial(arguments.file_name, suffix=suffix),
            metavar="FILE",
            help=f"{what}; without FILE beside the output",
        )
    group.add_argument("--overwrite", action="store_true", help="replace outputs that are there")
    group.add_argument(
        "--zoom",
        type=arguments.positive_int,
        metavar="N",
        help="draw on frames enlarged so many times; by itself small frames of an mp4 are, images "
        "are not, and boxes in files always have the input's pixels",
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
        UserError: an ``--output`` whose ending says that it is neither an mp4 nor a folder.
    """
    if args.end is not None and args.end <= args.start:
        parser.error(f"argument --end: expected more than --start {args.start}, found {args.end}")
    rate = args.frame_rate and args.frame_rate / args.stride
    if rate is not None and rate < SLOWEST:
        parser.error(
            f"argument --frame-rate: expected at least {SLOWEST} frames per second, found "
            f"{args.frame_rate:g} of which --stride {args.stride} leaves {rate:g}"
        )
    if names_a_video(args) and args.output_format == "images":
        parser.error(f"argument --output: expected a folder for images, found {args.output}")
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
    if args.output is None:
        return False
    for name, (suffix, _) in EXPORTS.items():
        if args.output.suffix.lower() == suffix and not args.output.is_dir():
            raise UserError(
                f"--output: expected a name ending in .mp4 or a folder, found {args.output}; "
                f"--save-{name} {args.output} makes such a file"
            )
    return is_video_name(args.output)


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
    video = args.output if names_a_video(args) else folder / f"{stem}.mp4"
    return OutputPaths(video, None, *exports)


def named_files(args: argparse.Namespace) -> list[Path]:
    """The outputs that the user named, each for itself."""
    files = [getattr(args, f"save_{name}") for name in EXPORTS]
    return [file for file in files if isinstance(file, Path)]


def detector_opts(args: argparse.Namespace) -> list[str]:
    """``KEY VALUE`` pairs of the detector's options, those of ``--opts`` last."""
    device = ["MODEL.DEVICE", args.device] if args.device else []
    return [*speed_opts(args), *device, *args.opts]
