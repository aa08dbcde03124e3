"""Videos written in ImageNet VID's layout: images, an XML file a frame, and a list of the videos.

Frames are numbered anew from 0. Images that are JPEG are linked, or copied where that cannot be;
others are encoded as JPEG. Boxes are xyxy in pixels, as they are. The list is written last, so
that what was interrupted has none. The XML has no place for crowds and segmentations.
"""

import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ...errors import UserError
from ...outputs import atomic_output, os_errors_name
from ..problems import Problems
from ..tables.frame_store import Record
from ..video_json.entries import BadEntry, Entry, noted
from ..video_json.video_set import VideoSet, videos_of

_JPEG_QUALITY = 95


def write_imagenet_vid(
    root: Path,
    list_name: str,
    videos: VideoSet,
    classes: Mapping[str, str],
    problems: Problems,
    *,
    overwrite: bool,
) -> None:
    """Write ``ROOT/{Data,Annotations}/VID/<video>`` and ``ROOT/ImageSets/<list_name>``.

    Args:
        classes: name in the XML: class name, of the classes that can be written.
        problems: is told what is left out: objects of other classes, crowds, segmentations, frames
            whose image cannot be read.
        overwrite: write into the folders of videos that exist.

    Raises:
        UserError: a place that cannot be written, a video that exists.
    """
    names = {name: key for key, name in classes.items()}
    rows, first = [], 1
    taken = {os.path.realpath(record["file_name"]) for record in videos.records}
    by_id = videos_of(videos.records)
    folders = _folders([videos.name_of(video) for video in by_id])
    with os_errors_name(root):
        for folder, frames in tqdm(
            zip(folders, by_id.values(), strict=True), "videos", len(by_id), disable=None
        ):
            annotations = root / "Annotations/VID" / folder
            if annotations.exists() and not overwrite:
                raise UserError(f"{annotations}: exists; --overwrite writes into it")
            number = 0
            for frame in frames:
                with noted(problems):
                    target = _made(root, "Data", folder, number, "JPEG")
                    source = os.path.realpath(frame["file_name"])
                    if os.path.realpath(target) in taken - {source}:
                        raise UserError(f"{target}: is an image of the input; name another output")
                    _write_image(frame["file_name"], target)
                    objects = _objects(frame, videos.class_names, names, problems)
                    tree = _tree(folder, number, frame, objects)
                    ET.indent(tree)
                    tree.write(_made(root, "Annotations", folder, number, "xml"))
                    number += 1
            if number:
                rows.append(f"{folder} {first} 0 {number}\n")
                first += number
        path = root / "ImageSets" / list_name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(path) as temporary:
            temporary.write_text("".join(rows), encoding="utf-8")


def _folders(names: list[str]) -> list[str]:
    """A folder for each video: its name without what a list or a path cannot have."""
    folders: list[str] = []
    for name in names:
        parts = [re.sub(r"\s+", "_", part) for part in Path(name).parts]
        folder = "/".join(part for part in parts if part not in ("/", "..")) or "video"
        candidate, count = folder, 1
        while candidate in folders:
            count += 1
            candidate = f"{folder}_{count}"
        folders.append(candidate)
    return folders


def _made(root: Path, side: str, folder: str, number: int, ending: str) -> Path:
    path = root / side / "VID" / folder / f"{number:06d}.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_image(source: str, target: Path) -> None:
    try:
        with Image.open(source) as image:
            pixels = None if image.format == "JPEG" else image.convert("RGB")
    except Exception as error:  # Pillow keeps no list of what it raises on bad input
        reason = getattr(error, "strerror", None) or error
        message = f"{source}: expected an image, found {reason}"
        raise BadEntry("images that cannot be read", message) from None
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    if pixels is not None:
        pixels.save(target, "JPEG", quality=_JPEG_QUALITY)
        return
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _objects(
    frame: Record, class_names: list[str], names: Mapping[str, str], problems: Problems
) -> list[Entry]:
    """The annotations that the XML can say, with the ``name`` it says them by."""
    objects = []
    for annotation in frame["annotations"]:
        where = f"{frame['file_name']}, object {annotation['track_id']}"
        name = class_names[annotation["category_id"]]
        with noted(problems):
            if name not in names:
                message = f"{where}: expected one of the classes {', '.join(names)}, found {name}"
                raise BadEntry("objects of other classes", message)
            if annotation["iscrowd"]:
                message = f"{where}: expected no crowd, which the XML cannot say"
                raise BadEntry("crowds", message)
            objects.append({**annotation, "name": names[name]})
            if annotation.get("segmentation"):
                message = f"{where}: expected a box alone, found a segmentation as well"
                raise BadEntry("segmentations (boxes are kept)", message)
    return objects


def _tree(folder: str, number: int, frame: Record, objects: list[Entry]) -> ET.ElementTree:
    root = ET.Element("annotation")
    _add(root, {"folder": folder, "filename": f"{number:06d}"})
    _add(ET.SubElement(root, "size"), {"width": frame["width"], "height": frame["height"]})
    for found in objects:
        element = ET.SubElement(root, "object")
        _add(element, {"trackid": found["track_id"], "name": found["name"]})
        box = [int(side) if side.is_integer() else side for side in found["bbox"]]
        sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        _add(ET.SubElement(element, "bndbox"), sides)
    return ET.ElementTree(root)


def _add(element: ET.Element, texts: Mapping[str, object]) -> None:
    for tag, text in texts.items():
        ET.SubElement(element, tag).text = str(text)
