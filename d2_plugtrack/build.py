"""From config keys to the objects of ``core``: the edge where ``cfg`` ends.

Any yacs node with the keys of ``config.py`` will do; detectron2 is not needed.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import torch
from torch import nn

from .core.precision import Precision, Speed
from .core.protocols import PROTOCOLS
from .core.rescoring import Mode, Rescoring
from .core.sampling import Reading
from .core.spool import Spooling
from .core.tfd import VideoPipeline
from .core.tracker import TrackerHead
from .core.video_evaluation import DetectionLimits, Scoring, VideoRun
from .errors import UserError

Norm = Callable[[int], nn.Module]
BATCH_NORMS: Mapping[str, Norm] = {"BN": nn.BatchNorm2d}


def build_tracker(
    cfg, map_shapes: Mapping[str, Any], norms: Mapping[str, Norm] = BATCH_NORMS
) -> TrackerHead:
    """The tracker (Sec. 4) that ``MODEL.PLUGTRACK`` describes, untrained.

    Args:
        map_shapes: name of each map of the detector: something with ``channels`` and ``stride``.
        norms: what there is for ``MODEL.PLUGTRACK.NORM``, by name.

    Raises:
        UserError: maps that the detector does not have, or a norm that there is not.
    """
    keys = cfg.MODEL.PLUGTRACK
    missing = [name for name in keys.IN_FEATURES if name not in map_shapes]
    if missing or not 0 <= keys.TARGET_INDEX < len(keys.IN_FEATURES):
        raise UserError(
            f"MODEL.PLUGTRACK.IN_FEATURES {list(keys.IN_FEATURES)} with TARGET_INDEX "
            f"{keys.TARGET_INDEX}: the backbone has the maps {sorted(map_shapes)}"
            f"{_fitting_maps(map_shapes)}"
        )
    if keys.NORM not in norms:
        raise UserError(
            f"MODEL.PLUGTRACK.NORM {keys.NORM}: expected one of {', '.join(sorted(norms))}"
        )
    return TrackerHead(
        in_features=keys.IN_FEATURES,
        in_channels=[map_shapes[name].channels for name in keys.IN_FEATURES],
        target=keys.TARGET_INDEX,
        stride=map_shapes[keys.IN_FEATURES[keys.TARGET_INDEX]].stride,
        channels=keys.CONV_DIM,
        template_size=keys.POOLER_RESOLUTION,
        search_factor=keys.SEARCH_FACTOR,
        box_weights=keys.BBOX_REG_WEIGHTS,
        smooth_l1_beta=keys.SMOOTH_L1_BETA,
        iou_loss_weight=keys.IOU_LOSS_WEIGHT,
        norm=norms[keys.NORM],
    )


def _fitting_maps(map_shapes: Mapping[str, Any]) -> str:
    """What would do: the maps that are as fine as those of the paper, the target the middle one."""
    names = [name for name, shape in map_shapes.items() if 8 <= shape.stride <= 32]
    target = next((i for i, name in enumerate(names) if map_shapes[name].stride == 16), 0)
    return f"; {names} with {target} would do" if names else ""


def build_region_sampling(cfg) -> dict[str, Any]:
    """Keyword arguments of ``core.sampling.sample_regions`` from ``MODEL.PLUGTRACK``."""
    keys = cfg.MODEL.PLUGTRACK
    if keys.REGION_IOU_TEST not in get_args(Reading):
        raise UserError(
            f"MODEL.PLUGTRACK.REGION_IOU_TEST {keys.REGION_IOU_TEST}: expected one of "
            f"{', '.join(get_args(Reading))}"
        )
    return {
        "per_object": keys.REGIONS_PER_OBJECT,
        "limit": keys.REGIONS_LIMIT,
        "iou_threshold": keys.REGION_IOU_THRESH,
        "reading": keys.REGION_IOU_TEST,
    }


def needs_tracker(cfg) -> bool:
    """Whether ``TEST.TFD`` asks for tracking."""
    return cfg.TEST.TFD.ENABLED and cfg.TEST.TFD.TRACK


def build_pipeline(cfg, tracker: TrackerHead | None, *, masks: bool = False) -> VideoPipeline:
    """The frame loop that ``TEST.TFD`` and ``TEST.PER_FRAME`` describe, around ``tracker``.

    Args:
        masks: ask for the masks of boxes, where the detector has masks; evaluation needs none.
    """
    tfd = cfg.TEST.TFD
    detection = tfd if tfd.ENABLED else cfg.TEST.PER_FRAME
    tracking = needs_tracker(cfg)
    if tracking and tracker is None:
        raise UserError(
            "TEST.TFD.TRACK is on, but the model has no tracker: set MODEL.META_ARCHITECTURE to "
            "PlugTrackRCNN, or TEST.TFD.ENABLED to False"
        )
    check_tracking(cfg)
    return VideoPipeline(
        tracker if tracking else None,
        per_frame=not tfd.ENABLED,
        score_threshold=detection.SCORE_THRESH,
        nms_threshold=detection.NMS_THRESH,
        iou_score_threshold=tfd.IOU_SCORE_THRESH,
        track_nms_threshold=tfd.TRACK_NMS_THRESH,
        merge_threshold=tfd.MERGE_THRESH,
        max_boxes=tfd.MAX_BOXES,
        masks=masks,
    )


def check_tracking(cfg, mode: str | None = None) -> None:
    """Refuse, as a UserError, re-scoring by tracks where ``TEST.TFD`` asks for none.

    Args:
        mode: offline or online; None: what ``TEST.VID.MODE`` says.
    """
    rescoring = build_rescoring(cfg)
    if mode is not None:
        rescoring = rescoring._replace(online=mode == "online")
    needing = key_that_needs_tracking(rescoring)
    if needing and not needs_tracker(cfg):
        key, value = needing
        raise UserError(
            f"{key} needs tracked boxes: set it to {value}, or TEST.TFD.ENABLED and TEST.TFD.TRACK "
            "to True"
        )


def build_rescoring(cfg) -> Rescoring:
    """What ``TEST.SEQ_NMS`` and ``TEST.VID.MODE`` say.

    Raises:
        UserError: a value that cannot be.
    """
    keys = cfg.TEST.SEQ_NMS
    check_mode(cfg.TEST.VID.MODE)
    _check_range("TEST.SEQ_NMS.LINK_IOU", keys.LINK_IOU, 0, 1)
    _check_range("TEST.SEQ_NMS.NMS_IOU", keys.NMS_IOU, 0, 1)
    _check_range("TEST.SEQ_NMS.MIN_SCORE", keys.MIN_SCORE, 0)
    return Rescoring(
        keys.ENABLED,
        keys.TRACK_LINKS,
        keys.LINK_IOU,
        keys.NMS_IOU,
        keys.MIN_SCORE,
        online=cfg.TEST.VID.MODE == "online",
    )


def check_mode(mode: str) -> None:
    """Refuse, as a UserError, what is none for ``TEST.VID.MODE``."""
    if mode not in get_args(Mode):
        raise UserError(f"TEST.VID.MODE {mode}: expected one of {', '.join(get_args(Mode))}")


def key_that_needs_tracking(rescoring: Rescoring) -> tuple[str, str] | None:
    """The key by which re-scoring asks for tracked boxes, and its value that does not, if any."""
    if not rescoring.enabled:
        return None
    if rescoring.online:
        return "TEST.VID.MODE", "offline"
    return ("TEST.SEQ_NMS.TRACK_LINKS", "False") if rescoring.track_links else None


def _check_range(key: str, value: float, low: float, high: float = math.inf) -> None:
    if not low <= value <= high:
        expected = f"{low} or more" if high == math.inf else f"from {low} to {high}"
        raise UserError(f"{key} {value}: expected {expected}")


def build_speed(cfg) -> Speed:
    """What ``TEST.SPEED`` says, and ``MODEL.DEVICE`` can.

    Raises:
        UserError: a precision that there is not or the device does not have, or no compiler.
    """
    keys, device = cfg.TEST.SPEED, torch.device(cfg.MODEL.DEVICE)
    name = f"TEST.SPEED.PRECISION {keys.PRECISION}"
    if keys.PRECISION not in get_args(Precision):
        raise UserError(f"{name}: expected one of {', '.join(get_args(Precision))}")
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if keys.PRECISION == "bf16" and not has_bf16:
        raise UserError(f"{name}: expected a GPU that has it, Ampere or newer; fp16 would do")
    if keys.COMPILE:
        _compile_something(device)
    return Speed(keys.PRECISION, keys.CHANNELS_LAST, keys.COMPILE)


def _compile_something(device: torch.device) -> None:
    """torch.compile compiles when it is first used, and says in a traceback why it cannot."""
    try:
        torch.compile(torch.sin)(torch.zeros(2, device=device))
    except Exception as error:  # of dynamo, inductor, Triton, the compiler
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"TEST.SPEED.COMPILE True: expected a C++ compiler on the CPU, Triton on CUDA: {reason}"
        ) from error


def build_spooling(cfg) -> Spooling:
    """When and where a long video goes to disk: ``TEST.SEQ_NMS.MEMORY_MB`` and ``OUTPUT_DIR``."""
    memory = cfg.TEST.SEQ_NMS.MEMORY_MB
    _check_range("TEST.SEQ_NMS.MEMORY_MB", memory, 0)
    return Spooling(int(memory * 1e6), cfg.OUTPUT_DIR)


def build_scoring(cfg) -> Scoring:
    """What ``TEST.SEQ_NMS`` and ``TEST.VID`` say.

    Raises:
        UserError: a protocol that there is not, or a limit that cannot be.
    """
    if cfg.TEST.VID.PROTOCOL not in PROTOCOLS:
        raise UserError(
            f"TEST.VID.PROTOCOL {cfg.TEST.VID.PROTOCOL}: expected one of {', '.join(PROTOCOLS)}"
        )
    _check_range("TEST.VID.SCORE_FLOOR", cfg.TEST.VID.SCORE_FLOOR, 0)
    _check_range("TEST.VID.DETECTIONS_PER_FRAME", cfg.TEST.VID.DETECTIONS_PER_FRAME, 0)
    limits = DetectionLimits(cfg.TEST.VID.SCORE_FLOOR, cfg.TEST.VID.DETECTIONS_PER_FRAME)
    return Scoring(build_rescoring(cfg), limits, build_spooling(cfg), cfg.TEST.VID.PROTOCOL)


def build_video_run(cfg, tracker: TrackerHead | None) -> VideoRun:
    """Pipeline, re-scoring and limits of a setting that runs beside others, in memory."""
    scoring = build_scoring(cfg)
    pipeline = build_pipeline(cfg, tracker)
    return VideoRun(pipeline, scoring.rescoring, scoring.limits, scoring.spooling)


# What a frame's boxes do not depend on, of the sections they do depend on.
_NOT_OF_BOXES = {
    "MODEL": ("WEIGHTS",),  # a path; the weights themselves are looked at
    "TEST": ("SEQ_NMS", "VID", "EVAL_PERIOD", "EXPECTED_RESULTS"),
}


def box_settings(cfg) -> str:
    """The keys that decide which boxes are found, as text: re-scoring's and paths are not in it."""
    sections = {name: cfg[name].clone() for name in ("MODEL", "INPUT", "TEST")}
    for name, keys in _NOT_OF_BOXES.items():
        for key in keys:
            sections[name].pop(key, None)
    return type(cfg)(sections).dump()
