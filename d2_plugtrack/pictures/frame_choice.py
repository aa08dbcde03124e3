"""Which frames of a video a picture shows: named on the command line, or spread over the video."""

import argparse
import re
from collections.abc import Sequence

from ..errors import UserError

MOST = 1000  # a picture of more would not fit anywhere


def index_list(text: str) -> list[int]:
    """Ascending numbers of ``"0,20,40"``, ``"10-17"`` or both together; a type of argparse.

    Raises:
        ArgumentTypeError: anything else, or more than ``MOST``.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        first, last = (int(n) for n in (match[1], match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise argparse.ArgumentTypeError(
                f"expected numbers from 0 on, such as 0,20,40 or 10-17, found {text!r}"
            )
        chosen.update(range(first, min(last, first + MOST) + 1))
        if len(chosen) > MOST:
            raise argparse.ArgumentTypeError(f"expected at most {MOST} numbers, found {text!r}")
    return sorted(chosen)


def check_frames(chosen: Sequence[int], num_frames: int, name: str) -> None:
    """Whether a video of so many frames has them all.

    Raises:
        UserError: it does not; the first that is missing is named.
    """
    beyond = [index for index in chosen if index >= num_frames]
    if beyond:
        raise UserError(
            f"--frames {beyond[0]}: expected at most {num_frames - 1}, {name} has {num_frames} "
            "frames, counted from 0"
        )


def spread_frames(num_frames: int, count: int) -> list[int]:
    """At most ``count`` frames, evenly over the whole video: the first and the last among them."""
    count = min(count, num_frames)
    if count < 2:
        return [num_frames // 2][:count]
    return [round(i * (num_frames - 1) / (count - 1)) for i in range(count)]


def middle_frames(num_frames: int, count: int) -> list[int]:
    """At most ``count`` consecutive frames from the middle of the video."""
    count = min(count, num_frames)
    first = (num_frames - count) // 2
    return list(range(first, first + count))
