"""Kinds of ROI heads that no shipped config has, against stock inference; and those refused."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.structures import Boxes, Instances
from torch import nn

from d2_plugtrack.errors import UserError
from d2_plugtrack.modeling.second_stage import build_second_stage
from d2_plugtrack.plugin import load_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs/COCO"
OTHERS = {  # another config of the zoo: one of configs/COCO on the same backbone
    "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_3x.yaml": "plugtrack_faster_rcnn_R_50_C4",
    "COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x.yaml": "plugtrack_faster_rcnn_R_50_FPN",
    "Misc/mask_rcnn_R_50_FPN_1x_cls_agnostic.yaml": "plugtrack_mask_rcnn_R_50_FPN",
}
TINY = [
    *("MODEL.DEVICE", "cpu", "MODEL.PIXEL_MEAN", [127.5] * 3, "MODEL.PIXEL_STD", [64.0] * 3),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 8, "MODEL.RESNETS.NORM", "BN"),
    *("MODEL.FPN.OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 32),
    *("MODEL.ROI_MASK_HEAD.CONV_DIM", 8, "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", [8, 8]),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", 200, "MODEL.RPN.POST_NMS_TOPK_TEST", 20),
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 1e-3, "TEST.DETECTIONS_PER_IMAGE", 20),
]


@torch.no_grad()
@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_give_the_stock_output_and_the_stock_masks(zoo, name):
    _, build_random = zoo
    cfg = load_config(str(CONFIGS / f"{OTHERS[name]}.yaml"), [*map(str, TINY), "ZOO", name])
    model = build_random(cfg)
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    stock = build_random(cfg)
    model.load_state_dict(stock.state_dict(), strict=False)
    inputs = [{"image": torch.randint(0, 256, (3, 64, 96)).float()}]
    (ours,), (theirs,) = (m(inputs) for m in (model, stock))
    ours, theirs = ours["instances"].get_fields(), theirs["instances"].get_fields()
    assert ours.keys() == theirs.keys() and len(theirs["scores"]) > 5
    for field, value in theirs.items():
        mine = ours[field]
        value, mine = (v.tensor if isinstance(v, Boxes) else v for v in (value, mine))
        assert torch.equal(mine, value), field
    features = model.extract(inputs)
    if "pred_masks" not in theirs:
        assert model.segment is None
        return
    boxes, labels = torch.tensor([[4.0, 4, 60, 60], [30, 10, 80, 50]]), torch.tensor([3, 70])
    given = Instances((64, 96), pred_boxes=Boxes(boxes), pred_classes=labels)
    (segmented,) = stock.roi_heads.forward_with_given_boxes(features.maps, [given])
    masks = model.segment(features, boxes, labels)
    assert masks.ndim == 3 and masks.std() > 0.01
    torch.testing.assert_close(masks, segmented.pred_masks[:, 0])


# ---- refused -------------------------------------------------------------------------------------

ROTATED = [
    *("MODEL.ROI_HEADS.NAME", "RROIHeads", "MODEL.PROPOSAL_GENERATOR.NAME", "RRPN"),
    *("MODEL.ANCHOR_GENERATOR.NAME", "RotatedAnchorGenerator"),
    *("MODEL.RPN.BBOX_REG_WEIGHTS", (1, 1, 1, 1, 1)),
    *("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", (10, 10, 5, 5, 1)),
    *("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlignRotated"),
]


def test_rotated_boxes_are_refused(zoo):
    zoo_cfg, build_random = zoo
    with pytest.raises(UserError, match="NAME RROIHeads: .*found RotatedFastRCNNOutputLayers"):
        build_random(zoo_cfg("fpn", *ROTATED))


def test_heads_of_another_family_are_refused():
    with pytest.raises(UserError, match="NAME Linear: expected StandardROIHeads, Res5ROIHeads, C"):
        build_second_stage(nn.Linear(3, 3))


def test_a_predictor_of_another_family_is_refused(zoo):
    _, build_random = zoo
    cfg = load_config(str(CONFIGS / "plugtrack_faster_rcnn_R_50_FPN.yaml"), [*map(str, TINY)])
    heads = build_random(cfg).roi_heads
    assert isinstance(heads, StandardROIHeads)
    heads.box_predictor = nn.Linear(32, 81)
    with pytest.raises(UserError, match="NAME StandardROIHeads: .*found Linear"):
        build_second_stage(heads)
