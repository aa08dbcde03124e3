"""Runs of made-up videos on disk, and how their results are compared: bit for bit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.results.run_folder import RunDescription, RunFolder, begin_run
from d2_plugtrack.results.video_file import VideoWriter
from tests.core.video_results import linked, random_video

FIELDS = ("boxes", "scores", "track_scores", "mapped_boxes", "source")


def tracked_video(seed: int, num_frames: int, **how) -> list[FrameResult]:
    """A random video, some of whose boxes are tracked."""
    rng = np.random.default_rng(seed)
    video = linked(rng, random_video(seed, num_frames, **how))
    return [result._replace(image_size=(100 + seed, 200)) for result in video]


def write_video(writer: VideoWriter, video: Sequence[FrameResult], indices: Sequence[int]) -> None:
    with writer:
        for index, result in zip(indices, video, strict=True):
            writer.append(result, index)
        writer.finish()


def bits_of(result: FrameResult) -> list:
    """What must be equal where two results are the same."""
    tensors = [getattr(result, name) for name in FIELDS]
    values = [(t.dtype, tuple(t.shape), t.contiguous().numpy().tobytes()) for t in tensors]
    return [*values, result.image_size, result.masks]


def describe(videos: Mapping[str | int, Sequence[FrameResult]], **changes) -> RunDescription:
    """The run of these videos, whose frames count from 0."""
    frames = {video: range(len(results)) for video, results in videos.items()}
    description = RunDescription("set", {"weights": "w", "settings": "s"}, "A: 1\n", frames)
    return description._replace(**changes)


def save_run(folder: Path, videos: Mapping[str | int, Sequence[FrameResult]]) -> RunFolder:
    """All of them, finished."""
    run, _ = begin_run(folder, describe(videos))
    for video, results in videos.items():
        write_video(run.writer(video), results, run.frames[video])
    return run
