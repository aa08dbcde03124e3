"""Driving one setting over videos: frames in, detections for the metrics out.

Shape letters: D detections of a frame (box and class pairs). No framework and no files: whoever
has detected frames (``detector.py``) and ground-truth records can evaluate. How mAP is counted is
in ``vid_metrics.py``.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .detector import DetectedFrame
from .rescoring import Rescoring, rescore_video
from .tfd import FrameResult, VideoPipeline
from .vid_metrics import average_precision_per_class, limit_detections, round_for_protocol

FrameKey = tuple[Hashable, int]  # video_id, frame_index
Detections = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (D, 4), scores (D,), labels (D,)


class DetectionLimits(NamedTuple):
    """Detections that count, after re-scoring."""

    score_floor: float
    per_frame: int


class VideoRun:
    """Runs a pipeline over whole videos and collects what counts.

    ``detections`` maps (video_id, frame_index) to the detections of every frame of the videos
    that have been finished.
    """

    def __init__(self, pipeline: VideoPipeline, rescoring: Rescoring, limits: DetectionLimits):
        self.pipeline = pipeline
        self.rescoring = rescoring
        self.limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.detections: dict[FrameKey, Detections] = {}
        self._start_video()

    def _start_video(self) -> None:
        self.pipeline.reset()
        self._results: list[FrameResult] = []
        self._keys: list[FrameKey] = []

    def process(self, frame: DetectedFrame, key: FrameKey, last: bool) -> None:
        """Take the next frame of a video; the ``last`` one finishes it.

        Raises:
            ValueError: the frame is of another video than the unfinished one, or seen already.
        """
        if self._keys and self._keys[-1][0] != key[0]:
            raise ValueError(f"frame {key}: expected the rest of video {self._keys[-1][0]!r}")
        if key in self.detections or key in self._keys:
            raise ValueError(f"frame {key}: seen before")
        self._results.append(self.pipeline.step(frame))
        self._keys.append(key)
        if last:
            self._finish_video()

    def _finish_video(self) -> None:
        rescored = rescore_video(self._results, self.rescoring)
        for key, result, scores in zip(self._keys, self._results, rescored.scores, strict=True):
            self.detections[key] = limit_detections(
                result.boxes.cpu().numpy(),
                scores.cpu().numpy(),
                floor=self.limits.score_floor,
                limit=self.limits.per_frame,
            )
        self._start_video()


def mean_average_precision(
    records: Sequence[Mapping[str, Any]],
    detections: Mapping[FrameKey, Detections],
    class_names: Sequence[str],
    protocol: str,
) -> dict[str, Any]:
    """mAP at IoU 0.5 of the detections against the records' annotations, in percent.

    Args:
        records: ground truth, a frame each, as from ``data.imagenet.records``; crowds are left out.
        detections: of exactly these frames.
        class_names: in the order of the labels.
        protocol: of ``vid_metrics``.

    Returns:
        ``{"mAP": mean over classes that have ground truth, "AP": {class: value}}``; NaN for a
        class without ground truth.

    Raises:
        ValueError: a frame has no entry in ``detections``; the first one is named.
    """
    keys = [(r["video_id"], r["frame_index"]) for r in records]
    missing = [key for key in keys if key not in detections]
    if missing:
        raise ValueError(f"no detections of {len(missing)} frames, the first is {missing[0]}")
    ap = average_precision_per_class(
        [_ground_truth(r) for r in records],
        [round_for_protocol(detections[key], protocol) for key in keys],
        len(class_names),
        protocol=protocol,
    )
    values = [100.0 * float(a) for a in ap]
    present = [v for v in values if not np.isnan(v)]
    mean = float(np.mean(present)) if present else float("nan")
    return {"mAP": mean, "AP": dict(zip(class_names, values, strict=True))}


def _ground_truth(record: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    annotations = [a for a in record["annotations"] if not a.get("iscrowd")]
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    return boxes, np.array([a["category_id"] for a in annotations], dtype=np.int64)
