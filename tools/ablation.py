#!/usr/bin/env python3
"""The paper's ablation on a video dataset, from one pass of detection.

    ablation.py --config-file configs/TinyVID/plugtrack_tiny.yaml --dataset tiny_vid_test \\
        --json output/ablation.json MODEL.WEIGHTS demo/plugtrack_tiny.pth
"""

import argparse
import math
from pathlib import Path

from tqdm import tqdm

from d2_plugtrack.ablation import build_ablation_runs, format_table
from d2_plugtrack.core.video_evaluation import mean_average_precision
from d2_plugtrack.data.catalog import find_videos
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.host import open_host
from d2_plugtrack.outputs import ensure_writable, write_json


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: expected at least 1")
    if args.json:
        ensure_writable(args.json)
    dataset = find_videos(args.dataset)  # refuses a name before the weights are loaded
    host = open_host(args.config_file, args.opts, tracker_required=True)
    records = host.load_videos(args.dataset)
    runs = build_ablation_runs(host.cfg, host.tracker)
    detected = host.detect(records, args.batch_size)
    for record, frame in tqdm(detected, args.dataset, len(records), unit="frame", disable=None):
        for run in runs.values():
            run.process(frame, (record["video_id"], record["frame_index"]), record["last"])
    protocol = host.cfg.TEST.VID.PROTOCOL
    results = {
        name: mean_average_precision(records, run.detections, dataset.class_names, protocol)
        for name, run in runs.items()
    }
    print(f"{args.dataset}, {len(records)} frames, protocol {protocol}, {host.cfg.MODEL.WEIGHTS}")
    print(format_table(results))
    if args.json:
        rows = [
            {"name": name, **without_nan({"mAP": result["mAP"]}), "AP": without_nan(result["AP"])}
            for name, result in results.items()
        ]
        write_json(args.json, {"dataset": args.dataset, "protocol": protocol, "rows": rows})


def without_nan(values: dict[str, float]) -> dict[str, float | None]:
    """JSON knows no NaN, the AP of a class without ground truth: null instead."""
    return {key: None if math.isnan(value) else value for key, value in values.items()}


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--dataset", required=True, help="a dataset of videos")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    parser.add_argument("--batch-size", type=int, default=4, help="frames through the detector")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
