#!/usr/bin/env python3
"""Annotate a video: boxes, classes and track ids, steady over the whole of it, and masks if any.

A video file or a folder of frames in; an H.264 mp4 and a JSON file out.

    video_demo.py --input clip.mp4 --output annotated.mp4 \\
        --config-file configs/TinyVID/plugtrack_tiny.yaml MODEL.WEIGHTS demo/plugtrack_tiny.pth
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
from torch import Tensor
from tqdm import tqdm

from d2_plugtrack.core.rescoring import TrackedObjects
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.masks import encode_masks, paste_masks
from d2_plugtrack.outputs import ensure_writable, write_json_list
from d2_plugtrack.predictor import VideoPredictor
from d2_plugtrack.prefetch import prefetch
from d2_plugtrack.speed_options import add_speed_arguments, speed_opts
from d2_plugtrack.video_io import FrameSource, VideoWriter, open_frames
from d2_plugtrack.visualization import draw_tracks

READ_AHEAD = 4  # frames, while others are drawn and encoded


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    source = open_frames(args.input, args.frame_rate)
    json_path = args.json or args.output.with_suffix(".json")
    for name, path in (("--output", args.output), ("--json", json_path)):
        if path.exists() and os.path.samefile(args.input, path):
            raise UserError(f"{name} {path}: is the input; name another file")
    ensure_writable(args.output, ".mp4")
    ensure_writable(json_path, ".json")
    if args.batch_size is not None and args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: expected at least 1")
    opts = [*speed_opts(args), *args.opts]
    predictor = VideoPredictor.from_config_file(args.config_file, opts)
    sizes = detect(predictor, source, args.batch_size)
    objects = predictor.finish().map(lambda o: confident(o, args.confidence_threshold))
    about = {
        "video": str(args.input),
        "frame_rate": float(source.frame_rate),
        "classes": predictor.class_names,
    }
    frames = frames_as_json(objects, predictor.class_names, sizes)
    write_json_list(json_path, about, "frames", frames)
    num_tracks = draw(source, objects, predictor.class_names, args.output, args.zoom)
    print(f"{args.output}, {json_path}: {len(objects)} frames, {num_tracks} tracks")


def detect(
    predictor: VideoPredictor, source: FrameSource, batch_size: int | None
) -> list[tuple[int, int]]:
    """Go through the video once; (height, width) of every frame."""
    results = predictor.results(source, batch_size)
    progress = tqdm(results, "detecting", source.num_frames, unit="frame", disable=None)
    return [result.image_size for result in progress]


def confident(objects: TrackedObjects, threshold: float) -> TrackedObjects:
    """The objects of a frame that score at least ``threshold``."""
    return objects.map(lambda field: field[objects.scores >= threshold])


def frames_as_json(
    objects: Sequence[TrackedObjects], class_names: list[str], sizes: list[tuple[int, int]]
) -> Iterator[dict]:
    """Boxes are xyxy in pixels of the frame; ``segmentation`` (masks) is COCO's run lengths."""
    for index, (o, (height, width)) in enumerate(zip(objects, sizes, strict=True)):
        yield {
            "frame": index,
            "height": height,
            "width": width,
            "objects": _objects_as_json(o, class_names, (height, width)),
        }


def _objects_as_json(
    objects: TrackedObjects, class_names: list[str], size: tuple[int, int]
) -> list[dict]:
    *fields, masks = objects
    found = [
        {"box": box, "class": class_names[label], "score": score, "track_id": track_id}
        for box, score, label, track_id in zip(*(t.tolist() for t in fields), strict=True)
    ]
    if masks is None:
        return found
    encoded = encode_masks(paste_masks(masks, objects.boxes, size))
    return [{**o, "segmentation": e} for o, e in zip(found, encoded, strict=True)]


def draw(
    source: FrameSource,
    objects: Sequence[TrackedObjects],
    class_names: list[str],
    output: Path,
    zoom: int,
) -> int:
    """Go through the video again and write it with its objects, enlarged ``zoom`` times.

    Returns:
        The number of tracks drawn.
    """
    tracks = set()
    with VideoWriter(output, source.frame_rate) as writer:
        frames = zip(prefetch(source, READ_AHEAD), objects, strict=True)
        for frame, o in tqdm(frames, "drawing", len(objects), unit="frame", disable=None):
            _, scores, classes, track_ids, _ = o.map(Tensor.numpy)
            tracks.update(track_ids.tolist())
            labels = [
                f"{track_id} {class_names[label]} {score:.2f}"
                for track_id, label, score in zip(track_ids, classes, scores, strict=True)
            ]
            if zoom > 1:
                frame = cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
            boxes, masks = o.boxes * zoom, None
            if o.masks is not None:
                masks = paste_masks(o.masks, boxes, frame.shape[:2])
            writer.write(draw_tracks(frame, boxes.numpy(), labels, track_ids, masks))
    return len(tracks)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--input", type=Path, required=True, help="a video or a folder of frames")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.mp4")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="objects; beside the output where not given"
    )
    parser.add_argument("--confidence-threshold", type=float, default=0.3, metavar="SCORE")
    parser.add_argument("--frame-rate", type=float, default=25, help="of a folder of frames")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="frames that go through the detector together; usually 4 on a GPU, otherwise 1",
    )
    parser.add_argument("--zoom", type=int, default=1, help="enlarge small frames so many times")
    add_speed_arguments(parser)
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
