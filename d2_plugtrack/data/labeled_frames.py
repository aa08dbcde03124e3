"""Frames and pairs of frames to train on: images with their true boxes, read and flipped.

Shape letters: G objects of a frame, H, W of an image. Boxes are xyxy in pixels of the image as it
is handed out. No framework: a frame is a BGR array, as everywhere in the project. Which frames
make a pair is drawn here for every host (Sec. 6.2); detectron2 reads and augments its own
(``pair_mapper.py``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import UserError
from ..random_state import EPOCH, ITEM, random_numbers
from .bad_images import BadImage, BadImages, read_whole_frame
from .tables.frame_table import VideoTable, has_objects, with_objects

MAX_DRAWS = 10  # of a pair whose first frame has an object, before all such pairs are looked at
MAX_BAD_IMAGES = 1000  # at one position, before training gives up

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


class RandomFrames(Dataset):
    """Without end: frames with objects, each flipped with probability 1/2, in random order.

    A frame is a function of the seed and its position. Epoch after epoch each comes once; in the
    place of one whose image is bad there is another.

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
        self._drawn: tuple[int, int] | None = None  # seed and epoch of the order at hand

    @property
    def num_records(self) -> int:
        """Frames that have objects."""
        return len(self.records)

    def __getitem__(self, position: int) -> LabeledFrame:
        epoch, place = divmod(position, len(self.records))

        def load(rng: Rng, is_first: bool) -> LabeledFrame:
            order = self._order_of(epoch)
            index = order[place] if is_first else rng.integers(len(order))
            return load_labeled_frame(self.records[index], flip=rng.uniform() < 0.5)

        return _without_bad_images(load, self.seed, position, self.bad_images)

    def _order_of(self, epoch: int) -> np.ndarray:
        if self._drawn != (self.seed, epoch):
            rng = random_numbers(self.seed, EPOCH, epoch)
            self._order, self._drawn = rng.permutation(len(self.records)), (self.seed, epoch)
        return self._order


class RandomPairs(Dataset):
    """Without end: ``(prev, curr)``; a video, then a pair of its frames, flipped both or neither.

    A pair is a function of the seed and its position.

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

    @property
    def num_records(self) -> int:
        """Videos that a pair can be drawn from."""
        return len(self.videos)

    def __getitem__(self, position: int) -> tuple[LabeledFrame, LabeledFrame]:
        return _without_bad_images(self._load_pair, self.seed, position, self.bad_images)

    def _load_pair(self, rng: Rng, is_first: bool) -> tuple[LabeledFrame, LabeledFrame]:
        pair = None
        while pair is None:
            frames = self.videos[rng.integers(len(self.videos))]["frames"]
            pair = self.drawing.draw_with_objects(frames, rng)
        flip = rng.uniform() < 0.5
        prev, curr = (load_labeled_frame(frames[i], flip=flip) for i in pair)
        return prev, curr


_Item = TypeVar("_Item")


def _without_bad_images(
    load: Callable[[Rng, bool], _Item], seed: int, position: int, bad_images: BadImages
) -> _Item:
    """What ``load`` gives with the random numbers of a position, or of a later attempt at it.

    Args:
        load: is given random numbers and whether this is the first attempt.
    """
    for attempt in range(MAX_BAD_IMAGES):
        try:
            return load(random_numbers(seed, ITEM, position, attempt), attempt == 0)
        except BadImage as bad:
            bad_images.report(bad, "skipped")
    raise UserError(f"DATASETS.TRAIN: {MAX_BAD_IMAGES} images, one after another, cannot be read")
