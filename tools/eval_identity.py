#!/usr/bin/env python3
"""Measure how well tracks keep identities: HOTA, MOTA, IDF1 and ID switches, beside ByteTrack.

One pass of the detector over a dataset of videos with track ids gives all rows: the paths of
Seq-NMS (offline), the links of the tracker frame by frame (online), and ByteTrack over what the
same detector reports in each frame, its tracks' classes by vote. An object must have the right
class, unless --ignore-classes asks for association alone; classes and videos count by the objects
they have. Each method has a threshold of its own for what is sure enough, its
default chosen on the val split of the tiny set by HOTA; choose yours on videos that you do not
report on. Needs trackeval, and trackers for ByteTrack: pip install -e ".[identity]"

Examples:
    python tools/eval_identity.py --config-file configs/TinyVID/plugtrack_tiny.yaml \\
        --dataset tiny_vid_test --markdown identity.md MODEL.WEIGHTS demo/plugtrack_tiny.pth
    python tools/eval_identity.py --config-file configs/TinyVID/torchvision_tiny.yaml \\
        --dataset tiny_vid_val --methods offline online --offline-threshold 0.4 \\
        MODEL.WEIGHTS demo/torchvision_tiny.pth
"""

import argparse

from tqdm import tqdm

from d2_plugtrack.commands.arguments import (
    CommandParser,
    add_batch_size,
    add_config_file,
    add_dataset,
    add_opts,
    add_reports,
    fraction,
)
from d2_plugtrack.commands.reports import give_report
from d2_plugtrack.commands.speed_options import add_speed_arguments, speed_opts
from d2_plugtrack.data.catalog import find_videos
from d2_plugtrack.errors import exit_on_user_error
from d2_plugtrack.host import open_host
from d2_plugtrack.identity.methods import METHODS, build_identity_runs
from d2_plugtrack.identity.metrics import identity_table, require_packages
from d2_plugtrack.results.figures import without_nan


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    find_videos(args.dataset)  # refuses a name before the weights are loaded
    require_packages(["trackeval", *(["trackers"] if "bytetrack" in args.methods else [])])
    tracks = any(method.tracks for method in METHODS if method.short_name in args.methods)
    host = open_host(args.config_file, [*speed_opts(args), *args.opts], tracker_required=tracks)
    records = host.load_videos(args.dataset)
    thresholds = {name: getattr(args, f"{name}_threshold") for name in args.methods}
    runs = build_identity_runs(host.cfg, host.tracker, thresholds, args.ignore_classes)
    detected = host.detect(records, args.batch_size)
    for record, frame in tqdm(detected, args.dataset, len(records), unit="frame", disable=None):
        for run in runs.values():
            run.process(frame, record)
    results = {name: run.metrics.figures() for name, run in runs.items()}
    used = ", ".join(f"{name} {threshold:g}" for name, threshold in thresholds.items())
    report = (
        f"{args.dataset}, {len(records)} frames, {args.config_file}, {host.cfg.MODEL.WEIGHTS}\n\n"
        f"Thresholds: {used}\n\n{identity_table(results, args.ignore_classes)}"
    )
    about = {
        "dataset": args.dataset,
        "config_file": args.config_file,
        "weights": host.cfg.MODEL.WEIGHTS,
        "thresholds": thresholds,
        "ignore_classes": args.ignore_classes,
    }
    give_report(args, report, {**about, "rows": without_nan(results)})


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    add_config_file(parser)
    add_dataset(parser)
    names = [method.short_name for method in METHODS]
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"of {' '.join(names)}; all where not given; another option has to follow, before "
        "the keys",
    )
    parser.add_argument(
        "--ignore-classes",
        action="store_true",
        help="count all objects as one class: how well boxes are tracked, whatever they are called",
    )
    for method in METHODS:
        parser.add_argument(
            f"--{method.short_name}-threshold",
            type=fraction,
            default=method.threshold,
            metavar="SCORE",
            help=f"for {method.name} (default: %(default)s)",
        )
    add_reports(parser)
    add_batch_size(parser)
    add_speed_arguments(parser)
    add_opts(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
