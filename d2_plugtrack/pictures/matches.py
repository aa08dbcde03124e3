"""One box and where the tracker finds it in the next frame, with what it compares to find it.

Shape letters: D channels inside the tracker. Boxes are xyxy in pixels of the frame. The frame loop
is that of every other command, from the first frame on; the numbers are its tracker's own.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..build import build_pipeline
from ..core.boxes import expand_boxes
from ..core.tfd import FrameResult
from ..core.tracker import Comparison, Templates, Tracked, TrackerHead
from ..errors import UserError
from ..host import Host
from ..visualization import Match
from .stages import detect_images


class _WatchedTracker:
    """Tracks for a pipeline, and knows afterwards what it compared last."""

    def __init__(self, tracker: TrackerHead):
        self._tracker = tracker
        self.remember = tracker.remember

    def follow(
        self, templates: Templates, reduced_map: Tensor, image_size: tuple[int, int]
    ) -> Tracked:
        self._compared = templates, reduced_map
        self.tracked = self._tracker.follow(templates, reduced_map, image_size)
        return self.tracked

    @torch.no_grad()
    def compare(self, row: int) -> Comparison:
        """The arrays (D, h, w) of a box of the frame before."""
        templates, reduced_map = self._compared
        one = Templates(*(field[row : row + 1] for field in templates))
        compared = self._tracker.compare(one, reduced_map)
        return Comparison(*(field[0].cpu().numpy() for field in compared))


def find_matches(
    host: Host,
    frames: Iterable[np.ndarray],
    chosen: Collection[int],
    at: tuple[float, float] | None = None,
) -> list[Match]:
    """Follow a box of each chosen frame into the next one.

    Args:
        frames: BGR uint8 (H, W, 3), from the first of the video to the one after the last of
            ``chosen``; a chosen frame without a next one is left out.
        at: the box that best class scores highest among those around this point (x, y); among all
            boxes where None.

    Raises:
        UserError: a chosen frame has no box there.
    """
    return [*_follow(host, frames, lambda index, _: index in chosen, at)]


def find_some_match(host: Host, frames: Iterable[np.ndarray], wanted: int) -> Match:
    """Follow the likeliest box of a frame, of the next one with a box, or of the last before it.

    Args:
        frames: BGR uint8 (H, W, 3), all of the video; read no further than needed.
        wanted: the frame where to look first.

    Raises:
        UserError: no frame but the last has a box.
    """
    latest = None
    for latest in _follow(host, frames, lambda _, result: len(result.boxes) > 0, None):
        if latest.index >= wanted:
            break
    if latest is None:
        raise UserError("--input: expected a frame with a box to follow, found none")
    return latest


def _follow(
    host: Host,
    frames: Iterable[np.ndarray],
    is_chosen: Callable[[int, FrameResult], bool],
    at: tuple[float, float] | None,
) -> Iterator[Match]:
    """A match for each frame that is chosen by its index and what is found in it."""
    watched = _WatchedTracker(host.tracker)
    pipeline = build_pipeline(host.cfg, watched)
    prev_image, prev, row = None, None, None
    for index, (image, frame) in enumerate(detect_images(host, frames)):
        curr = pipeline.step(frame)
        if row is not None:
            score, label = prev.scores[row].max(dim=0)
            yield Match(
                index - 1,
                prev_image,
                image,
                f"{host.class_names[label]} {score:.2f}",
                prev.boxes[row].numpy(),
                expand_boxes(prev.boxes[row], host.tracker.search_factor).numpy(),
                curr.mapped_boxes[row].numpy(),
                watched.tracked.scores[row].item(),
                *watched.compare(row),
            )
        row = choose_box(curr, index, at) if is_chosen(index, curr) else None
        prev_image, prev = image, curr


def choose_box(result: FrameResult, index: int, at: tuple[float, float] | None) -> int:
    """The box of a frame that :func:`find_matches` follows."""
    if len(result.boxes) == 0:
        raise UserError(
            f"frame {index}: expected a box to follow, found none; --frames names other frames"
        )
    best = result.scores.max(dim=1).values.cpu()
    if at is not None:
        x, y = at
        x1, y1, x2, y2 = result.boxes.unbind(dim=1)
        around = (x1 <= x) & (x <= x2) & (y1 <= y) & (y <= y2)
        if not around.any():
            middle = result.boxes[best.argmax()].reshape(2, 2).mean(dim=0).tolist()
            where = "{:.0f} {:.0f}".format(*middle)
            raise UserError(
                f"--at {x:g} {y:g}: expected a point inside a box of frame {index}, found none "
                f"there; the middle of the box that scores highest is {where}"
            )
        best = best.where(around, -1.0)
    return int(best.argmax())
