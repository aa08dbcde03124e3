"""What video detection is measured against: the image detector as its own framework runs it.

detectron2's ``DefaultPredictor`` on the stock architecture, torchvision's model as it is called;
either on the weights, the device and the sizes of the video config, untouched by ``TEST.SPEED``.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..config_file import read_host
from ..weights import read_weights, without_tracker

Frames = Sequence[np.ndarray]  # (H, W, 3) uint8 BGR


class Parts(NamedTuple):
    """Of a model of either framework, what benchmarks reach into."""

    rpn: nn.Module
    heads: nn.Module
    proposals: int  # the RPN's at most
    classes: int  # with the background
    background: int
    preprocess: tuple[nn.Module, str]  # the method that normalizes and pads


class Reference(NamedTuple):
    """An image detector, ready."""

    name: str
    model: nn.Module
    predict: Callable[[np.ndarray], Any]
    predict_batch: Callable[[Frames], Any]  # the model itself, on several frames at once


def open_reference(config_file: str, opts: Sequence[str]) -> Reference:
    """The detector of a video config with ``MODEL.WEIGHTS``, without a tracker."""
    name = read_host(config_file)
    return (_torchvision if name == "torchvision" else _detectron2)(config_file, opts)


def find_parts(model: nn.Module) -> Parts:
    """The parts of a GeneralizedRCNN of detectron2 or a FasterRCNN of torchvision."""
    if hasattr(model, "proposal_generator"):
        rpn, heads = model.proposal_generator, model.roi_heads
        classes = heads.num_classes + 1
        topk = rpn.post_nms_topk[False]
        return Parts(rpn, heads, topk, classes, classes - 1, (model, "preprocess_image"))
    rpn, heads = model.rpn, model.roi_heads
    classes = heads.box_predictor.cls_score.out_features
    return Parts(rpn, heads, rpn.post_nms_top_n(), classes, 0, (model.transform, "forward"))


def _detectron2(config_file: str, opts: Sequence[str]) -> Reference:
    from detectron2.engine import DefaultPredictor

    from ..plugin import load_config

    cfg = load_config(config_file, opts).clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    logger = logging.getLogger("fvcore.common.checkpoint")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it lists the tracker's weights as none of its own
    try:
        predictor = DefaultPredictor(cfg)
    finally:
        logger.setLevel(level)

    @torch.no_grad()
    def predict_batch(frames: Frames) -> Any:
        return predictor.model([_as_default_predictor(predictor, f) for f in frames])

    return Reference("DefaultPredictor", predictor.model, predictor, predict_batch)


def _as_default_predictor(predictor: Any, frame: np.ndarray) -> dict[str, Any]:
    """What ``DefaultPredictor`` gives its model, which it takes one frame at a time for."""
    if predictor.input_format == "RGB":
        frame = frame[:, :, ::-1]
    image = predictor.aug.get_transform(frame).apply_image(frame)
    image = torch.as_tensor(image.astype("float32").transpose(2, 0, 1))
    return {"image": image, "height": frame.shape[0], "width": frame.shape[1]}


def _torchvision(config_file: str, opts: Sequence[str]) -> Reference:
    from ..host import load_torchvision_config
    from ..hosts.torchvision import to_image
    from ..hosts.torchvision_models import build_torchvision_model

    cfg = load_torchvision_config(config_file, opts)
    model = build_torchvision_model(
        cfg.MODEL.NAME, cfg.MODEL.NUM_CLASSES, cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
    )
    model.load_state_dict(without_tracker(read_weights(cfg.MODEL.WEIGHTS)))
    device = torch.device(cfg.MODEL.DEVICE)
    model.eval().to(device)

    @torch.no_grad()
    def predict_batch(frames: Frames) -> Any:
        return model([to_image(frame).to(device) for frame in frames])

    return Reference("the model itself", model, lambda frame: predict_batch([frame]), predict_batch)
