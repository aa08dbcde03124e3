"""A detector with its tracker, ready for video, from a config file of whichever framework.

What stands on top (predictor, tools, demo) works with a :class:`Host` and does not know the
framework; the framework is only imported where a config file asks for it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from .build import build_speed, build_tracker, needs_tracker
from .config import add_torchvision_config
from .config_file import merge_config, read_host
from .core.detector import DetectedFrame, VideoDetector, detect_frames
from .core.precision import speed_up
from .core.tracker import TrackerHead
from .data.bad_images import BadImages, read_frame
from .data.catalog import (
    DATASETS,
    check_order_of_classes,
    find_dataset,
    find_videos,
    mark_last_frames,
)
from .data.imagenet.records import Record
from .data.imagenet.roots import data_root
from .data.workers import end_with_parent
from .errors import UserError
from .weights import ensure_weights, load_joined

if TYPE_CHECKING:
    from yacs.config import CfgNode

HOSTS = ("detectron2", "torchvision")


def _unchanged(frame: np.ndarray) -> np.ndarray:
    return frame


@dataclass(frozen=True)
class Host:
    """A detector as the video pipeline uses it."""

    cfg: "CfgNode"
    detector: VideoDetector
    tracker: TrackerHead
    class_names: list[str]
    prepare: Callable[[np.ndarray], Any] = _unchanged  # a BGR frame to what ``extract`` takes

    def load_videos(self, name: str) -> list[Record]:
        """The frames of a dataset of videos of the detector's classes, with ``last``.

        Raises:
            UserError: no such dataset, one of stills, or one of more or fewer classes.
        """
        entry = find_videos(name)
        if len(entry.classes) != self.detector.num_classes:
            raise UserError(
                f"the detector has {self.detector.num_classes} classes: dataset {name} has "
                f"{len(entry.classes)} classes"
            )
        for other in self.cfg.DATASETS.TRAIN:
            if other in DATASETS or (data_root() / other).is_file():
                check_order_of_classes(
                    name, entry.class_names, other, find_dataset(other).class_names
                )
        return mark_last_frames(entry.load_records(strict=self.cfg.DATASETS.STRICT))

    def batches(self, records: Sequence[Record], batch_size: int) -> DataLoader:
        """``(records, prepared frames)`` a batch, in order, read by the config's workers.

        A bad image is used as far as it can be read, and counted in the loader's ``bad_images``;
        it is an error where ``DATASETS.STRICT``.
        """
        bad_images = BadImages(self.cfg.DATASETS.STRICT)
        loader = DataLoader(
            _Frames(records, self.prepare, bad_images),
            batch_size=batch_size,
            collate_fn=_transpose,
            num_workers=self.cfg.DATALOADER.NUM_WORKERS,
            worker_init_fn=end_with_parent,
        )
        loader.bad_images = bad_images
        return loader

    @torch.no_grad()
    def detect(
        self, records: Sequence[Record], batch_size: int
    ) -> Iterator[tuple[Record, DetectedFrame]]:
        """Every record with what is detected in its image; at the end, how many were bad."""
        loader = self.batches(records, batch_size)
        for batch, frames in loader:
            detected = detect_frames(self.detector, self.tracker, frames)
            yield from zip(batch, detected, strict=True)
        loader.bad_images.log_summary()


class _Frames(Dataset):
    def __init__(
        self,
        records: Sequence[Record],
        prepare: Callable[[np.ndarray], Any],
        bad_images: BadImages,
    ):
        self.records, self.prepare, self.bad_images = records, prepare, bad_images

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Record, Any]:
        record = self.records[index]
        return record, self.prepare(read_frame(record, self.bad_images))


def _transpose(items: list[tuple]) -> tuple[tuple, tuple]:
    return tuple(zip(*items, strict=True))


def open_host(
    config_file: str,
    opts: Sequence[str] = (),
    *,
    tracker_required: bool | None = None,
    check: Callable[["CfgNode"], None] | None = None,
) -> Host:
    """The host that a config file and ``KEY VALUE`` pairs describe, with ``MODEL.WEIGHTS`` loaded.

    Args:
        tracker_required: the weights must have a tracker's; where None, if ``TEST.TFD`` needs one.
        check: looks at the config before weights are loaded; what it raises is raised.

    Raises:
        UserError: a mistake in the config, or weights that do not fit.
        ImportError: a config of detectron2 where there is none; the message says how to get it.
    """
    name = read_host(config_file)
    if name not in HOSTS:
        raise UserError(f"{config_file}: HOST {name}: expected one of {', '.join(HOSTS)}")
    if name == "torchvision":
        load, open_it = load_torchvision_config, open_torchvision
    else:
        from .plugin import load_config as load

        open_it = open_detectron2
    cfg = load(config_file, opts)
    if name != cfg.HOST:
        raise UserError(f"HOST {cfg.HOST}: expected in {config_file} itself, which says {name}")
    if check is not None:
        check(cfg)
    return open_it(cfg, tracker_required)


def open_detectron2(cfg: "CfgNode", tracker_required: bool | None = None) -> Host:
    """The host of a detectron2 config; see :func:`open_host`."""
    from detectron2.data import MetadataCatalog
    from detectron2.data import transforms as T

    from .plugin import load_model

    model = load_model(cfg, tracker_required=tracker_required)
    names = _class_names(
        cfg, lambda name: MetadataCatalog.get(name).get("thing_classes", []), model.num_classes
    )
    size = cfg.INPUT.MIN_SIZE_TEST
    resize = T.ResizeShortestEdge([size, size], cfg.INPUT.MAX_SIZE_TEST)

    def prepare(frame: np.ndarray) -> dict[str, Any]:
        image = frame[:, :, ::-1] if cfg.INPUT.FORMAT == "RGB" else frame
        image = resize.get_transform(image).apply_image(image)
        tensor = torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return {"image": tensor, "height": frame.shape[0], "width": frame.shape[1]}

    return Host(cfg, model, model.tracker, names, prepare)


def load_torchvision_config(config_file: str, opts: Sequence[str] = ()) -> "CfgNode":
    """The defaults of ``add_torchvision_config``, a YAML file and ``KEY VALUE`` pairs, in order."""
    from fvcore.common.config import CfgNode  # yacs, and _BASE_ in files

    cfg = CfgNode()
    add_torchvision_config(cfg)
    merge_config(cfg, config_file, opts)
    if cfg.ZOO:
        raise UserError(f"ZOO {cfg.ZOO}: expected a config of detectron2, not HOST: torchvision")
    return cfg


def open_torchvision(cfg: "CfgNode", tracker_required: bool | None = None) -> Host:
    """The host of a config as from :func:`load_torchvision_config`; see :func:`open_host`."""
    from .hosts.torchvision import TorchvisionDetector
    from .hosts.torchvision_models import build_torchvision_model

    speed = build_speed(cfg)
    ensure_weights(cfg.MODEL.WEIGHTS)
    model = build_torchvision_model(
        cfg.MODEL.NAME,
        cfg.MODEL.NUM_CLASSES,
        cfg.INPUT.MIN_SIZE_TEST,
        cfg.INPUT.MAX_SIZE_TEST,
    ).to(cfg.MODEL.DEVICE)
    detector = TorchvisionDetector(model)
    tracker = build_tracker(cfg, detector.map_shapes).to(cfg.MODEL.DEVICE).eval()
    if tracker_required is None:
        tracker_required = needs_tracker(cfg)
    load_joined(cfg.MODEL.WEIGHTS, model, tracker, tracker_required=tracker_required)
    speed_up(detector.parts(), speed)
    names = _class_names(cfg, lambda name: find_dataset(name).class_names, detector.num_classes)
    return Host(cfg, detector, tracker, names)


def _class_names(
    cfg: "CfgNode", names_of: Callable[[str], Sequence[str]], num_classes: int
) -> list[str]:
    """Those of ``DATASETS.CLASSES``, or of the first of ``DATASETS.TEST``, or the labels' numbers.

    Numbers are for want of a test set with as many classes; ``DATASETS.CLASSES`` must have as many.
    """
    said = cfg.DATASETS.CLASSES
    source = said or next(iter(cfg.DATASETS.TEST), "")
    names = list(names_of(source)) if source else []
    if len(names) == num_classes:
        return names
    if said:
        raise UserError(
            f"DATASETS.CLASSES {said}: expected a dataset of the detector's {num_classes} classes, "
            f"found {len(names)} class names"
        )
    return [str(i) for i in range(num_classes)]
