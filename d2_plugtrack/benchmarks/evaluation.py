"""Counting mAP over a whole dataset: seconds and memory of each protocol, all ranges at once.

The set is synthetic and as large as ImageNet VID's validation set: records in a ``FrameTable`` as
a loader gives them, detections made when they are asked for, a frame at a time, as saved results
are read. A few detections of a frame lie on its objects, the others anywhere. Each protocol has a
process of its own; making the records is not counted, making the detections is.

Shape letters: D detections of a frame, G objects of a frame.
"""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from ..core.average_precisions import FrameKey, mean_average_precision
from ..core.protocols import PROTOCOLS, Detections
from ..data.tables.frame_table import FrameTable
from ..errors import UserError
from .machine import memory_mib

WIDTH, HEIGHT = 1280, 720
EMPTY = 43  # one in so many frames has no object
POOL = 2**18  # boxes that lie anywhere


class Size(NamedTuple):
    """Of a set; ``detections`` are those of a frame."""

    frames: int
    objects: int
    videos: int
    detections: int
    classes: int

    def with_frames(self, frames: int) -> "Size":
        """Another number of frames, of as many objects each."""
        return self._replace(frames=frames, objects=round(frames * self.objects / self.frames))


FULL = Size(frames=176_126, objects=273_505, videos=555, detections=300, classes=30)
QUICK = Size(frames=500, objects=800, videos=5, detections=30, classes=3)


def measure_evaluation(size: Size) -> dict[str, Any]:
    """Evaluate the set once under every protocol.

    Returns:
        The figures, and a table of them as ``markdown``.

    Raises:
        UserError: a size that cannot be.
    """
    for name, least in (("detections", 1), ("frames", size.videos)):
        if getattr(size, name) < least:
            raise UserError(f"--{name} {getattr(size, name)}: expected at least {least}")
    runs = {}
    for protocol in PROTOCOLS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            runs[protocol] = pool.submit(evaluate, size, protocol).result()
    lines = [
        f"{size.frames} frames of {size.videos} videos, {size.objects} objects, "
        f"{size.detections} detections a frame, {size.classes} classes, seven ranges",
        "",
        "| protocol | seconds | of which making detections | peak, MiB | before, MiB |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {r['seconds']:.1f} | {r['making_seconds']:.1f} | {r['peak_mib']:.0f} | "
            f"{r['before_mib']:.0f} |"
            for name, r in runs.items()
        ),
    ]
    return {"markdown": "\n".join(lines), **size._asdict(), "runs": runs}


def evaluate(size: Size, protocol: str) -> dict[str, float]:
    """Runs in the fresh process."""
    records = FrameTable.from_records(synthetic_records(size))
    detections = SyntheticDetections(records, size)
    names = [str(label) for label in range(size.classes)]
    before, start = memory_mib("VmRSS"), time.perf_counter()
    result = mean_average_precision(records, detections, names, protocol)
    return {
        "seconds": time.perf_counter() - start,
        "making_seconds": detections.seconds,
        "peak_mib": memory_mib("VmHWM"),
        "before_mib": before,
        "mAP": result["mAP"],
    }


def synthetic_records(size: Size) -> Iterator[dict[str, Any]]:
    """Frames of objects that move evenly, each at a speed of its own; one in 43 is empty."""
    rng = np.random.default_rng(0)
    counts = np.ones(size.frames, dtype=np.int64)
    counts[EMPTY - 1 :: EMPTY] = 0
    shares = counts / max(1, counts.sum())
    counts += rng.multinomial(max(0, size.objects - counts.sum()), shares)
    ends = np.linspace(0, size.frames, size.videos + 1).astype(int)
    for video, (first, end) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
        tracks = max(1, counts[first:end].max())
        corners = rng.integers(0, (WIDTH // 2, HEIGHT // 2), (tracks, 2))
        sides = rng.integers(20, 300, (tracks, 2))
        steps = rng.exponential(2, (tracks, 2))
        labels = rng.integers(size.classes, size=tracks).tolist()
        for number, count in enumerate(counts[first:end].tolist()):
            starts = np.round((corners + steps * number) % (WIDTH // 2, HEIGHT // 2))
            boxes = np.concatenate([starts, starts + sides], axis=1).tolist()
            yield {
                "file_name": f"{video}/{number}",
                "image_id": f"{video}/{number}",
                "height": HEIGHT,
                "width": WIDTH,
                "video_id": f"video {video}",
                "frame_index": number,
                "video_length": int(end - first),
                "annotations": [_annotation(boxes[k], labels[k], k) for k in range(count)],
            }


def _annotation(box: list[float], label: int, track: int) -> dict[str, Any]:
    ids = {"category_id": label, "track_id": track, "iscrowd": 0}
    return {"bbox": box, "bbox_mode": 0, **ids}


class SyntheticDetections(Mapping):
    """Detections of every frame, made when they are asked for.

    Attributes:
        seconds: that making them has taken.
    """

    def __init__(self, records: FrameTable, size: Size):
        rng = np.random.default_rng(1)
        self._size = size
        starts = rng.uniform(0, (WIDTH, HEIGHT), (POOL, 2))
        boxes = np.concatenate([starts, starts + rng.uniform(10, 300, (POOL, 2))], axis=1)
        self._boxes = boxes.astype(np.float32)
        self._scores = rng.random(POOL, dtype=np.float32) ** 2
        self._labels = rng.integers(size.classes, size=POOL)
        self._rows = {
            (video, number): row
            for row, (video, number) in enumerate(
                (r["video_id"], r["frame_index"]) for r in records
            )
        }
        self._records = records
        self.seconds = 0.0

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[FrameKey]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: FrameKey) -> Detections:
        start = time.perf_counter()
        row = self._rows[key]
        count = self._size.detections
        first = row * 7919 % max(1, POOL - count)  # so that no two frames are alike
        some = slice(first, first + count)
        boxes = self._boxes[some].copy()
        labels = self._labels[some].copy()
        objects = self._records[row]["annotations"][:count]
        if objects:
            near = np.array([a["bbox"] for a in objects], dtype=np.float32)
            boxes[: len(near)] = near + boxes[: len(near)] % 9 - 4
            labels[: len(near)] = [a["category_id"] for a in objects]
        self.seconds += time.perf_counter() - start
        return boxes, self._scores[some], labels
