#!/usr/bin/env python3
"""Pictures of what the detector, the tracker and re-scoring do in a video, as in the paper.

Without --input, a clip of the tiny VID set is made and shown; without --config-file, the tiny set's
detector looks at it. `visualize.py COMMAND --help` has more on each.

Examples:
    tools/visualize.py strips
    tools/visualize.py strips --input clip.mp4 --frames 0,20,40,60,80 --output strips.png \\
        --config-file configs/TinyVID/plugtrack_tiny.yaml MODEL.WEIGHTS demo/plugtrack_tiny.pth
"""

import argparse
from itertools import islice

from tqdm import tqdm

from d2_plugtrack.commands.arguments import CommandParser, non_negative_number, positive_int
from d2_plugtrack.commands.picture_options import (
    add_frame_rate,
    add_shared,
    add_threshold,
    add_width,
    check_sheet,
    open_detector,
    open_input,
)
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.pictures.frame_choice import (
    check_frames,
    index_list,
    middle_frames,
    spread_frames,
)
from d2_plugtrack.pictures.matches import find_matches, find_some_match
from d2_plugtrack.pictures.picture_file import write_animation, write_picture
from d2_plugtrack.pictures.stages import record_stages
from d2_plugtrack.pictures.video_page import check_page_size, page_frames, write_page
from d2_plugtrack.visualization import ROW_TITLES, draw_followed, draw_matches, draw_strips
from d2_plugtrack.visualization.animation import draw_beside, side_width
from d2_plugtrack.visualization.page import shrink

NUM_CHANNELS = 8  # of `correlation` where none are named
NUM_STEPS = 8  # frames of `boxes` where none are named
NARROWEST, LONGEST = 100, 600  # pixels and frames of `animation`

STRIPS = """The stages over some frames, a row each (Figs. 8 and 11 to 13).

The detector alone; the boxes that the tracker brought from the frame before, with the IoU that it
predicts for each; both merged, tracked boxes first; and re-scored over the whole video. A box has
the colour of the track that it ends up in; gray is of no track. Boxes score at least --threshold in
the frame itself; `boxes` asks that of the frame before.

Examples:
    tools/visualize.py strips
    tools/visualize.py strips --frames 0,5,10-12 --threshold 0.3 --overwrite
"""

BOXES = """What the tracker follows from frame to frame, with the IoU that it predicts (Fig. 7).

Green boxes are sure, red ones nearly let go; gray corners are where a box of the frame before was
looked for and let go. What is followed is what scores at least --threshold in the frame before;
`strips` asks that of the frame itself.

Examples:
    tools/visualize.py boxes
    tools/visualize.py boxes --frames 17-24 --columns 4 --overwrite
"""

CORRELATION = """What the tracker compares to find a box in the next frame (Fig. 6).

For a box of a frame: its features, those of the window in the next frame, three times as large, and
their correlation, in some of the tracker's channels. A red dot marks the middle of each map: where
the box would be if it did not move. Every map has colours of its own, from its least to its largest
value. Without --frames it is the frame in the middle, or the next one that has a box.

Examples:
    tools/visualize.py correlation
    tools/visualize.py correlation --frames 12,18 --at 140 45 --channels 0-7 --overwrite
"""


PAGE = """A page to look at in a browser: every frame, stage by stage, and every track's scores.

One HTML file with everything in it, that opens from the disk: frames to step through or play, boxes
of the detector alone, of tracking and of re-scoring, a timeline of the tracks, and the score of one
track before and after re-scoring. The whole video is tracked; --stride and --frames say which of
its frames the page holds, 2,000 at most.

Examples:
    tools/visualize.py page
    tools/visualize.py page --stride 2 --width 480 --overwrite
"""

ANIMATION = """A moving picture (WebP): the image detector alone beside video detection.

Both sides show what scores at least --threshold. On the left a box has the colour of its class, on
the right that of its track. The picture on top of README.md is this one of the test split's sixth
video, whose three objects blur and fade one after the other:

Examples:
    tools/visualize.py animation
    datasets/prepare_tiny_vid.py --output output/demo/tiny_vid --splits test --videos 8
    tools/visualize.py animation --input output/demo/tiny_vid/Data/VID/test/tiny_test_00005 \\
        --frame-rate 10 --output docs/plugtrack.webp --overwrite
"""


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    args.run(args)


def strips(args: argparse.Namespace) -> None:
    """See ``d2_plugtrack.visualization.strips``."""
    source, num_frames = open_input(args)
    chosen = args.frames or spread_frames(num_frames, args.columns)
    check_frames(chosen, num_frames, source.name)
    check_sheet(source, args.width, len(ROW_TITLES) * len(chosen))
    host = open_detector(args)
    frames = tqdm(source, "detecting", num_frames, unit="frame", disable=None)
    stages = record_stages(host, frames, chosen, threshold=args.threshold)
    write_picture(args.output, draw_strips(stages, host.class_names, args.threshold, args.width))
    print(f"{args.output}: {len(stages)} frames of {source.name}")


def boxes(args: argparse.Namespace) -> None:
    """See ``d2_plugtrack.visualization.followed``."""
    source, num_frames = open_input(args)
    chosen = args.frames or middle_frames(num_frames, NUM_STEPS)
    check_frames(chosen, num_frames, source.name)
    check_sheet(source, args.width, len(chosen))
    host = open_detector(args)
    frames = tqdm(islice(source, chosen[-1] + 1), "detecting", chosen[-1] + 1, disable=None)
    needed = {frame for index in chosen for frame in (index - 1, index)}
    stages = {stage.index: stage for stage in record_stages(host, frames, needed)}
    steps = [
        (i, stages[i].image, stages[i - 1].tracked if i else None, stages[i].tracked)
        for i in chosen
    ]
    let_go_iou = host.cfg.TEST.TFD.TRACK_NMS_THRESH
    picture = draw_followed(steps, args.threshold, let_go_iou, args.columns, args.width)
    write_picture(args.output, picture)
    print(f"{args.output}: {len(steps)} frames of {source.name}")


def correlation(args: argparse.Namespace) -> None:
    """See ``d2_plugtrack.visualization.correlation``."""
    source, num_frames = open_input(args)
    if num_frames < 2:
        raise UserError(f"--input {args.input}: expected two frames or more, found {num_frames}")
    chosen = args.frames or middle_frames(num_frames - 1, 1)
    check_frames(chosen, num_frames - 1, f"{source.name} without its last frame")
    host = open_detector(args)
    num_channels = host.tracker.shared.out_channels
    if args.channels and args.channels[-1] >= num_channels:
        raise UserError(
            f"--channels {args.channels[-1]}: expected at most {num_channels - 1}, the tracker has "
            f"{num_channels} channels, counted from 0"
        )
    is_free = not (args.frames or args.at)  # which frame it is
    end = num_frames if is_free else chosen[-1] + 2
    frames = tqdm(islice(source, end), "detecting", end, unit="frame", disable=None)
    if is_free:
        matches = [find_some_match(host, frames, chosen[0])]
    else:
        matches = find_matches(host, frames, chosen, args.at and tuple(args.at))
    write_picture(args.output, draw_matches(matches, args.channels, NUM_CHANNELS))
    print(f"{args.output}: {len(matches)} frames of {source.name}")


def page(args: argparse.Namespace) -> None:
    """See ``d2_plugtrack.pictures.video_page``."""
    if args.frames and args.stride > 1:
        raise UserError("--stride: expected without --frames")
    source, num_frames = open_input(args)
    chosen = args.frames or page_frames(num_frames, args.stride, source.name)
    check_frames(chosen, num_frames, source.name)
    check_page_size(next(iter(source)), len(chosen), args.width)
    host = open_detector(args)
    frames = tqdm(source.timed(), "detecting", num_frames, unit="frame", disable=None)
    sizes = {"threshold": args.threshold, "width": args.width}
    write_page(args.output, source.name, host, frames, chosen, **sizes)
    megabytes = args.output.stat().st_size / 1e6
    print(f"{args.output}: {len(chosen)} frames of {source.name}, {megabytes:.2g} MB")


def animation(args: argparse.Namespace) -> None:
    """See ``d2_plugtrack.visualization.animation``."""
    if args.width < NARROWEST:
        raise UserError(f"--width {args.width}: expected at least {NARROWEST}, for two frames")
    source, num_frames = open_input(args)
    chosen = args.frames or range(num_frames)
    check_frames(chosen, num_frames, source.name)
    if len(chosen) > LONGEST:
        raise UserError(f"--frames: expected at most {LONGEST} frames, found {len(chosen)}")
    host = open_detector(args)
    frames = tqdm(source, "detecting", num_frames, unit="frame", disable=None)
    stages = record_stages(
        *(host, frames, chosen),
        picture=lambda image: shrink(image, side_width(args.width)),
        threshold=args.threshold,
    )
    images = (
        draw_beside(
            *(stage.image, stage.detector, stage.objects),
            *(host.class_names, args.threshold, args.width),
        )
        for stage in tqdm(stages, "writing", unit="frame", disable=None)
    )
    write_animation(args.output, images, float(source.frame_rate))
    kilobytes = args.output.stat().st_size / 1e3
    print(f"{args.output}: {len(stages)} frames of {source.name}, {kilobytes:.0f} kB")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    parser.set_defaults(frame_rate=None)  # of the commands that show none
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("correlation", text=CORRELATION, help="what the tracker compares")
    command.set_defaults(run=correlation, suffix=".png")
    command.add_argument(
        "--at",
        type=non_negative_number,
        nargs=2,
        metavar=("X", "Y"),
        help="follow the box around this point of the frame; where not given, the likeliest box",
    )
    command.add_argument(
        "--channels",
        type=index_list,
        metavar="N,N-N",
        help=f"of the tracker; the {NUM_CHANNELS} strongest where not given",
    )

    command = commands.add_parser("strips", text=STRIPS, help="the stages over some frames")
    command.set_defaults(run=strips, suffix=".png")
    command.add_argument(
        "--columns",
        type=positive_int,
        default=5,
        metavar="N",
        help="frames, spread over the video, where --frames is not given (default: %(default)s)",
    )
    add_threshold(command)
    add_width(command)

    command = commands.add_parser("boxes", text=BOXES, help="what the tracker follows")
    command.set_defaults(run=boxes, suffix=".png")
    command.add_argument(
        "--columns",
        type=positive_int,
        default=4,
        metavar="N",
        help="frames of a row (default: %(default)s)",
    )
    add_threshold(command)
    add_width(command)

    command = commands.add_parser("page", text=PAGE, help="a page to look at in a browser")
    command.add_argument(
        "--stride", type=positive_int, default=1, metavar="N", help="keep every N-th frame only"
    )
    add_threshold(command)
    add_width(command)
    add_frame_rate(command)
    command.set_defaults(run=page, suffix=".html", threshold=0.3, width=640)

    command = commands.add_parser("animation", text=ANIMATION, help="before and after, moving")
    add_threshold(command)
    add_width(command)
    add_frame_rate(command)
    command.set_defaults(run=animation, suffix=".webp", threshold=0.3, width=848)

    for command in commands.choices.values():
        add_shared(command)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
