"""Seconds that Seq-NMS and Seq-Track-NMS take, on synthetic videos of several lengths and kinds.

Everything between the lists of tensors that go in and those that come out counts; the first call,
which compiles or loads what was compiled, does not. A repetition takes another video of the same
kind, where that matters: a processor remembers the branches of a short video it has just seen, and
that would look faster than it is. Python's garbage collector is off while the clock runs, as in
``timeit``.

Shape letters: F frames, N boxes of a frame, K classes.
"""

import gc
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..core.seq_nms import seq_nms
from ..errors import UserError
from ..outputs import atomic_output, os_errors_name
from .plain_seq_nms import plain_seq_nms
from .synthetic_videos import BoxVideo, crowd, moving_objects, moving_pairs, parked_car

CLASSES = 30
SHORT, MEDIUM, LONG = 200, 2_000, 20_000  # frames


class Case(NamedTuple):
    """A kind of video, and how often it is measured."""

    name: str
    make: Callable[..., BoxVideo]
    frames: int
    boxes: int
    repeats: int
    videos: int = 1
    tracked: bool = False
    device: str = "cpu"


FULL = [
    Case("moving objects", moving_objects, SHORT, 10, repeats=40, videos=10),
    Case("moving objects, Seq-Track-NMS", moving_objects, SHORT, 10, 40, videos=10, tracked=True),
    Case("moving objects", moving_objects, 300, 10, repeats=20, videos=10),
    Case("moving objects", moving_objects, MEDIUM, 10, repeats=9, videos=3),
    Case("moving objects", moving_objects, LONG, 10, repeats=5),
    Case("moving objects", moving_objects, 500, 50, repeats=9, videos=3),
    Case("two boxes an object", moving_pairs, SHORT, 10, repeats=40, videos=10),
    Case("two boxes an object", moving_pairs, MEDIUM, 10, repeats=9, videos=3),
    Case("parked car", parked_car, 200, 100, repeats=3),
    Case("parked car", parked_car, 400, 100, repeats=3),
    Case("crowd", crowd, 200, 50, repeats=5),
    Case("crowd", crowd, 400, 50, repeats=5),
]
QUICK = [case._replace(frames=case.frames // 20, repeats=2, videos=1) for case in FULL]


def measure_seq_nms(cases: list[Case], reference: bool, plot: Path | None) -> dict[str, Any]:
    """Measure every case on one CPU thread, and the one of 300 frames on the GPU too.

    Args:
        cases: ``FULL`` or ``QUICK``.
        reference: measure the plain implementation once, too, on a video of the first case.
        plot: a file for a plot of seconds against frames.

    Returns:
        The figures, and tables of them as ``markdown``.

    Raises:
        UserError: a plot is asked for, and there is no matplotlib.
    """
    if plot and find_spec("matplotlib") is None:
        raise UserError(f"{plot}: expected matplotlib, found none: pip install matplotlib")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seq_nms(*moving_objects(5, 4, 3))  # compiles, or loads what was compiled
        rows = [{**_described(case), "seconds": _seconds(case)} for case in cases]
        cuda = None
        if torch.cuda.is_available():
            case = cases[2]._replace(device="cuda")
            cuda = {**_described(case), "seconds": _seconds(case)}
        plain = _plain_seconds(cases[0]) if reference else None
    finally:
        torch.set_num_threads(threads)
    figures = {"cases": rows, "ratios": _ratios(rows), "cuda": cuda, "plain_seconds": plain}
    if plot:
        _plot(rows, plot)
    return {**figures, "markdown": _as_markdown(figures)}


def _described(case: Case) -> dict[str, Any]:
    return {"name": case.name, "frames": case.frames, "boxes": case.boxes, "classes": CLASSES}


def _seconds(case: Case) -> list[float]:
    seeds = range(case.videos)
    videos = [case.make(case.frames, case.boxes, CLASSES, seed).to(case.device) for seed in seeds]
    seconds = []
    gc.collect()
    for repeat in range(case.repeats + 1):
        video = videos[repeat % case.videos]
        mapped = video.mapped_boxes if case.tracked else None
        seconds.append(_timed(lambda v=video, m=mapped: seq_nms(v.boxes, v.scores, m), case.device))
    return seconds[1:]  # the first one warms up


def _plain_seconds(case: Case) -> float:
    video = case.make(case.frames, case.boxes, CLASSES)
    boxes, scores = ([v.numpy() for v in values] for values in video[:2])
    return _timed(lambda: plain_seq_nms(boxes, scores), "cpu")


def _timed(work: Callable[[], object], device: str) -> float:
    gc.disable()
    try:
        start = _now(device)
        work()
        return _now(device) - start
    finally:
        gc.enable()


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How medians grow with the frames, within a kind; its shortest video is 1."""
    ratios = {}
    shortest: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        first = shortest.setdefault((row["name"], row["boxes"]), row)
        if first is not row:
            name = f"{row['name']}, N = {row['boxes']}: F = {row['frames']} to {first['frames']}"
            ratios[name] = statistics.median(row["seconds"]) / statistics.median(first["seconds"])
    return ratios


def _as_markdown(figures: dict[str, Any]) -> str:
    lines = [
        "| video | F | N | K | ms, median (range) | us a box |",
        "|---|---:|---:|---:|---:|---:|",
        *(_as_row(row) for row in figures["cases"]),
    ]
    if figures["cuda"]:
        lines.append(_as_row({**figures["cuda"], "name": "moving objects, from and to the GPU"}))
    else:
        lines.append("| moving objects, from and to the GPU | | | | not run | |")
    lines += ["", "| seconds of one video to those of another | ratio |", "|---|---:|"]
    lines += [f"| {name} | {ratio:.2f} |" for name, ratio in figures["ratios"].items()]
    if figures["plain_seconds"]:
        first = figures["cases"][0]
        ratio = figures["plain_seconds"] / statistics.median(first["seconds"])
        lines += [
            "",
            f"Path after path over the whole graph, in plain numpy, F = {first['frames']}, "
            f"N = {first['boxes']}: {figures['plain_seconds']:.2f} s, {ratio:.0f} times as long.",
        ]
    return "\n".join(lines)


def _as_row(row: dict[str, Any]) -> str:
    low, middle, high = (1e3 * f(row["seconds"]) for f in (min, statistics.median, max))
    a_box = 1e3 * middle / (row["frames"] * row["boxes"])
    return (
        f"| {row['name']} | {row['frames']} | {row['boxes']} | {row['classes']} | "
        f"{middle:.2f} ({low:.2f} to {high:.2f}) | {a_box:.2f} |"
    )


def _plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Median seconds against frames, a line for every kind and number of boxes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    kinds = dict.fromkeys((row["name"], row["boxes"]) for row in rows)
    for name, boxes in kinds:
        of_kind = [row for row in rows if (row["name"], row["boxes"]) == (name, boxes)]
        medians = [statistics.median(row["seconds"]) for row in of_kind]
        axes.plot([r["frames"] for r in of_kind], medians, "o-", label=f"{name}, N = {boxes}")
    axes.set(xscale="log", yscale="log", xlabel="frames", ylabel="seconds", title=f"K = {CLASSES}")
    axes.legend(fontsize="small")
    with os_errors_name(path), atomic_output(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
