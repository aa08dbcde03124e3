#!/usr/bin/env python3
"""The tracker alone: mean IoU with the truth, from true boxes, at several gaps.

Every true box of a frame is tracked into the frame that is a gap further on; beside it is what
leaving the box where it was would give.

Examples:
    python tools/eval_tracker.py --gaps 1 3 5 9 --config-file configs/TinyVID/plugtrack_tiny.yaml \\
        --dataset tiny_vid_test MODEL.WEIGHTS demo/plugtrack_tiny.pth
"""

import argparse
import math
from collections import defaultdict

import torch
from tqdm import tqdm

from d2_plugtrack.commands.arguments import (
    CommandParser,
    add_config_file,
    add_dataset,
    add_json,
    add_opts,
    positive_int,
)
from d2_plugtrack.commands.speed_options import add_speed_arguments, speed_opts
from d2_plugtrack.data.catalog import find_videos
from d2_plugtrack.errors import exit_on_user_error
from d2_plugtrack.host import open_host
from d2_plugtrack.outputs import write_json
from d2_plugtrack.tracker_evaluation import TrackingOverlap, tracking_overlap


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    find_videos(args.dataset)  # refuses a name before the weights are loaded
    opts = [*speed_opts(args), *args.opts]
    host = open_host(args.config_file, opts, tracker_required=True)
    records = host.load_videos(args.dataset)
    overlaps: dict[int, list[TrackingOverlap]] = defaultdict(list)
    maps, video = [], []
    batches = host.batches(records, batch_size=1)
    for (record,), frames in tqdm(batches, args.dataset, unit="frame", disable=None):
        with torch.no_grad():
            features = host.detector.extract(frames)
            tracking_map = host.tracker.tracking_map(features.maps, features.image_sizes)[0]
        maps.append(tracking_map)
        video.append(record)
        if record["last"]:
            for gap in args.gaps:
                size = features.image_sizes[0]
                overlaps[gap].append(tracking_overlap(host.tracker, maps, video, gap, size))
            maps, video = [], []
    batches.bad_images.log_summary()
    rows = [summarize(gap, overlaps[gap]) for gap in args.gaps]
    print(f"{args.dataset}, {host.cfg.MODEL.WEIGHTS}: mean IoU with the truth")
    print("| gap | objects | tracked | left where it was |\n|---:|---:|---:|---:|")
    for row in rows:
        print(f"| {row['gap']} | {row['objects']} | {row['tracked']:.3f} | {row['unmoved']:.3f} |")
    if args.json:
        rows = [{k: None if math.isnan(v) else v for k, v in row.items()} for row in rows]
        write_json(args.json, {"dataset": args.dataset, "rows": rows})


def summarize(gap: int, overlaps: list[TrackingOverlap]) -> dict:
    """Means over all objects of all videos; NaN where none is in two frames of that gap."""
    tracked, unmoved = (torch.cat(parts) for parts in zip(*overlaps, strict=True))
    return {
        "gap": gap,
        "objects": len(tracked),
        "tracked": float(tracked.mean()),
        "unmoved": float(unmoved.mean()),
    }


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    add_config_file(parser)
    add_dataset(parser)
    parser.add_argument(
        "--gaps",
        type=positive_int,
        nargs="+",
        default=[1, 3, 5, 9],
        metavar="FRAMES",
        help="(default: 1 3 5 9); another option has to follow, before the keys",
    )
    add_json(parser)
    add_speed_arguments(parser)
    add_opts(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
