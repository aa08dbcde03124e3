"""The entries of a COCO-style file of detections, checked against a dataset.

Shape letters: N detections of a file, D of a frame. One class for each list of the file, which
takes its entries in order; ``finish`` checks what only all of them together can say. What is wrong
is a :class:`BadEntry`, to which ``coco_detections.py`` adds the file and the entry's number.
"""

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..core.average_precisions import FrameKey
from ..core.protocols import Detections

if TYPE_CHECKING:
    from ..data.dataset_ids import DatasetIds

EXACT_BOX = "bbox_xyxy"  # beside a bbox whose sums do not give the far corner; it counts

_Value = TypeVar("_Value")


class BadEntry(Exception):
    """What was expected of an entry and what was found; ``number`` says which where it is known."""

    def __init__(self, message: str, number: int | None = None):
        super().__init__(message)
        self.number = number


class FrameFinder:
    """The frame that an entry is about, as its number in ``ids.frames``.

    Args:
        id_key, index_key: what the entries call an image's id and a frame's index.
    """

    def __init__(self, ids: "DatasetIds", id_key: str, index_key: str):
        self._ids, self._id_key, self._index_key = ids, id_key, index_key
        self.keys: list[FrameKey] = list(ids.frames)
        self._numbers = {key: number for number, key in enumerate(self.keys)}

    def find(self, entry: dict[str, Any]) -> int:
        """By the image's id, which video and index must not contradict, or else by these."""
        video = index = None
        if "video_id" in entry:
            expected = f"a video of dataset {self._ids.dataset}"
            video = look_up(self._ids.videos_by_id, entry, "video_id", expected)
        if self._index_key in entry:
            index = self._index(entry)
        if self._id_key not in entry and None not in (video, index):
            if (video, index) not in self._numbers:
                raise bad_value(entry, self._index_key, f"a frame of video {video!r}")
            return self._numbers[video, index]
        expected = f"an image of dataset {self._ids.dataset}"
        key = look_up(self._ids.frames_by_id, entry, self._id_key, expected)
        if video not in (None, key[0]):
            raise bad_value(entry, "video_id", f"{self._ids.videos[key[0]]!r} of {self.name(key)}")
        if index not in (None, key[1]):
            raise bad_value(entry, self._index_key, f"{key[1]} of {self.name(key)}")
        return self._numbers[key]

    def _index(self, entry: dict[str, Any]) -> int:
        if type(entry[self._index_key]) is not int:
            raise bad_value(entry, self._index_key, "a whole number")
        return entry[self._index_key]

    def name(self, key: FrameKey) -> str:
        """For messages."""
        return f"image {self._ids.frames[key]!r} (video {key[0]!r}, frame {key[1]})"


class DetectionRows:
    """The detections: rows of numbers, whose values are checked together."""

    def __init__(self, ids: "DatasetIds"):
        self._finder = FrameFinder(ids, "image_id", "frame_index")
        self._labels_by_id = {number: label for label, number in enumerate(ids.categories)}
        self._expected_class = (
            f"a category of dataset {ids.dataset}, {len(ids.categories)} from "
            f"{min(ids.categories)} to {max(ids.categories)},"
        )
        self._frames, self._labels = array("i"), array("i")
        self._numbers = array("d")  # (N, 5): x, y, width, height, score
        self._exact_boxes: dict[int, list[float]] = {}  # by row

    def take(self, entry: Any) -> None:
        check_object(entry)
        frame = self._finder.find(entry)
        label = look_up(self._labels_by_id, entry, "category_id", self._expected_class)
        check_box(entry, "bbox", "[x, y, width, height]")
        if type(entry.get("score")) not in (float, int):
            raise bad_value(entry, "score", "a number from 0")
        if EXACT_BOX in entry:
            check_box(entry, EXACT_BOX, "[x1, y1, x2, y2]")
        try:
            if EXACT_BOX in entry:
                self._exact_boxes[len(self._frames)] = [float(v) for v in entry[EXACT_BOX]]
            self._numbers.fromlist([*entry["bbox"], entry["score"]])
        except OverflowError:  # a whole number of hundreds of digits
            raise bad_value(entry, "bbox", "finite numbers, and in score,") from None
        self._frames.append(frame)
        self._labels.append(label)

    def finish(self) -> None:
        """Turn rows into arrays.

        Raises:
            BadEntry: numbers that are not finite, a negative width, height or score.
        """
        numbers = np.asarray(self._numbers).reshape(-1, 5)
        boxes, scores = numbers[:, :4], numbers[:, 4]
        self._check(scores >= 0, "a number from 0 in score", scores)  # NaN is not
        self._check(np.isfinite(scores), "a finite number in score", scores)
        self._check(np.isfinite(boxes).all(axis=1), "finite numbers in bbox", boxes)
        self._check(
            (boxes[:, 2:] >= 0).all(axis=1), "a width and height of 0 or more in bbox", boxes
        )
        with np.errstate(over="ignore"):
            boxes[:, 2:] += boxes[:, :2]
        for row, box in self._exact_boxes.items():
            if not np.allclose(box, boxes[row], rtol=1e-6, atol=1e-3):
                expected = f"the corners of its bbox, {boxes[row].tolist()}, in {EXACT_BOX}"
                raise BadEntry(f"expected {expected}, found {box}", row)
            boxes[row] = box
        self._check(np.isfinite(boxes).all(axis=1), "finite corners of the bbox", boxes)
        self._columns = _narrowed(boxes), _narrowed(scores), np.asarray(self._labels, np.int64)

    def _check(self, good: np.ndarray, expected: str, values: np.ndarray) -> None:
        if not good.all():
            row = int(np.argmin(good))
            raise BadEntry(f"expected {expected}, found {values[row].tolist()}", row)

    def by_frame(self) -> dict[FrameKey, Detections]:
        """Boxes (D, 4), scores (D,), labels (D,) of every frame; after :meth:`finish`."""
        frames = np.asarray(self._frames)
        order = np.argsort(frames, kind="stable")
        ends = np.searchsorted(frames[order], np.arange(len(self._finder.keys) - 1), side="right")
        parts = (np.split(column[order], ends) for column in self._columns)
        return dict(zip(self._finder.keys, zip(*parts, strict=True), strict=True))


def _narrowed(values: np.ndarray) -> np.ndarray:
    """In float32 where every value survives that."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values) else values


class Images:
    """The frames of a file, which are exactly those of the dataset."""

    def __init__(self, ids: "DatasetIds"):
        self._finder = FrameFinder(ids, "id", "frame_id")
        self._dataset = ids.dataset
        self._seen = bytearray(len(ids.frames))

    def take(self, entry: Any) -> None:
        check_object(entry)
        number = self._finder.find(entry)
        if self._seen[number]:
            name = self._finder.name(self._finder.keys[number])
            raise BadEntry(f"expected each frame once, found {name} again")
        self._seen[number] = True

    def finish(self) -> None:
        """Raises a BadEntry where a frame is missing."""
        missing = self._seen.count(0)
        if missing:
            first = self._finder.name(self._finder.keys[self._seen.index(0)])
            raise BadEntry(
                f"expected each of the {len(self._seen)} frames of dataset {self._dataset}, "
                f"found {missing} missing, the first {first}"
            )


class Categories:
    """The classes of a file, which are exactly those of the dataset."""

    def __init__(self, ids: "DatasetIds"):
        self._categories, self._dataset = ids.categories, ids.dataset
        self._seen: set[int] = set()

    def take(self, entry: Any) -> None:
        check_object(entry)
        name = look_up(self._categories, entry, "id", f"a category of dataset {self._dataset}")
        if entry.get("name", name) != name:
            raise bad_value(entry, "name", f"{name!r} as in dataset {self._dataset}")
        self._seen.add(entry["id"])

    def finish(self) -> None:
        """Raises a BadEntry where there are fewer than in the dataset."""
        if len(self._seen) != len(self._categories):
            raise BadEntry(
                f"expected the {len(self._categories)} classes of dataset {self._dataset}, "
                f"found {len(self._seen)}"
            )


class Videos:
    """The videos of a file, of which those that are there are the dataset's."""

    def __init__(self, ids: "DatasetIds"):
        self._ids = ids

    def take(self, entry: Any) -> None:
        check_object(entry)
        dataset = self._ids.dataset
        video = look_up(self._ids.videos_by_id, entry, "id", f"a video of dataset {dataset}")
        name = self._ids.video_names.get(video)
        if name is not None and entry.get("name", name) != name:
            raise bad_value(entry, "name", f"{name!r} as in dataset {dataset}")

    def finish(self) -> None:
        """Nothing is left to check: not every file names all videos."""


def check_object(entry: Any) -> None:
    """Refuse what is no JSON object."""
    if type(entry) is not dict:
        raise BadEntry(f"expected an object, found {entry!r:.80}")


def check_box(entry: dict[str, Any], key: str, expected: str) -> None:
    """Refuse what is not four numbers, finite or not."""
    box = entry.get(key)
    if type(box) is list and len(box) == 4:
        for value in box:
            if type(value) is not float and type(value) is not int:
                break
        else:
            return
    raise bad_value(entry, key, expected)


def look_up(known: Mapping[Any, _Value], entry: dict[str, Any], key: str, expected: str) -> _Value:
    """What the id under ``key`` stands for; 3.0 is 3, and true is no 1."""
    value = entry.get(key)
    if type(value) in (int, str, float) and value in known:
        return known[value]
    raise bad_value(entry, key, expected)


def bad_value(entry: dict[str, Any], key: str, expected: str) -> BadEntry:
    """The error about one key."""
    found = f"{entry[key]!r:.80}" if key in entry else "no such key"
    return BadEntry(f"expected {expected} in {key}, found {found}")
