"""Frames out of a batch, and what is said of a detector that is implemented wrong."""

import numpy as np
import pytest
import torch

from d2_plugtrack.core.detector import FrameFeatures, Proposals, check, detect_frames
from docs.toy_detector import ColorDetector

SIZE = (60, 80)


def random_proposals(count, num_classes):
    corners = 60 * torch.rand(count, num_classes, 2)
    boxes = torch.cat([corners, corners + 1 + 20 * torch.rand(count, num_classes, 2)], dim=2)
    return Proposals(boxes, torch.rand(count, num_classes) / num_classes)


# ---- a batch of frames ----------------------------------------------------------------------


@pytest.fixture
def detector(toy_detector):
    proposals = [random_proposals(n, num_classes=3) for n in (4, 0, 6)]
    maps = torch.rand(3, 3, 8, 10) + 1
    return toy_detector(proposals, maps, image_size=SIZE, original_size=(30, 40))


def test_frames_of_a_batch_are_handed_out_each(detector):
    frames = detect_frames(detector, None, [2, 0, 1])
    assert detector.extracted == [2, 0, 1]  # features once
    boxes = torch.tensor([[0.0, 0, 9, 9], [5, 6, 7, 8]])
    for number, frame in zip([2, 0, 1], frames, strict=True):
        assert frame.proposals is detector.proposals[number]
        assert frame.tracking_map is None
        assert frame.candidates.scores.equal(frame.proposals.scores.amax(dim=1))
        assert (frame.image_size, frame.original_size) == (SIZE, (30, 40))
        alone = detector.classify(detector.extract([number]), boxes)
        torch.testing.assert_close(frame.classify(boxes), alone)


def test_tracking_maps_are_those_of_the_tracker(detector, build_tracker):
    tracker = build_tracker()
    features = detector.extract([0, 1])
    features.image_sizes[1] = (60, 24)
    expected = tracker.reduced_maps(features.maps, features.image_sizes)
    detector.extract = lambda frames: features
    frames = detect_frames(detector, tracker, [0, 1])
    assert all(f.tracking_map.equal(m) for f, m in zip(frames, expected, strict=True))
    assert (frames[1].tracking_map[:, :, 3:] == 0).all()
    assert frames[1].image_size == (60, 24)


def test_nothing_is_classified_without_the_detector(detector):
    (frame,) = detect_frames(detector, None, [1])
    detector.classify = None  # a detector need not take no boxes
    assert frame.classify(torch.zeros(0, 4)).shape == (0, 3)


def test_masks_are_those_of_the_frame_and_none_without_the_method(detector):
    assert [frame.segment for frame in detect_frames(detector, None, [0, 1])] == [None, None]
    detector.segment = lambda features, boxes, labels: (
        features.maps["number"] + labels[:, None, None] + boxes[:, :1, None]
    )
    first, second = detect_frames(detector, None, [2, 0])
    boxes, labels = torch.tensor([[10.0, 0, 9, 9], [20, 6, 7, 8]]), torch.tensor([100, 200])
    assert first.segment(boxes, labels).tolist() == [[[112]], [[222]]]
    assert second.segment(boxes, labels).tolist() == [[[110]], [[220]]]
    detector.segment = None
    assert first.segment(boxes[:0], labels[:0]).shape == (0, 1, 1)


def test_one_frame_of_the_features(detector):
    features = detector.extract([0, 1, 2])
    one = features.frame(1)
    assert one.maps["a"].equal(detector.maps[1:2]) and one.maps["number"].tolist() == [1]
    assert one.maps["a"].data_ptr() == features.maps["a"][1].data_ptr()  # not a copy
    assert one.image_sizes == [SIZE] and one.original_sizes == [(30, 40)]


# ---- check ----------------------------------------------------------------------------------


class GridDetector:
    """A right implementation: a proposal wherever a frame is bright, its class by brightness.

    A frame is a (40, 60) tensor of 0, 0.5 and 1 in blocks of 10; classes are the two above 0.
    """

    num_classes = 2
    shape = (40, 60)

    def extract(self, frames):
        maps = torch.nn.functional.avg_pool2d(torch.stack(list(frames))[:, None], 10)
        return FrameFeatures({"block": maps}, [self.shape] * len(frames), [(80, 120)] * len(frames))

    def detect(self, features):
        return [self._detect(features.frame(i)) for i in range(len(features.image_sizes))]

    def _detect(self, frame):
        rows, columns = (frame.maps["block"][0, 0] > 0).nonzero(as_tuple=True)
        boxes = 10.0 * torch.stack([columns, rows, columns + 1, rows + 1], dim=1)
        return Proposals(boxes[:, None], GridDetector.classify(self, frame, boxes))

    def classify(self, features, boxes):
        columns, rows = ((boxes[:, :2] + boxes[:, 2:]) / 20).long().unbind(dim=1)
        brightness = features.maps["block"][0, 0].flatten()[(6 * rows + columns).clamp(0, 23)]
        return torch.stack([brightness == 0.5, brightness == 1], dim=1) * 0.9


def blocks(count=3):
    """Frames of as many blocks of either class as of nothing."""
    levels = torch.tensor([0, 0.5, 1]).repeat(8)
    orders = [torch.randperm(24) for _ in range(count)]
    return [levels[o].reshape(4, 6).kron(torch.ones(10, 10)) for o in orders]


def wrong(**methods):
    return type("Wrong", (GridDetector,), methods)()


def with_proposals(change):
    """A detector whose proposals are changed on their way out."""
    return wrong(detect=lambda self, f: [change(p) for p in GridDetector.detect(self, f)])


def with_scores(change):
    """A detector whose probabilities are changed, in both methods alike."""
    return wrong(
        detect=lambda self, f: [
            Proposals(p.class_boxes, change(p.scores)) for p in GridDetector.detect(self, f)
        ],
        classify=lambda self, f, boxes: change(GridDetector.classify(self, f, boxes)),
    )


def moved(change):
    return with_proposals(lambda p: Proposals(change(p.class_boxes), p.scores))


def with_masks(change):
    """A detector whose masks, from 0 to 1 over their diagonals, are changed on their way out."""
    mask = torch.linspace(0, 1, 9).reshape(3, 3)
    return wrong(segment=lambda self, f, boxes, labels: change(mask.expand(len(boxes), 3, 3)))


def test_a_right_one_has_no_problems():
    assert check(GridDetector(), blocks()) == []
    assert check(with_masks(lambda masks: masks), blocks()) == []
    assert check(wrong(segment=None), blocks()) == []


def test_frames_without_proposals_have_no_problems():
    assert check(GridDetector(), [torch.zeros(40, 60)] * 2) == []


def to_xywh(boxes):
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)


def broken(self, features):
    raise KeyError("p3")


WRONG = {
    "no number of classes": (wrong(num_classes=None), "num_classes: expected a number"),
    "detect fails": (wrong(detect=broken), "detect raised KeyError: 'p3'"),
    "no FrameFeatures": (wrong(extract=lambda self, frames: {}), "extract: expected a FrameFeat"),
    "no maps": (
        wrong(extract=lambda self, f: GridDetector().extract(f)._replace(maps={})),
        "extract: expected maps by name",
    ),
    "a map without a batch": (
        wrong(extract=lambda self, f: GridDetector().extract(f)._replace(maps={"a": f[0]})),
        "extract, map 'a': expected (N=3, C, H, W), found (40, 60)",
    ),
    "one size too few": (
        wrong(extract=lambda self, f: GridDetector().extract(f)._replace(image_sizes=[(40, 60)])),
        "extract, image_sizes: expected 3 of (height, width)",
    ),
    "one answer for all frames": (
        wrong(detect=lambda self, f: GridDetector().detect(f)[:1]),
        "detect: expected a list of 3 Proposals",
    ),
    "tuples": (with_proposals(tuple), "detect, frame 0: expected Proposals, found tuple"),
    "the background as a class": (
        with_scores(lambda s: torch.cat([s, 1 - s.sum(dim=1, keepdim=True)], dim=1)),
        "detect, frame 0, scores: expected (P, num_classes=2), found (16, 3) (with the background",
    ),
    "boxes without classes": (
        moved(lambda boxes: boxes[:, 0]),
        "detect, frame 0, class_boxes: expected (P, K, 4) or (P, 1, 4)",
    ),
    "logits": (with_scores(lambda s: 8 * s - 4), "detect, frame 0: probabilities from -4 to"),
    "too much probability": (with_scores(lambda s: s + 0.5 * (s == 0)), "sum to 1.4"),
    "none for the background": (with_scores(lambda s: s / 0.9), "leaves the background none"),
    "not a number": (with_scores(lambda s: s / 0), "rows of probabilities are not finite"),
    "xywh": (moved(to_xywh), "expected xyxy (is this xywh"),
    "shares of the image": (
        moved(lambda boxes: boxes / torch.tensor([60, 40, 60, 40])),
        "expected pixels, not shares of the image",
    ),
    "pixels of the frame as it came": (moved(lambda b: 2 * b + 1), "frame as it came?"),
    "yxyx": (moved(lambda boxes: boxes[..., [1, 0, 3, 2]]), "x and y the wrong way round?"),
    "classes in another order": (
        wrong(classify=lambda self, f, b: GridDetector().classify(f, b).flip(1)),
        "classify names another class than detect for",
    ),
    "classify with the background": (
        wrong(classify=lambda self, f, boxes: torch.zeros(len(boxes), 3)),
        "classify: expected (B, K) = (16, 2), found (16, 3) (with the background?)",
    ),
    "classify sorts": (
        wrong(classify=lambda self, f, b: GridDetector().classify(f, b).sort(dim=0).values),
        "depend on the other boxes or on their order",
    ),
    "segment fails": (
        wrong(segment=lambda self, f, boxes, labels: {}[0]),
        "segment, frame 0 raised KeyError: 0",
    ),
    "masks with a channel": (
        with_masks(lambda masks: masks[:, None]),
        "segment, frame 0: expected (B=16, M, M), found (16, 1, 3, 3)",
    ),
    "masks of the whole frame": (
        with_masks(lambda masks: torch.rand(len(masks), 40, 60)),
        "segment, frame 0: expected (B=16, M, M), found (16, 40, 60)",
    ),
    "too few masks": (with_masks(lambda masks: masks[1:]), "(B=16, M, M), found (15, 3, 3)"),
    "mask logits": (
        with_masks(lambda masks: 8 * masks - 4),
        "segment, frame 0: masks from -4 to 4, expected probabilities from 0 to 1 (are these",
    ),
    "masks that are no numbers": (with_masks(lambda masks: masks / 0), "found NaN, infinity"),
    "masks of bool": (with_masks(lambda masks: masks > 0.5), "or torch.bool"),
    "classify looks nowhere": (
        wrong(classify=lambda self, f, boxes: torch.full((len(boxes), 2), 0.3)),
        "every box has the same probabilities",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    detector, said = WRONG[name]
    problems = check(detector, blocks())
    assert any(said in p for p in problems), problems


def test_features_that_depend_on_the_batch():
    def extract(self, frames):
        features = GridDetector().extract(frames)
        return features._replace(maps={k: m * len(frames) for k, m in features.maps.items()})

    (problem, *_) = check(wrong(extract=extract), blocks())
    assert "depend on the batch" in problem


def test_no_frames_to_try():
    with pytest.raises(ValueError, match="at least one frame"):
        check(GridDetector(), [])


# ---- the example of the documentation -------------------------------------------------------


def colored(red_at, green_at):
    frame = np.zeros((64, 96, 3), np.uint8)
    for (x, y), channel in ((red_at, 2), (green_at, 1)):
        frame[y : y + 16, x : x + 24, channel] = 255
    return frame


def test_the_toy_detector_is_right():
    frames = [colored((10 + 2 * t, 8), (50, 30 + 2 * t)) for t in range(3)]
    assert check(ColorDetector(), frames) == []
    for t, frame in enumerate(detect_frames(ColorDetector(), None, frames)):
        red, green = frame.proposals.class_boxes[:, 0]
        assert red.tolist() == [10 + 2 * t, 8, 34 + 2 * t, 24]
        assert green.tolist() == [50, 30 + 2 * t, 74, 46 + 2 * t]
        assert frame.proposals.scores.argmax(dim=1).tolist() == [0, 1]


def test_the_toy_detector_sees_nothing_in_an_empty_frame():
    empty = np.zeros((64, 96, 3), np.uint8)
    assert check(ColorDetector(), [empty, empty]) == []
