"""Re-scoring as a frame loop sees it, offline or online; no frames give nothing.

What each of them does is in ``video_rescorer.py`` and ``online_rescorer.py``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .open_part import RescoredFrame
from .rescoring import Rescoring
from .tfd import FrameResult


class Rescorer(ABC):
    """Takes the results of one video after another, and gives its frames re-scored, in order.

    After an error the video is forgotten.

    Args:
        rescoring: how. Where it is not enabled, scores stay, every box is kept where its score is
            above 0, and there are no paths or tracks: their numbers are -1.
    """

    def __init__(self, rescoring: Rescoring):
        self.rescoring = rescoring
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget the frames that are not finished: the next one starts a video."""

    @abstractmethod
    def push(self, result: FrameResult) -> Iterator[RescoredFrame]:
        """Take the next frame; the frames that are finished now."""

    @abstractmethod
    def finish(self) -> Iterator[RescoredFrame]:
        """The rest of the video; the next frame starts another."""

    def rescore(self, results: Iterable[FrameResult]) -> Iterator[RescoredFrame]:
        """All frames of one video; raises as :meth:`push` does."""
        for result in results:
            yield from self.push(result)
        yield from self.finish()

    @contextmanager
    def _forgetting_errors(self) -> Iterator[None]:
        """What an error leaves behind is no part of a video that could go on."""
        try:
            yield
        except BaseException:
            self.reset()
            raise
