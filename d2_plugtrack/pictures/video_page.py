"""The page of a video as a file: which frames it has, how large it would be, and making it.

What is on a page is in ``visualization/page_data.py`` and ``visualization/page.py``. A page holds
its frames, so that there is an end to it: :data:`MOST_FRAMES` and :data:`MOST_BYTES`, beyond which
browsers are no pleasure. No frames are refused.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UserError
from ..host import Host
from ..outputs import write_text
from ..video_io import TimedFrame
from ..visualization.page import encode_picture, page_html, shrink
from ..visualization.page_data import page_data
from ..visualization.stages import Stages
from .stages import record_stages

if TYPE_CHECKING:
    from yacs.config import CfgNode

MOST_FRAMES = 2000
MOST_BYTES = 100_000_000


def page_frames(num_frames: int, stride: int, name: str) -> range:
    """Every ``stride``-th frame of a video.

    Raises:
        UserError: more than a page can hold; a stride that would do is named.
    """
    chosen = range(0, num_frames, stride)
    if len(chosen) > MOST_FRAMES:
        enough = math.ceil(num_frames / MOST_FRAMES)
        raise UserError(
            f"--stride {stride}: expected at most {MOST_FRAMES} frames for a page, found "
            f"{len(chosen)} of {name}; --stride {enough} is enough, --frames names some"
        )
    return chosen


def check_page_size(image: np.ndarray, num_frames: int, width: int) -> None:
    """Refuse a page that would be too large if all its pictures were like this one.

    Raises:
        UserError: of that.
    """
    expected = num_frames * len(encode_picture(image, width))
    if expected > MOST_BYTES:
        raise UserError(
            f"--width {width}: expected a page of at most {MOST_BYTES / 1e6:.0f} MB, {num_frames} "
            f"frames are about {expected / 1e6:.0f}; take fewer pixels or a larger --stride"
        )


def write_page(
    path: Path,
    name: str,
    host: Host,
    frames: Iterable[TimedFrame],
    chosen: Sequence[int],
    *,
    threshold: float,
    width: int,
) -> list[Stages]:
    """Go through a video and write its page; what was found in the frames that are on it.

    Args:
        name: of the video.
        frames: all of the video.
        chosen: ascending indices, at least one, of those on the page. The others are tracked
            through as well.
        threshold: of the scores that are shown at first.
        width: of pictures, in pixels; smaller ones stay as they are.

    Raises:
        UserError: the file cannot be written.
    """
    times: list[float] = []

    def images() -> Iterator[np.ndarray]:
        for frame in frames:
            times.append(float(frame.time))
            yield frame.image

    kept = {"chosen": chosen, "picture": lambda image: shrink(image, width)}
    stages = record_stages(host, images(), **kept, threshold=threshold)
    shown = [times[stage.index] for stage in stages]
    html = page_html(
        name,
        _facts(host.cfg, stages, times),
        _settings(host.cfg),
        _pace(shown),
        page_data(stages, shown, host.class_names, threshold),
        [encode_picture(stage.image, width) for stage in stages],
    )
    write_text(path, html)
    return stages


def _pace(times: Sequence[float]) -> float:
    """Frames per second, on average; 1 where there is one frame."""
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 1.0


def _facts(cfg: "CfgNode", stages: Sequence[Stages], times: Sequence[float]) -> dict[str, str]:
    height, width = stages[0].tracked.image_size
    left_out = f" of {len(times)}" if len(stages) < len(times) else ""
    rate = {"rate": f"{_pace(times):.4g} frames/s"} if len(times) > 1 else {}
    return {
        "frames": f"{len(stages)}{left_out}",
        "size": f"{width} × {height}",
        **rate,
        "detector": f"{Path(cfg.MODEL.WEIGHTS).name} ({cfg.HOST})",
    }


def _settings(cfg: "CfgNode") -> dict[str, str]:
    """The keys that decide what is on the page."""
    return {
        f"TEST.{group}.{key}": str(value)
        for group in ("PER_FRAME", "TFD", "SEQ_NMS")
        for key, value in cfg.TEST[group].items()
    }
