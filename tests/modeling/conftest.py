"""Small versions of detectron2's own detectors, from its own configs, with random weights.

detectron2 is imported in the functions: where it is missing, tests are skipped, and this file is
still read.
"""

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from d2_plugtrack.config import add_plugtrack_config

if TYPE_CHECKING:
    from detectron2.config import CfgNode

ZOO_FILES = {
    "fpn": "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml",
    "c4": "COCO-Detection/faster_rcnn_R_50_C4_1x.yaml",
    "mask": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
}
SMALLER = [
    *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.ROI_HEADS.NUM_CLASSES", 5),
    *("MODEL.PIXEL_MEAN", [127.5] * 3, "MODEL.PIXEL_STD", [64.0] * 3),
    *("MODEL.ROI_BOX_HEAD.FC_DIM", 64, "MODEL.ROI_MASK_HEAD.CONV_DIM", 8),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", 800, "MODEL.PLUGTRACK.CONV_DIM", 8),
    *("MODEL.RESNETS.NORM", "BN"),  # frozen batch norm would hide that evaluation mode matters
]
SMALLER_OF = {
    "fpn": ["MODEL.RPN.POST_NMS_TOPK_TEST", 400],
    "mask": ["MODEL.RPN.POST_NMS_TOPK_TEST", 20],
    "c4": [
        *("MODEL.RPN.POST_NMS_TOPK_TEST", 15, "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 6),
        *("MODEL.PLUGTRACK.IN_FEATURES", ["res4"], "MODEL.PLUGTRACK.TARGET_INDEX", 0),
    ],
}


def zoo_cfg(kind: str, *opts) -> "CfgNode":
    """detectron2's config of a PlugTrackRCNN around a small detector of this kind."""
    from detectron2 import model_zoo

    cfg = model_zoo.get_config(ZOO_FILES[kind])
    add_plugtrack_config(cfg)
    cfg.merge_from_list(["MODEL.META_ARCHITECTURE", "PlugTrackRCNN", *SMALLER, *SMALLER_OF[kind]])
    cfg.merge_from_list(list(opts))
    return cfg


def build_random(cfg: "CfgNode") -> nn.Module:
    """The model with weights that give features of about 1 and detections that differ."""
    from detectron2.modeling import build_model

    from d2_plugtrack import plugin  # noqa: F401 (registers)

    torch.manual_seed(3)
    model = build_model(cfg).eval()
    scales = {
        **{"conv3.norm.weight": 0.2, "cls_score.weight": 40.0, "bbox_pred.weight": 20.0},
        "mask_head.predictor.weight": 1000.0,
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            for ending, scale in scales.items():
                parameter.mul_(scale if name.endswith(ending) else 1.0)
    return model


@pytest.fixture(scope="session")
def zoo():
    """``(zoo_cfg, build_random)``: test modules cannot import from this file."""
    return zoo_cfg, build_random
