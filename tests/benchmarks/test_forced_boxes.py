"""Detectors that have learned nothing find the boxes they are made to, and do all their work."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from d2_plugtrack.benchmarks.forced_boxes import ForcedBoxes
from d2_plugtrack.benchmarks.random_weights import write_random_weights
from d2_plugtrack.benchmarks.subject import Subject, open_stock, open_subject
from d2_plugtrack.errors import UserError
from d2_plugtrack.predictor import VideoPredictor

ROOT = Path(__file__).resolve().parents[2]
TINY = [pytest.param("plugtrack_tiny", marks=pytest.mark.detectron2), "torchvision_tiny"]
BOXES = 7
PROPOSALS = 100  # of the tiny detectors
FRAMES = list(np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), dtype=np.uint8))


@pytest.fixture(scope="module", params=TINY)
def subject(request, tmp_path_factory):
    config_file = str(ROOT / f"configs/TinyVID/{request.param}.yaml")
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    write_random_weights(config_file, [], path)
    return Subject(config_file, ["MODEL.WEIGHTS", str(path)], BOXES)


def stock_boxes(output) -> torch.Tensor:
    """Of detectron2's or torchvision's output for one frame."""
    if "boxes" in output:
        return output["boxes"]
    return output["instances"].pred_boxes.tensor


def test_the_image_detector_finds_them(subject):
    reference = open_stock(subject)
    alone = reference.predict(FRAMES[0])
    together = reference.predict_batch(FRAMES)
    boxes = [stock_boxes(o) for o in ([alone] if isinstance(alone, dict) else alone)]
    boxes += [stock_boxes(o) for o in together]
    assert [len(b) for b in boxes] == [BOXES] * 4
    assert box_iou(boxes[0], boxes[-1]).diagonal().min() > 0.99


@pytest.mark.parametrize("batch_size", [1, 3])
def test_video_detection_finds_and_tracks_them(subject, batch_size):
    host, _ = open_subject(subject)
    predictor = VideoPredictor.from_host(host)
    first, *others = predictor.results(FRAMES, batch_size)
    assert len(first.boxes) == BOXES and first.source.tolist() == [-1] * BOXES
    for result in others:
        assert sorted(result.source.tolist()) == list(range(BOXES))
        torch.testing.assert_close(
            result.track_scores.cpu(), torch.full((BOXES,), 0.9), atol=1e-2, rtol=0
        )
        torch.testing.assert_close(result.boxes[result.source.argsort()], first.boxes)
        # e^6 / (e^6 + 8 e^-1.5) of its own class, of K = 8 and the background
        assert result.scores.max(dim=1).values.tolist() == pytest.approx([0.9956] * BOXES, abs=1e-3)
        assert sorted(result.scores.argmax(dim=1).tolist()) == list(range(BOXES))
    objects = predictor.finish()
    assert [len(o.boxes) for o in objects] == [BOXES] * 3


def test_both_see_the_same_boxes_and_as_many_proposals(subject):
    host, _ = open_subject(subject)
    (result,) = VideoPredictor.from_host(host).results(FRAMES[:1])
    (stock,) = open_stock(subject).predict_batch(FRAMES[:1])
    best = box_iou(result.boxes, stock_boxes(stock)).max(dim=1).values
    assert best.min() > 0.99
    frames = [host.prepare(frame) for frame in FRAMES]
    with torch.no_grad():
        found = host.detector.detect(host.detector.extract(frames))
    assert [len(p.scores) for p in found] == [PROPOSALS] * 3


def test_nothing_is_forced_where_not_asked(subject):
    host, _ = open_subject(subject._replace(boxes=None))
    assert len(next(VideoPredictor.from_host(host).results(FRAMES[:1])).boxes) != BOXES


@pytest.mark.parametrize(("boxes", "proposals"), [(1, 2), (10, 100), (40, 1000), (150, 300)])
def test_objects_are_apart_and_their_copies_close(boxes, proposals):
    forced = ForcedBoxes(boxes, proposals, classes=5, background=4)
    placed = forced.place((600, 1066), torch.device("cpu"))
    assert placed.shape == (proposals, 4) and (placed[:, 2:] > placed[:, :2]).all()
    copies = forced.copies
    objects = placed[: boxes * copies : copies]
    assert (objects >= 0).all() and (objects <= torch.tensor([1066, 600, 1066, 600])).all()
    assert (box_iou(objects, objects) - torch.eye(boxes)).max() < 0.01
    around = placed[: boxes * copies].reshape(boxes, copies, 4)
    inside = [box_iou(o[None], c)[0].min() for o, c in zip(objects, around, strict=True)]
    assert min(inside) > 0.5  # so that NMS leaves one of them


@pytest.mark.parametrize("boxes", [0, 51])
def test_more_or_fewer_than_there_can_be(boxes):
    with pytest.raises(UserError, match=f"--boxes {boxes}: expected 1 to 50 of this detector"):
        ForcedBoxes(boxes, 100, classes=5, background=0)
