"""One video through a predictor into its outputs, offline or online.

Offline, a video is read twice: once to detect, and once more where something is drawn; nothing is
written before all its objects are known. Online, every frame is written as it comes, and memory
does not grow with the video, but for 72 bytes a frame of a file's mp4: its index waits for the end,
where a live source's is written in fragments. Frames are read ahead in both. A source without a
frame is a ``UserError``, and nothing is made.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from ..core.rescoring import TrackedObjects
from ..errors import UserError
from ..predictor import VideoPredictor
from ..prefetch import prefetch
from ..video_io import FrameSource, Losses, TimedFrame
from .interrupts import Interrupted, Interrupts
from .output_paths import OutputPaths
from .outputs import FoundFrame, VideoOutputs

if TYPE_CHECKING:
    from supervision import FPSMonitor

READ_AHEAD = 4  # frames, while others are drawn and encoded


class VideoReport(NamedTuple):
    """What became of a video; its outputs have as many frames as it says.

    Attributes:
        frames: in the outputs.
        tracks: of their objects.
        seconds: that it took.
        losses: of what was read; nothing where it was ended early.
        is_complete: it was not ended early: by a signal, in the window, or by ``error``.
        error: online, what ended it after its first frames, which were kept.
        failures: why outputs, by their paths, are not there; the others are.
    """

    frames: int
    tracks: int
    seconds: float
    losses: Losses
    is_complete: bool
    error: UserError | FloatingPointError | None = None
    failures: Mapping[Path, UserError] = MappingProxyType({})


def run_video(
    predictor: VideoPredictor,
    source: FrameSource,
    paths: OutputPaths,
    *,
    batch_size: int | None = None,
    zoom: int | None = None,
    show: Callable[[np.ndarray], bool] | None = None,
    show_fps: bool = False,
    interrupts: Interrupts | None = None,
) -> VideoReport:
    """Detect and track in a video, and write and show what is found.

    Args:
        predictor: forgets what it was given before.
        paths: of the outputs; older ones are replaced.
        batch_size: of the detector; None: what is usual. A live source's is 1.
        zoom, show: as of ``VideoOutputs``.
        show_fps: online, the frames per second are drawn on every frame.
        interrupts: signals end the video between two frames.

    Raises:
        UserError, FloatingPointError: what is wrong with the video or its outputs; nothing is left.
            Online, and at the end of a video, an output that cannot be written fails alone, and
            only where it is the last this is raised.
        Interrupted: a signal before anything was written, or a second one; nothing is left.
    """
    interrupts = interrupts or Interrupts()
    is_online = predictor.mode == "online"
    if source.is_live and not is_online:
        raise UserError(f"{source.name}: expected the online mode for a camera or a stream")
    began = time.perf_counter()
    predictor.reset()
    outputs = VideoOutputs(paths, source, predictor.class_names, zoom, show, keep_others=is_online)
    if is_online:
        found = _found_online(predictor, source, 1 if source.is_live else batch_size, outputs)
    else:
        found = _found_offline(predictor, source, batch_size, outputs, interrupts)
    rate = _new_monitor() if show_fps and is_online else None
    with interrupts.held(), closing(found), outputs:
        is_complete, error = _write_all(found, outputs, rate, interrupts, keep_on_error=is_online)
        if is_complete:
            outputs.end_time = source.end_time
    predictor.reset()
    losses = source.losses if is_complete else Losses()
    seconds = time.perf_counter() - began
    return VideoReport(
        outputs.frames, outputs.tracks, seconds, losses, is_complete, error, outputs.failures
    )


def _write_all(
    found: Iterator[FoundFrame],
    outputs: VideoOutputs,
    rate: "FPSMonitor | None",
    interrupts: Interrupts,
    keep_on_error: bool,
) -> tuple[bool, UserError | FloatingPointError | None]:
    """Write frame by frame; whether all were, and the error that was not raised."""
    while True:
        try:
            with interrupts.released():
                frame = next(found, None)
        except Interrupted:
            if interrupts.again or not outputs.frames:
                raise
            return False, None
        except (UserError, FloatingPointError) as error:
            if not keep_on_error or not outputs.frames:
                raise
            return False, error
        if frame is None:
            return True, None
        if not outputs.write(frame, _note(rate)):
            return False, None


def _new_monitor() -> "FPSMonitor":
    from supervision import FPSMonitor

    return FPSMonitor()


def _note(rate: "FPSMonitor | None") -> str:
    if rate is None:
        return ""
    rate.tick()
    return f"{rate.fps:.1f} frames/s" if rate.fps else ""


def _found_online(
    predictor: VideoPredictor,
    source: FrameSource,
    batch_size: int | None,
    outputs: VideoOutputs,
) -> Generator[FoundFrame, None, None]:
    waiting: deque[TimedFrame] = deque()  # read ahead
    objects = predictor(_images(source, waiting.append, outputs), batch_size)
    with closing(objects), _bar(source, "tracking") as bar:
        for o in objects:
            frame = waiting.popleft()
            yield FoundFrame(frame.index, frame.time, frame.image.shape[:2], o, frame.image)
            bar.update()


def _found_offline(
    predictor: VideoPredictor,
    source: FrameSource,
    batch_size: int | None,
    outputs: VideoOutputs,
    interrupts: Interrupts,
) -> Generator[FoundFrame, None, None]:
    places, sizes = [], []
    images = _images(source, lambda frame: places.append((frame.index, frame.time)), outputs)
    results = predictor.results(images, batch_size)
    with closing(results), _bar(source, "detecting") as bar:
        for result in results:
            interrupts.check()
            sizes.append(result.image_size)
            bar.update()
    objects = predictor.finish()
    with _bar(source, "writing", len(objects)) as bar:
        if outputs.draws:
            frames = _read_again(source, objects)
        else:
            rows = zip(places, sizes, objects, strict=True)
            frames = (FoundFrame(*place, size, o, None) for place, size, o in rows)
        with closing(frames):
            for frame in frames:
                yield frame
                bar.update()


def _read_again(
    source: FrameSource, objects: Sequence[TrackedObjects]
) -> Generator[FoundFrame, None, None]:
    with closing(prefetch(source.timed(), READ_AHEAD)) as frames:
        for frame, o in zip_longest(frames, objects):
            if frame is None or o is None:
                raise UserError(
                    f"{source.name}: expected the {len(objects)} frames that were read first, "
                    "found another number: it changed meanwhile"
                )
            yield FoundFrame(frame.index, frame.time, frame.image.shape[:2], o, frame.image)


def _images(
    source: FrameSource, note: Callable[[TimedFrame], object], outputs: VideoOutputs
) -> Generator[np.ndarray, None, None]:
    with closing(source.timed()) as frames:
        for frame in frames:
            outputs.check_size(frame.image.shape[:2])
            note(frame)
            yield frame.image


def _bar(source: FrameSource, doing: str, total: int | None = None) -> tqdm:
    total = source.num_frames if total is None else total
    return tqdm(None, f"{source.name}: {doing}", total, unit="frame", disable=None)
