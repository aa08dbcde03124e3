"""What an implementation of ``detector.VideoDetector`` gets wrong, in plain words.

Shape letters: N frames, P proposals of a frame, B boxes, K foreground classes, M cells of a mask's
side. The detector is run on a few real frames and its answers are held against the protocol and
against each other; nothing is known of the frames but that they are frames. A check of a frame
without proposals, or of less than two frames of one size, says less. Reached through
``detector.check``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .boxes import pairwise_iou
from .detector import FrameFeatures, Proposals, VideoDetector

CONFIDENT = 0.5  # class probability from which detect and classify should name the same class
TOLERANCE = 1e-3  # of probabilities, and of features relative to their largest value
ENOUGH = 10  # proposals or boxes from which a share of them says something
FEW = 20  # boxes of a frame whose masks are tried, the most confident ones: a mask costs most


@torch.no_grad()
def find_problems(detector: VideoDetector, frames: Sequence[Any]) -> list[str]:
    """One sentence for each thing that is wrong; empty where nothing was found.

    A step that fails, or whose answer has another form than expected, ends the check.

    Raises:
        ValueError: no frames.
    """
    if not len(frames):
        raise ValueError("expected at least one frame to try the detector on")
    problems: list[str] = []
    try:
        for problem in _run(detector, frames):
            problems.append(problem)
    except _Stop as stop:
        problems.append(str(stop))
    return problems


class _Stop(Exception):
    """What is wrong, where nothing after it can be tried."""


def _call(what: str, method, *args):
    try:
        return method(*args)
    except Exception as error:
        raise _Stop(f"{what} raised {type(error).__name__}: {error}") from error


def _run(detector: VideoDetector, frames: Sequence[Any]) -> Iterator[str]:
    classes = getattr(detector, "num_classes", None)
    if not isinstance(classes, int) or classes < 1:
        raise _Stop(f"num_classes: expected a number of at least 1, found {classes!r}")
    features = _call("extract", detector.extract, frames)
    _check_features(features, len(frames))
    yield from _batch_dependence(detector, features, frames)
    proposals = _call("detect", detector.detect, features)
    _check_proposals(proposals, len(frames), classes)
    for i, p in enumerate(proposals):
        yield from _probabilities(f"detect, frame {i}", p.scores)
        yield from _coordinates(i, p, features.image_sizes[i], features.original_sizes[i])
    yield from _classification(detector, features, proposals)
    if getattr(detector, "segment", None) is not None:
        for i, p in enumerate(proposals):
            yield from _masks(detector, features.frame(i), p, i)


# ---- extract ---------------------------------------------------------------------------------


def _check_features(features: FrameFeatures, count: int) -> None:
    if not isinstance(features, FrameFeatures):
        raise _Stop(f"extract: expected a FrameFeatures, found {type(features).__name__}")
    if not isinstance(features.maps, Mapping) or not features.maps:
        raise _Stop("extract: expected maps by name, found none")
    for name, feature_map in features.maps.items():
        shape = tuple(getattr(feature_map, "shape", ()))
        if len(shape) != 4 or shape[0] != count:
            raise _Stop(f"extract, map {name!r}: expected (N={count}, C, H, W), found {shape}")
    for field in ("image_sizes", "original_sizes"):
        sizes = getattr(features, field)
        if len(sizes) != count or any(len(s) != 2 or min(s) < 1 for s in sizes):
            raise _Stop(f"extract, {field}: expected {count} of (height, width), found {sizes}")


def _batch_dependence(detector, features: FrameFeatures, frames: Sequence[Any]) -> Iterator[str]:
    """Frames of one size as a batch and alone: of several sizes, borders may rightly differ."""
    size = features.image_sizes[0]
    alike = [f for f, s in zip(frames, features.image_sizes, strict=True) if s == size]
    together = _call("extract", detector.extract, alike).maps
    for i, frame in enumerate(alike):
        alone = _call("extract", detector.extract, [frame]).maps
        for name, feature_map in alone.items():
            other = together[name][i : i + 1]
            scale = feature_map.abs().max().clamp(min=1e-12)
            if other.shape != feature_map.shape:
                yield f"extract, map {name!r}: another size in a batch than for one frame alone"
            elif (other - feature_map).abs().max() > TOLERANCE * scale:
                yield (
                    f"extract, map {name!r}: the features of a frame depend on the batch it is in, "
                    "or change from call to call (is the detector in training mode?)"
                )
            else:
                continue
            return


# ---- detect ----------------------------------------------------------------------------------


def _check_proposals(proposals: Sequence[Proposals], count: int, classes: int) -> None:
    if not isinstance(proposals, Sequence) or len(proposals) != count:
        raise _Stop(f"detect: expected a list of {count} Proposals, one a frame")
    for i, p in enumerate(proposals):
        if not isinstance(p, Proposals):
            raise _Stop(f"detect, frame {i}: expected Proposals, found {type(p).__name__}")
        boxes, scores = tuple(p.class_boxes.shape), tuple(p.scores.shape)
        if len(scores) != 2 or scores[1] != classes:
            background = " (with the background?)" if scores[1:] == (classes + 1,) else ""
            raise _Stop(
                f"detect, frame {i}, scores: expected (P, num_classes={classes}), "
                f"found {scores}{background}"
            )
        if boxes not in {(scores[0], classes, 4), (scores[0], 1, 4)}:
            raise _Stop(
                f"detect, frame {i}, class_boxes: expected (P, K, 4) or (P, 1, 4) with "
                f"P={scores[0]} and K={classes}, found {boxes}"
            )


def _probabilities(where: str, scores: Tensor) -> Iterator[str]:
    finite = scores[scores.isfinite().all(dim=1)]
    if len(finite) < len(scores):
        yield f"{where}: {len(scores) - len(finite)} rows of probabilities are not finite"
    sums = finite.sum(dim=1)
    if not len(finite):
        return
    if finite.min() < -TOLERANCE or finite.max() > 1 + TOLERANCE:
        yield (
            f"{where}: probabilities from {finite.min():.3g} to {finite.max():.3g}, expected "
            "0 to 1 (are these logits?)"
        )
    elif sums.max() > 1 + TOLERANCE:
        yield f"{where}: the probabilities of a box sum to {sums.max():.3g}, expected at most 1"
    elif len(sums) >= ENOUGH and sums.min() > 1 - 1e-6:
        yield f"{where}: the probabilities of every box sum to 1, which leaves the background none"


def _coordinates(index: int, proposals: Proposals, size, original) -> Iterator[str]:
    boxes = proposals.class_boxes.flatten(0, 1)
    boxes = boxes[boxes.isfinite().all(dim=1)]
    if not len(boxes):
        return
    where = f"detect, frame {index}, class_boxes"
    reversed_share = (boxes[:, 2:] < boxes[:, :2]).any(dim=1).float().mean().item()
    if reversed_share > 0.1:
        yield (
            f"{where}: in {reversed_share:.0%} of the boxes x2 < x1 or y2 < y1; expected "
            "xyxy (is this xywh, or centres and sizes?)"
        )
        return
    height, width = size
    limits = boxes.new_tensor([width, height, width, height])
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    if boxes.abs().max() <= 2 and min(size) > 8:
        yield f"{where}: no coordinate is above 2; expected pixels, not shares of the image"
    elif (share := _outside(centers, limits[:2])) > 0.1:
        guesses = {  # of two that explain all, the stricter first
            "are x and y the wrong way round?": (centers.flip(1), limits[:2]),
            "are they pixels of the frame as it came?": (centers, boxes.new_tensor(original[::-1])),
        }
        outside = {guess: _outside(*tried) for guess, tried in guesses.items()}
        guess = min(outside, key=outside.get)
        yield (
            f"{where}: the centres of {share:.0%} of the boxes are outside the network's input of "
            f"(height, width) {tuple(size)}" + (f": {guess}" if outside[guess] < share else "")
        )


def _outside(centers: Tensor, limits: Tensor) -> float:
    return ((centers < 0) | (centers > limits)).any(dim=1).float().mean().item()


# ---- classify --------------------------------------------------------------------------------


def _classification(
    detector: VideoDetector, features: FrameFeatures, proposals: Sequence[Proposals]
) -> Iterator[str]:
    said, again, problems = [], [], {}
    for i, p in enumerate(proposals):
        boxes, best, classes = _best_boxes(p)
        if not len(boxes):
            continue
        scores = _classify(detector, features.frame(i), boxes)
        for problem in _probabilities("classify", scores):
            problems[problem] = None
        for problem in _row_by_row(detector, features.frame(i), boxes, scores):
            problems[problem] = None
        confident = best > CONFIDENT
        said.append(classes[confident])
        again.append(scores.argmax(dim=1)[confident])
    yield from problems
    if said:
        yield from _class_order(torch.cat(said), torch.cat(again))


def _best_boxes(p: Proposals) -> tuple[Tensor, Tensor, Tensor]:
    valid = p.class_boxes.isfinite().flatten(1).all(dim=1) & p.scores.isfinite().all(dim=1)
    if not valid.any():
        return p.class_boxes.new_zeros((0, 4)), p.scores.new_zeros(0), p.scores.new_zeros(0)
    boxes, scores = p.class_boxes[valid], p.scores[valid]
    best, classes = scores.max(dim=1)
    rows = torch.arange(len(boxes), device=boxes.device)
    return boxes[rows, classes if boxes.shape[1] > 1 else 0], best, classes


def _classify(detector: VideoDetector, frame: FrameFeatures, boxes: Tensor) -> Tensor:
    scores = _call("classify", detector.classify, frame, boxes)
    expected, found = (len(boxes), detector.num_classes), tuple(getattr(scores, "shape", ()))
    if found != expected:
        background = " (with the background?)" if found == (len(boxes), expected[1] + 1) else ""
        raise _Stop(f"classify: expected (B, K) = {expected}, found {found}{background}")
    return scores


def _row_by_row(detector, frame: FrameFeatures, boxes: Tensor, scores: Tensor) -> Iterator[str]:
    reordered = _classify(detector, frame, boxes.flip(0)).flip(0)
    alone = _classify(detector, frame, boxes[:1])
    if (reordered - scores).abs().max() > TOLERANCE or (alone - scores[:1]).abs().max() > TOLERANCE:
        yield "classify: the probabilities of a box depend on the other boxes or on their order"
    far = boxes[pairwise_iou(boxes, boxes[:1]).squeeze(1) == 0]
    if len(far) and (scores == scores[:1]).all() and len(boxes) >= ENOUGH:
        yield "classify: every box has the same probabilities, wherever it is"


def _class_order(said: Tensor, again: Tensor) -> Iterator[str]:
    """detect and classify should name the same class of a box that detect is sure of."""
    differs = said != again
    if len(said) < ENOUGH or differs.float().mean() < 0.5:
        return
    pairs, counts = torch.stack([said, again], 1)[differs].unique(dim=0, return_counts=True)
    first, second = pairs[counts.argmax()].tolist()
    yield (
        f"classify names another class than detect for {int(differs.sum())} of {len(said)} "
        f"confident boxes, most often {second} where detect says {first}: are the classes in "
        "another order, or the boxes of classify in other pixels?"
    )


# ---- segment, where there is one -------------------------------------------------------------


def _masks(detector, frame: FrameFeatures, proposals: Proposals, index: int) -> Iterator[str]:
    boxes, best, classes = _best_boxes(proposals)
    if not len(boxes):
        return
    few = best.argsort(descending=True, stable=True)[:FEW]
    boxes, classes = boxes[few], classes[few]
    where = f"segment, frame {index}"
    masks = _call(where, detector.segment, frame, boxes, classes)
    found = tuple(getattr(masks, "shape", ()))
    if len(found) != 3 or found[0] != len(boxes) or found[1] != found[2]:
        raise _Stop(f"{where}: expected (B={len(boxes)}, M, M), found {found}")
    if not masks.is_floating_point() or not masks.isfinite().all():
        yield f"{where}: expected finite probabilities, found NaN, infinity or {masks.dtype}"
    elif masks.min() < -TOLERANCE or masks.max() > 1 + TOLERANCE:
        yield (
            f"{where}: masks from {masks.min():.3g} to {masks.max():.3g}, expected probabilities "
            "from 0 to 1 (are these logits?)"
        )
