"""Random garbage in the weights of whole detectors: a video and a training step end in good order.

Garbage in the frames' features comes of garbage weights; ``tests/core/test_garbage.py`` has what a
detector says of its proposals, and what a tracker says.
"""

import copy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from d2_plugtrack.build import build_pipeline
from d2_plugtrack.core.detector import detect_frames
from d2_plugtrack.core.finite import Snapshot
from d2_plugtrack.core.tracker import TrackerHead
from d2_plugtrack.hosts.tiny_fasterrcnn import build_tiny_fasterrcnn
from d2_plugtrack.hosts.torchvision import TorchvisionDetector
from d2_plugtrack.plugin import load_config
from d2_plugtrack.train_step import StepTrainer
from tests.garbage import in_a_fork, outcome_of_video, spoil_

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NUM_CASES = [8, pytest.param(150, marks=pytest.mark.slow)]
SIZE = (64, 96)
TINY = [
    *("MODEL.DEVICE", "cpu", "MODEL.PIXEL_MEAN", [127.5] * 3, "MODEL.PIXEL_STD", [64.0] * 3),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.NORM", "BN", "MODEL.RESNETS.DEPTH", 50, "MODEL.PLUGTRACK.CONV_DIM", 8),
    *("MODEL.FPN.OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 32),
    *("MODEL.RPN.POST_NMS_TOPK_TEST", 12, "MODEL.RPN.POST_NMS_TOPK_TRAIN", 12),
    *("MODEL.ROI_HEADS.NUM_CLASSES", 4, "TEST.TFD.SCORE_THRESH", 0.0),
    *("TEST.TFD.IOU_SCORE_THRESH", 0.0, "TEST.TFD.MAX_BOXES", 12),
]
WIDTH = ["MODEL.RESNETS.NUM_GROUPS", 1, "MODEL.RESNETS.WIDTH_PER_GROUP", 8]
MASKS = ["MODEL.ROI_MASK_HEAD.CONV_DIM", 8]
DCN = ["MODEL.RESNETS.NUM_GROUPS", 8, "MODEL.RESNETS.WIDTH_PER_GROUP", 1]
KINDS = {
    "cascade": ("COCO/plugtrack_cascade_mask_rcnn_R_50_FPN.yaml", [*WIDTH, *MASKS]),
    "c4": ("COCO/plugtrack_faster_rcnn_R_50_C4.yaml", WIDTH),
    "dcn": ("ImageNetVID/plugtrack_resnext101_fpn_dcn.yaml", DCN),
}


def tiny_config(kind: str, *more):
    file, keys = KINDS[kind]
    return load_config(str(CONFIGS / file), [str(k) for k in [*TINY, *keys, *more]])


def image(rng) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 256, (3, *SIZE)).astype(np.float32))


def spoil_one_(module: torch.nn.Module, rng) -> None:
    """One of its weights, half of the times, or of its statistics of batch norm."""
    parameters, buffers = list(module.parameters()), list(module.buffers())
    tensors = parameters if rng.random() < 0.5 or not buffers else buffers
    with torch.no_grad():
        spoil_(tensors[int(rng.integers(len(tensors)))], rng)


def run_video(cfg, detector, tracker, rng) -> list:
    pipeline = build_pipeline(cfg, tracker, masks=True)
    frames = [
        {"image": image(rng)} if hasattr(detector, "roi_heads") else image(rng) / 255
        for _ in range(3)
    ]
    with torch.no_grad():
        return [pipeline.step(f) for f in detect_frames(detector, tracker, frames)]


def outcomes_of_videos(cfg, detector, tracker, parts, num_cases: int) -> Counter:
    good = [Snapshot([*part.parameters(), *part.buffers()]) for part in parts]
    outcomes = Counter()
    for seed in range(num_cases):
        rng = np.random.default_rng(seed)
        spoil_one_(parts[seed % len(parts)], rng)
        outcomes[outcome_of_video(lambda r=rng: run_video(cfg, detector, tracker, r), SIZE)] += 1
        for kept in good:
            kept.restore()
    return outcomes


@pytest.mark.parametrize("num_cases", NUM_CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_videos_with_garbage_weights(kind, num_cases):
    cfg = tiny_config(kind)
    model = build_model(cfg).eval()
    parts = [model.tracker, model.backbone, model.roi_heads, model.proposal_generator]
    outcomes = in_a_fork(lambda: outcomes_of_videos(cfg, model, model.tracker, parts, num_cases))
    assert min(outcomes["results"], outcomes["error"]) > 0


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_videos_with_garbage_weights_on_torchvision(num_cases):
    detector = TorchvisionDetector(build_tiny_fasterrcnn(5, min_size=64, max_size=96))
    shape = detector.map_shapes["0"]
    tracker = TrackerHead(
        **{"in_features": ["0"], "in_channels": [shape.channels], "stride": shape.stride},
        **{"target": 0, "channels": 8, "template_size": 7, "search_factor": 3},
        **{"box_weights": (10.0, 10, 5, 5), "smooth_l1_beta": 1.0, "iou_loss_weight": 1.0},
    ).eval()
    parts = [tracker, detector.model]
    cfg = tiny_config("c4")
    outcomes = in_a_fork(lambda: outcomes_of_videos(cfg, detector, tracker, parts, num_cases))
    assert min(outcomes["results"], outcomes["error"]) > 0


def labeled(rng) -> dict:
    instances = Instances(SIZE)
    corners = torch.from_numpy(rng.random((2, 2), np.float32)) * 40
    instances.gt_boxes = Boxes(torch.cat([corners, corners + 20], dim=1))
    instances.gt_classes, instances.gt_track_ids = torch.tensor([0, 1]), torch.tensor([3, 4])
    if rng.random() < 0.3:
        spoil_(instances.gt_boxes.tensor, rng)
    return {"image": image(rng), "instances": instances, "height": SIZE[0], "width": SIZE[1]}


def outcomes_of_steps(cfg, num_cases: int) -> Counter:
    model = build_model(cfg)
    is_stage_two = hasattr(model, "tracker")
    good = Snapshot([*model.parameters(), *model.buffers()])
    outcomes = Counter()
    for seed in range(num_cases):
        rng = np.random.default_rng(seed)
        if rng.random() < 0.7:
            spoil_one_(model, rng)
        batch = [labeled(rng), labeled(rng)]
        batch = [dict(zip(("prev", "curr"), batch, strict=True))] if is_stage_two else batch
        before = copy.deepcopy(model.state_dict())
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-9)
        trainer = StepTrainer(model, [batch], optimizer, parts=1, mixed_precision=False)
        try:
            trainer.train(0, 1)
            outcomes["a step"] += 1
        except FloatingPointError as error:
            assert str(error).startswith("iteration 0: ")
            torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0, equal_nan=True)
            outcomes["an error"] += 1
        good.restore()
    return outcomes


@pytest.mark.parametrize("num_cases", NUM_CASES)
@pytest.mark.parametrize(
    ("kind", "architecture"),
    [("c4", "PlugTrackRCNN"), ("c4", "GeneralizedRCNN"), ("dcn", "GeneralizedRCNN")],
)
def test_training_steps_with_garbage_weights_and_boxes(kind, architecture, num_cases):
    cfg = tiny_config(kind, "MODEL.META_ARCHITECTURE", architecture)
    outcomes = in_a_fork(lambda: outcomes_of_steps(cfg, num_cases))
    assert min(outcomes["a step"], outcomes["an error"]) > 0
