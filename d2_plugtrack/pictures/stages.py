"""What every stage of video detection says of a clip: what the pictures of it are drawn from.

Boxes are xyxy in pixels of the frame. One pass of the detector serves all stages; images are kept,
3 MB a frame at 720p. No frames give an empty list.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np
import torch

from ..ablation import ABLATION_ROWS, build_ablation_runs
from ..build import build_pipeline, build_rescoring
from ..core.detector import DetectedFrame, detect_frames
from ..core.open_part import RescoredFrame
from ..core.tracked_video import TrackNumbers
from ..core.video_rescorer import VideoRescorer
from ..frame_inputs import prepare_frames, uploaded
from ..host import Host
from ..predictor import usual_batch_size
from ..prefetch import batches, prefetch
from ..visualization.stages import Stages

READ_AHEAD = 2  # batches: one ready, one in the making


def record_stages(
    host: Host,
    frames: Iterable[np.ndarray],
    chosen: Collection[int] | None = None,
    picture: Callable[[np.ndarray], np.ndarray] | None = None,
    threshold: float = 0.0,
) -> list[Stages]:
    """Detect, track and re-score a clip with the settings of the host's config.

    Args:
        frames: BGR uint8 (H, W, 3), each an array of its own; read in another thread.
        chosen: indices of the frames to give, all where None. The others are detected, tracked
            and re-scored nevertheless, but not kept. An index beyond the end is left out.
        picture: makes of an image what is kept of it, a smaller one, say; itself where None.
        threshold: tracks that reach this score have the numbers that they have in a video drawn at
            it, whatever is chosen; the others come after them.

    Raises:
        UserError: settings that do not fit together.
        ValueError: a frame of another shape or type.
        FloatingPointError: something of a frame is not finite; it is named.
    """
    stock = build_ablation_runs(host.cfg, None, [ABLATION_ROWS[0]])[ABLATION_ROWS[0].name].pipeline
    tracking = build_pipeline(host.cfg, host.tracker, masks=True)
    rescorer = VideoRescorer(build_rescoring(host.cfg), spooling=None)  # offline, whatever the mode
    numbers = TrackNumbers()
    recorded: list[tuple | None] = []
    rescored: list[tuple | None] = []
    is_strong: dict[int, bool] = {}  # by track

    def keep(finished: Iterable[RescoredFrame]) -> None:
        for frame in finished:
            objects = numbers.objects(frame)  # of every frame: tracks are numbered in order
            reach = (objects.scores >= threshold).tolist()
            for track, reaches in zip(objects.track_ids.tolist(), reach, strict=True):
                is_strong[track] = reaches or is_strong.get(track, False)
            wanted = chosen is None or len(rescored) in chosen
            rescored.append((frame, objects) if wanted else None)

    for index, (image, frame) in enumerate(detect_images(host, frames)):
        wanted = chosen is None or index in chosen
        result = tracking.step(frame)
        if wanted and picture is not None:
            image = picture(image)
        recorded.append((index, image, stock.step(frame), result) if wanted else None)
        keep(rescorer.push(result))
    keep(rescorer.finish())
    pairs = zip(recorded, rescored, strict=True)
    stages = [Stages(*before, *after) for before, after in pairs if before is not None]
    return number_strong_first(stages, is_strong)


def number_strong_first(stages: Iterable[Stages], is_strong: Mapping[int, bool]) -> list[Stages]:
    """The stages with tracks renumbered 0, 1, ...: the strong ones in their order, then the others.

    Args:
        is_strong: every track of the clip; -1 is none and stays.
    """
    order = sorted(is_strong.keys() - {-1}, key=lambda track: (not is_strong[track], track))
    new = {-1: -1, **{track: number for number, track in enumerate(order)}}

    def renumber(ids: torch.Tensor) -> torch.Tensor:
        return torch.tensor([new[track] for track in ids.tolist()], dtype=torch.int64)

    return [
        stage._replace(objects=stage.objects._replace(track_ids=renumber(stage.objects.track_ids)))
        for stage in stages
    ]


@torch.no_grad()
def detect_images(
    host: Host, frames: Iterable[np.ndarray]
) -> Iterator[tuple[np.ndarray, DetectedFrame]]:
    """Every frame with what is detected in it; read and prepared while others are detected."""
    device = torch.device(getattr(host.detector, "device", "cpu"))
    groups = batches(frames, usual_batch_size(device))
    prepared = ((group, prepare_frames(group, host.prepare, device)) for group in groups)
    for group, given in prefetch(prepared, READ_AHEAD):
        given = [uploaded(g, device) for g in given]
        yield from zip(group, detect_frames(host.detector, host.tracker, given), strict=True)
