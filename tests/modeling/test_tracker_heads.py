"""Tracker heads from a config: channels and stride of the named maps, or a clear refusal."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec

from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.core.tracker import TrackerHead
from d2_plugtrack.errors import UserError
from d2_plugtrack.modeling.tracker_heads import TRACKER_HEADS, build_tracker_head

# other channels in each, so that a mix-up shows
MAPS = {f"p{i}": ShapeSpec(channels=10 * i, stride=2**i) for i in range(2, 7)}


@pytest.fixture
def cfg():
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.MODEL.PLUGTRACK.CONV_DIM = 6
    return cfg


def build(cfg, *opts) -> TrackerHead:
    cfg.merge_from_list([f"MODEL.PLUGTRACK.{o}" if i % 2 == 0 else o for i, o in enumerate(opts)])
    return build_tracker_head(cfg, MAPS)


@pytest.mark.parametrize(
    ("opts", "channels", "stride"),
    [
        ([], 30 + 40 + 50, 16),  # by default p3, p4 and p5 at the size of p4
        (["TARGET_INDEX", 0], 30 + 40 + 50, 8),
        (["IN_FEATURES", ["p5", "p2"], "TARGET_INDEX", 1], 50 + 20, 4),
        (["IN_FEATURES", ["p6"], "TARGET_INDEX", 0], 60, 64),
    ],
)
def test_channels_and_stride_are_those_of_the_named_maps(cfg, opts, channels, stride):
    head = build(cfg, *opts)
    assert head.template_block[0].in_channels == channels
    assert head.search_block[0].in_channels == channels
    assert head.stride == stride


def test_head_runs_on_these_maps(cfg):
    head = build(cfg).eval()
    maps = {k: torch.rand(2, s.channels, 128 // s.stride, 192 // s.stride) for k, s in MAPS.items()}
    tracking = head.tracking_map(maps, [(128, 192)] * 2)
    assert tracking.shape == (2, 120, 8, 12)
    deltas, scores = head(tracking, tracking, [torch.tensor([[8.0, 8, 60, 60]])] * 2)
    assert deltas.shape == (2, 4) and scores.shape == (2,)


def test_shared_batch_norm_is_batch_norm_in_one_process(cfg):
    heads = [build(cfg, "NORM", norm).train() for norm in ("BN", "SyncBN")]
    assert [type(head.template_block[1]).__name__ for head in heads] == [
        "BatchNorm2d",
        "NaiveSyncBatchNorm",
    ]
    heads[1].load_state_dict(heads[0].state_dict())
    tracking, boxes = torch.rand(2, 120, 8, 12), [torch.tensor([[8.0, 8, 60, 60]])] * 2
    for counts in ((1, 1), (0, 1), (0, 0)):
        regions = [b[:n] for b, n in zip(boxes, counts, strict=True)]
        expected, found = (head(tracking, tracking, regions) for head in heads)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    for name, value in heads[0].state_dict().items():
        assert torch.equal(value, heads[1].state_dict()[name]), name


def test_other_norms_are_refused(cfg):
    with pytest.raises(UserError, match="MODEL.PLUGTRACK.NORM GN: expected one of BN, SyncBN"):
        build(cfg, "NORM", "GN")


def test_every_key_reaches_the_head(cfg):
    head = build(
        cfg,
        *("POOLER_RESOLUTION", 5, "SEARCH_FACTOR", 4, "BBOX_REG_WEIGHTS", (1.0, 2.0, 3.0, 4.0)),
        *("SMOOTH_L1_BETA", 0.5, "IOU_LOSS_WEIGHT", 2.0, "CONV_DIM", 3),
    )
    assert (head.template_size, head.search_factor) == (5, 4)
    assert head.box_weights == (1.0, 2.0, 3.0, 4.0)
    assert (head.smooth_l1_beta, head.iou_loss_weight) == (0.5, 2.0)
    assert head.shared.out_channels == 3
    assert head.box_branch.in_features == 3 * (4 * 5 - 5 + 1) ** 2


@pytest.mark.parametrize(
    ("opts", "named"),
    [
        (["IN_FEATURES", ["p3", "res4"]], r"res4.*'p2', 'p3', 'p4', 'p5', 'p6'"),
        (["IN_FEATURES", []], "IN_FEATURES"),
        (["TARGET_INDEX", 3], "TARGET_INDEX 3"),
        (["TARGET_INDEX", -1], "TARGET_INDEX -1"),
        (["NAME", "build_no_tracker"], "build_no_tracker.*build_regression_tracker"),
    ],
)
def test_what_does_not_fit_the_backbone_is_refused(cfg, opts, named):
    with pytest.raises(UserError, match=named):
        build(cfg, *opts)


def test_another_head_can_be_registered(cfg):
    def build_other_tracker(cfg, input_shape):
        return "other", sorted(input_shape)

    TRACKER_HEADS.register(build_other_tracker)
    assert build(cfg, "NAME", "build_other_tracker") == ("other", sorted(MAPS))
