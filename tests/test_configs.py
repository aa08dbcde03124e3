"""The numbers of the ImageNet VID configs, read back from the loaded configs.

They are written here a second time by hand, with where the paper (or, where it is silent, its
author's implementation) says so. detectron2's defaults count: what is read is what will run.
"""

from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.solver import build_lr_scheduler
from detectron2.solver import build_optimizer as build_sgd

from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.data.catalog import DATASETS
from d2_plugtrack.modeling.imagenet_weights import is_imagenet_weights
from d2_plugtrack.plugin import load_config

FOLDER = Path(__file__).resolve().parents[1] / "configs/ImageNetVID"
LIGHT, HEAVY = "hrnet_w32", "resnext101_fpn_dcn"
BOTH = pytest.mark.parametrize("model", [LIGHT, HEAVY])

# Both stages and both detectors.
EVERYWHERE = {
    "HOST": "detectron2",
    # Sec. 6.2: SGD, momentum 0.9, weight decay 0.0001, from 0.001 on, no warm-up.
    "SOLVER.OPTIMIZER": "SGD",
    "SOLVER.MOMENTUM": 0.9,
    "SOLVER.NESTEROV": False,
    "SOLVER.WEIGHT_DECAY": 1e-4,
    "SOLVER.BASE_LR": 1e-3,
    "SOLVER.GAMMA": 0.1,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    "SOLVER.CLIP_GRADIENTS.ENABLED": False,
    "SOLVER.AMP.ENABLED": False,
    "SOLVER.REFERENCE_WORLD_SIZE": 0,
    # Sec. 6.2: shorter side 600; the reference: longer side at most 1800; left-right flip only.
    "INPUT.MIN_SIZE_TRAIN": [600],
    "INPUT.MAX_SIZE_TRAIN": 1800,
    "INPUT.MIN_SIZE_TEST": 600,
    "INPUT.MAX_SIZE_TEST": 1800,
    "INPUT.RANDOM_FLIP": "horizontal",
    "INPUT.CROP.ENABLED": False,
    # timm's ImageNet weights: RGB; 255 times (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225).
    "INPUT.FORMAT": "RGB",
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    # Appendix, RPN: ratios 0.5, 1, 2; the reference: 256 samples an image.
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 256,
    # Appendix, image training: OHEM; the reference: 128, a quarter of them positive.
    "MODEL.ROI_HEADS.NAME": "OHEMROIHeads",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 128,
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": 0.25,
    "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT": True,
    "MODEL.ROI_HEADS.NUM_CLASSES": 30,
    # Sec. 6.2: NMS at 0.45.
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.45,
    # Appendix: 7x7 RoIAlign of 2x2 samples a bin (the nearest 4 features), 2 shared layers of 1024.
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 2,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 0,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 1024,
    "MODEL.MASK_ON": False,
    "DATASETS.STRICT": False,
}
STAGE_ONE = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    # Sec. 6.2: batch 8, 0.001 for 90k iterations, then 0.0001 for 45k.
    "SOLVER.IMS_PER_BATCH": 8,
    "SOLVER.STEPS": [90000],
    "SOLVER.MAX_ITER": 135000,
    # Sec. 6.1: 15 frames of each VID video, and DET images of the 30 classes.
    "DATASETS.TRAIN": ["imagenet_vid_train_15frames", "imagenet_det_train"],
    "DATASETS.TEST": [],
}
STAGE_TWO = {
    "MODEL.META_ARCHITECTURE": "PlugTrackRCNN",
    # Sec. 6.2: batch 16, 0.001 for 80k iterations, then 0.0001 for 40k; gaps of 1 to 9 frames.
    "SOLVER.IMS_PER_BATCH": 16,
    "SOLVER.STEPS": [80000],
    "SOLVER.MAX_ITER": 120000,
    "INPUT.PAIR.MIN_GAP": 1,
    "INPUT.PAIR.MAX_GAP": 9,
    "INPUT.PAIR.REVERSE_PROB": 0.5,
    "DATASETS.TRAIN": ["imagenet_vid_train"],
    "DATASETS.TEST": ["imagenet_vid_val"],
}
DETECTOR = {
    LIGHT: {
        "MODEL.BACKBONE.NAME": "build_hrnet_backbone",
        "MODEL.BACKBONE.FREEZE_AT": 0,
        "MODEL.HRNET.NAME": "hrnet_w32",
        "MODEL.HRNET.NORM": "FrozenBN",
        # Appendix: scales 32 to 512; the reference: all five on the one level of stride 8.
        "MODEL.ANCHOR_GENERATOR.SIZES": [[32, 64, 128, 256, 512]],
        "MODEL.RPN.IN_FEATURES": ["hrnet"],
        "MODEL.ROI_HEADS.IN_FEATURES": ["hrnet"],
    },
    HEAVY: {
        # Appendix: cardinality 32 and width 4; DCN, modulated, in stages 3, 4, 5.
        "MODEL.BACKBONE.NAME": "build_resnet_dcn_fpn_backbone",
        "MODEL.BACKBONE.FREEZE_AT": 2,
        "MODEL.RESNETS.DEPTH": 101,
        "MODEL.RESNETS.NUM_GROUPS": 32,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
        "MODEL.RESNETS.NORM": "FrozenBN",
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE": [False, True, True, True],
        "MODEL.RESNETS.DEFORM_MODULATED": True,
        "MODEL.RESNETS.DEFORM_NUM_GROUPS": 1,
        "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        # Appendix: the 5 scales are distributed to the 5 levels of the pyramid.
        "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
        "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
        "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    },
}
TRACKER_MAPS = {
    # Figs. 9 and 10: HRNet's map is made of all stages already; the middle three of the pyramid.
    LIGHT: {"MODEL.PLUGTRACK.IN_FEATURES": ["hrnet"], "MODEL.PLUGTRACK.TARGET_INDEX": 0},
    HEAVY: {"MODEL.PLUGTRACK.IN_FEATURES": ["p3", "p4", "p5"], "MODEL.PLUGTRACK.TARGET_INDEX": 1},
}


def load(stage: str, model: str):
    return load_config(str(FOLDER / f"{stage}_{model}.yaml"), ["MODEL.DEVICE", "cpu"])


def value(cfg, key: str):
    for name in key.split("."):
        cfg = cfg[name]
    return list(cfg) if isinstance(cfg, tuple) else cfg


def differing(cfg, expected: dict) -> dict:
    found = {key: value(cfg, key) for key in expected}
    return {key: (found[key], expected[key]) for key in expected if found[key] != expected[key]}


@BOTH
def test_stage_one(model):
    expected = {**EVERYWHERE, **STAGE_ONE, **DETECTOR[model]}
    assert not differing(load("faster_rcnn", model), expected)


@BOTH
def test_stage_two(model):
    expected = {**EVERYWHERE, **STAGE_TWO, **DETECTOR[model], **TRACKER_MAPS[model]}
    assert not differing(load("plugtrack", model), expected)


@BOTH
def test_the_detector_of_stage_two_is_that_of_stage_one(model):
    one, two = load("faster_rcnn", model), load("plugtrack", model)
    for cfg in (one, two):
        for key in ("META_ARCHITECTURE", "WEIGHTS", "PLUGTRACK"):
            del cfg.MODEL[key]
    assert one.MODEL == two.MODEL
    assert one.INPUT == two.INPUT


@BOTH
def test_tracker_and_inference_are_the_defaults(model):
    from detectron2.config import get_cfg

    defaults = get_cfg()
    add_plugtrack_config(defaults)
    cfg = load("plugtrack", model)
    for key, tracked in TRACKER_MAPS[model].items():
        defaults.merge_from_list([key, tracked])
    assert cfg.MODEL.PLUGTRACK == defaults.MODEL.PLUGTRACK
    assert cfg.TEST == defaults.TEST
    assert cfg.INPUT.PAIR == defaults.INPUT.PAIR


@BOTH
def test_weights_come_from_timm_and_go_on_from_stage_to_stage(model):
    one, two = load("faster_rcnn", model), load("plugtrack", model)
    assert one.MODEL.WEIGHTS.startswith("timm://") and is_imagenet_weights(one.MODEL.WEIGHTS)
    assert f"{one.OUTPUT_DIR}/model_final.pth" == two.MODEL.WEIGHTS
    assert one.OUTPUT_DIR != two.OUTPUT_DIR


@pytest.mark.parametrize("stage", ["faster_rcnn", "plugtrack"])
@BOTH
def test_datasets_are_there_and_have_the_detectors_classes(stage, model):
    cfg = load(stage, model)
    for name in [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]:
        assert len(DATASETS[name].classes) == cfg.MODEL.ROI_HEADS.NUM_CLASSES


@pytest.mark.parametrize(
    "stage, drop, end", [("faster_rcnn", 90_000, 135_000), ("plugtrack", 80_000, 120_000)]
)
@BOTH
def test_the_learning_rate_over_the_whole_training(stage, drop, end, model):
    cfg = load(stage, model)
    assert end == cfg.SOLVER.MAX_ITER
    optimizer = build_sgd(cfg, torch.nn.Linear(2, 2))
    assert isinstance(optimizer, torch.optim.SGD)
    scheduler = build_lr_scheduler(cfg, optimizer)
    rates = {i: scheduler._multiplier(i / end) * 1e-3 for i in (0, 1, drop - 1, drop, end - 1)}
    expected = {0: 1e-3, 1: 1e-3, drop - 1: 1e-3, drop: 1e-4, end - 1: 1e-4}
    assert rates == pytest.approx(expected)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)  # the first iteration's


@BOTH
def test_resizing_and_flipping_are_all_that_is_done_to_images(model):
    cfg = load("faster_rcnn", model)
    resize, flip = DatasetMapper(cfg, is_train=True).augmentations.augs
    assert isinstance(resize, T.ResizeShortestEdge) and isinstance(flip, T.RandomFlip)
    assert (flip.prob, flip.horizontal, flip.vertical) == (0.5, True, False)
    # 720x1280 is scaled by 600 / 720, 300x1200 by 1800 / 1200 (600 / 300 would give 2400)
    for size, expected in (((720, 1280), (600, 1067)), ((300, 1200), (450, 1800))):
        transform = resize.get_transform(torch.zeros(*size, 3).numpy())
        assert (transform.new_h, transform.new_w) == expected


def test_every_config_is_tested():
    names = {path.name for path in FOLDER.glob("*.yaml")}
    tested = {f"{stage}_{m}.yaml" for stage in ("faster_rcnn", "plugtrack") for m in (LIGHT, HEAVY)}
    assert names == tested | {"Base-ImageNetVID.yaml"}
