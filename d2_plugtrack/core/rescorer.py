"""Re-scoring as a frame loop sees it: offline, over the whole video, or online, frame by frame.

What each of them does is in ``video_rescorer.py`` and ``online_rescorer.py``.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from .online_rescorer import OnlineRescorer
from .open_part import RescoredFrame
from .rescoring import Rescoring
from .spool import Spooling
from .tfd import FrameResult
from .video_rescorer import VideoRescorer


class Rescorer(Protocol):
    """Takes the results of one video after another, and gives its frames re-scored, in order.

    After an error the video is forgotten.
    """

    rescoring: Rescoring

    def reset(self) -> None:
        """Forget the frames so far: the next one starts a video."""

    def push(self, result: FrameResult) -> Iterator[RescoredFrame]:
        """Take the next frame; the frames that are finished now."""

    def finish(self) -> Iterator[RescoredFrame]:
        """The rest of the video; the next frame starts another."""

    def rescore(self, results: Iterable[FrameResult]) -> Iterator[RescoredFrame]:
        """All frames of one video."""


def build_rescorer(rescoring: Rescoring, spooling: Spooling | None) -> Rescorer:
    """The one that ``rescoring.online`` says.

    Args:
        spooling: when and where frames that wait for the end of their video go to disk; None keeps
            them in memory. Online none waits.
    """
    if rescoring.online:
        return OnlineRescorer(rescoring)
    return VideoRescorer(rescoring, spooling)
