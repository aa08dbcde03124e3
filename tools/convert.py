#!/usr/bin/env python3
"""Convert annotated videos: ImageNet's XML layout, COCO-VID and YouTube-VIS JSON.

imagenet is a folder with Data, Annotations and ImageSets, the others are a file each. File names
in a JSON file are relative to its folder. Bad entries, and what the other format has no place for,
are left out and summed up; the exit status is 0 all the same. With --strict the first such thing
is an error with status 2, and no JSON file and no list is written.

Examples:
    python tools/convert.py --from coco-vid --to youtube-vis \\
        --input train.json --output train_vis.json
    python tools/convert.py --from youtube-vis --to coco-vid --input export/result.json \\
        --images frames --output train.json
    python tools/convert.py --from imagenet --list VID_val_videos.txt --classes vid \\
        --input datasets/ILSVRC2015 --to coco-vid --output val.json
    python tools/convert.py --from coco-vid --to imagenet --list VID_mine_videos.txt \\
        --classes vid --input mine.json --output datasets/mine
"""

import argparse
from pathlib import Path

from d2_plugtrack.commands.arguments import CommandParser
from d2_plugtrack.data.catalog import DATASETS
from d2_plugtrack.data.imagenet.records import load_vid_frames, load_vid_videos
from d2_plugtrack.data.imagenet.writer import write_imagenet_vid
from d2_plugtrack.data.problems import Problems
from d2_plugtrack.data.video_json.coco_vid import read_coco_vid, write_coco_vid
from d2_plugtrack.data.video_json.video_set import VideoSet
from d2_plugtrack.data.video_json.youtube_vis import read_youtube_vis, write_youtube_vis
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.outputs import ensure_writable

FORMATS = ("imagenet", "coco-vid", "youtube-vis")
CLASSES = {"vid": DATASETS["imagenet_vid_val"].classes, "tiny": DATASETS["tiny_vid_val"].classes}


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    check_arguments(args)
    problems = Problems(args.strict)
    videos = read(args, problems)
    if not videos.records:
        found = problems.summary().replace("\n", "; ") or "none"
        raise UserError(f"{args.input}: expected frames of videos, found {found}")
    write(args, videos, problems)
    objects = sum(len(record["annotations"]) for record in videos.records)
    count = len({record["video_id"] for record in videos.records})
    print(
        f"{args.output}: from {count} videos, {len(videos.records)} frames, {objects} objects of "
        f"{len(videos.categories)} classes"
    )
    if problems.counts:
        print(problems.summary())


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse, before any work, what does not go together or is there already."""
    if "imagenet" in (args.source, args.target):
        for option, value in (("--list", args.list), ("--classes", args.classes)):
            if value is None:
                raise UserError(f"{option}: expected with imagenet")
    if args.source == "imagenet" and args.images:
        raise UserError("--images: imagenet's images are in its Data folder")
    output = args.output
    if args.target == "imagenet":
        output = args.output / "ImageSets" / Path(args.list).name
    if output.exists() and not args.overwrite:
        raise UserError(f"{output}: exists; --overwrite replaces it")
    if output.exists() and args.input.exists() and output.samefile(args.input):
        raise UserError(f"--output {output}: is the input; name another file")
    if args.target != "imagenet":
        ensure_writable(output, ".json")
    elif args.source == "imagenet" and args.output.exists() and args.output.samefile(args.input):
        raise UserError(f"--output {args.output}: is the input; name another folder")


def read(args: argparse.Namespace, problems: Problems) -> VideoSet:
    """The input."""
    if args.source == "coco-vid":
        return read_coco_vid(args.input, problems, args.images)
    if args.source == "youtube-vis":
        return read_youtube_vis(args.input, problems, args.images)
    classes = CLASSES[args.classes]
    list_file = args.input / "ImageSets" / args.list  # an absolute path stays one
    load = load_vid_frames if lists_frames(list_file) else load_vid_videos
    records = load(args.input, list_file, classes, problems=problems)
    return VideoSet(records, dict(enumerate(classes.values(), start=1)))


def lists_frames(list_file: Path) -> bool:
    """Whether rows are frames (a video in several, or a number above 0) and not whole videos."""
    try:
        rows = [line.split() for line in list_file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        return False  # the reader says what is wrong
    rows = [row for row in rows if row]
    return any(row[2:3] != ["0"] for row in rows) or len({row[0] for row in rows}) < len(rows)


def write(args: argparse.Namespace, videos: VideoSet, problems: Problems) -> None:
    """The output."""
    if args.target == "coco-vid":
        write_coco_vid(args.output, videos)
    elif args.target == "youtube-vis":
        write_youtube_vis(args.output, videos, problems)
    else:
        write_imagenet_vid(
            args.output,
            Path(args.list).name,
            videos,
            CLASSES[args.classes],
            problems,
            overwrite=args.overwrite,
        )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    parser.add_argument("--from", dest="source", required=True, choices=FORMATS, help="the input")
    parser.add_argument("--to", dest="target", required=True, choices=FORMATS, help="the output")
    parser.add_argument("--input", type=Path, required=True, metavar="PATH")
    parser.add_argument("--output", type=Path, required=True, metavar="PATH")
    parser.add_argument("--list", metavar="NAME", help="of imagenet: a file in its ImageSets")
    parser.add_argument("--classes", choices=sorted(CLASSES), help="of imagenet")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="what file names in the input are relative to",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument("--strict", action="store_true", help="anything left out is an error")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
