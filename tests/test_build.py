"""From keys to objects, with METHOD's numbers as defaults, and mistakes that name their key."""

import inspect
import math
from types import SimpleNamespace

import pytest
import torch
from yacs.config import CfgNode

from d2_plugtrack.build import (
    box_settings,
    build_pipeline,
    build_region_sampling,
    build_rescoring,
    build_scoring,
    build_speed,
    build_spooling,
    build_tracker,
    build_video_run,
    check_tracking,
    needs_tracker,
)
from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.core.precision import Speed
from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.core.seq_nms import seq_nms
from d2_plugtrack.core.spool import Spooling
from d2_plugtrack.errors import UserError


@pytest.fixture
def cfg():
    """A plain yacs config: detectron2 is not needed."""
    cfg = CfgNode({name: CfgNode() for name in ("MODEL", "INPUT", "DATASETS", "SOLVER", "TEST")})
    cfg.OUTPUT_DIR = "output"
    add_plugtrack_config(cfg)
    return cfg


@pytest.fixture
def tracker():
    """Anything: it is only handed on."""
    return object()


def settings(pipeline):
    names = ("score_threshold", "nms_threshold", "iou_score_threshold", "track_nms_threshold")
    return {n: getattr(pipeline, n) for n in (*names, "merge_threshold", "max_boxes")}


# ---- defaults -------------------------------------------------------------------------------


def test_defaults_are_the_numbers_of_the_method(cfg):
    assert flat(cfg.MODEL.PLUGTRACK) == {
        "NAME": "build_regression_tracker",
        "IN_FEATURES": ["p3", "p4", "p5"],
        "TARGET_INDEX": 1,
        "CONV_DIM": 256,
        "NORM": "BN",
        "POOLER_RESOLUTION": 7,
        "SEARCH_FACTOR": 3,
        "BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0),
        "SMOOTH_L1_BETA": 1.0,
        "IOU_LOSS_WEIGHT": 1.0,
        "REGIONS_PER_OBJECT": 256,
        "REGIONS_LIMIT": 128,
        "REGION_IOU_TEST": "at_least",
        "REGION_IOU_THRESH": 0.5,
    }
    assert flat(cfg.INPUT.PAIR) == {"MIN_GAP": 1, "MAX_GAP": 9, "REVERSE_PROB": 0.5}
    assert flat(cfg.TEST.PER_FRAME) == {"SCORE_THRESH": 1e-3, "NMS_THRESH": 0.45}
    assert flat(cfg.TEST.TFD) == {
        "ENABLED": True,
        "TRACK": True,
        "SCORE_THRESH": 0.03,
        "NMS_THRESH": 0.45,
        "IOU_SCORE_THRESH": 0.5,
        "TRACK_NMS_THRESH": 0.7,
        "MERGE_THRESH": 0.7,
        "MAX_BOXES": 300,
    }
    assert flat(cfg.TEST.SEQ_NMS) == {
        "ENABLED": True,
        "TRACK_LINKS": True,
        "LINK_IOU": 0.5,
        "NMS_IOU": 0.45,
        "MIN_SCORE": 0.01,
        "MEMORY_MB": 512,
    }
    assert flat(cfg.TEST.SPEED) == {
        "PRECISION": "float32",
        "CHANNELS_LAST": False,
        "COMPILE": False,
    }
    assert flat(cfg.TEST.VID) == {
        "MODE": "offline",
        "PROTOCOL": "fgfa",
        "MOTION_FILE": "",
        "SCORE_FLOOR": 1e-3,
        "DETECTIONS_PER_FRAME": 300,
    }
    assert cfg.SOLVER.OPTIMIZER == "SGD" and cfg.SOLVER.ACCUMULATE == 1
    assert (cfg.HOST, cfg.ZOO, cfg.DATASETS.CLASSES) == ("detectron2", "", "")


def flat(node):
    assert type(node) is CfgNode
    return dict(node)


def test_defaults_are_those_of_seq_nms(cfg):
    parameters = inspect.signature(seq_nms).parameters
    for key in ("LINK_IOU", "NMS_IOU", "MIN_SCORE"):
        assert parameters[key.lower()].default == cfg.TEST.SEQ_NMS[key]


def test_keys_fit_beside_those_of_detectron2():
    from detectron2.config import CfgNode as Detectron2Node
    from detectron2.config import get_cfg

    cfg = get_cfg()
    before = {name: set(cfg[name]) for name in ("MODEL", "INPUT", "DATASETS", "SOLVER", "TEST")}
    add_plugtrack_config(cfg)
    assert type(cfg.TEST.TFD) is Detectron2Node
    new = {name: set(cfg[name]) - before[name] for name in before}
    assert new == {
        "MODEL": {"PLUGTRACK", "TINY_RESNET", "HRNET"},
        "INPUT": {"PAIR"},
        "DATASETS": {"STRICT", "CLASSES"},
        "SOLVER": {"OPTIMIZER", "ACCUMULATE"},
        "TEST": {"PER_FRAME", "TFD", "SEQ_NMS", "SPEED", "VID"},
    }
    assert build_rescoring(cfg) == Rescoring(True, True, 0.5, 0.45, 0.01, online=False)


# ---- objects --------------------------------------------------------------------------------


def test_tracking_first_by_default(cfg, tracker):
    pipeline = build_pipeline(cfg, tracker)
    assert pipeline.tracker is tracker and pipeline.per_frame is False
    assert settings(pipeline) == {
        "score_threshold": 0.03,
        "nms_threshold": 0.45,
        "iou_score_threshold": 0.5,
        "track_nms_threshold": 0.7,
        "merge_threshold": 0.7,
        "max_boxes": 300,
    }


def test_every_key_of_tfd_arrives(cfg, tracker):
    names = ("SCORE", "NMS", "IOU_SCORE", "TRACK_NMS", "MERGE")
    for value, name in zip((0.11, 0.12, 0.13, 0.14, 0.15), names, strict=True):
        cfg.TEST.TFD[f"{name}_THRESH"] = value
    cfg.TEST.TFD.MAX_BOXES = 16
    assert list(settings(build_pipeline(cfg, tracker)).values()) == [
        *(0.11, 0.12, 0.13, 0.14, 0.15),
        16,
    ]


@pytest.mark.parametrize("track", [True, False])
def test_per_frame_takes_its_own_keys_and_no_tracker(cfg, tracker, track):
    cfg.TEST.TFD.ENABLED, cfg.TEST.TFD.TRACK, cfg.TEST.SEQ_NMS.TRACK_LINKS = False, track, False
    cfg.TEST.PER_FRAME.SCORE_THRESH, cfg.TEST.PER_FRAME.NMS_THRESH = 0.21, 0.22
    cfg.TEST.TFD.MAX_BOXES = 16
    for given in (tracker, None):
        pipeline = build_pipeline(cfg, given)
        assert pipeline.tracker is None and pipeline.per_frame is True
        assert (pipeline.score_threshold, pipeline.nms_threshold) == (0.21, 0.22)
        assert pipeline.max_boxes == 16


def test_the_control_without_tracking_has_no_tracker(cfg, tracker):
    cfg.TEST.TFD.TRACK, cfg.TEST.SEQ_NMS.TRACK_LINKS = False, False
    for given in (tracker, None):
        pipeline = build_pipeline(cfg, given)
        assert pipeline.tracker is None and pipeline.per_frame is False
        assert pipeline.score_threshold == 0.03


def test_needs_tracker(cfg):
    answers = {}
    for enabled in (True, False):
        for track in (True, False):
            cfg.TEST.TFD.ENABLED, cfg.TEST.TFD.TRACK = enabled, track
            answers[enabled, track] = needs_tracker(cfg)
    assert [pair for pair, needed in answers.items() if needed] == [(True, True)]


def test_rescoring_takes_its_keys(cfg):
    keys = cfg.TEST.SEQ_NMS
    keys.ENABLED, keys.TRACK_LINKS = False, True
    keys.LINK_IOU, keys.NMS_IOU, keys.MIN_SCORE = 0.1, 0.2, 0.3
    assert build_rescoring(cfg) == Rescoring(
        enabled=False, track_links=True, link_iou=0.1, nms_iou=0.2, min_score=0.3
    )
    cfg.TEST.VID.MODE = "online"
    assert build_rescoring(cfg).online and build_rescoring(cfg).mode == "online"


def test_every_key_of_speed_arrives(cfg):
    cfg.MODEL.DEVICE = "cpu"
    assert build_speed(cfg) == Speed("float32", channels_last=False, compile=False)
    keys = cfg.TEST.SPEED
    for keys.PRECISION in ("bf16", "fp16"):
        for keys.CHANNELS_LAST in (True, False):
            expected = Speed(keys.PRECISION, keys.CHANNELS_LAST, compile=False)
            assert build_speed(cfg) == expected


def test_long_videos_go_to_the_output_folder(cfg):
    assert build_spooling(cfg) == Spooling(memory_limit=512_000_000, folder="output")
    cfg.TEST.SEQ_NMS.MEMORY_MB, cfg.OUTPUT_DIR = 0, "elsewhere"
    assert build_spooling(cfg) == Spooling(0, "elsewhere")


def test_masks_are_asked_for_and_not_in_evaluation(cfg, tracker):
    assert build_pipeline(cfg, tracker, masks=True).masks is True
    assert build_pipeline(cfg, tracker).masks is build_video_run(cfg, tracker).pipeline.masks
    assert build_video_run(cfg, tracker).pipeline.masks is False


def test_a_run_is_all_of_it(cfg, tracker):
    cfg.TEST.VID.SCORE_FLOOR, cfg.TEST.VID.DETECTIONS_PER_FRAME = 0.2, 17
    run = build_video_run(cfg, tracker)
    assert run.pipeline.tracker is tracker
    assert run.rescorer.rescoring == build_rescoring(cfg)
    assert run.rescorer.spooling == build_spooling(cfg)
    assert (run.limits.score_floor, run.limits.per_frame) == (0.2, 17)


def test_every_key_of_scoring_arrives(cfg):
    cfg.TEST.VID.SCORE_FLOOR, cfg.TEST.VID.DETECTIONS_PER_FRAME = 0.2, 17
    scoring = build_scoring(cfg)
    assert scoring.rescoring == build_rescoring(cfg)
    assert scoring.limits == (0.2, 17)
    assert scoring.spooling == build_spooling(cfg)
    assert scoring.protocol == "fgfa"


def changed(cfg, key: str, value) -> CfgNode:
    """Another config that differs in one key."""
    other = cfg.clone()
    *sections, name = key.split(".")
    node = other
    for section in sections:
        node = node[section]
    node[name] = value
    return other


def test_settings_of_boxes_have_the_keys_that_decide_boxes(cfg):
    for key in ("TEST.TFD.MERGE_THRESH", "TEST.PER_FRAME.NMS_THRESH", "MODEL.PLUGTRACK.CONV_DIM"):
        assert box_settings(changed(cfg, key, 31)) != box_settings(cfg)
    assert box_settings(changed(cfg, "TEST.SPEED.PRECISION", "bf16")) != box_settings(cfg)


def test_settings_of_boxes_have_no_others(cfg):
    before = str(cfg)
    for key in ("TEST.SEQ_NMS.NMS_IOU", "TEST.VID.SCORE_FLOOR", "SOLVER.ACCUMULATE"):
        assert box_settings(changed(cfg, key, 31)) == box_settings(cfg)
    cfg.freeze()
    box_settings(cfg)
    assert str(cfg) == before


def test_a_tracker_on_maps_of_any_framework(cfg):
    maps = {f"p{i}": SimpleNamespace(channels=10 * i, stride=2**i) for i in range(2, 6)}
    cfg.MODEL.PLUGTRACK.CONV_DIM = 6
    tracker = build_tracker(cfg, maps)
    assert tracker.in_features == ("p3", "p4", "p5") and tracker.stride == 16
    assert tracker.template_block[0].in_channels == 30 + 40 + 50
    assert tracker.shared.out_channels == 6


def test_every_key_of_region_sampling_arrives(cfg):
    keys = cfg.MODEL.PLUGTRACK
    keys.REGIONS_PER_OBJECT, keys.REGIONS_LIMIT, keys.REGION_IOU_THRESH = 11, 12, 0.13
    for reading in ("at_least", "below"):
        keys.REGION_IOU_TEST = reading
        expected = {"per_object": 11, "limit": 12, "iou_threshold": 0.13, "reading": reading}
        assert build_region_sampling(cfg) == expected


# ---- mistakes -------------------------------------------------------------------------------


def test_tracking_without_a_tracker(cfg):
    with pytest.raises(UserError, match="TEST.TFD.TRACK is on, but the model has no tracker"):
        build_pipeline(cfg, None)


@pytest.mark.parametrize("changes", [{"IN_FEATURES": ["p3", "res4"]}, {"TARGET_INDEX": 3}])
def test_maps_that_are_not_there(cfg, changes):
    cfg.MODEL.PLUGTRACK.update(changes)
    maps = {name: SimpleNamespace(channels=3, stride=8) for name in ("p3", "p4", "p5")}
    with pytest.raises(UserError, match=r"IN_FEATURES .* TARGET_INDEX .* \['p3', 'p4', 'p5'\]"):
        build_tracker(cfg, maps)


@pytest.mark.parametrize(
    ("strides", "said"),
    [
        (
            {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64},
            r"; \['p3', 'p4', 'p5'\] with 1 would do",
        ),
        ({"res4": 16}, r"; \['res4'\] with 0 would do"),
        ({"0": 32, "1": 32, "pool": 64}, r"; \['0', '1'\] with 0 would do"),
        ({"pool": 64}, r"\['pool'\]"),
    ],
)
def test_maps_that_would_do_are_named(cfg, strides, said):
    maps = {name: SimpleNamespace(channels=3, stride=stride) for name, stride in strides.items()}
    cfg.MODEL.PLUGTRACK.IN_FEATURES = ["other"]
    with pytest.raises(UserError, match=f"{said}$"):
        build_tracker(cfg, maps)


def test_an_iou_test_that_does_not_exist(cfg):
    cfg.MODEL.PLUGTRACK.REGION_IOU_TEST = "above"
    with pytest.raises(UserError, match="REGION_IOU_TEST above: expected one of at_least, below"):
        build_region_sampling(cfg)


def test_less_than_no_memory(cfg):
    cfg.TEST.SEQ_NMS.MEMORY_MB = -1
    with pytest.raises(UserError, match="TEST.SEQ_NMS.MEMORY_MB -1: expected 0 or more"):
        build_spooling(cfg)


@pytest.mark.parametrize("key", ["ENABLED", "TRACK"])
def test_links_of_a_tracker_that_does_not_track(cfg, tracker, key):
    cfg.TEST.TFD[key] = False
    with pytest.raises(UserError, match="TEST.SEQ_NMS.TRACK_LINKS needs tracked boxes"):
        build_pipeline(cfg, tracker)
    with pytest.raises(UserError, match="TEST.SEQ_NMS.TRACK_LINKS"):
        build_video_run(cfg, tracker)
    cfg.TEST.SEQ_NMS.ENABLED = False  # where nothing is linked it does not matter
    assert build_pipeline(cfg, tracker).tracker is None


@pytest.mark.parametrize("key", ["ENABLED", "TRACK"])
@pytest.mark.parametrize("track_links", [True, False])
def test_online_without_tracking(cfg, tracker, key, track_links):
    cfg.TEST.VID.MODE, cfg.TEST.SEQ_NMS.TRACK_LINKS = "online", track_links
    assert build_video_run(cfg, tracker).rescorer.rescoring.online
    cfg.TEST.TFD[key] = False
    with pytest.raises(UserError, match="TEST.VID.MODE needs tracked boxes: set it to offline, or"):
        build_pipeline(cfg, tracker)
    cfg.TEST.SEQ_NMS.ENABLED = False  # frames as they are, one by one
    assert build_pipeline(cfg, tracker).tracker is None


def test_a_mode_that_is_asked_for_beside_the_configs(cfg):
    check_tracking(cfg, "online")
    cfg.TEST.TFD.TRACK = cfg.TEST.SEQ_NMS.TRACK_LINKS = False
    check_tracking(cfg)
    with pytest.raises(UserError, match="TEST.VID.MODE needs tracked boxes: set it to offline"):
        check_tracking(cfg, "online")
    cfg.TEST.VID.MODE = "online"
    check_tracking(cfg, "offline")
    with pytest.raises(UserError, match="TEST.VID.MODE needs tracked boxes: set it to offline"):
        check_tracking(cfg)


def test_a_mode_that_does_not_exist(cfg):
    cfg.TEST.VID.MODE = "live"
    with pytest.raises(UserError, match="TEST.VID.MODE live: expected one of offline, online"):
        build_rescoring(cfg)


def test_a_precision_that_does_not_exist(cfg):
    cfg.MODEL.DEVICE, cfg.TEST.SPEED.PRECISION = "cpu", "half"
    with pytest.raises(UserError, match="PRECISION half: expected one of float32, bf16, fp16"):
        build_speed(cfg)


def test_a_gpu_without_bf16(cfg, monkeypatch):
    def emulated(including_emulation: bool) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", emulated)
    cfg.MODEL.DEVICE, cfg.TEST.SPEED.PRECISION = "cuda", "bf16"
    with pytest.raises(UserError, match="PRECISION bf16: expected a GPU that has it.*fp16 would"):
        build_speed(cfg)
    cfg.TEST.SPEED.PRECISION = "fp16"
    assert build_speed(cfg).precision == "fp16"


def test_no_compiler(cfg):
    from torch._inductor import config as inductor

    cfg.MODEL.DEVICE, cfg.TEST.SPEED.COMPILE = "cpu", True
    nothing = {"cpp.cxx": (None, "/nowhere/g++"), "force_disable_caches": True}
    expected = r"SPEED.COMPILE True: expected a C\+\+ compiler .*No working C\+\+ compiler.*nowhere"
    with inductor.patch(nothing), pytest.raises(UserError, match=expected) as refused:
        build_speed(cfg)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("SEQ_NMS.LINK_IOU", 7.0, "from 0 to 1"),
        ("SEQ_NMS.NMS_IOU", -0.5, "from 0 to 1"),
        ("SEQ_NMS.MIN_SCORE", -1.0, "0 or more"),
        ("SEQ_NMS.MIN_SCORE", math.nan, "0 or more"),
        ("VID.SCORE_FLOOR", -1e-3, "0 or more"),
        ("VID.DETECTIONS_PER_FRAME", -3, "0 or more"),
    ],
)
def test_scoring_that_cannot_be(cfg, key, value, expected):
    cfg.merge_from_list([f"TEST.{key}", value])
    with pytest.raises(UserError, match=f"TEST.{key} {value}: expected {expected}"):
        build_scoring(cfg)
