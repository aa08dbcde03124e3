#!/usr/bin/env python3
"""The paper's ablation on a video dataset, from one pass of detection.

    ablation.py --config-file configs/TinyVID/plugtrack_tiny.yaml --dataset tiny_vid_test \\
        --json output/ablation.json MODEL.WEIGHTS demo/plugtrack_tiny.pth
"""

import argparse
import math
from pathlib import Path

from d2_plugtrack.prerequisites import require_detectron2

require_detectron2()

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from tqdm import tqdm

from d2_plugtrack.ablation import build_ablation_runs, format_table
from d2_plugtrack.core.detector import detect_frames
from d2_plugtrack.core.video_evaluation import mean_average_precision
from d2_plugtrack.data.loaders import build_vid_test_loader
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.outputs import ensure_writable, write_json
from d2_plugtrack.plugin import load_config, load_model


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = load_config(args.config_file, args.opts)
    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: expected at least 1")
    if args.json:
        ensure_writable(args.json)
    loader = build_vid_test_loader(cfg, args.dataset, batch_size=args.batch_size)
    model = load_model(cfg, tracker_required=True)
    runs = build_ablation_runs(cfg, model.tracker)
    with torch.no_grad():
        for inputs in tqdm(loader, desc=args.dataset, unit="batch", disable=None):
            frames = detect_frames(model, model.tracker, inputs)
            for record, frame in zip(inputs, frames, strict=True):
                for run in runs.values():
                    key = record["video_id"], record["frame_index"]
                    run.process(frame, key, record["last"])
    records = DatasetCatalog.get(args.dataset)
    names = MetadataCatalog.get(args.dataset).thing_classes
    protocol = cfg.TEST.VID.PROTOCOL
    results = {
        name: mean_average_precision(records, run.detections, names, protocol)
        for name, run in runs.items()
    }
    print(f"{args.dataset}, {len(records)} frames, protocol {protocol}, {cfg.MODEL.WEIGHTS}")
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
    parser.add_argument("--dataset", required=True, help="a registered video dataset")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    parser.add_argument("--batch-size", type=int, default=4, help="frames through the detector")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
