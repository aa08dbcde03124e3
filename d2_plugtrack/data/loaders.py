"""detectron2 data loaders: images and pairs of frames for training, whole videos for evaluation.

Every loader made here has ``bad_images``, a :class:`~.bad_images.BadImages` whose ``summary()``
says how many images its workers could not read. Those for training have ``stream``, a
:class:`~.training_stream.TrainingStream`: set its ``start`` to begin at another batch.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from detectron2.data import (
    DatasetCatalog,
    DatasetFromList,
    DatasetMapper,
    MetadataCatalog,
    build_detection_test_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.samplers import RepeatFactorTrainingSampler, TrainingSampler
from detectron2.utils import comm
from detectron2.utils.serialize import PicklableWrapper
from torch.utils.data import ConcatDataset, DataLoader

from ..errors import UserError
from ..random_state import chosen_seed
from .bad_images import BadImages, SkipBadImages
from .catalog import check_order_of_classes, find_dataset, mark_last_frames
from .image_mapper import FrameMapper, ImageMapper
from .imagenet.records import group_by_video
from .pair_mapper import PairMapper
from .samplers import VideoSampler
from .tables.frame_store import Record, VideoId
from .tables.frame_table import has_videos, video_ids
from .training_stream import MappedRecords, TrainingStream
from .video_json.datasets import is_json_dataset
from .workers import end_with_parent

PAIR_ATTEMPTS = 20  # draws of a pair from one video while images are bad


def check_registered(names: Iterable[str]) -> None:
    """Refuse names that are not in DatasetCatalog, with a list of the video datasets that are.

    Raises:
        UserError: on the first such name.
    """
    for name in names:
        if name not in DatasetCatalog:
            if is_json_dataset(name):
                find_dataset(name)  # says that there is no such file
            known = [n for n in DatasetCatalog.list() if is_video_dataset(n)]
            raise UserError(
                f"dataset {name}: not registered; the video datasets are {', '.join(known)}"
            )


def is_video_dataset(name: str) -> bool:
    """Whether a registered dataset is one for :class:`VIDEvaluator`, by its ``evaluator_type``."""
    return MetadataCatalog.get(name).get("evaluator_type") == "vid"


def _check_classes(cfg, name: str) -> None:
    """Refuse a dataset of other classes than the detector's, as far as names and numbers tell."""
    classes = MetadataCatalog.get(name).get("thing_classes", [])
    for other in cfg.DATASETS.TRAIN:
        if other in DatasetCatalog:
            check_order_of_classes(name, classes, other, MetadataCatalog.get(other).thing_classes)
    if len(classes) != cfg.MODEL.ROI_HEADS.NUM_CLASSES:
        raise UserError(
            f"MODEL.ROI_HEADS.NUM_CLASSES {cfg.MODEL.ROI_HEADS.NUM_CLASSES}: "
            f"dataset {name} has {len(classes)} classes"
        )


def build_image_train_loader(cfg) -> DataLoader:
    """Frames and stills of ``DATASETS.TRAIN``, for stage one; bad images are skipped.

    Raises:
        UserError: a dataset that is not registered, or does not have as many classes as the
            detector; datasets of different classes; no objects; a sampler that is not known.
    """
    check_registered(cfg.DATASETS.TRAIN)
    for name in cfg.DATASETS.TRAIN:
        _check_classes(cfg, name)
    if len({tuple(MetadataCatalog.get(name).thing_classes) for name in cfg.DATASETS.TRAIN}) > 1:
        raise UserError(
            f"DATASETS.TRAIN {list(cfg.DATASETS.TRAIN)}: expected datasets of the same classes"
        )
    try:
        records = get_detection_dataset_dicts(
            cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
        )
    except AssertionError as error:  # how it says that nothing is left
        raise UserError(
            f"DATASETS.TRAIN {list(cfg.DATASETS.TRAIN)}: no frame has an object in it"
        ) from error
    mapper = ImageMapper(DatasetMapper(cfg, is_train=True))
    indices = _image_order(cfg, records)
    shapes = [_is_wide(record) for record in records]
    records = DatasetFromList(records, copy=False)  # packed, for workers to share
    return _build_train_loader(cfg, mapper, records, indices, shapes, attempts=1)


def _image_order(cfg, records: list[dict]) -> Callable[[int], Iterable[int]]:
    """Of a seed, the numbers of this process's images, by ``DATALOADER.SAMPLER_TRAIN``."""
    name = cfg.DATALOADER.SAMPLER_TRAIN
    if name == "TrainingSampler":
        return partial(_shuffled, len(records))
    if name == "RepeatFactorTrainingSampler":
        factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
            records, cfg.DATALOADER.REPEAT_THRESHOLD, sqrt=cfg.DATALOADER.REPEAT_SQRT
        )
        return lambda seed: RepeatFactorTrainingSampler(factors, seed=seed)
    raise UserError(
        f"DATALOADER.SAMPLER_TRAIN {name}: expected TrainingSampler or RepeatFactorTrainingSampler"
    )


def build_pair_train_loader(cfg) -> DataLoader:
    """Pairs from the videos of ``DATASETS.TRAIN``; a video is drawn, then a pair of its frames.

    A pair of which an image is bad is skipped.

    Raises:
        UserError: a dataset that is not registered, holds stills, or has no objects.
    """
    check_registered(cfg.DATASETS.TRAIN)
    parts = [DatasetCatalog.get(name) for name in cfg.DATASETS.TRAIN]
    if not all(map(has_videos, parts)):
        raise UserError(f"DATASETS.TRAIN {list(cfg.DATASETS.TRAIN)}: pairs need videos, not stills")
    mapper = PairMapper(cfg)
    videos = ConcatDataset([mapper.drawing.usable(group_by_video(part)) for part in parts])
    if not len(videos):
        raise UserError(f"DATASETS.TRAIN {list(cfg.DATASETS.TRAIN)}: no video has an object in it")
    shapes = [_is_wide(video["frames"][0]) for video in videos]
    indices = partial(_shuffled, len(videos))
    return _build_train_loader(cfg, mapper, videos, indices, shapes, PAIR_ATTEMPTS)


def _shuffled(size: int, seed: int) -> TrainingSampler:
    return TrainingSampler(size, seed=seed)


def _is_wide(record: dict) -> bool:
    return record.get("width", 0) > record.get("height", 0)


def _build_train_loader(
    cfg,
    mapper: Callable[[Any], Any],
    records: Sequence[Any],
    indices: Callable[[int], Iterable[int]],
    shapes: Sequence[bool],
    attempts: int,
) -> DataLoader:
    bad_images = BadImages(cfg.DATASETS.STRICT)
    mapper = PicklableWrapper(SkipBadImages(mapper, bad_images, attempts))
    stream = TrainingStream(
        indices,
        bytes(shapes if cfg.DATALOADER.ASPECT_RATIO_GROUPING else len(shapes)),
        batch_size=cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size(),
        seed=comm.all_gather(chosen_seed(cfg.SEED))[0],
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )
    loader = DataLoader(
        MappedRecords(records, mapper),
        batch_sampler=stream,
        collate_fn=list,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        worker_init_fn=end_with_parent,
        generator=torch.Generator(),  # its own: beginning to read draws from nobody else's
    )
    loader.bad_images, loader.stream = bad_images, stream
    return loader


def load_test_videos(cfg, dataset_name: str) -> Sequence[Record]:
    """The frames of a dataset of videos, video after video, each in order, with ``last``.

    Raises:
        UserError: a dataset that is not registered, is not one of videos, or does not have as
            many classes as the detector.
    """
    check_registered([dataset_name])
    if not is_video_dataset(dataset_name):
        raise UserError(f"dataset {dataset_name}: expected videos (evaluator_type vid)")
    _check_classes(cfg, dataset_name)
    return mark_last_frames(DatasetCatalog.get(dataset_name))


def build_video_loader(
    cfg, records: Sequence[Record], batch_size: int = 1, finished: Collection[VideoId] = ()
) -> DataLoader:
    """Frames of this process's videos in order, each with ``video_id``, ``frame_index``, ``last``.

    A bad image is used as far as it can be read. In batches of more than one frame, a frame's
    numbers depend on its neighbours in their last digits.

    Args:
        records: as from :func:`load_test_videos`.
        finished: videos that are left out.
    """
    bad_images = BadImages(cfg.DATASETS.STRICT)
    processes = comm.get_rank(), comm.get_world_size()
    loader = build_detection_test_loader(
        records,
        mapper=FrameMapper(DatasetMapper(cfg, is_train=False), bad_images),
        sampler=VideoSampler(video_ids(records), *processes, set(finished)),
        batch_size=batch_size,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    loader.worker_init_fn = end_with_parent
    loader.bad_images = bad_images
    return loader


def build_vid_test_loader(cfg, dataset_name: str, batch_size: int = 1) -> DataLoader:
    """:func:`build_video_loader` of all videos of a dataset; raises what loading them does."""
    return build_video_loader(cfg, load_test_videos(cfg, dataset_name), batch_size)
