"""ByteTrack of the package trackers over what a detector reports, to compare with.

ByteTrack knows no classes: it gets detections of all of them, after NMS over all of them (a
detector says several classes of one object). A track's class is a vote of its past, as this
project's tracks have classes smoothed along them.

A threshold says what is sure enough to be an object: ByteTrack trusts detections of at least that
at first, begins tracks 0.1 above it, as its defaults do, and then gives tracks the weaker
detections that fit, down to :data:`BYTETRACK_FLOOR`. Its other settings are the package's. Others
were not better by more than 0.02 HOTA on the tiny set's ``val`` split, one changed at a time:
tracks begun at the threshold or 0.2 above it, after 1 or 3 frames, remembered for 0, 15 or 60,
linked from an IoU of 0.2 or 0.3 (0.1 here).
"""

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from torchvision.ops import nms

from ..core.tfd import FrameResult
from .metrics import NumberedBoxes, number_boxes, require_packages

if TYPE_CHECKING:
    import supervision as sv

BYTETRACK_FLOOR = 0.1  # of detections, or the threshold where that is less
_TO_BEGIN = 0.1  # so much surer than the threshold is what begins a track


class ClassVotes:
    """The class of tracks whose detections have one each, from the past alone.

    A track's class is that whose detections so far have the largest sum of confidences, of equal
    ones the lower. A new video takes a new :class:`ClassVotes`.
    """

    def __init__(self) -> None:
        self._sums: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))

    def vote(self, ids: np.ndarray, classes: np.ndarray, confidences: np.ndarray) -> list[int]:
        """The classes of M tracks now, after the next detection of each: (M,) all."""
        fields = (field.tolist() for field in (ids, classes, confidences))
        return [self._add(*detection) for detection in zip(*fields, strict=True)]

    def _add(self, track: int, label: int, confidence: float) -> int:
        sums = self._sums[track]
        sums[label] += confidence
        return min(sums, key=lambda known: (-sums[known], known))


class ByteTracks:
    """Tracks of ByteTrack, from results of one class a box.

    A track's first detection has no number yet: it is not given, and has no vote on the class.

    Args:
        threshold: what is sure enough, as said above.
        nms_threshold: IoU above which the weaker of two detections of any classes is left out.

    Raises:
        UserError: the package trackers is not installed.
    """

    def __init__(self, threshold: float, nms_threshold: float):
        require_packages(["trackers"])
        from trackers import ByteTrackTracker

        self._tracker = ByteTrackTracker(
            high_conf_det_threshold=threshold, track_activation_threshold=threshold + _TO_BEGIN
        )
        self._floor = min(threshold, BYTETRACK_FLOOR)
        self._nms_threshold = nms_threshold
        self._votes = ClassVotes()

    def push(self, result: FrameResult) -> list[NumberedBoxes]:
        found = self._tracker.update(self._detections(result))
        found = found[found.tracker_id >= 0]  # others belong to no track yet
        if len(found) == 0:
            return [number_boxes([], [], [])]
        classes = self._votes.vote(found.tracker_id, found.class_id, found.confidence)
        return [number_boxes(found.xyxy, classes, found.tracker_id)]

    def _detections(self, result: FrameResult) -> "sv.Detections":
        import supervision as sv

        if len(result.boxes) == 0:
            return sv.Detections.empty()
        scores, classes = result.scores.cpu().max(dim=1)
        sure = (scores >= self._floor).nonzero().squeeze(1)
        kept = sure[nms(result.boxes[sure], scores[sure], self._nms_threshold)]
        fields = (field[kept].numpy() for field in (result.boxes, scores, classes))
        boxes, confidence, class_id = fields
        return sv.Detections(boxes, confidence=confidence, class_id=class_id)

    def finish(self) -> list[NumberedBoxes]:
        self._tracker.reset()
        self._votes = ClassVotes()
        return []
