"""What video detection needs of a detector, whatever its framework: features, detect, classify.

Shape letters: N frames of a batch, P proposals of a frame, B boxes of a frame, K foreground
classes, M cells of a mask's side. Boxes are xyxy in pixels of the network's input, probabilities
in [0, 1] without the background. A frame may have no proposals; no boxes have ``(0, K)``
probabilities and ``(0, 1, 1)`` masks, for which the detector is not asked.

A detector offers three methods, :class:`VideoDetector`, and masks as a fourth where it has them,
:class:`MaskDetector`; :func:`detect_frames` calls the first two on a batch and hands out one
:class:`DetectedFrame` a frame, which is all that ``tfd.py`` sees. Detections are chosen from what
it says in ``detections.py``; :func:`check` says what is wrong with an implementation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from .detections import Candidates, best_class_candidates
from .tracker import TrackerHead


class Proposals(NamedTuple):
    """What the second stage says of each proposal of one frame, before any selection."""

    class_boxes: Tensor  # (P, K, 4) the refined box per class, or (P, 1, 4) one for all classes
    scores: Tensor  # (P, K) class probabilities


class FrameFeatures(NamedTuple):
    """Feature maps of a batch of N frames."""

    maps: Mapping[str, Tensor]  # name: (N, C, H, W)
    image_sizes: list[tuple[int, int]]  # (height, width) of the network's input, before padding
    original_sizes: list[tuple[int, int]]  # (height, width) of the frames as they came

    def frame(self, index: int) -> "FrameFeatures":
        """The same for one frame of the batch, ``N = 1``, without copying."""
        maps = {name: m[index : index + 1] for name, m in self.maps.items()}
        return FrameFeatures(maps, [self.image_sizes[index]], [self.original_sizes[index]])


class VideoDetector(Protocol):
    """A frozen two-stage detector as video detection sees it."""

    num_classes: int

    def extract(self, frames: Sequence[Any]) -> FrameFeatures:
        """Feature maps of N frames, in whatever form the detector takes frames."""
        ...

    def detect(self, features: FrameFeatures) -> list[Proposals]:
        """N times the refined boxes and class probabilities of every proposal."""
        ...

    def classify(self, features: FrameFeatures, boxes: Tensor) -> Tensor:
        """(B, K) class probabilities of (B, 4) boxes at their own positions on one frame."""
        ...


class MaskDetector(VideoDetector, Protocol):
    """One that has masks too; others have no ``segment``, or None in its place."""

    def segment(self, features: FrameFeatures, boxes: Tensor, labels: Tensor) -> Tensor:
        """(B, M, M) probabilities in [0, 1] inside each of (B, 4) boxes on one frame.

        Args:
            labels: (B,) int64, the class of each box.
        """
        ...


@dataclass(frozen=True)
class DetectedFrame:
    """One frame after detection: what tracking-first detection goes on with."""

    proposals: Proposals
    tracking_map: Tensor | None  # of ``TrackerHead.reduced_maps``; None where there is no tracker
    classify: Callable[[Tensor], Tensor]  # (B, 4) boxes to (B, K) probabilities on this frame
    image_size: tuple[int, int]  # (height, width) of the network's input
    original_size: tuple[int, int]  # (height, width) of the frame as it came
    # (B, 4) boxes and (B,) labels to (B, M, M) masks on this frame; None where there are no masks
    segment: Callable[[Tensor, Tensor], Tensor] | None = None
    # the proposals' likeliest classes, on the CPU; None will do where nothing but what the stock
    # detector reports is asked for
    candidates: Candidates | None = None


def detect_frames(
    detector: VideoDetector, tracker: TrackerHead | None, frames: Sequence[Any]
) -> list[DetectedFrame]:
    """Features once, then detections and the tracking map of each of N frames."""
    features = detector.extract(frames)
    return assemble_frames(detector, tracker, features, detector.detect(features))


def assemble_frames(
    detector: VideoDetector,
    tracker: TrackerHead | None,
    features: FrameFeatures,
    proposals: Sequence[Proposals],
) -> list[DetectedFrame]:
    """Detections already made and their features as N :class:`DetectedFrame`."""
    maps: Sequence[Tensor | None] = [None] * len(proposals)
    watched = min(features.maps.values(), key=Tensor.numel)  # a NaN of the image gets everywhere
    if tracker is not None:
        watched = tracker.reduced_maps(features.maps, features.image_sizes)
        maps = watched.unbind()
    candidates = best_class_candidates(proposals, features.image_sizes, watched)
    return [
        DetectedFrame(
            proposals_per_image,
            maps[i],
            _classifier(detector, features.frame(i)),
            features.image_sizes[i],
            features.original_sizes[i],
            _segmenter(detector, features.frame(i)),
            candidates[i],
        )
        for i, proposals_per_image in enumerate(proposals)
    ]


def _classifier(detector: VideoDetector, features: FrameFeatures) -> Callable[[Tensor], Tensor]:
    def classify(boxes: Tensor) -> Tensor:
        if len(boxes) == 0:
            return boxes.new_zeros((0, detector.num_classes))
        return detector.classify(features, boxes)

    return classify


def _segmenter(
    detector: VideoDetector, features: FrameFeatures
) -> Callable[[Tensor, Tensor], Tensor] | None:
    method = getattr(detector, "segment", None)
    if method is None:
        return None

    def segment(boxes: Tensor, labels: Tensor) -> Tensor:
        if len(boxes) == 0:
            return boxes.new_zeros((0, 1, 1))
        return method(features, boxes, labels)

    return segment


def check(detector: VideoDetector, frames: Sequence[Any]) -> list[str]:
    """What an implementation gets wrong, a sentence each; empty where nothing was found.

    Tries the three methods, and ``segment`` where there is one, on ``frames``, in whatever form
    ``extract`` takes them: two or more of one size, with objects that the detector knows, say the
    most. Shapes, box format, coordinates, probabilities, the order of the classes, and features
    that depend on the batch are looked at.

    Raises:
        ValueError: no frames.
    """
    from .detector_check import find_problems  # which imports this file

    return find_problems(detector, frames)
