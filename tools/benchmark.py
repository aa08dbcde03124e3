#!/usr/bin/env python3
"""Measure on this machine; each subcommand prints Markdown, and writes JSON with --json.

    benchmark.py annotations --output /tmp/benchmark --json annotations.json
    benchmark.py annotations --output /tmp/benchmark --quick

annotations: a synthetic data set of ImageNet VID's size and layout (2.6 million small files,
about 6 GB, removed afterwards) is loaded in fresh processes, first without and then with the
annotation cache. Files have just been written, so they are in memory: a cold disk adds to both.
"""

import argparse
import os
import platform
import resource
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from d2_plugtrack.data.annotation_cache import Sources, imagenet_sources, load_cached
from d2_plugtrack.data.catalog import DATASETS
from d2_plugtrack.data.imagenet_vid import load_vid_videos
from d2_plugtrack.data.problems import Problems
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.outputs import ensure_writable, os_errors_name, write_json

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


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.json:
        ensure_writable(args.json)
    result = args.measure(args)
    print(f"\n{describe_machine()}\n\n{result.pop('markdown')}")
    if args.json:
        write_json(args.json, {"machine": describe_machine(), **result})


def measure_annotations(args: argparse.Namespace) -> dict:
    """Make the set, load it twice and look at its files once, each in a process of its own."""
    videos, frames = QUICK if args.quick else (args.videos, args.frames)
    if not 1 <= videos <= frames:
        raise UserError(f"--videos {videos} --frames {frames}: expected 1 <= videos <= frames")
    root = args.output / "benchmark_vid"
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


def peak_mb() -> float:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3  # of KiB, on Linux


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


def describe_machine() -> str:
    """Processor, memory and versions, in a line."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((x.split(": ")[1] for x in lines if x.startswith("model name")), name)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{name}, {os.cpu_count()} processors, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    annotations = commands.add_parser("annotations", help="loading a data set, with the cache")
    annotations.set_defaults(measure=measure_annotations)
    annotations.add_argument("--output", type=Path, required=True, metavar="DIR")
    annotations.add_argument("--videos", type=int, default=FULL[0])
    annotations.add_argument("--frames", type=int, default=FULL[1])
    annotations.add_argument("--quick", action="store_true", help="20 videos of 100 frames")
    annotations.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
