"""The tiny VID set: synthetic videos and stills, written in ImageNet VID's own layout.

``ROOT/{Data,Annotations}/VID/{train,val,test}/<video>/%06d.{JPEG,xml}``, stills of a tiny DET
beside them, and list files in ``ROOT/ImageSets`` of the same form as the community's, so that
``imagenet/records.py`` reads both sets alike. What the videos show is in ``tiny_scenes.py``.

Every video and still has a random generator of its own, seeded by (seed, split, number): a split
can be made alone, or only its first videos, and comes out the same.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import UserError
from .imagenet.sampling import FRAMES_PER_VIDEO, sample_evenly
from .tiny_scenes import HEIGHT, WIDTH, SceneObject, label_names, render_still, render_video

#: name in the XML (where ImageNet has a WordNet id): class name, in label order
TINY_CLASSES = {f"tiny_{name}": name for name in label_names()}

#: split: number of videos, frames of each
SPLITS = {"train": (160, 16), "val": (40, 30), "test": (40, 30)}
NUM_STILLS = 2000


def write_tiny_vid(
    root: Path, seed: int, splits: Sequence[str] = tuple(SPLITS), num_videos: int | None = None
) -> None:
    """Make the set, or some of its splits, under ``root``.

    Args:
        root: folder that will hold Data, Annotations and ImageSets; made where absent.
        seed: of everything in it.
        splits: which to make; ``train`` brings the stills with it.
        num_videos: only the first so many videos of each split, and ten times as many stills;
            all where None.

    Raises:
        UserError: a split that does not exist, a negative seed, less than one video, or a place
            that cannot be written.
    """
    for split in splits:
        if split not in SPLITS:
            raise UserError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
    if seed < 0:
        raise UserError(f"seed {seed}: expected 0 or more")
    if num_videos is not None and num_videos < 1:
        raise UserError(f"{num_videos} videos: expected at least 1")
    try:
        for split in splits:
            _write_videos(root, seed, split, num_videos)
        if "train" in splits:
            count = NUM_STILLS if num_videos is None else min(10 * num_videos, NUM_STILLS)
            _write_stills(root, seed, count)
    except OSError as error:
        raise UserError(f"{root}: cannot write the tiny VID set: {error}") from error


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng((seed, *key))


def _write_videos(root: Path, seed: int, split: str, num_videos: int | None) -> None:
    count, num_frames = SPLITS[split]
    count = count if num_videos is None else min(num_videos, count)
    videos = [f"{split}/tiny_{split}_{i:05d}" for i in range(count)]
    split_number = list(SPLITS).index(split)
    for i, video in enumerate(tqdm(videos, desc=f"tiny VID {split}", unit="video", disable=None)):
        rng = _generator(seed, split_number, i)
        for t, (image, objects) in enumerate(render_video(rng, num_frames)):
            _write_image(root, f"VID/{video}/{t:06d}", image, objects, with_tracks=True)
    if split == "train":
        frames = sample_evenly(num_frames, FRAMES_PER_VIDEO)
        rows = [f"{v} 1 {t} {num_frames}" for v in videos for t in frames]
        _write_list(root, "VID_train_15frames.txt", rows)
    else:
        rows = [f"{v} {i * num_frames + 1} 0 {num_frames}" for i, v in enumerate(videos)]
        _write_list(root, f"VID_{split}_videos.txt", rows)


def _write_stills(root: Path, seed: int, count: int) -> None:
    names = [f"train/tiny_det_{i:05d}" for i in range(count)]
    for i, name in enumerate(tqdm(names, desc="tiny DET train", unit="image", disable=None)):
        image, objects = render_still(_generator(seed, len(SPLITS), i))
        _write_image(root, f"DET/{name}", image, objects, with_tracks=False)
    _write_list(root, "DET_train.txt", [f"{name} 1" for name in names])


def _write_image(
    root: Path, name: str, image: np.ndarray, objects: list[SceneObject], *, with_tracks: bool
) -> None:
    data, xml = root / "Data" / f"{name}.JPEG", root / "Annotations" / f"{name}.xml"
    for path in (data, xml):
        path.parent.mkdir(parents=True, exist_ok=True)
    data.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    xml.write_text(_annotation(name, objects, with_tracks))


def _annotation(name: str, objects: list[SceneObject], with_tracks: bool) -> str:
    folder, filename = name.rsplit("/", 1)
    lines = [
        "<annotation>",
        f"\t<folder>{escape(folder)}</folder>",
        f"\t<filename>{escape(filename)}</filename>",
        f"\t<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>",
        *(_object(o, with_tracks) for o in objects),
        "</annotation>",
    ]
    return "\n".join(lines) + "\n"


def _object(scene_object: SceneObject, with_tracks: bool) -> str:
    x1, y1, x2, y2 = scene_object.box
    track = f"<trackid>{scene_object.track_id}</trackid>" if with_tracks else ""
    return (
        f"\t<object>{track}<name>{list(TINY_CLASSES)[scene_object.label]}</name>"
        f"<bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax><ymin>{y1}</ymin></bndbox>"
        f"<occluded>{int(scene_object.occluded)}</occluded></object>"
    )


def _write_list(root: Path, name: str, rows: list[str]) -> None:
    path = root / "ImageSets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")
