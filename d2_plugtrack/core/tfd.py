"""Tracking-first detection, frame by frame (Sec. 5, Fig. 5).

Shape letters: B boxes of a frame, B' boxes of the frame before, K foreground classes, M cells of a
mask's side. Boxes are xyxy in pixels of the network's input until a frame is done, then in pixels
of the frame as it came. A frame without boxes is a frame like any other; the next one only detects.

:class:`VideoPipeline` holds the state between two frames and nothing else does. What is decided of
boxes is decided on the CPU: a frame's mapped boxes come there in one transfer, the detector's
candidates did with those of their batch, and the boxes that stay go back once, to be classified and
remembered. Linking over the whole video and re-scoring are in ``seq_nms.py``.
"""

import math
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor

from .boxes import has_area, pairwise_iou, scale_boxes
from .detections import Candidates, best_class_detections, per_class_detections
from .detector import DetectedFrame
from .suppression import suppress
from .tracker import Templates, Tracked, TrackerHead

MIN_SIDE = 1.0  # pixels of the network's input; a smaller tracked box is no object any more


class FrameResult(NamedTuple):
    """Boxes of one frame in its own pixels, tracked ones first, and how they came about.

    All on the CPU, but scores and masks, which stay where the detector is.
    """

    boxes: Tensor  # (B, 4)
    scores: Tensor  # (B, K) class probabilities; 0 where a box is not in a class's list
    track_scores: Tensor  # (B,) predicted IoU of tracked boxes, NaN for detected ones
    mapped_boxes: Tensor  # (B', 4) every box of the frame before, tracked into this one
    source: Tensor  # (B,) int64, index of the box in the frame before, -1 for detected ones
    image_size: tuple[int, int]  # (height, width)
    # (B, M, M) probabilities inside each box of its best class on this frame; re-scoring may change
    # the class, the mask stays. (0, 1, 1) without boxes; None where masks are off or there are none
    masks: Tensor | None = None


def merge_tracking_first(
    tracked: Tensor, detected: Tensor, detected_scores: Tensor, merge_iou: float
) -> Tensor:
    """Indices of the detected boxes that stay beside the tracked ones.

    Every tracked box stays. A detected one stays only if its IoU with every tracked box, and with
    every stronger detected box that stays, is below ``merge_iou``.

    Args:
        tracked: (T, 4). detected: (D, 4). detected_scores: (D,).

    Returns:
        int64 indices into ``detected``, strongest first; of equal ones the lower index first.
    """
    new = torch.arange(len(detected), device=detected.device)
    if len(tracked):
        new = new[(pairwise_iou(detected, tracked) < merge_iou).all(dim=1)]
    keep = suppress(detected[new], detected_scores[new], merge_iou, equal_stays=False)
    return new[keep]


class VideoPipeline:
    """One frame in, its boxes, class scores and links to the frame before out.

    Args:
        tracker: the tracker head; None detects only.
        per_frame: report what the stock detector reports (one class a box, NMS per class)
            instead of tracking-first detection.
        score_threshold: detections at or below it are dropped.
        nms_threshold: IoU above which the weaker of two detections is dropped.
        iou_score_threshold: tracked boxes of a lower predicted IoU are let go.
        track_nms_threshold: NMS among tracked boxes, by predicted IoU.
        merge_threshold: T_merge of :func:`merge_tracking_first`.
        max_boxes: boxes of a frame, best class score first.
        masks: ask for the masks of the boxes, where the detector has masks.
    """

    def __init__(
        self,
        tracker: TrackerHead | None,
        *,
        per_frame: bool,
        score_threshold: float,
        nms_threshold: float,
        iou_score_threshold: float,
        track_nms_threshold: float,
        merge_threshold: float,
        max_boxes: int,
        masks: bool,
    ):
        self.tracker = tracker
        self.per_frame = per_frame
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.iou_score_threshold = iou_score_threshold
        self.track_nms_threshold = track_nms_threshold
        self.merge_threshold = merge_threshold
        self.max_boxes = max_boxes
        self.masks = masks
        self.reset()

    def reset(self) -> None:
        """Forget the frame before: the next frame starts a video."""
        self._templates: Templates | None = None  # None: no boxes to track, or no tracker
        self._number = 0  # of the next frame

    def step(self, frame: DetectedFrame) -> FrameResult:
        """Go one frame on in the video.

        Raises:
            FloatingPointError: features, all proposals, or what the tracker says of a box are not
                finite; the frame is named. Weights or images are broken then: going on without the
                boxes would give figures that nobody could tell from good ones.

        After an error the video is forgotten.
        """
        try:
            result = self._step(frame)
        except BaseException:
            self.reset()
            raise
        self._number += 1
        return result

    @torch.no_grad()
    def _step(self, frame: DetectedFrame) -> FrameResult:
        self._check_detections(frame.candidates)
        if self.per_frame:
            return self._detect_per_frame(frame)
        if frame.candidates is None:
            raise ValueError("frame: expected candidates, as from detector.assemble_frames")
        mapped = self._track(frame)
        boxes, track_scores, source = self._merge(frame, mapped)
        on_device = boxes.to(frame.proposals.class_boxes.device, non_blocking=True)
        scores = frame.classify(on_device)
        if len(boxes) > self.max_boxes:
            kept = _strongest(scores, self.max_boxes)
            boxes, track_scores, source = boxes[kept], track_scores[kept], source[kept]
            kept = kept.to(scores.device, non_blocking=True)
            on_device, scores = on_device[kept], scores[kept]
        self._remember(frame, on_device)
        sizes = frame.image_size, frame.original_size
        return FrameResult(
            scale_boxes(boxes, *sizes),
            scores,
            track_scores,
            scale_boxes(mapped.boxes, *sizes),
            source,
            frame.original_size,
            self._segment(frame, on_device, scores),
        )

    def _check_detections(self, candidates: Candidates | None) -> None:
        """Some proposals that are not valid are left out, as detectron2 does; not all of them."""
        if candidates is None:
            return
        if not candidates.features_finite:
            self._refuse("NaN or infinity in the detector's features")
        if len(candidates.scores) and candidates.scores.isneginf().all():
            count = len(candidates.scores)
            self._refuse(f"NaN, infinity or a box the wrong way round in all {count} proposals")

    def _refuse(self, what: str) -> NoReturn:
        raise FloatingPointError(f"frame {self._number}: {what}")

    def _detect_per_frame(self, frame: DetectedFrame) -> FrameResult:
        boxes, scores = per_class_detections(
            frame.proposals,
            frame.image_size,
            score_threshold=self.score_threshold,
            nms_threshold=self.nms_threshold,
            limit=self.max_boxes,
        )
        scaled = scale_boxes(boxes.cpu(), frame.image_size, frame.original_size)
        filled = (scaled[:, 2:] > scaled[:, :2]).all(dim=1)  # as detectron2's detector_postprocess
        if not filled.all():
            rows = filled.nonzero().squeeze(1)
            scaled = scaled[rows]
            rows = rows.to(boxes.device, non_blocking=True)
            boxes, scores = boxes[rows], scores[rows]
        return FrameResult(
            scaled,
            scores,
            scaled.new_full((len(scaled),), math.nan),
            scaled.new_zeros((0, 4)),
            torch.full((len(scaled),), -1),
            frame.original_size,
            self._segment(frame, boxes, scores),
        )

    def _segment(self, frame: DetectedFrame, boxes: Tensor, scores: Tensor) -> Tensor | None:
        if not self.masks or frame.segment is None:
            return None
        return frame.segment(boxes, scores.argmax(dim=1))

    def _track(self, frame: DetectedFrame) -> Tracked:
        """Every box of the frame before in this one, P(t), on the CPU."""
        if self._templates is None:
            empty = frame.candidates.boxes.new_zeros((0, 4))
            return Tracked(empty, empty[:, 0])
        mapped = self.tracker.follow(self._templates, frame.tracking_map, frame.image_size)
        on_cpu = torch.cat([mapped.boxes, mapped.scores[:, None]], dim=1).cpu()
        unknown = ~on_cpu.isfinite().all(dim=1)
        if unknown.any():
            count = f"{int(unknown.sum())} of {len(on_cpu)}"
            self._refuse(f"NaN or infinity in what the tracker says of {count} boxes")
        return Tracked(on_cpu[:, :4], on_cpu[:, 4])

    def _remember(self, frame: DetectedFrame, boxes: Tensor) -> None:
        self._templates = None
        if self.tracker is not None and len(boxes):
            self._templates = self.tracker.remember(frame.tracking_map, boxes)

    def _merge(self, frame: DetectedFrame, mapped: Tracked) -> tuple[Tensor, Tensor, Tensor]:
        """B(t): tracked boxes T(t), then the detections that are new. Not yet classified."""
        good = (mapped.scores >= self.iou_score_threshold) & has_area(mapped.boxes, MIN_SIDE)
        candidates = good.nonzero().squeeze(1)
        keep = suppress(
            mapped.boxes[candidates],
            mapped.scores[candidates],
            self.track_nms_threshold,
            equal_stays=True,
        )
        tracked = candidates[keep]
        detected, detected_scores = best_class_detections(
            frame.candidates,
            score_threshold=self.score_threshold,
            nms_threshold=self.nms_threshold,
        )
        new = merge_tracking_first(
            mapped.boxes[tracked], detected, detected_scores, self.merge_threshold
        )
        boxes = torch.cat([mapped.boxes[tracked], detected[new]])
        nan, none = mapped.scores.new_full((len(new),), math.nan), new.new_full((len(new),), -1)
        track_scores = torch.cat([mapped.scores[tracked], nan])
        return boxes, track_scores, torch.cat([tracked, none])


def _strongest(scores: Tensor, count: int) -> Tensor:
    """Indices, on the CPU, of the ``count`` boxes of the highest best-class score, in order."""
    best = scores.max(dim=1).values.cpu().argsort(descending=True, stable=True)
    return best[:count].sort().values
