"""From a run's saved boxes to the detections that count, a video at a time.

Shape letters: D detections of a frame (box and class pairs). The evaluator and whoever evaluates
saved results alike read their detections here: so both get the same numbers, bit for bit.
"""

from collections.abc import Iterator, Mapping

from ..core.modes import build_rescorer
from ..core.rescoring import Rescoring
from ..core.spool import Spooling
from ..core.video_evaluation import DetectionLimits, Detections, FrameKey, detections_of
from ..errors import UserError
from ..outputs import os_errors_name
from .run_folder import RunFolder, VideoId


def rescore_run(
    run: RunFolder,
    rescoring: Rescoring,
    limits: DetectionLimits,
    spooling: Spooling | None = None,
) -> Mapping[FrameKey, Detections]:
    """(video_id, frame_index) of every frame of the run to its detections.

    A video is read and re-scored when the first of its frames is asked for, and forgotten when one
    of another video is: ask in the run's order.

    Args:
        limits: the detections that count, after re-scoring.
        spooling: when and where frames that are not finished go to disk; None keeps them in memory.

    Raises:
        UserError: from looking up a frame: naming the video's file that is not there, damaged, or
            has other frames than the run says, or holds what ``rescoring`` cannot use; or the
            folder of temporary files that cannot be written.
    """
    return _RescoredRun(run, rescoring, limits, spooling)


class _RescoredRun(Mapping):
    def __init__(
        self,
        run: RunFolder,
        rescoring: Rescoring,
        limits: DetectionLimits,
        spooling: Spooling | None,
    ):
        self._run, self._limits, self._spooling = run, limits, spooling
        self._rescorer = build_rescorer(rescoring, spooling)
        self._frames = {video: frozenset(indices) for video, indices in run.frames.items()}
        self._video: VideoId | None = None
        self._detections: dict[int, Detections] = {}  # of that video

    def __len__(self) -> int:
        return sum(map(len, self._frames.values()))

    def __iter__(self) -> Iterator[FrameKey]:
        return ((video, index) for video, indices in self._run.frames.items() for index in indices)

    def __contains__(self, key: object) -> bool:
        """Without reading anything."""
        video, index = key
        return index in self._frames.get(video, ())

    def __getitem__(self, key: FrameKey) -> Detections:
        if key not in self:
            raise KeyError(key)
        video, index = key
        if video != self._video:
            self._video, self._detections = None, {}
            self._detections = self._rescore(video)
            self._video = video
        return self._detections[index]

    def _rescore(self, video: VideoId) -> dict[int, Detections]:
        self._rescorer.reset()
        with os_errors_name(self._spooling and self._spooling.folder):
            try:
                results = (result for _, result in self._run.read(video))
                detections = list(detections_of(self._rescorer.rescore(results), self._limits))
            except UserError:
                raise
            except ValueError as error:  # boxes that this re-scoring cannot use
                raise UserError(f"{self._run.path(video)}: {error}") from error
        return dict(zip(self._run.frames[video], detections, strict=True))
