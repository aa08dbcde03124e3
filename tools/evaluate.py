#!/usr/bin/env python3
"""Evaluate what is saved, without a detector: a run, or anybody's detections.

A run's config is its own; TEST.SEQ_NMS.*, TEST.VID.*, DATASETS.STRICT and OUTPUT_DIR may be changed
by KEY VALUE pairs, any other key would need the detector again. With the same keys the figures are
those of the run, bit for bit.

A file of detections is a list of {"image_id", "category_id", "bbox": [x, y, width, height],
"score"}, with "video_id" and "frame_index" where they are known, or an object with that list under
"annotations" or "detections" and, if frames without detections are to be named as well, "images"
with the "id" of every frame. Ids are those of a dataset's own .json file; else images are numbered
from 1 in the order of the frames and categories from 1 in the order of the classes, as
tools/convert.py writes them. TEST.SEQ_NMS.ENABLED True re-scores it with Seq-NMS.
--write-detections writes such an object; with the same TEST.VID keys, reading it gives the same
figures, bit for bit.

Examples:
    python tools/evaluate.py --run output/inference/tiny_vid_test
    python tools/evaluate.py --protocol fgfa mega coco --run output/inference/imagenet_vid_val \\
        TEST.SEQ_NMS.TRACK_LINKS False TEST.SEQ_NMS.LINK_IOU 0.6
    python tools/evaluate.py --detections detections.json --dataset imagenet_vid_val \\
        --json figures.json --markdown figures.md
    python tools/evaluate.py --run output/inference/tiny_vid_test --write-detections found.json
    python tools/evaluate.py --run output/inference/tiny_vid_test TEST.VID.MODE online
"""

import argparse
from typing import TYPE_CHECKING, Any

from d2_plugtrack.build import build_scoring
from d2_plugtrack.commands.arguments import (
    CommandParser,
    add_opts,
    add_reports,
    existing_file,
    existing_folder,
    output_file,
)
from d2_plugtrack.commands.reports import give_report
from d2_plugtrack.core.average_precisions import mean_average_precision
from d2_plugtrack.core.protocols import PROTOCOLS
from d2_plugtrack.data.catalog import find_videos, mark_last_frames
from d2_plugtrack.data.dataset_ids import dataset_ids
from d2_plugtrack.data.imagenet.motion_file import read_motion
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.results.coco_detections import write_detections
from d2_plugtrack.results.figures import without_nan
from d2_plugtrack.results.report import class_table, protocol_table
from d2_plugtrack.saved_config import config_of_detections, config_of_run
from d2_plugtrack.saved_evaluation import detections_of_file, detections_of_run, open_run

if TYPE_CHECKING:
    from yacs.config import CfgNode


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    outputs = [*filter(None, (args.json, args.markdown, args.write_detections))]
    for path in outputs:
        if [*outputs, args.detections].count(path) > 1:
            raise UserError(f"{path}: expected once, found as several of input and outputs")
    if args.run:
        run = open_run(args.run, args.dataset)
        dataset, cfg = run.dataset, config_of_run(run, args.opts)
    else:
        if not args.dataset:
            raise UserError("--dataset: expected with --detections")
        dataset, cfg = args.dataset, config_of_detections(args.detections, args.opts)
    entry = find_videos(dataset)
    records = mark_last_frames(entry.load_records(strict=cfg.DATASETS.STRICT))
    motion = read_motion(cfg.TEST.VID.MOTION_FILE, records)
    ids, scoring = dataset_ids(dataset, entry, records), build_scoring(cfg)
    if args.run:
        detections = detections_of_run(run, ids, scoring)
    else:
        detections = detections_of_file(args.detections, ids, scoring)
    if args.write_detections:
        write_detections(args.write_detections, ids, detections)
    results = {
        protocol: mean_average_precision(records, detections, entry.class_names, protocol, motion)
        for protocol in args.protocol or [scoring.protocol]
    }
    about = {
        "dataset": dataset,
        "frames": len(records),
        "source": str(args.run or args.detections),
        "settings": settings(cfg),
    }
    report = as_markdown(about, results, entry.class_names)
    give_report(args, report, {**about, "results": without_nan(results)})


def settings(cfg: "CfgNode") -> dict[str, Any]:
    """The keys that the figures depend on, beside the boxes and the protocol."""
    links = ["TRACK_LINKS"] if cfg.TEST.VID.MODE == "offline" else []
    rescoring = [*links, "LINK_IOU", "NMS_IOU", "MIN_SCORE"] if cfg.TEST.SEQ_NMS.ENABLED else []
    mode = ["MODE"] if cfg.TEST.SEQ_NMS.ENABLED else []
    names = {
        "SEQ_NMS": ["ENABLED", *rescoring],
        "VID": [*mode, "SCORE_FLOOR", "DETECTIONS_PER_FRAME", "MOTION_FILE"],
    }
    return {f"TEST.{node}.{name}": cfg.TEST[node][name] for node in names for name in names[node]}


def as_markdown(
    about: dict[str, Any], results: dict[str, dict[str, Any]], class_names: list[str]
) -> str:
    """The tables under a line that says what they are of."""
    keys = ", ".join(f"{key} {value!r}" for key, value in about["settings"].items())
    return "\n\n".join(
        [
            f"{about['dataset']}, {about['frames']} frames, {about['source']}",
            keys,
            protocol_table(results),
            "AP % of each class, by protocol:",
            class_table(results, list(results), class_names),
        ]
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--run",
        type=existing_folder,
        metavar="DIR",
        help="an inference/<dataset> folder of an evaluation",
    )
    source.add_argument("--detections", type=existing_file, metavar="FILE", help="COCO-style, JSON")
    parser.add_argument(
        "--dataset", metavar="NAME", help="a dataset of videos; a run knows its own"
    )
    parser.add_argument(
        "--protocol",
        nargs="+",
        choices=tuple(PROTOCOLS),
        metavar="NAME",
        help=f"of {' '.join(PROTOCOLS)}; TEST.VID.PROTOCOL where not given; another option has to "
        "follow, before the keys",
    )
    add_reports(parser)
    parser.add_argument(
        "--write-detections",
        type=output_file,
        metavar="FILE",
        help="write the detections that were evaluated, COCO-style",
    )
    add_opts(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
