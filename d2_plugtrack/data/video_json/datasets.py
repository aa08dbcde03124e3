"""Datasets that are a JSON file: COCO-VID or YouTube-VIS, told apart by what is in them.

A name that ends in ``.json`` is such a file, below the data root unless absolute. The annotations
are cached like those of ImageNet VID; images are looked for at every load. ``video_id`` is the
dataset's name and the video's, so that videos of several files stay apart.
"""

import json
import mmap
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np

from ...errors import UserError
from ..problems import Problems, one_line
from ..tables.annotation_cache import Sources, cache_folder, load_cached
from ..tables.frame_store import Record
from ..tables.frame_table import FrameTable
from .coco_vid import read_coco_vid
from .entries import Entry, StrPath, load_json
from .video_set import VideoSet, read_categories
from .youtube_vis import read_youtube_vis

_CATEGORIES = re.compile(rb'(?<!\\)"categories"\s*:\s*(?=\[)')


def is_json_dataset(name: str) -> bool:
    """Whether a dataset's name is that of a file."""
    return name.endswith(".json")


class JsonDataset:
    """One file as a dataset, with what a ``catalog.DatasetEntry`` offers.

    Args:
        name: as in ``DATASETS.TRAIN``.
        data_root: what it is below, unless it is absolute.

    Raises:
        UserError: there is no such file.
    """

    has_videos = True

    def __init__(self, name: str, data_root: Path):
        self.name = name
        self.path = data_root / name
        self._cache = cache_folder(data_root)
        if not self.path.is_file():
            raise UserError(f"dataset {name}: expected a JSON file {self.path}, found none")

    @cached_property
    def classes(self) -> Mapping[str, str]:
        """Category id (as text) to name, in label order, without reading the rest of the file.

        Raises:
            UserError: no JSON, or no categories.
        """
        found = _find_categories(self.path)
        data = load_json(self.path) if found is None else {"categories": found}
        categories = read_categories(self.path, data, Problems(strict=False))
        return {str(number): name for number, name in categories.items()}

    @property
    def class_names(self) -> list[str]:
        """In label order."""
        return list(self.classes.values())

    def load_records(self, *, strict: bool = False) -> FrameTable:
        """Read the file, or its cache.

        Args:
            strict: the first bad entry or missing image is an error; otherwise such are left out,
                and a warning says how many.

        Raises:
            UserError: no JSON file of one of the formats, or nothing left of it.
        """
        problems = Problems(strict)
        # The file's name is in every record's file_name, the dataset's in its video_id.
        sources = Sources(f"json {self.name} {self.path}", files=[self.path])
        table = load_cached(self.name, sources, self._parse, problems, self._cache)
        table = _with_images(table, self.path, problems)
        if not table:
            found = problems.summary().replace("\n", "; ") or "none"
            raise UserError(f"{self.path}: expected frames of videos, found {found}")
        problems.log_summary(self.path)
        return table

    def _parse(self, problems: Problems) -> Iterator[Record]:
        videos = read_video_json(self.path, problems)
        for record in videos.records:
            yield {**record, "video_id": f"{self.name}:{record['video_id']}"}


def read_video_json(path: StrPath, problems: Problems, images: StrPath | None = None) -> VideoSet:
    """Read a file of either format; see their modules for arguments and errors."""
    data = load_json(path)
    return _reader(path, data)(path, problems, images, data)


def _reader(path: StrPath, data: Entry) -> Callable[..., VideoSet]:
    videos = data.get("videos")
    if isinstance(videos, list) and any(isinstance(v, dict) and "file_names" in v for v in videos):
        return read_youtube_vis
    if "images" in data:
        return read_coco_vid
    keys = one_line(", ".join(list(data)[:10])) or "of neither, none"
    raise UserError(
        f"{path}: expected COCO-VID (a list images) or YouTube-VIS (videos with file_names), "
        f"found the keys {keys}"
    )


def _with_images(table: FrameTable, path: StrPath, problems: Problems) -> FrameTable:
    """Without the frames whose image is not there; ``path`` is the file that names them."""
    there = np.ones(len(table), dtype=bool)
    for index, file_name in enumerate(table.file_names()):
        if not os.path.isfile(file_name):
            image = table[index]["image_id"]
            message = f"{path}, image {image}: {file_name}: expected an image, found none"
            problems.report("missing images", message)
            there[index] = False
    return table if there.all() else table.select(there)


def _find_categories(path: Path) -> list | None:
    """The list under the one key ``categories`` of a file; None where it takes more to find it."""
    if path.stat().st_size == 0:
        return None
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        places = [match.end() for match in _CATEGORIES.finditer(data)]
        if len(places) != 1:
            return None
        for size in (2**16, 2**22, len(data)):  # the first that holds the whole list
            part = data[places[0] : places[0] + size].decode("utf-8", "ignore")
            with suppress(ValueError, RecursionError):  # of which the whole file will tell more
                return json.JSONDecoder().raw_decode(part)[0]
    return None
