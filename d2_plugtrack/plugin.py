"""What detectron2 users import: registers the architecture, heads, backbone and datasets.

Datasets are looked for under ``DETECTRON2_DATASETS`` (detectron2's own variable, ``datasets``
where unset) when they are used, not when this module is imported.
"""

from .prerequisites import require_detectron2

require_detectron2()

from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from detectron2 import modeling as detectron2_modeling
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from torch import nn
from yaml import YAMLError

from .build import build_speed, needs_tracker
from .config import add_plugtrack_config
from .config_file import merge_config
from .core.precision import speed_up
from .data.catalog import DATASETS, DatasetEntry, find_dataset
from .data.imagenet.roots import data_root
from .data.video_json.datasets import JsonDataset, is_json_dataset
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
from .weights import ensure_weights


def load_config(config_file: str, opts: Sequence[str] = ()) -> CfgNode:
    """detectron2's defaults, the project's keys, a YAML file and ``KEY VALUE`` pairs, in order.

    Where the file, one that it is based on, or the pairs name a config of detectron2's model zoo
    (``ZOO``), that one is merged before the file. The device is CUDA where there is one and the
    CPU otherwise, unless the config names one. The project's datasets are registered anew, to be
    read as ``DATASETS.STRICT`` says.

    Raises:
        UserError: a file that is not there or not YAML, a key that does not exist, a value of
            another type, a config that the zoo does not have, or CUDA where there is none.
    """
    defaults = get_cfg()
    add_plugtrack_config(defaults)
    cfg = defaults.clone()
    merge_config(cfg, config_file, opts)
    if cfg.ZOO:
        name, cfg = cfg.ZOO, defaults
        try:
            cfg.merge_from_file(find_zoo_config(name), allow_unsafe=False)
        except YAMLError as error:  # RetinaNet's: tags of Python
            raise UserError(
                f"ZOO {name}: expected a two-stage detector (GeneralizedRCNN) in plain YAML: "
                f"{' '.join(str(error).split())}"
            ) from error
        if cfg.MODEL.META_ARCHITECTURE != "GeneralizedRCNN":
            raise UserError(
                f"ZOO {name}: expected a two-stage detector (GeneralizedRCNN), "
                f"found {cfg.MODEL.META_ARCHITECTURE}"
            )
        merge_config(cfg, config_file, opts)
    register_datasets(strict=cfg.DATASETS.STRICT)
    names = {*cfg.DATASETS.TEST, cfg.DATASETS.CLASSES}
    # who only uses a model need not have what it was trained on
    names |= {name for name in cfg.DATASETS.TRAIN if (data_root() / name).is_file()}
    for name in filter(is_json_dataset, names):
        _register(name, find_dataset(name), cfg.DATASETS.STRICT)
    return cfg


def find_zoo_config(name: str) -> str:
    """The path of a config of detectron2's model zoo, by its name there.

    Raises:
        UserError: there is none of that name, or it is one of detectron2's Python configs.
    """
    # not model_zoo.get_config_file: it needs pkg_resources, which newer setuptools do not have
    folder = Path(str(files("detectron2"))) / "model_zoo" / "configs"
    path = (folder / name).resolve()
    inside = path.is_relative_to(folder.resolve())
    if not (inside and path.suffix == ".yaml" and path.is_file()):
        raise UserError(
            f"ZOO {name}: expected a .yaml of detectron2's model zoo, such as "
            "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml, found none of that name"
        )
    return str(path)


def build_model(cfg: CfgNode) -> nn.Module:
    """detectron2's ``build_model``, untrained.

    Raises:
        UserError: keys that describe no model, such as a name that is not registered.
    """
    try:
        return detectron2_modeling.build_model(cfg)
    except UserError:
        raise
    except (KeyError, ValueError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        raise UserError(f"MODEL: cannot be built from these keys: {reason}") from error


def check_architecture(cfg: CfgNode) -> None:
    """Refuse, with a UserError, a config of anything but a PlugTrackRCNN."""
    expected, found = plugtrack_rcnn.PlugTrackRCNN.__name__, cfg.MODEL.META_ARCHITECTURE
    if found != expected:
        raise UserError(f"MODEL.META_ARCHITECTURE {found}: expected {expected}")


def load_model(
    cfg: CfgNode, *, tracker_required: bool | None = None
) -> plugtrack_rcnn.PlugTrackRCNN:
    """The PlugTrackRCNN of ``cfg`` with its weights, on its device, in evaluation mode.

    For inference only: its detector computes as ``TEST.SPEED`` says.

    Args:
        tracker_required: the weights must have a tracker's; where None, if ``TEST.TFD`` needs one.

    Raises:
        UserError: another architecture, a ``TEST.SPEED`` that the device does not have, or what
            ``modeling.checkpoint.load_weights`` refuses.
    """
    check_architecture(cfg)
    if tracker_required is None:
        tracker_required = needs_tracker(cfg)
    speed = build_speed(cfg)
    ensure_weights(cfg.MODEL.WEIGHTS)
    model = build_model(cfg).eval()
    load_weights(model, cfg.MODEL.WEIGHTS, tracker_required=tracker_required)
    speed_up(model.parts(), speed)
    return model


def register_datasets(*, strict: bool = False) -> None:
    """Register ImageNet VID and DET and the tiny set in DatasetCatalog and MetadataCatalog.

    Args:
        strict: what is bad in their files is an error when they are read, see ``data.catalog``.
    """
    for name, entry in DATASETS.items():
        _register(name, entry, strict)


def _register(name: str, entry: DatasetEntry | JsonDataset, strict: bool) -> None:
    DatasetCatalog.pop(name, None)  # of another strictness; DatasetCatalog takes no arguments
    MetadataCatalog.pop(name, None)  # of a file that has changed
    DatasetCatalog.register(name, partial(entry.load_records, strict=strict))
    MetadataCatalog.get(name).set(
        thing_classes=entry.class_names,
        wordnet_ids=list(entry.classes),
        evaluator_type="vid" if entry.has_videos else "none",
    )


register_datasets()

__all__ = ["add_plugtrack_config", "build_model", "load_config", "load_model", "register_datasets"]
