"""Small good datasets to damage: ImageNet's layout with all forms of list, and JSON files."""

import json
from pathlib import Path

from d2_plugtrack.data.catalog import DatasetEntry
from d2_plugtrack.data.imagenet.records import (
    load_det_images,
    load_listed_videos,
    load_sampled_videos,
    load_vid_frames,
    load_vid_videos,
)
from tests.data.video_sets import coco_vid, write_images, youtube_vis

CLASSES = {"n01": "disc", "n02": "bar"}
VIDEOS = {"val/a": 4, "val/b": 1, "val/c": 3}
STILLS = [f"train/x/x_{i}" for i in range(5)]
JSON_FORMS = {"coco_vid": coco_vid, "youtube_vis": youtube_vis}

#: list file: who reads it, the form of its rows
LISTS = {
    "videos.txt": (load_vid_videos, "video"),
    "frames.txt": (load_vid_frames, "frame"),
    "sampled.txt": (load_sampled_videos, "frame"),
    "listed.txt": (load_listed_videos, "frame"),
    "short.txt": (load_listed_videos, "short frame"),
    "stills.txt": (load_det_images, "image"),
}


def entry_of(list_name: str) -> DatasetEntry:
    """The dataset ``set`` below the data root that a list file makes."""
    return DatasetEntry("set", LISTS[list_name][0], list_name, CLASSES, "nothing")


def write_imagenet(root: Path) -> None:
    """Three videos and five stills, with every form of list."""
    frames = [(video, t) for video, length in VIDEOS.items() for t in range(length)]
    for video, t in frames:
        _write_image(root, "VID", f"{video}/{t:06d}", t, tracks=True)
    for number, still in enumerate(STILLS):
        _write_image(root, "DET", still, number, tracks=False)
    rows = {
        "videos.txt": [f"{video} 1 0 {length}" for video, length in VIDEOS.items()],
        # of a single row nobody can tell whether its length is right
        "frames.txt": [f"{v} 1 {t} {VIDEOS[v]}" for v, t in frames if t != 1 and VIDEOS[v] > 1],
        "sampled.txt": [f"{v} 1 {t} {VIDEOS[v]}" for v, t in frames if t != 1],
        "listed.txt": [f"{v} {n} {t} {VIDEOS[v]}" for n, (v, t) in enumerate(frames, start=1)],
        "short.txt": [f"{v}/{t:06d} {n}" for n, (v, t) in enumerate(frames, start=1)],
        "stills.txt": [f"{still} 1" for still in STILLS],
    }
    (root / "ImageSets").mkdir()
    for name, lines in rows.items():
        (root / "ImageSets" / name).write_text("\n".join(lines) + "\n")


def _write_image(root: Path, kind: str, name: str, number: int, *, tracks: bool) -> None:
    image, xml = root / f"Data/{kind}/{name}.JPEG", root / f"Annotations/{kind}/{name}.xml"
    for path in (image, xml):
        path.parent.mkdir(parents=True, exist_ok=True)
    image.touch()
    objects = [
        "<object>"
        + (f"<trackid>{track}</trackid>" if tracks else "")
        + f"<name>n0{1 + (number + track) % 2}</name>"
        f"<bndbox><xmax>{30 + track}</xmax><xmin>{1 + number}</xmin><ymax>40</ymax>"
        f"<ymin>{2 + track}</ymin></bndbox><occluded>0</occluded></object>\n"
        for track in range(1 + number % 3)
    ]
    xml.write_text(
        "<annotation>\n<folder>f</folder>\n<filename>f</filename>\n"
        "<size><width>64</width><height>48</height></size>\n"
        f"{''.join(objects)}</annotation>\n"
    )


def write_json_set(path: Path, form: str, seed: int) -> dict:
    """A JSON file and its images; what is in the file. It has annotations in any case."""
    data = next(d for d in map(JSON_FORMS[form], range(seed, seed + 99)) if d["annotations"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1))
    write_images(path.parent, data)
    return data
