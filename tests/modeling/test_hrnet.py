"""The HRNet backbone against timm's own branches, its norms, what it freezes, and mistakes."""

import sys

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_backbone
from torch import nn

from d2_plugtrack.errors import UserError
from d2_plugtrack.modeling.hrnet import HRNetBackbone
from d2_plugtrack.plugin import load_config

CONFIG = "configs/ImageNetVID/faster_rcnn_hrnet_w32.yaml"
SMALL = ["MODEL.DEVICE", "cpu", "MODEL.HRNET.NAME", "hrnet_w18_small"]
STEM = {"conv1", "bn1", "conv2", "bn2"}


@pytest.fixture(scope="module")
def cfg(request):
    return load_config(str(request.config.rootpath / CONFIG), SMALL)


def build(cfg, *opts) -> HRNetBackbone:
    cfg = cfg.clone()
    cfg.merge_from_list(list(opts))
    return build_backbone(cfg)


def shake_norms(net: nn.Module) -> None:
    """Statistics and weights as after training, so that a lost one shows."""
    for name, value in net.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.1)
        elif "bn" in name and name.endswith(("running_var", "weight")):
            value.uniform_(0.5, 1.5)


def test_one_map_of_all_branches_as_timm_gives_them(cfg):
    import timm

    backbone = build(cfg).eval()
    shake_norms(backbone.net)
    timms = timm.create_model(
        "hrnet_w18_small", features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
    ).eval()
    timms.load_state_dict(backbone.net.state_dict())
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps, fine = backbone(images), timms(images)
    # branches at 16x24, 8x12, 4x6 and 2x3: the first is pooled in windows of 2x2, the third and
    # fourth repeat every cell 2x2 and 4x4 times
    expected = [F.max_pool2d(fine[0], 2), fine[1]]
    for branch, times in ((fine[2], 2), (fine[3], 4)):
        expected.append(branch.repeat_interleave(times, -1).repeat_interleave(times, -2))
    assert list(maps) == ["hrnet"] and maps["hrnet"].shape == (2, 16 + 32 + 64 + 128, 8, 12)
    assert torch.allclose(maps["hrnet"], torch.cat(expected, dim=1), atol=1e-5)


def test_shapes_of_the_papers_model(cfg):
    with torch.device("meta"):
        backbone = build(cfg, "MODEL.HRNET.NAME", "hrnet_w32")
        out = backbone(torch.zeros(1, 3, 608, 1024))["hrnet"]
    shape = backbone.output_shape()["hrnet"]
    assert (shape.channels, shape.stride) == (480, 8)  # 32 + 64 + 128 + 256
    assert out.shape == (1, 480, 76, 128)
    assert backbone.size_divisibility == 32


def test_no_images_give_no_maps(cfg):
    backbone = build(cfg).eval()
    assert backbone(torch.zeros(0, 3, 64, 64))["hrnet"].shape == (0, 240, 8, 8)


@pytest.mark.parametrize(
    "norm, expected",
    [("FrozenBN", FrozenBatchNorm2d), ("BN", nn.BatchNorm2d), ("SyncBN", nn.SyncBatchNorm)],
)
def test_norms(cfg, norm, expected):
    backbone = build(cfg, "MODEL.HRNET.NORM", norm)
    norms = {type(m) for n, m in backbone.named_modules() if n.split(".")[-1].startswith("bn")}
    assert norms == {expected}


def test_frozen_norms_are_exact(cfg):
    normal = build(cfg, "MODEL.HRNET.NORM", "BN").eval()
    shake_norms(normal.net)
    frozen = build(cfg)
    frozen.load_state_dict(normal.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():  # frozen norms have no mode: one is training
        assert torch.equal(frozen(images)["hrnet"], normal(images)["hrnet"])


@pytest.mark.parametrize("freeze_at, frozen", [(0, set()), (1, STEM), (2, STEM | {"layer1"})])
def test_what_is_frozen(cfg, freeze_at, frozen):
    backbone = build(cfg, "MODEL.BACKBONE.FREEZE_AT", freeze_at, "MODEL.HRNET.NORM", "BN")
    backbone(torch.randn(2, 3, 64, 64))["hrnet"].sum().backward()
    for name, child in backbone.net.named_children():
        learns = {p.grad is not None for p in child.parameters()}
        kinds = {type(m) for m in child.modules()} & {nn.BatchNorm2d, FrozenBatchNorm2d}
        if name in frozen:
            assert not learns - {False} and nn.BatchNorm2d not in kinds
        else:  # every parameter has a part in the map: none is left out in several processes
            assert not learns - {True} and FrozenBatchNorm2d not in kinds


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("MODEL.BACKBONE.FREEZE_AT", 3, "FREEZE_AT 3: an HRNet expects 0 .*, 1 .* or 2"),
        ("MODEL.BACKBONE.FREEZE_AT", -1, "FREEZE_AT -1: an HRNet expects"),
        ("MODEL.HRNET.NORM", "GN", "MODEL.HRNET.NORM GN: expected one of FrozenBN, BN, SyncBN"),
        ("MODEL.HRNET.NAME", "resnet18", "MODEL.HRNET.NAME resnet18: expected one of hrnet_w18"),
    ],
)
def test_mistakes(cfg, key, value, message):
    with pytest.raises(UserError, match=message), torch.device("meta"):
        build(cfg, key, value)


def test_without_timm(cfg, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match='MODEL.HRNET.NAME .* needs timm: pip install "timm'):
        build(cfg)
