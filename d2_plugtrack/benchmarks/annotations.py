"""Reading the annotations of a data set of ImageNet VID's size, without and with the cache.

The set is synthetic: XML as long as ImageNet's, empty files for images. Files have just been
written, so they are in memory: a cold disk adds to every figure.
"""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..data.catalog import DATASETS
from ..data.imagenet.records import load_vid_videos
from ..data.problems import Problems
from ..data.tables.annotation_cache import Sources, imagenet_sources, load_cached
from ..errors import UserError
from ..outputs import os_errors_name
from .machine import peak_mb

CLASSES = DATASETS["imagenet_vid_val"].classes
FULL = 3862 + 555, 1_300_000  # videos and frames of ImageNet VID's train and val
QUICK = 20, 2_000

_OBJECT = """\t<object>
\t\t<trackid>{track}</trackid>
\t\t<name>{name}</name>
\t\t<bndbox>
\t\t\t<xmax>{x2}</xmax>
\t\t\t<xmin>{x1}</xmin>
\t\t\t<ymax>{y2}</ymax>
\t\t\t<ymin>{y1}</ymin>
\t\t</bndbox>
\t\t<occluded>0</occluded>
\t\t<generated>1</generated>
\t</object>
"""
_FRAME = """<annotation>
\t<folder>{folder}</folder>
\t<filename>{number:06d}</filename>
\t<source>
\t\t<database>ILSVRC_2015</database>
\t</source>
\t<size>
\t\t<width>1280</width>
\t\t<height>720</height>
\t</size>
{objects}</annotation>
"""


def measure_annotations(output: Path, videos: int, frames: int) -> dict[str, Any]:
    """Make the set, load it twice and look at its files once, each in a process of its own.

    Args:
        output: the folder to make it in; it is removed afterwards.
        videos, frames: of the set, frames in all.

    Returns:
        The figures, and a table of them as ``markdown``.

    Raises:
        UserError: no videos, more videos than frames, or a place that is taken or cannot be
            written.
    """
    if not 1 <= videos <= frames:
        raise UserError(f"--videos {videos} --frames {frames}: expected 1 <= videos <= frames")
    root = output / "benchmark_vid"
    if root.exists():
        raise UserError(f"{root}: expected nothing here, found something")
    try:
        with os_errors_name(root):
            write_set(root, videos, frames)
        runs = {
            "first start": in_fresh_process(load, root),
            "second start": in_fresh_process(load, root),
            "of which looking at every file": in_fresh_process(look, root),
        }
        cache_size = sum(path.stat().st_size for path in (root / "cache").iterdir())
    finally:
        shutil.rmtree(root, ignore_errors=True)
    lines = [
        f"{videos} videos, {frames} frames, cache file {cache_size / 1e6:.1f} MB",
        "",
        "| | seconds | peak memory, MB |",
        "|---|---:|---:|",
        *(f"| {name} | {r['seconds']:.1f} | {r['peak_mb']:.0f} |" for name, r in runs.items()),
    ]
    return {
        "markdown": "\n".join(lines),
        "videos": videos,
        "frames": frames,
        "cache_bytes": cache_size,
        "runs": runs,
    }


def load(root: Path) -> int:
    """What a start does; the number of frames."""
    videos = root / "videos.txt"
    return len(
        load_cached(
            "benchmark",
            sources(root),
            lambda problems: load_vid_videos(root, videos, CLASSES),
            Problems(),
            root / "cache",
        )
    )


def look(root: Path) -> str:
    """What a start does to know that nothing has changed."""
    return sources(root).fingerprint()


def sources(root: Path) -> Sources:
    """Of the synthetic set."""
    return imagenet_sources("benchmark", root, root / "videos.txt", CLASSES, has_videos=True)


def in_fresh_process(work: Callable[[Path], object], root: Path) -> dict[str, float]:
    """Seconds that ``work`` takes, without imports, and the process's peak memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(timed, work, root).result()


def timed(work: Callable[[Path], object], root: Path) -> dict[str, float]:
    """Runs in the fresh process."""
    before = peak_mb()
    start = time.perf_counter()
    work(root)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mb": peak_mb(), "peak_mb_before": before}


def write_set(root: Path, videos: int, frames: int) -> None:
    """Videos of about equal length, XML of 0 to 3 objects a frame, and empty files for images."""
    rng = np.random.default_rng(0)
    rows = []
    lengths = np.diff(np.linspace(0, frames, videos + 1).astype(int)).tolist()
    for index, length in enumerate(tqdm(lengths, "videos written", disable=None)):
        name = f"train/ILSVRC2015_VID_train_{index // 1000:04d}/ILSVRC2015_train_{index:08d}"
        data, annotations = (root / side / "VID" / name for side in ("Data", "Annotations"))
        for folder in (data, annotations):
            folder.mkdir(parents=True)
        for number in range(length):
            os.close(os.open(data / f"{number:06d}.JPEG", os.O_CREAT | os.O_WRONLY))
            with open(annotations / f"{number:06d}.xml", "w") as file:
                file.write(frame_xml(rng, name.rpartition("/")[2], number))
        rows.append(f"{name} {index} 0 {length}\n")
    (root / "videos.txt").write_text("".join(rows))


def frame_xml(rng: np.random.Generator, folder: str, number: int) -> str:
    """A frame's annotation, as long as one of ImageNet VID's."""
    numbers = rng.integers(1, 600, size=(rng.integers(4), 4)).tolist()
    names = list(CLASSES)
    objects = [
        _OBJECT.format(track=i, name=names[x % 30], x1=x, x2=x + w, y1=y, y2=y + h)
        for i, (x, y, w, h) in enumerate(numbers)
    ]
    return _FRAME.format(folder=folder, number=number, objects="".join(objects))
