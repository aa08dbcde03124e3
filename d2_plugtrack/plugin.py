"""What detectron2 users import: registers the architecture, heads, backbone and datasets.

Datasets are looked for under ``DETECTRON2_DATASETS`` (detectron2's own variable, ``datasets``
where unset) when they are used, not when this module is imported.
"""

from .prerequisites import require_detectron2

require_detectron2()

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from .build import needs_tracker
from .config import add_plugtrack_config
from .data.imagenet_vid import (
    VID_CLASSES,
    load_det_images,
    load_sampled_videos,
    load_vid_frames,
    load_vid_videos,
)
from .data.tiny_vid import TINY_CLASSES
from .errors import UserError
from .modeling import plugtrack_rcnn, tiny_resnet, tracker_heads  # noqa: F401 (registers)
from .modeling.checkpoint import load_weights

#: name: folder under the data root, loader, list file under ImageSets
_IMAGENET = {
    "imagenet_vid_train_15frames": ("ILSVRC2015", load_vid_frames, "VID_train_15frames.txt"),
    "imagenet_vid_train": ("ILSVRC2015", load_sampled_videos, "VID_train_15frames.txt"),
    "imagenet_vid_val": ("ILSVRC2015", load_vid_videos, "VID_val_videos.txt"),
    "imagenet_det_train": ("ILSVRC2015", load_det_images, "DET_train_30classes.txt"),
}
_TINY = {
    "tiny_vid_train_15frames": ("tiny_vid", load_vid_frames, "VID_train_15frames.txt"),
    "tiny_vid_train": ("tiny_vid", load_sampled_videos, "VID_train_15frames.txt"),
    "tiny_vid_val": ("tiny_vid", load_vid_videos, "VID_val_videos.txt"),
    "tiny_vid_test": ("tiny_vid", load_vid_videos, "VID_test_videos.txt"),
    "tiny_det_train": ("tiny_vid", load_det_images, "DET_train.txt"),
}


def load_config(config_file: str, opts: Sequence[str] = ()) -> CfgNode:
    """detectron2's defaults, the project's keys, a YAML file and ``KEY VALUE`` pairs, in order.

    The device is CUDA where there is one and the CPU otherwise, unless the config names one.

    Raises:
        UserError: a file that is not there or not YAML, a key that does not exist, a value of
            another type, or CUDA where there is none.
    """
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    with _mistakes_in(config_file or "--config-file"):
        cfg.merge_from_file(config_file)
    with _mistakes_in(" ".join(opts)):
        cfg.merge_from_list(list(opts))
    with _mistakes_in(f"MODEL.DEVICE {cfg.MODEL.DEVICE}"):
        device = torch.device(cfg.MODEL.DEVICE)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"MODEL.DEVICE {cfg.MODEL.DEVICE}: there is no CUDA here; cpu would do")
    return cfg


@contextmanager
def _mistakes_in(source: str) -> Iterator[None]:
    """What yacs, YAML and torch raise on a user's mistake, as a UserError about ``source``."""
    try:
        yield
    except (TypeError, AttributeError) as error:  # yacs on YAML that is a text, a list, a number
        raise UserError(f"{source}: expected config keys and their values: {error}") from error
    except (
        OSError,
        yaml.YAMLError,
        LookupError,
        ValueError,
        AssertionError,
        RuntimeError,
    ) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise UserError(f"{source}: {' '.join(str(reason).split())[:400]}") from error


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


def data_root() -> Path:
    """The folder that holds the datasets."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def register_datasets() -> None:
    """Register ImageNet VID and DET and the tiny set in DatasetCatalog and MetadataCatalog."""
    for datasets, classes in ((_IMAGENET, VID_CLASSES), (_TINY, TINY_CLASSES)):
        for name, (folder, load, list_name) in datasets.items():
            if name not in DatasetCatalog:
                _register(name, folder, load, list_name, classes)


def _register(name: str, folder: str, load, list_name: str, classes: Mapping[str, str]) -> None:
    def load_records() -> list[dict]:
        root = data_root() / folder
        return load(root, root / "ImageSets" / list_name, classes)

    DatasetCatalog.register(name, load_records)
    evaluator_type = "vid" if load is not load_det_images else "none"
    MetadataCatalog.get(name).set(
        thing_classes=list(classes.values()),
        wordnet_ids=list(classes),
        evaluator_type=evaluator_type,
    )


register_datasets()

__all__ = ["add_plugtrack_config", "data_root", "load_config", "load_model", "register_datasets"]
