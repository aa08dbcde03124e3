"""What detectron2 users import: registers the architecture, heads, backbone and datasets.

Datasets are looked for under ``DETECTRON2_DATASETS`` (detectron2's own variable, ``datasets``
where unset) when they are used, not when this module is imported.
"""

from .prerequisites import require_detectron2

require_detectron2()

from collections.abc import Sequence

from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from .build import needs_tracker
from .config import add_plugtrack_config
from .config_file import merge_config
from .data.catalog import DATASETS
from .errors import UserError
from .modeling import (  # noqa: F401 (registers)
    hrnet,
    ohem,
    plugtrack_rcnn,
    resnext_dcn,
    tiny_resnet,
    tracker_heads,
)
from .modeling.checkpoint import load_weights


def load_config(config_file: str, opts: Sequence[str] = ()) -> CfgNode:
    """detectron2's defaults, the project's keys, a YAML file and ``KEY VALUE`` pairs, in order.

    The device is CUDA where there is one and the CPU otherwise, unless the config names one.

    Raises:
        UserError: a file that is not there or not YAML, a key that does not exist, a value of
            another type, or CUDA where there is none.
    """
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    merge_config(cfg, config_file, opts)
    return cfg


def load_model(
    cfg: CfgNode, *, tracker_required: bool | None = None
) -> plugtrack_rcnn.PlugTrackRCNN:
    """The PlugTrackRCNN of ``cfg`` with its weights, on its device, in evaluation mode.

    Args:
        tracker_required: the weights must have a tracker's; where None, if ``TEST.TFD`` needs one.

    Raises:
        UserError: another architecture, or what ``modeling.checkpoint.load_weights`` refuses.
    """
    expected, found = plugtrack_rcnn.PlugTrackRCNN.__name__, cfg.MODEL.META_ARCHITECTURE
    if found != expected:
        raise UserError(f"MODEL.META_ARCHITECTURE {found}: expected {expected}")
    if tracker_required is None:
        tracker_required = needs_tracker(cfg)
    model = build_model(cfg).eval()
    load_weights(model, cfg.MODEL.WEIGHTS, tracker_required=tracker_required)
    return model


def register_datasets() -> None:
    """Register ImageNet VID and DET and the tiny set in DatasetCatalog and MetadataCatalog."""
    for name, entry in DATASETS.items():
        if name not in DatasetCatalog:
            DatasetCatalog.register(name, entry.load_records)
            MetadataCatalog.get(name).set(
                thing_classes=entry.class_names,
                wordnet_ids=list(entry.classes),
                evaluator_type="vid" if entry.has_videos else "none",
            )


register_datasets()

__all__ = ["add_plugtrack_config", "load_config", "load_model", "register_datasets"]
