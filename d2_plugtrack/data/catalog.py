"""The datasets by name: where they lie below the data root, and how they are read.

Without detectron2; ``plugin.py`` registers the same names in detectron2's DatasetCatalog. A name
is looked up when it is used, and its files are read then.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from .imagenet_vid import (
    VID_CLASSES,
    Record,
    load_det_images,
    load_sampled_videos,
    load_vid_frames,
    load_vid_videos,
)
from .tiny_vid import TINY_CLASSES


class DatasetEntry(NamedTuple):
    """One dataset: a folder below the data root, its list file and who reads them."""

    folder: str
    load: Callable[[Path, Path, Mapping[str, str]], list[Record]]
    list_name: str  # under ImageSets
    classes: Mapping[str, str]  # name in the XML: class name, in label order

    @property
    def has_videos(self) -> bool:
        """Whether its frames are whole videos or samples of them, and not stills."""
        return self.load is not load_det_images

    @property
    def class_names(self) -> list[str]:
        """In label order."""
        return list(self.classes.values())

    def load_records(self) -> list[Record]:
        """Read it from below the data root; see ``imagenet_vid.py`` for records and errors."""
        root = data_root() / self.folder
        return self.load(root, root / "ImageSets" / self.list_name, self.classes)


def _imagenet(load: Callable, list_name: str) -> DatasetEntry:
    return DatasetEntry("ILSVRC2015", load, list_name, VID_CLASSES)


def _tiny(load: Callable, list_name: str) -> DatasetEntry:
    return DatasetEntry("tiny_vid", load, list_name, TINY_CLASSES)


DATASETS: dict[str, DatasetEntry] = {
    "imagenet_vid_train_15frames": _imagenet(load_vid_frames, "VID_train_15frames.txt"),
    "imagenet_vid_train": _imagenet(load_sampled_videos, "VID_train_15frames.txt"),
    "imagenet_vid_val": _imagenet(load_vid_videos, "VID_val_videos.txt"),
    "imagenet_det_train": _imagenet(load_det_images, "DET_train_30classes.txt"),
    "tiny_vid_train_15frames": _tiny(load_vid_frames, "VID_train_15frames.txt"),
    "tiny_vid_train": _tiny(load_sampled_videos, "VID_train_15frames.txt"),
    "tiny_vid_val": _tiny(load_vid_videos, "VID_val_videos.txt"),
    "tiny_vid_test": _tiny(load_vid_videos, "VID_test_videos.txt"),
    "tiny_det_train": _tiny(load_det_images, "DET_train.txt"),
}


def data_root() -> Path:
    """The folder that holds the datasets: detectron2's own variable, ``datasets`` where unset."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def find_dataset(name: str) -> DatasetEntry:
    """The dataset of that name.

    Raises:
        UserError: there is none; those that there are are listed.
    """
    if name not in DATASETS:
        raise UserError(f"dataset {name}: expected one of {', '.join(DATASETS)}")
    return DATASETS[name]


def find_videos(name: str) -> DatasetEntry:
    """The dataset of that name, of videos.

    Raises:
        UserError: there is none, or it is one of stills.
    """
    if name not in DATASETS:
        known = ", ".join(known for known, entry in DATASETS.items() if entry.has_videos)
        raise UserError(f"dataset {name}: not registered; the video datasets are {known}")
    entry = DATASETS[name]
    if not entry.has_videos:
        raise UserError(f"dataset {name}: expected videos (evaluator_type vid), found stills")
    return entry


def mark_last_frames(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with ``last``: whether the frame is its video's last one in the dataset."""
    followers = [*(r["video_id"] for r in records), None][1:]
    return [
        {**r, "last": r["video_id"] != follower}
        for r, follower in zip(records, followers, strict=True)
    ]
