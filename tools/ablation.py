#!/usr/bin/env python3
"""The paper's ablation on a video dataset, from one pass of detection.

Prints its Table 2 beside ours and ours per class, with two controls, for any config and weights.

Examples:
    python tools/ablation.py --config-file configs/TinyVID/plugtrack_tiny.yaml \\
        --dataset tiny_vid_test --json ablation.json --markdown ablation.md \\
        MODEL.WEIGHTS demo/plugtrack_tiny.pth
    python tools/ablation.py --settings per-frame seq-nms \\
        --config-file configs/ImageNetVID/plugtrack_hrnet_w32.yaml --dataset imagenet_vid_val \\
        MODEL.WEIGHTS output/ImageNetVID/faster_rcnn_hrnet_w32/model_final.pth
"""

import argparse

from tqdm import tqdm

from d2_plugtrack.ablation import (
    ABLATION_ROWS,
    Results,
    build_ablation_runs,
    format_class_table,
    format_table,
)
from d2_plugtrack.commands.arguments import (
    CommandParser,
    add_batch_size,
    add_config_file,
    add_dataset,
    add_opts,
    add_reports,
)
from d2_plugtrack.commands.reports import give_report
from d2_plugtrack.commands.speed_options import add_speed_arguments, speed_opts
from d2_plugtrack.core.average_precisions import mean_average_precision
from d2_plugtrack.data.catalog import find_videos
from d2_plugtrack.data.imagenet.motion_file import read_motion
from d2_plugtrack.errors import exit_on_user_error
from d2_plugtrack.host import open_host
from d2_plugtrack.outputs import os_errors_name
from d2_plugtrack.results.figures import without_nan


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    dataset = find_videos(args.dataset)  # refuses a name before the weights are loaded
    rows = [row for row in ABLATION_ROWS if row.short_name in args.settings]
    tracks = any(row.tracks for row in rows)
    opts = [*speed_opts(args), *args.opts]
    host = open_host(args.config_file, opts, tracker_required=tracks)
    records = host.load_videos(args.dataset)
    motion = read_motion(host.cfg.TEST.VID.MOTION_FILE, records)
    runs = build_ablation_runs(host.cfg, host.tracker, rows)
    detected = host.detect(records, args.batch_size)
    for record, frame in tqdm(detected, args.dataset, len(records), unit="frame", disable=None):
        key = record["video_id"], record["frame_index"]
        for run in runs.values():
            result = run.detect(frame, key)
            with os_errors_name(host.cfg.OUTPUT_DIR):
                run.collect(result, key, record["last"])
    protocol = host.cfg.TEST.VID.PROTOCOL
    results = {
        name: mean_average_precision(records, run.detections, dataset.class_names, protocol, motion)
        for name, run in runs.items()
    }
    report = "\n\n".join(
        [
            f"{args.dataset}, {len(records)} frames, protocol {protocol}, "
            f"{args.config_file}, {host.cfg.MODEL.WEIGHTS}",
            format_table(results),
            "AP % of each class:",
            format_class_table(results, dataset.class_names),
        ]
    )
    give_report(args, report, as_json(args, host.cfg, results))


def as_json(args: argparse.Namespace, cfg, results: Results) -> dict:
    """Every setting with the paper's figures; what was measured is null where not run."""
    rows = [
        {
            "name": row.name,
            "paper": {"light": row.paper_light, "heavy": row.paper_heavy},
            **dict.fromkeys(("mAP", "AP", "motion", "area")),
            **without_nan(results.get(row.name, {})),
        }
        for row in ABLATION_ROWS
    ]
    return {
        "dataset": args.dataset,
        "protocol": cfg.TEST.VID.PROTOCOL,
        "config_file": args.config_file,
        "weights": cfg.MODEL.WEIGHTS,
        "rows": rows,
    }


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    add_config_file(parser)
    add_dataset(parser)
    names = [row.short_name for row in ABLATION_ROWS]
    parser.add_argument(
        "--settings",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"rows to run, of {' '.join(names)}; all where not given, the others say 'not run'; "
        "another option has to follow, before the keys",
    )
    add_reports(parser)
    add_batch_size(parser)
    add_speed_arguments(parser)
    add_opts(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
