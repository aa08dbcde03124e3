"""Frames and pairs of frames to train on: images with their true boxes, read and flipped.

Shape letters: G objects of a frame, H, W of an image. Boxes are xyxy in pixels of the image as it
is handed out. No framework: a frame is a BGR array, as everywhere in the project. Which frames
make a pair is drawn here for every host (Sec. 6.2); detectron2 reads and augments its own
(``pair_mapper.py``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from ..errors import UserError
from .bad_images import BadImage, BadImages, read_whole_frame
from .tables.frame_table import VideoTable, has_objects, with_objects

MAX_DRAWS = 10  # of a pair whose first frame has an object, before all such pairs are looked at
MAX_BAD_IMAGES = 1000  # one after another, before training gives up

Rng = np.random.Generator | np.random.RandomState
Record = Mapping[str, Any]
Video = Mapping[str, Any]


@dataclass(frozen=True)
class PairDrawing:
    """How the two frames of a pair are drawn from a video.

    The gap is uniform in [min_gap, max_gap], clamped to what the video has; with ``reverse_prob``
    the later frame comes first.
    """

    min_gap: int
    max_gap: int
    reverse_prob: float

    def __post_init__(self):
        if not 0 <= self.min_gap <= self.max_gap:
            raise UserError(
                f"INPUT.PAIR.MIN_GAP {self.min_gap} and MAX_GAP {self.max_gap}: expected "
                "0 <= MIN_GAP <= MAX_GAP"
            )

    def draw(self, num_frames: int, rng: Rng) -> tuple[int, int]:
        """Frame numbers ``(prev, curr)`` of a random pair; ``(0, 0)`` in a video of one frame."""
        gap = min(int(rng.choice(np.arange(self.min_gap, self.max_gap + 1))), num_frames - 1)
        first = int(rng.choice(num_frames - gap))
        pair = first, first + gap
        return pair[::-1] if rng.uniform() < self.reverse_prob else pair

    def draw_with_objects(self, frames: Sequence[Record], rng: Rng) -> tuple[int, int] | None:
        """A pair as of :meth:`draw` among those whose ``prev`` has objects; None without any."""
        objects = has_objects(frames)
        for _ in range(MAX_DRAWS):
            prev, curr = self.draw(len(frames), rng)
            if objects[prev]:
                return prev, curr
        pairs, weights = self._all_pairs(len(frames))
        weights = weights * objects[pairs[:, 0]]
        if not weights.any():
            return None
        prev, curr = pairs[rng.choice(len(pairs), p=weights / weights.sum())].tolist()
        return prev, curr

    def _all_pairs(self, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Every pair that :meth:`draw` may give, (P, 2), and how likely it is, (P,)."""
        pairs, weights = [], []
        for gap in range(self.min_gap, self.max_gap + 1):
            gap = min(gap, num_frames - 1)
            forward = np.arange(num_frames - gap)[:, None] + [0, gap]
            pairs += [forward, forward[:, ::-1]]
            for share in (1 - self.reverse_prob, self.reverse_prob):
                weights.append(np.full(len(forward), share / len(forward)))
        return np.concatenate(pairs), np.concatenate(weights)

    def can_draw_with_objects(self, frames: Sequence[Record]) -> bool:
        """Whether a frame that has objects can come first at all."""
        gap = min(self.min_gap, len(frames) - 1)
        objects = has_objects(frames)
        forward = self.reverse_prob < 1 and objects[: len(frames) - gap].any()
        backward = self.reverse_prob > 0 and objects[gap:].any()
        return bool(forward or backward)

    def usable(self, videos: Sequence[Video]) -> Sequence[Video]:
        """The videos that a pair can be drawn from; of a ``VideoTable`` a view."""
        numbers = [i for i, v in enumerate(videos) if self.can_draw_with_objects(v["frames"])]
        if isinstance(videos, VideoTable):
            return videos.select(numbers)
        return [videos[i] for i in numbers]


class LabeledFrame(NamedTuple):
    """One image and its objects."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    boxes: Tensor  # (G, 4) float32
    labels: Tensor  # (G,) int64
    track_ids: Tensor  # (G,) int64; -1 in stills


def load_labeled_frame(record: Record, *, flip: bool) -> LabeledFrame:
    """Read the image of a record as from ``imagenet.records``, mirrored left to right if ``flip``.

    Raises:
        BadImage: an image that cannot be read or has another size than the record.
    """
    image = read_whole_frame(record)
    annotations = [a for a in record["annotations"] if not a.get("iscrowd")]
    boxes = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float32).reshape(-1, 4)
    if flip:
        image = np.ascontiguousarray(image[:, ::-1])
        boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
    return LabeledFrame(
        image,
        boxes,
        torch.tensor([a["category_id"] for a in annotations], dtype=torch.int64),
        torch.tensor([a.get("track_id", -1) for a in annotations], dtype=torch.int64),
    )


class RandomFrames(IterableDataset):
    """Without end: frames with objects, each flipped with probability 1/2, in random order.

    Args:
        records: as from ``imagenet.records``.
        seed: of everything that is random here.
        bad_images: takes note of images that are skipped; where None, they are errors.
    """

    def __init__(self, records: Sequence[Record], seed: int, bad_images: BadImages | None = None):
        self.records = with_objects(records)
        self.seed = seed
        self.bad_images = BadImages() if bad_images is None else bad_images
        if not self.records:
            raise UserError("DATASETS.TRAIN: no frame has an object in it")

    def __iter__(self) -> Iterator[LabeledFrame]:
        rng = _worker_rng(self.seed)
        draws = (index for _ in count() for index in rng.permutation(len(self.records)))
        return _without_bad_images(
            lambda: load_labeled_frame(self.records[next(draws)], flip=rng.uniform() < 0.5),
            self.bad_images,
        )


class RandomPairs(IterableDataset):
    """Without end: ``(prev, curr)``; a video, then a pair of its frames, flipped both or neither.

    Args:
        videos: ``{"video_id", "frames"}`` as from ``imagenet.records.group_by_video``.
        drawing: of the two frames.
        seed: of everything that is random here.
        bad_images: takes note of images whose pairs are skipped; where None, they are errors.
    """

    def __init__(
        self,
        videos: Sequence[Mapping[str, Any]],
        drawing: PairDrawing,
        seed: int,
        bad_images: BadImages | None = None,
    ):
        self.videos = drawing.usable(videos)
        self.drawing = drawing
        self.seed = seed
        self.bad_images = BadImages() if bad_images is None else bad_images
        if not self.videos:
            raise UserError("DATASETS.TRAIN: no video has an object in a frame that can come first")

    def __iter__(self) -> Iterator[tuple[LabeledFrame, LabeledFrame]]:
        rng = _worker_rng(self.seed)
        return _without_bad_images(lambda: self._load_pair(rng), self.bad_images)

    def _load_pair(self, rng: Rng) -> tuple[LabeledFrame, LabeledFrame]:
        pair = None
        while pair is None:
            frames = self.videos[rng.integers(len(self.videos))]["frames"]
            pair = self.drawing.draw_with_objects(frames, rng)
        flip = rng.uniform() < 0.5
        prev, curr = (load_labeled_frame(frames[i], flip=flip) for i in pair)
        return prev, curr


_Item = TypeVar("_Item")


def _without_bad_images(load: Callable[[], _Item], bad_images: BadImages) -> Iterator[_Item]:
    """What ``load`` gives, again and again, without those times that it meets a bad image."""
    in_a_row = 0
    while in_a_row < MAX_BAD_IMAGES:
        try:
            item = load()
        except BadImage as bad:
            bad_images.report(bad, "skipped")
            in_a_row += 1
        else:
            yield item
            in_a_row = 0
    raise UserError(f"DATASETS.TRAIN: {in_a_row} images, one after another, cannot be read")


def _worker_rng(seed: int) -> np.random.Generator:
    """A stream of its own for every loader worker."""
    worker = torch.utils.data.get_worker_info()
    return np.random.default_rng((seed, worker.id if worker else 0))
