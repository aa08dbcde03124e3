"""The stages of video detection, one below the other, over some frames (Figs. 8 and 11 to 13).

Shape letters: B boxes of a frame, K foreground classes, M objects of a frame. Boxes are xyxy in
pixels of the frame; images BGR uint8 ``(H, W, 3)``. A stage without boxes is the image alone. What
the stages say of a frame is computed elsewhere and given.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from ..core.open_part import RescoredFrame
from ..core.rescoring import TrackedObjects
from ..core.tfd import FrameResult
from .drawing import draw_tracks
from .sheets import fit_width, titled_sheet
from .stages import Stages

ROW_TITLES = ("detector", "tracker: IoU", "merged", "re-scored")


def draw_strips(
    stages: Iterable[Stages], class_names: Sequence[str], threshold: float, width: int
) -> np.ndarray:
    """A column a frame, and four rows: detector, tracker, merged, re-scored.

    Args:
        stages: index of the frame, its image, what the stock detector says of it, tracking-first
            detection, its re-scoring and the objects of that; at least one.
        threshold: objects of a lower score are not drawn; tracked boxes neither, where what they
            hold is of no class that scores as high.
        width: pixels of a column.
    """
    stages = list(stages)
    columns = [draw_stages(*stage[1:], class_names, threshold, width) for stage in stages]
    rows = list(zip(*columns, strict=True))
    return titled_sheet(rows, ROW_TITLES, [f"frame {stage[0]}" for stage in stages])


def draw_stages(
    image: np.ndarray,
    detector: FrameResult,
    tracked: FrameResult,
    rescored: RescoredFrame,
    objects: TrackedObjects,
    class_names: Sequence[str],
    threshold: float,
    width: int,
) -> list[np.ndarray]:
    """The four pictures of one frame, ``width`` pixels wide.

    A box has the colour of the track that it ends up in; gray where it ends up in none, or where
    nothing is known of tracks, as with the detector alone. Tracked boxes have the IoU that the
    tracker predicts as their label, the others class and score.
    """

    def draw(boxes: Tensor, labels: list[str], track_ids: np.ndarray) -> np.ndarray:
        return draw_tracks(small, boxes.numpy() * zoom, labels, track_ids)

    small, zoom = fit_width(image, width)
    ids = box_tracks(rescored, objects)
    alone, shown = (likely(result.scores, threshold) for result in (detector, tracked))
    followed = shown[tracked.source.numpy()[shown] >= 0]
    ious = [f"{iou:.2f}" for iou in tracked.track_scores[followed].tolist()]
    final = likely(objects.scores[:, None], threshold)
    labels = class_labels(objects.classes[final], objects.scores[final], class_names)
    nowhere = np.full(len(alone), -1)
    return [
        draw(detector.boxes[alone], best_labels(detector.scores[alone], class_names), nowhere),
        draw(tracked.boxes[followed], ious, ids[followed]),
        draw(tracked.boxes[shown], best_labels(tracked.scores[shown], class_names), ids[shown]),
        draw(objects.boxes[final], labels, objects.track_ids[final].numpy()),
    ]


def box_tracks(rescored: RescoredFrame, objects: TrackedObjects) -> np.ndarray:
    """(B,) the track of each box of a frame, -1 for those that re-scoring left out."""
    track_ids = np.full(len(rescored.boxes), -1)
    track_ids[rescored.kept.any(axis=1)] = objects.track_ids.numpy()
    return track_ids


def likely(scores: Tensor, threshold: float) -> np.ndarray:
    """Indices of the boxes of which a class of (B, K) scores is at least ``threshold``.

    The likeliest comes last, so that it is drawn above the others.
    """
    best = scores.cpu().numpy().max(axis=1, initial=-np.inf)
    order = np.argsort(best, kind="stable")
    return order[best[order] >= threshold]


def best_labels(scores: Tensor, class_names: Sequence[str]) -> list[str]:
    """Class and score of the best class of each of (B, K) scores."""
    if len(scores) == 0:
        return []
    best = scores.max(dim=1)
    return class_labels(best.indices, best.values, class_names)


def class_labels(classes: Tensor, scores: Tensor, class_names: Sequence[str]) -> list[str]:
    """Class and score of each of B boxes."""
    pairs = zip(classes.tolist(), scores.tolist(), strict=True)
    return [f"{class_names[label]} {score:.2f}" for label, score in pairs]
