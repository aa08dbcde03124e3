"""COCO-style detections in JSON files: anybody's read into arrays, one's own written.

Shape letters: D detections of a frame. Boxes are xyxy in pixels of the frame here, and
``[x, y, width, height]`` in files.

A file is a list of ``{"image_id", "category_id", "bbox", "score"}``, or an object with that list
under ``annotations`` or ``detections``. ``video_id`` and ``frame_index`` say the frame again, and
have to agree, or say it in place of an ``image_id``. An object may have ``images`` (``id``;
``video_id``, ``frame_id``), so that frames without detections are in the file too: then every frame
of the dataset has to be there once. What it says under ``categories`` and ``videos`` (``id``,
``name``) has to be the dataset's. Other keys are passed over, but for ``bbox_xyxy``, which is
written and counts where no ``bbox`` says a box exactly.

Which numbers these are is in ``data/dataset_ids.py``, what is checked in ``coco_entries.py``.
Anything bad is an error: what is left out makes a wrong figure. A file without detections is one.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ..core.average_precisions import FrameKey
from ..core.protocols import Detections
from ..errors import UserError
from ..outputs import write_json_list
from .coco_entries import EXACT_BOX, BadEntry, Categories, DetectionRows, Images, Videos
from .json_lists import read_lists

if TYPE_CHECKING:
    from ..data.dataset_ids import DatasetIds

_LISTS = ("annotations", "detections")


def read_detections(path: str | Path, ids: "DatasetIds") -> dict[FrameKey, Detections]:
    """The detections of every frame of a dataset, in the order of the file.

    Args:
        path: the JSON file.
        ids: of the dataset.

    Returns:
        boxes (D, 4), scores (D,), labels (D,) int64 by frame; boxes and scores in float32 where
        that loses nothing in the whole file, or else in float64.

    Raises:
        UserError: names the file, the entry, the key, what was expected and what was found.
    """
    rows = DetectionRows(ids)
    lists = {name: rows for name in ("", *_LISTS)}
    lists |= {"images": Images(ids), "categories": Categories(ids), "videos": Videos(ids)}
    found: list[str] = []
    for name, number, entry in read_lists(path, lists):
        if name not in found:
            found.append(name)
        if number >= 0:  # there are entries
            try:
                lists[name].take(entry)
            except BadEntry as bad:
                raise _error(path, name, number, bad) from None
    if sum(name in found for name in ("", *_LISTS)) != 1:
        raise UserError(
            f"{path}: expected detections in one list, annotations or detections, "
            f"found {' and '.join(found) or 'neither'}"
        )
    for name in found:
        try:
            lists[name].finish()
        except BadEntry as bad:
            raise _error(path, name, bad.number, bad) from None
    return rows.by_frame()


def _error(path: str | Path, name: str, number: int | None, bad: BadEntry) -> UserError:
    place = "" if number is None else f"[{number}]"
    return UserError(f"{path}, {name or 'detections'}{place}: {bad}")


def write_detections(
    path: str | Path, ids: "DatasetIds", detections: Mapping[FrameKey, Detections]
) -> None:
    """Write the detections of all frames of a dataset, whole or not at all.

    Reading the file gives them back bit for bit. ``annotations`` is the list that other tools
    take; ``images`` names every frame, with detections or without.

    Args:
        detections: are asked for once, in the order of ``ids.frames``.

    Raises:
        UserError: the place cannot be written.
    """
    names = {video: {"name": name} for video, name in ids.video_names.items()}
    about = {
        "info": {"dataset": ids.dataset},
        "videos": [{"id": number, **names.get(v, {})} for v, number in ids.videos.items()],
        "categories": [{"id": number, "name": name} for number, name in ids.categories.items()],
        "images": [
            {"id": image, "video_id": ids.videos[video], "frame_id": index}
            for (video, index), image in ids.frames.items()
        ],
    }
    frames = tqdm(ids.frames, f"writing {Path(path).name}", unit="frame", disable=None)
    write_json_list(path, about, "annotations", _entries(ids, frames, detections))


def _entries(
    ids: "DatasetIds", frames: Iterable[FrameKey], detections: Mapping[FrameKey, Detections]
) -> Iterator[dict[str, Any]]:
    categories = list(ids.categories)
    for video, index in frames:
        boxes, scores, labels = detections[video, index]
        in_file, exact = boxes_xywh(boxes)
        rows = zip(in_file.tolist(), scores.tolist(), labels.tolist(), strict=True)
        for row, (box, score, label) in enumerate(rows):
            yield {
                "image_id": ids.frames[video, index],
                "video_id": ids.videos[video],
                "frame_index": index,
                "category_id": categories[label],
                "bbox": box,
                **({} if exact[row] else {EXACT_BOX: boxes[row].tolist()}),
                "score": score,
            }


def boxes_xywh(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (D, 4) as ``[x, y, width, height]`` in float64, and where that is exact, (D,).

    It is where ``x + width`` and ``y + height`` in float64 give back the far corner. Of float32
    boxes with ``0 <= x1 <= x2`` and ``0 <= y1 <= y2``, as clipping leaves them, it always is: a
    difference of numbers of 24 bits is off by half a unit in the 53rd place at most, which the sum
    rounds away.
    """
    boxes = boxes.astype(np.float64)
    in_file = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return in_file, (in_file[:, :2] + in_file[:, 2:] == boxes[:, 2:]).all(axis=1)
