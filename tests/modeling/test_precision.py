"""Mixed precision of every kind of heads: boxes and scores stay near, and are not rounded.

The detectors are detectron2's own with random weights that say different things of different boxes
(``conftest.py``), made narrow. The image is wide: beyond 256 pixels bfloat16 knows every second
one only.
"""

from copy import deepcopy

import pytest
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling import build_backbone
from detectron2.modeling.backbone.resnet import DeformBottleneckBlock

from d2_plugtrack.core.precision import DTYPES, Part, Speed, speed_up
from d2_plugtrack.plugin import load_config

NARROW = [
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 8, "MODEL.FPN.OUT_CHANNELS", 16),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", 200, "MODEL.RPN.POST_NMS_TOPK_TEST", 25),
]
CASCADE = ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads"]
CASCADE += ["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True]
KINDS = {"fpn": ["fpn"], "c4": ["c4"], "mask": ["mask"], "cascade": ["mask", *CASCADE]}
CHOICES = [  # float16 on a CPU is for the patient
    ("cpu", "bf16"),
    *(
        pytest.param(
            ("cuda", precision),
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
        )
        for precision in DTYPES
    ),
]


@pytest.fixture(scope="module", params=KINDS)
def detector(request, zoo):
    """A detector in float32, and the name of its kind."""
    zoo_cfg, build_random = zoo
    kind, *opts = KINDS[request.param]
    model = build_random(zoo_cfg(kind, *NARROW, *opts))
    model.kind = request.param
    return model


@pytest.fixture(scope="module", params=CHOICES)
def pair(request, detector):
    """The detector, and a faster copy of it, on a device."""
    device, precision = request.param
    exact = deepcopy(detector).to(device)
    faster = deepcopy(exact)
    speed_up(faster.parts(), Speed(precision, channels_last=True, compile=False))
    return exact, faster


def frames() -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.randint(0, 256, (3, 64, 512), generator=generator).float()}]


def proposals_of(model, features):
    found = []
    hook = model.proposal_generator.register_forward_hook(
        lambda module, inputs, output: found.append(output[0])
    )
    model.detect(features)
    hook.remove()
    return found[0]


@torch.no_grad()
def test_the_same_proposals_have_nearly_the_same_boxes_and_scores(pair):
    exact, faster = pair
    features, ours = exact.extract(frames()), faster.extract(frames())
    for name, expected in features.maps.items():
        assert ours.maps[name].dtype is torch.float32 and ours.maps[name].is_contiguous()
        assert not torch.equal(ours.maps[name], expected)
        error = (ours.maps[name] - expected).abs().max()
        assert error < 0.03 * expected.abs().max()
    proposals = proposals_of(exact, features)
    expected = exact.second_stage.predict(features.maps, proposals)
    found = faster.second_stage.predict(ours.maps, proposals)
    (boxes,), (scores,), _ = found
    assert len(scores) > 10 and scores.std() > 0.05
    assert boxes.dtype is scores.dtype is torch.float32
    assert (boxes - expected.boxes[0]).abs().max() < 0.1  # of a pixel; boxes of up to 500
    assert (scores - expected.probabilities[0]).abs().max() < 0.03
    assert (boxes.bfloat16().float() != boxes).float().mean() > 0.5  # not rounded


@torch.no_grad()
def test_the_rpn_head_says_nearly_the_same(pair):
    exact, faster = pair
    features = exact.extract(frames())
    maps = [features.maps[name] for name in exact.proposal_generator.in_features]
    expected, found = (m.proposal_generator.rpn_head(maps) for m in (exact, faster))
    for of_level, near_level in zip(expected, found, strict=True):  # logits, then deltas
        for values, near in zip(of_level, near_level, strict=True):
            assert near.dtype is torch.float32
            torch.testing.assert_close(near, values, atol=0.02, rtol=0.02)


@torch.no_grad()
def test_given_boxes_have_nearly_the_same_scores_and_masks(pair):
    exact, faster = pair
    boxes = torch.tensor([[5.3, 4.7, 90.1, 60.2], [401.3, 3.3, 480.7, 62.1]], device=exact.device)
    features, ours = exact.extract(frames()), faster.extract(frames())
    scores = faster.classify(ours, boxes)
    assert scores.dtype is torch.float32
    assert (scores - exact.classify(features, boxes)).abs().max() < 0.03
    assert (exact.segment is None) == (exact.kind in ("fpn", "c4"))
    if exact.segment is None:
        return
    labels = torch.tensor([0, 3], device=exact.device)
    masks, expected = faster.segment(ours, boxes, labels), exact.segment(features, boxes, labels)
    assert masks.dtype is torch.float32 and expected.std() > 0.01
    assert not torch.equal(masks, expected)
    assert (masks - expected).abs().max() < 0.1 and (masks - expected).abs().mean() < 0.01


@torch.no_grad()
def test_boxes_are_pooled_where_they_are(pair):
    _, faster = pair
    pooled = []
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs: pooled.append(inputs))
        for module in faster.modules()
        if isinstance(module, ROIAlign)
    ]
    output = faster(frames())[0]
    output["frame"].classify(output["instances"].pred_boxes.tensor)
    for hook in hooks:
        hook.remove()
    assert pooled and all(tensor.dtype is torch.float32 for pair in pooled for tensor in pair)
    assert output["frame"].tracking_map.dtype is torch.float32
    fields = output["instances"].get_fields()
    assert len(fields["scores"]) > 3 and fields["scores"].dtype is torch.float32
    assert fields["pred_boxes"].tensor.dtype is torch.float32


@torch.no_grad()
def test_no_boxes_have_no_scores(pair):
    _, faster = pair
    (output,) = faster(frames())
    scores = output["frame"].classify(torch.zeros(0, 4, device=faster.device))
    assert scores.shape == (0, faster.num_classes)


def test_names_are_the_stock_detectors(pair):
    exact, faster = pair
    assert list(exact.state_dict()) == list(faster.state_dict())


# ---- backbones of this project -------------------------------------------------------------------

BACKBONES = {
    "faster_rcnn_hrnet_w32": ["MODEL.HRNET.NAME", "hrnet_w18_small"],
    "faster_rcnn_resnext101_fpn_dcn": [
        *("MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.NUM_GROUPS", 8),
        *("MODEL.RESNETS.WIDTH_PER_GROUP", 1, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
        *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.FPN.OUT_CHANNELS", 16),
    ],
}


@torch.no_grad()
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", BACKBONES)
def test_maps_of_this_projects_backbones(request, name, choice):
    device, precision = choice
    path = request.config.rootpath / f"configs/ImageNetVID/{name}.yaml"
    cfg = load_config(str(path), ["MODEL.DEVICE", "cpu", *map(str, BACKBONES[name])])
    exact = build_backbone(cfg).eval().to(device)
    for module in exact.modules():
        if isinstance(module, DeformBottleneckBlock):
            module.conv2_offset.weight.normal_(0, 0.1)  # zero at first: nothing is displaced
    faster = deepcopy(exact)
    speed_up([Part(faster)], Speed(precision, channels_last=True, compile=False))
    images = torch.randn(1, 3, 64, 96, device=device)
    expected, found = exact(images), faster(images)
    assert list(found) == list(expected)
    for key, values in expected.items():
        assert not torch.equal(found[key], values)
        assert found[key].dtype is torch.float32
        assert (found[key] - values).abs().max() < 0.05 * values.abs().max()
