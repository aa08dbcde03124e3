"""COCO-VID: COCO's JSON with videos, which ``data/video_json`` reads, and pycocotools too.

An object of four lists. ``videos``: the one, with its name and frame rate. ``categories``: the
classes, with ids from 1 in label order. ``images``: every frame, with its place in the source
(``frame_id``, from 0), its ``time`` in seconds, its size and a ``file_name``. ``annotations``:
every object, with ``bbox`` ``[x, y, width, height]`` in pixels of the frame, ``score``,
``instance_id`` (the track, from 0), ``area`` and, where the detector has masks, ``segmentation`` as
run lengths.

What has no area in the frame is left out, as the reader would; an object without a track has an
``instance_id`` below 0 of its own, since none may be there twice in a frame.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

from ..core.rescoring import TrackedObjects
from ..masks import RunLengths, encode_masks, paste_masks
from ..outputs import as_json
from .export import Export, boxes_xywh

VIDEO_ID = 1


class CocoVidWriter(Export):
    """Writes such a file; annotations wait in another, unnamed one, until the images are written.

    Args:
        path, class_names: as of :class:`Export`.
        name: of the video.
        frame_rate: frames a second.
        file_name: a frame's, given its place in the source, called once a frame in order; where
            None there are no files, and it is ``NAME#000012``, which cannot be mistaken for one.
    """

    suffix = ".json"

    def __init__(
        self,
        path: str | Path,
        class_names: list[str],
        name: str,
        frame_rate: Fraction | float,
        file_name: Callable[[int], str] | None = None,
    ):
        super().__init__(path, class_names)
        self.name, self.frame_rate = name, float(frame_rate)
        self._file_name = file_name or (lambda index: f"{name}#{index:06d}")
        self._num_images = self._num_annotations = 0

    def _begin(self, file: TextIO, stack: ExitStack) -> None:
        self._num_images = self._num_annotations = 0
        folder = os.path.dirname(os.path.realpath(self.path))
        waiting = tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)  # noqa: SIM115
        self._annotations = stack.enter_context(waiting)
        about = {
            "videos": [{"id": VIDEO_ID, "name": self.name, "frame_rate": self.frame_rate}],
            "categories": [
                {"id": number, "name": name} for number, name in enumerate(self.class_names, 1)
            ],
            "images": [],
        }
        file.write(as_json(about).removesuffix("]}"))

    def _write(
        self,
        file: TextIO,
        index: int,
        time: float,
        image_size: tuple[int, int],
        objects: TrackedObjects,
    ) -> None:
        height, width = image_size
        self._num_images += 1
        image = {
            "id": self._num_images,
            "video_id": VIDEO_ID,
            "frame_id": index,
            "file_name": self._file_name(index),
            "height": height,
            "width": width,
            "time": round(time, 6),
        }
        file.write((", " if self._num_images > 1 else "") + as_json(image))
        for annotation in _annotations(objects, image_size):
            self._num_annotations += 1
            self._add(annotation)

    def _add(self, annotation: dict[str, Any]) -> None:
        number = self._num_annotations
        if annotation["instance_id"] < 0:
            annotation["instance_id"] = -number
        entry = {"id": number, "image_id": self._num_images, **annotation}
        self._annotations.write((", " if number > 1 else "") + as_json(entry))

    def _end(self, file: TextIO) -> None:
        file.write('], "annotations": [')
        self._annotations.seek(0)
        shutil.copyfileobj(self._annotations, file)
        file.write("]}\n")


def _annotations(objects: TrackedObjects, image_size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    height, width = image_size
    boxes = boxes_xywh(objects)
    scores, labels, tracks = (field.tolist() for field in objects[1:4])
    for row, (box, score, label, track) in enumerate(
        zip(boxes, scores, labels, tracks, strict=True)
    ):
        x, y, box_width, box_height = box
        has_area = min(box_width, box_height, x + box_width, y + box_height) > 0
        if not has_area or x >= width or y >= height:
            continue
        mask = _mask(objects, row, image_size)
        yield {
            "category_id": label + 1,
            "instance_id": track,
            "bbox": box,
            "score": score,
            "area": box_width * box_height if mask is None else _area(mask),
            "iscrowd": 0,
            **({} if mask is None else {"segmentation": mask}),
        }


def _mask(objects: TrackedObjects, row: int, image_size: tuple[int, int]) -> RunLengths | None:
    """One at a time: masks of the whole frame are large."""
    if objects.masks is None:
        return None
    one = slice(row, row + 1)
    (mask,) = encode_masks(paste_masks(objects.masks[one], objects.boxes[one], image_size))
    return mask


def _area(mask: RunLengths) -> float:
    from pycocotools import mask as coco

    return float(coco.area(mask))
