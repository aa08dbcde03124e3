"""The deformable ResNeXt: detectron2's own backbone but for the layers, at the paper's size."""

import pytest
import torch
from detectron2.modeling import build_backbone
from detectron2.modeling.backbone import resnet
from detectron2.modeling.backbone.resnet import BottleneckBlock, DeformBottleneckBlock

from d2_plugtrack.errors import UserError
from d2_plugtrack.modeling.deform_conv import DeformConv2d
from d2_plugtrack.plugin import load_config

try:
    from detectron2 import _C
except ImportError:
    _C = None

CONFIG = "configs/ImageNetVID/faster_rcnn_resnext101_fpn_dcn.yaml"
SMALL = [
    *("MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.NUM_GROUPS", 8, "MODEL.RESNETS.WIDTH_PER_GROUP", 1),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 16, "MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
    *("MODEL.FPN.OUT_CHANNELS", 16),
]


@pytest.fixture
def cfg(request):
    return load_config(str(request.config.rootpath / CONFIG), ["MODEL.DEVICE", "cpu"])


@pytest.fixture
def small(cfg):
    cfg.merge_from_list(SMALL)
    return cfg


@pytest.mark.skipif(_C is None, reason="detectron2 has no compiled part to build its own with")
@pytest.mark.parametrize("modulated, deform_groups", [(True, 1), (False, 2)])
def test_names_and_shapes_are_detectron2s(cfg, modulated, deform_groups):
    keys = cfg.MODEL.RESNETS
    keys.DEFORM_MODULATED, keys.DEFORM_NUM_GROUPS = modulated, deform_groups
    with torch.device("meta"):
        own = build_backbone(cfg)
        cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
        theirs = build_backbone(cfg)
    for listed in ("state_dict", "named_parameters"):
        states = [dict(getattr(backbone, listed)()) for backbone in (own, theirs)]
        own_shapes, their_shapes = ([(k, v.shape) for k, v in s.items()] for s in states)
        assert own_shapes == their_shapes
    assert own.output_shape() == theirs.output_shape()
    learning = [[n for n, p in b.named_parameters() if p.requires_grad] for b in (own, theirs)]
    assert learning[0] == learning[1]


def test_the_papers_backbone(cfg):
    with torch.device("meta"):
        backbone = build_backbone(cfg)
    body = backbone.bottom_up
    blocks = {name: list(getattr(body, name)) for name in body.stage_names}
    assert {name: len(b) for name, b in blocks.items()} == dict(res2=3, res3=4, res4=23, res5=3)
    assert {type(block) for block in blocks["res2"]} == {BottleneckBlock}
    assert {block.conv2.groups for stage in blocks.values() for block in stage} == {32}
    for name in ("res3", "res4", "res5"):
        for index, block in enumerate(blocks[name]):
            assert isinstance(block, DeformBottleneckBlock) and block.deform_modulated
            assert isinstance(block.conv2, DeformConv2d)
            assert block.conv2_offset.out_channels == 27  # 9 points: y, x and mask; 1 group
            assert block.conv2.stride == block.conv2_offset.stride
            assert block.conv2.stride == ((2, 2) if index == 0 else (1, 1))
    assert blocks["res3"][0].conv2.weight.shape == (256, 8, 3, 3)  # 32 groups of 4 x 2 (res3)
    shapes = {name: (s.channels, s.stride) for name, s in backbone.output_shape().items()}
    assert shapes == {f"p{i}": (256, 2**i) for i in range(2, 7)}


def test_it_trains_on_the_cpu_with_nothing_compiled(small, monkeypatch):
    def missing(*args, **kwargs):
        raise ImportError("detectron2 is not compiled successfully")

    for name in ("DeformConv", "ModulatedDeformConv"):
        monkeypatch.setattr(resnet, name, missing)
    backbone = build_backbone(small)
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert maps["p4"].shape == (1, 16, 4, 6)
    sum(m.square().sum() for m in maps.values()).backward()
    frozen = ("bottom_up.stem.", "bottom_up.res2.")  # FREEZE_AT 2
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is None) == name.startswith(frozen)
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_the_config_is_left_as_it_was(small):
    small.freeze()
    before = small.dump()
    with torch.device("meta"):
        build_backbone(small)
    assert small.dump() == before and small.is_frozen()


def test_a_frozen_stage_is_frozen_deformable_or_not(small):
    small.MODEL.BACKBONE.FREEZE_AT = 3
    backbone = build_backbone(small)
    learns = {n.split(".")[1] for n, p in backbone.bottom_up.named_parameters() if p.requires_grad}
    parts = {n.split(".")[0] for n, p in backbone.bottom_up.named_parameters() if p.requires_grad}
    assert parts == {"res4", "res5"} and learns


def test_basic_blocks_are_refused(small):
    small.merge_from_list(
        ["MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64]
        + ["MODEL.RESNETS.NUM_GROUPS", 1]
    )
    with pytest.raises(UserError, match="DEFORM_ON_PER_STAGE .* with DEPTH 18: expected a depth"):
        build_backbone(small)
