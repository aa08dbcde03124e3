"""How well tracks keep their objects' identity: HOTA, MOTA, IDF1 and ID switches, by trackeval.

Shape letters: M boxes of a frame. Boxes are xyxy in pixels of the frame. No framework, no files and
no detector: whoever has true and tracked boxes of whole videos can count. Who tracks is
``methods.py``'s.

An object must have the right class, unless classes are ignored. Every class of every video is a
sequence of its own, in which true and tracked boxes of that class meet; a box under a wrong class
is false there, and its object missed. Where classes are ignored, all of a video is one sequence,
and a track stays the same whatever classes its boxes have. Sequences are combined averaged over
detections, as trackeval combines sequences and, with ``combine_classes_det_averaged``, classes:
counts are added up, and association is weighted by true positives. So classes and videos count by
the objects they have. HOTA, DetA and AssA are means over IoU thresholds 0.05 to 0.95; MOTA, IDF1
and switches are counted at IoU 0.5.
"""

import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..core.boxes import pairwise_iou
from ..errors import UserError
from ..results.report import NO_OBJECTS

PERCENTAGES = ("HOTA", "DetA", "AssA", "MOTA", "IDF1")
SWITCHES = "ID switches"


class NumberedBoxes(NamedTuple):
    """Boxes of one frame, whose objects have numbers; a number is once in a frame and class."""

    boxes: np.ndarray  # (M, 4)
    classes: np.ndarray  # (M,) int64
    ids: np.ndarray  # (M,) int64, of the object in its video

    def of(self, rows: np.ndarray) -> "NumberedBoxes":
        """Some of them, by index or mask."""
        return NumberedBoxes(*(field[rows] for field in self))


def number_boxes(boxes: Any, classes: Any, ids: Any) -> NumberedBoxes:
    """From anything that numpy takes for arrays, empty lists too."""
    return NumberedBoxes(
        np.asarray(boxes, np.float64).reshape(-1, 4),
        np.asarray(classes, np.int64).reshape(-1),
        np.asarray(ids, np.int64).reshape(-1),
    )


def true_boxes(record: Mapping[str, Any]) -> NumberedBoxes:
    """The objects of a frame record; annotations with ``iscrowd`` are none.

    So what is found on a crowd is false, whoever finds it.

    Raises:
        UserError: an object without ``track_id``, or with that of another one of its class.
    """
    annotations = [a for a in record["annotations"] if not a.get("iscrowd")]
    where = f"video {record['video_id']}, frame {record['frame_index']}"
    if any(a.get("track_id") is None for a in annotations):
        raise UserError(f"{where}: expected a track id of every object, found objects without")
    fields = ("bbox", "category_id", "track_id")
    truth = number_boxes(*([a[field] for a in annotations] for field in fields))
    if not _are_unique(truth):
        raise UserError(f"{where}: expected different track ids, found one twice in a class")
    return truth


def _are_unique(frame: NumberedBoxes) -> bool:
    return len(set(zip(frame.classes.tolist(), frame.ids.tolist(), strict=True))) == len(frame.ids)


class IdentityMetrics:
    """Takes whole videos and gives the figures of all of them.

    Args:
        ignore_classes: all objects count as one class. Tracked numbers must then be once in a
            frame, true ones still in a frame and class.

    Raises:
        UserError: trackeval is not installed.
    """

    def __init__(self, ignore_classes: bool = False) -> None:
        self._metrics = _load_metrics()
        self._ignore_classes = ignore_classes
        self._results: dict[str, dict[int, Any]] = {name: {} for name in self._metrics}
        self._num_objects = 0

    def add_video(self, truth: Sequence[NumberedBoxes], tracked: Sequence[NumberedBoxes]) -> None:
        """Count one video, frame by frame the true and the tracked boxes; its numbers are its own.

        Raises:
            ValueError: different numbers of frames, or a frame that has a number twice in a class.
        """
        if len(truth) != len(tracked):
            raise ValueError(f"expected {len(truth)} frames of tracks, found {len(tracked)}")
        if self._ignore_classes:
            truth = [_of_one_class(frame) for frame in _number_apart(truth)]
            tracked = [_of_one_class(frame) for frame in tracked]
        for index, frame in enumerate(tracked):
            if not _are_unique(frame):
                raise ValueError(f"frame {index}: expected different numbers, found one twice")
        self._num_objects += sum(len(frame.ids) for frame in truth)
        labels = [frame.classes for frame in (*truth, *tracked)]
        for label in np.unique(np.concatenate(labels)) if labels else ():
            sequence = _as_sequence(_of_class(truth, label), _of_class(tracked, label))
            for name, metric in self._metrics.items():
                results = self._results[name]
                results[len(results)] = metric.eval_sequence(sequence)

    def figures(self) -> dict[str, float]:
        """:data:`PERCENTAGES` from 0 to 100 (MOTA may be negative) and the number of switches.

        NaN, but for the switches, where there are no true objects.
        """
        if self._num_objects == 0:
            return {**dict.fromkeys(PERCENTAGES, math.nan), SWITCHES: 0}
        found: dict[str, Any] = {}
        for name, metric in self._metrics.items():
            found |= metric.combine_sequences(self._results[name])
        percentages = {name: 100 * float(np.mean(found[name])) for name in PERCENTAGES}
        return {**percentages, SWITCHES: int(found["IDSW"])}


def _load_metrics() -> dict[str, Any]:
    require_packages(["trackeval"])
    from trackeval.metrics import CLEAR, HOTA, Identity

    silent = {"PRINT_CONFIG": False}
    return {"HOTA": HOTA(), "CLEAR": CLEAR({**silent}), "Identity": Identity({**silent})}


def require_packages(names: Iterable[str]) -> None:
    """Refuse to go on without packages that only this needs.

    Raises:
        UserError: one is not installed; the message says how to get it.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise UserError(
                f'{error.name} is not installed: pip install -e ".[identity]" installs it'
            ) from error


def _number_apart(frames: Sequence[NumberedBoxes]) -> list[NumberedBoxes]:
    """The same with numbers that objects of different classes do not share."""
    num_classes = 1 + max((int(frame.classes.max(initial=0)) for frame in frames), default=0)
    return [f._replace(ids=f.ids * num_classes + f.classes) for f in frames]


def _of_one_class(frame: NumberedBoxes) -> NumberedBoxes:
    return frame._replace(classes=np.zeros_like(frame.classes))


def _of_class(frames: Sequence[NumberedBoxes], label: int) -> list[NumberedBoxes]:
    return [frame.of(frame.classes == label) for frame in frames]


def _as_sequence(truth: list[NumberedBoxes], tracked: list[NumberedBoxes]) -> dict[str, Any]:
    """What trackeval's metrics take: numbers from 0 without gaps, and IoU of each frame."""
    sequence: dict[str, Any] = {"num_timesteps": len(truth)}
    for kind, frames in (("gt", truth), ("tracker", tracked)):
        ids = np.concatenate([frame.ids for frame in frames])
        known, places = np.unique(ids, return_inverse=True)
        ends = np.cumsum([len(frame.ids) for frame in frames])[:-1]
        sequence[f"{kind}_ids"] = np.split(places.reshape(-1), ends)
        sequence[f"num_{kind}_ids"] = len(known)
        sequence[f"num_{kind}_dets"] = len(ids)
    pairs = zip(truth, tracked, strict=True)
    sequence["similarity_scores"] = [_iou(true.boxes, found.boxes) for true, found in pairs]
    return sequence


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return pairwise_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()


def identity_table(results: Mapping[str, Mapping[str, float]], ignore_classes: bool = False) -> str:
    """Every method's figures as Markdown; figures without true objects say so."""
    tracks = "tracks, classes ignored" if ignore_classes else "tracks"
    lines = [
        f"| {tracks} | {' | '.join((*PERCENTAGES, SWITCHES))} |",
        "|---|" + "---:|" * (len(PERCENTAGES) + 1),
    ]
    for name, figures in results.items():
        cells = [_cell(figures[key]) for key in PERCENTAGES]
        lines.append(f"| {name} | {' | '.join(cells)} | {figures[SWITCHES]} |")
    return "\n".join(lines)


def _cell(value: float) -> str:
    return NO_OBJECTS if math.isnan(value) else f"{value:.1f}"
