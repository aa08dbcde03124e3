"""Evaluating what is saved: a run's results, or anybody's detections, without the detector.

Nothing here needs detectron2 or weights. A run's boxes are re-scored as its config says, or as
other keys say that need no detector; the detections of a file are taken as they are, unless Seq-NMS
is asked for. Every frame of the dataset counts, those without detections too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from .core.average_precisions import FrameKey
from .core.protocols import Detections
from .core.tfd import FrameResult
from .core.video_evaluation import Scoring
from .data.dataset_ids import DatasetIds
from .errors import UserError
from .results.coco_detections import read_detections
from .results.detected_videos import DetectedVideos, limit_rows
from .results.rescored import rescore_run
from .results.run_folder import RUN_FILE, RunFolder, VideoId


def open_run(folder: str | Path, dataset: str | None = None) -> RunFolder:
    """The run in an ``inference/<dataset>`` folder, with the results of all its videos.

    Args:
        dataset: what it has to be of; any where None.

    Raises:
        UserError: no run, a run on another dataset, or one that is not finished.
    """
    run = RunFolder(folder)
    if dataset not in (None, run.dataset):
        raise UserError(
            f"{run.folder / RUN_FILE}: expected a run on dataset {dataset}, found {run.dataset}"
        )
    finished = set(run.finished())
    missing = [video for video in run.frames if video not in finished]
    if missing:
        raise UserError(
            f"{run.folder}: expected the results of {len(run.frames)} videos, found "
            f"{len(finished)}; the first that is missing is {run.path(missing[0])}. "
            "Run it once more with the same config: it goes on where it stopped"
        )
    return run


def detections_of_run(
    run: RunFolder, ids: DatasetIds, scoring: Scoring
) -> Mapping[FrameKey, Detections]:
    """The detections of a run that count; read and re-scored as they are asked for, in order.

    Raises:
        UserError: the dataset has other frames; when asked: as ``rescore_run``, or scores of
            another number of classes.
    """
    _check_frames(run, ids)
    checked = _OfClasses(run, ids)
    return rescore_run(checked, scoring.rescoring, scoring.limits, scoring.spooling)


def detections_of_file(
    path: str | Path, ids: DatasetIds, scoring: Scoring
) -> Mapping[FrameKey, Detections]:
    """The detections of a COCO-style file that count.

    Raises:
        UserError: as ``read_detections``.
    """
    detections = read_detections(path, ids)
    if not scoring.rescoring.enabled:
        return {key: limit_rows(rows, scoring.limits) for key, rows in detections.items()}
    videos = DetectedVideos(path, detections, len(ids.categories))
    return rescore_run(videos, scoring.rescoring, scoring.limits, scoring.spooling)


def _check_frames(run: RunFolder, ids: DatasetIds) -> None:
    """Refuse a run on other frames: figures of two versions of a dataset are not comparable."""
    of_run = {(video, index) for video, indices in run.frames.items() for index in indices}
    if of_run == ids.frames.keys():
        return
    missing = [key for key in ids.frames if key not in of_run]
    more = [key for key in of_run if key not in ids.frames]
    what, (video, index) = ("without", missing[0]) if missing else ("with", min(more))
    raise UserError(
        f"{run.folder / RUN_FILE}: expected the {len(ids.frames)} frames of dataset {ids.dataset} "
        f"as it is now, found {len(of_run)}, {what} "
        f"frame {index} of video {video}"
    )


class _OfClasses:
    """A run's results, of which every frame has as many classes as the dataset."""

    def __init__(self, run: RunFolder, ids: DatasetIds):
        self._run, self._ids = run, ids
        self.frames, self.path = run.frames, run.path

    def read(self, video_id: VideoId) -> Iterator[tuple[int, FrameResult]]:
        expected = len(self._ids.categories)
        for index, result in self._run.read(video_id):
            if result.scores.shape[1] != expected:
                raise UserError(
                    f"{self.path(video_id)}: expected scores of the {expected} classes of "
                    f"dataset {self._ids.dataset}, found {result.scores.shape[1]}"
                )
            yield index, result
