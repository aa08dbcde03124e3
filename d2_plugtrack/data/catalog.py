"""The datasets by name: where they lie below the data root, and how they are read.

Without detectron2; ``plugin.py`` registers the same names in detectron2's DatasetCatalog. A name
is looked up when it is used, and its files are read then.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .imagenet.classes import DET_IDS, VID_CLASSES
from .imagenet.records import (
    Record,
    load_det_images,
    load_listed_videos,
    load_sampled_videos,
    load_vid_frames,
    load_vid_videos,
)
from .imagenet.roots import data_root, find_imagenet, imagenet_folders
from .problems import Problems
from .tables.annotation_cache import cache_folder, imagenet_sources, load_cached
from .tables.frame_table import FrameTable
from .tiny_vid import TINY_CLASSES
from .video_json.datasets import JsonDataset, is_json_dataset


class DatasetEntry(NamedTuple):
    """One dataset: a folder below the data root, its list file and who reads them."""

    folder: str  # "" for ImageNet, whose folder is searched
    load: Callable[..., list[Record]]
    list_name: str  # under ImageSets
    classes: Mapping[str, str]  # name in the XML: class name, in label order
    command: str  # that makes it, or its list
    other_names: Collection[str] = ()  # in the XML, of objects that are left out

    @property
    def has_videos(self) -> bool:
        """Whether its frames are whole videos or samples of them, and not stills."""
        return self.load is not load_det_images

    @property
    def class_names(self) -> list[str]:
        """In label order."""
        return list(self.classes.values())

    def load_records(self, *, strict: bool = False) -> FrameTable:
        """Read it from below the data root, or its cache; see ``imagenet/records.py`` for errors.

        Args:
            strict: the first bad file, row or object is an error; otherwise such are left out, and
                a warning says how many.
        """
        root = self._find_root()
        list_file = self._find_list(root)
        problems = Problems(strict)
        how = f"{self.load.__name__} {sorted(self.other_names)}"
        records = load_cached(
            f"{self.folder or 'imagenet'} {self.load.__name__} {self.list_name}",
            imagenet_sources(how, root, list_file, self.classes, has_videos=self.has_videos),
            lambda met: self.load(
                root, list_file, self.classes, other_names=self.other_names, problems=met
            ),
            problems,
            cache_folder(data_root()),
        )
        problems.log_summary(list_file)
        return records

    def ensure_there(self) -> None:
        """Refuse, without reading anything, a dataset whose folder or list is not there.

        Raises:
            UserError: as said; it names the place and, where there is one, the command.
        """
        self._find_list(self._find_root())

    def _find_root(self) -> Path:
        if self.folder:
            root = data_root() / self.folder
            if not root.is_dir():
                raise UserError(
                    f"{root}: expected the dataset's folder, found none; "
                    f"`python {self.command} --output {root}` makes it"
                )
            return root
        split = "train" if "_train_" in self.list_name else "val"
        return find_imagenet(data_root(), f"{'VID' if self.has_videos else 'DET'}/{split}")

    def _find_list(self, root: Path) -> Path:
        """In ImageSets of its own folder; ImageNet's lists may lie beside the other year's data."""
        folders = [root] if self.folder else [root, *imagenet_folders(data_root())]
        places = [folder / "ImageSets" / self.list_name for folder in folders]
        if root.is_dir() and not any(place.is_file() for place in places):
            raise UserError(
                f"{places[0]}: expected a list file, found none; `python {self.command}` makes it"
            )
        return next((place for place in places if place.is_file()), places[0])


def _vid(load: Callable, list_name: str) -> DatasetEntry:
    return DatasetEntry("", load, list_name, VID_CLASSES, "datasets/prepare_imagenet_vid.py")


def _det(load: Callable, list_name: str) -> DatasetEntry:
    return _vid(load, list_name)._replace(other_names=DET_IDS)


def _tiny(load: Callable, list_name: str) -> DatasetEntry:
    return DatasetEntry("tiny_vid", load, list_name, TINY_CLASSES, "datasets/prepare_tiny_vid.py")


DATASETS: dict[str, DatasetEntry] = {
    "imagenet_vid_train_15frames": _vid(load_vid_frames, "VID_train_15frames.txt"),
    "imagenet_vid_train": _vid(load_sampled_videos, "VID_train_15frames.txt"),
    "imagenet_vid_val": _vid(load_vid_videos, "VID_val_videos.txt"),
    "imagenet_vid_val_frames": _vid(load_listed_videos, "VID_val_frames.txt"),
    "imagenet_det_train": _det(load_det_images, "DET_train_30classes.txt"),
    "tiny_vid_train_15frames": _tiny(load_vid_frames, "VID_train_15frames.txt"),
    "tiny_vid_train": _tiny(load_sampled_videos, "VID_train_15frames.txt"),
    "tiny_vid_val": _tiny(load_vid_videos, "VID_val_videos.txt"),
    "tiny_vid_test": _tiny(load_vid_videos, "VID_test_videos.txt"),
    "tiny_det_train": _tiny(load_det_images, "DET_train.txt"),
}


def find_dataset(name: str) -> DatasetEntry | JsonDataset:
    """The dataset of that name; one that ends in ``.json`` is a file.

    Raises:
        UserError: there is none; those that there are are listed.
    """
    if is_json_dataset(name):
        return JsonDataset(name, data_root())
    if name not in DATASETS:
        known = ", ".join(DATASETS)
        raise UserError(f"dataset {name}: expected one of {known}, or a .json file")
    return DATASETS[name]


def find_videos(name: str) -> DatasetEntry | JsonDataset:
    """The dataset of that name, of videos; one that ends in ``.json`` is a file.

    Raises:
        UserError: there is none, or it is one of stills.
    """
    if is_json_dataset(name):
        return JsonDataset(name, data_root())
    if name not in DATASETS:
        known = ", ".join(known for known, entry in DATASETS.items() if entry.has_videos)
        raise UserError(f"dataset {name}: not registered; the video datasets are {known}")
    entry = DATASETS[name]
    if not entry.has_videos:
        raise UserError(f"dataset {name}: expected videos (evaluator_type vid), found stills")
    return entry


def check_order_of_classes(
    name: str, classes: Sequence[str], other: str, other_classes: Sequence[str]
) -> None:
    """Refuse two datasets of the same classes in another order: labels would mean something else.

    Raises:
        UserError: naming both and the first class that differs.
    """
    if sorted(classes) == sorted(other_classes) and list(classes) != list(other_classes):
        pairs = zip(classes, other_classes, strict=True)
        number, (one, two) = next((i, p) for i, p in enumerate(pairs) if p[0] != p[1])
        raise UserError(
            f"datasets {name} and {other}: expected their classes in the same order, found class "
            f"{number} to be {one} and {two}; ids of categories decide"
        )


def mark_last_frames(records: Sequence[Record]) -> Sequence[Record]:
    """The records with ``last``: whether the frame is its video's last one in the dataset.

    Video after video, each in order: a list has to be so already, a :class:`FrameTable` need not.
    """
    if isinstance(records, FrameTable):
        return records.mark_last()
    followers = [*(r["video_id"] for r in records), None][1:]
    return [
        {**r, "last": r["video_id"] != follower}
        for r, follower in zip(records, followers, strict=True)
    ]
