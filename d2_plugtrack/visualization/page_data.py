"""What the page of a video shows, as data that JSON can hold.

Shape letters: F frames, B boxes of a frame, K foreground classes, M objects of a frame. Boxes are
xyxy in pixels of the frame, rounded to a tenth; scores to a thousandth. A box is shown under its
best class, and left out where that scores below :data:`LOWEST_SCORE` or where a number of it is
not finite; masks are ignored. Frames without boxes have empty lists; no frames give no frames and
no tracks. Pictures and the file are ``page.py``'s.
"""

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from ..core.rescoring import TrackedObjects
from ..core.tfd import FrameResult
from .drawing import track_colors
from .stages import Stages

LOWEST_SCORE = 0.05  # where a page's threshold starts: detectors say much more of each frame


def page_data(
    stages: Sequence[Stages], times: Sequence[float], class_names: Sequence[str], threshold: float
) -> dict[str, Any]:
    """Boxes of each stage in every frame, and tracks with their scores before and after.

    Args:
        stages: (F,) of one video, in order; tracks keep the numbers that their objects have.
        times: (F,) in seconds.
        threshold: what the page shows at first.

    Returns:
        ``threshold``, ``lowest`` and ``classes``. ``frames``: each with ``index``, ``time``,
        ``width``, ``height`` and rows of boxes, ``detector`` [x1, y1, x2, y2, class, score],
        ``tracked`` [..., track, 1 if the tracker brought it or else 0], ``rescored`` [..., track];
        a track of -1 is none. ``tracks`` in the order of their numbers: each with ``id``,
        ``color``, ``class``, ``score``, the places in ``frames`` that have it, and for each of
        these the score of its class ``before`` and ``after``.

    Raises:
        ValueError: not as many times as frames, or objects that are not those of the boxes.
    """
    lowest = min(LOWEST_SCORE, threshold)
    tracks = {
        track: found for track, found in _collect_tracks(stages).items() if found["score"] >= lowest
    }
    ids = sorted(tracks)
    colors = track_colors(np.array(ids, int))
    return {
        "threshold": threshold,
        "lowest": lowest,
        "classes": list(class_names),
        "frames": [
            {"index": stage.index, "time": round(time, 3), **_frame(stage, tracks, lowest)}
            for stage, time in zip(stages, times, strict=True)
        ],
        "tracks": [
            {"id": track, "color": color, **tracks[track]}
            for color, track in zip(colors, ids, strict=True)
        ],
    }


def _collect_tracks(stages: Sequence[Stages]) -> dict[int, dict[str, Any]]:
    """What :func:`page_data` says of each track, by the track ids of the objects."""
    tracks: dict[int, dict[str, Any]] = {}
    for place, stage in enumerate(stages):
        classes, ids = stage.objects.classes.tolist(), stage.objects.track_ids.tolist()
        before = stage.tracked.scores.cpu().numpy()[_rows_of_objects(stage), classes]
        scores = np.stack([before, stage.objects.scores.numpy()], axis=1)
        for track, label, pair in zip(ids, classes, _rounded(scores, 3), strict=True):
            if track < 0 or not np.isfinite(pair).all():
                continue
            new = {"class": label, "score": 0.0, "frames": [], "before": [], "after": []}
            found = tracks.setdefault(track, new)
            found["score"] = max(found["score"], pair[1])
            for name, value in (("frames", place), ("before", pair[0]), ("after", pair[1])):
                found[name].append(value)
    return tracks


def _frame(stage: Stages, known: Container[int], lowest: float) -> dict[str, Any]:
    height, width = stage.tracked.image_size
    ids = stage.objects.track_ids.tolist()
    tracks = np.array([track if track in known else -1 for track in ids], int)
    of_boxes = np.full(len(stage.tracked.boxes), -1)
    of_boxes[_rows_of_objects(stage)] = tracks
    followed = (stage.tracked.source >= 0).numpy()
    return {
        "width": width,
        "height": height,
        "detector": _rows(*_under_best_class(stage.detector), lowest=lowest),
        "tracked": _rows(*_under_best_class(stage.tracked), of_boxes, followed, lowest=lowest),
        "rescored": _rows(*_labelled(stage.objects), tracks, lowest=lowest),
    }


def _rows_of_objects(stage: Stages) -> np.ndarray:
    """The boxes (M,) of a frame that its objects are: all that are kept, for any class."""
    rows = np.flatnonzero(stage.rescored.kept.any(axis=1))
    if len(rows) != len(stage.objects.boxes):
        raise ValueError(
            f"frame {stage.index}: expected {len(rows)} objects, as many as boxes that are kept, "
            f"found {len(stage.objects.boxes)}"
        )
    return rows


def _under_best_class(result: FrameResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (B, 4), classes (B,), scores (B,)."""
    scores, classes = result.scores.cpu().max(dim=1)
    return result.boxes.numpy(), classes.numpy(), scores.numpy()


def _labelled(objects: TrackedObjects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return objects.boxes.numpy(), objects.classes.numpy(), objects.scores.numpy()


def _rows(
    boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray, *more: np.ndarray, lowest: float
) -> list[list[float | int]]:
    """A row for each box that is shown: its corners, class, score, and what else there is of it."""
    shown = np.isfinite(boxes).all(axis=1) & np.isfinite(scores) & (scores >= lowest)
    columns = zip(
        *_rounded(boxes[shown], 1).T.tolist(),
        classes[shown].tolist(),
        _rounded(scores[shown], 3).tolist(),
        *(column[shown].astype(int).tolist() for column in more),
        strict=True,
    )
    return [list(row) for row in columns]


def _rounded(values: np.ndarray, digits: int) -> np.ndarray:
    return values.astype(np.float64).round(digits)  # float32 would come out with its noise
