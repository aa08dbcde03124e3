"""A frame as every stage of video detection sees it: what strips and pages are drawn from.

Boxes are xyxy in pixels of the frame. Who records the stages of a clip is
``pictures/stages.py``.
"""

from typing import NamedTuple

import numpy as np

from ..core.open_part import RescoredFrame
from ..core.rescoring import TrackedObjects
from ..core.tfd import FrameResult


class Stages(NamedTuple):
    """One frame, stage by stage."""

    index: int  # of the frame in what was given
    image: np.ndarray  # (H, W, 3) BGR uint8
    detector: FrameResult  # what the stock detector reports of the frame alone
    tracked: FrameResult  # tracking-first detection; tracked boxes are those with source >= 0
    rescored: RescoredFrame  # over the whole clip, offline; its rows are the boxes of ``tracked``
    objects: TrackedObjects  # of ``rescored``, numbered over the whole clip
