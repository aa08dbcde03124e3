"""detectron2 data loaders: pairs of frames for training, whole videos for evaluation."""

from collections.abc import Sequence
from typing import Any

from detectron2.data import (
    DatasetCatalog,
    DatasetMapper,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.utils import comm
from torch.utils.data import DataLoader

from ..errors import UserError
from .imagenet_vid import group_by_video
from .pair_mapper import PairMapper
from .samplers import VideoSampler


def build_pair_train_loader(cfg) -> DataLoader:
    """Pairs from the videos of ``DATASETS.TRAIN``; a video is drawn, then a pair of its frames."""
    records = [r for name in cfg.DATASETS.TRAIN for r in DatasetCatalog.get(name)]
    if any("video_id" not in r for r in records):
        raise UserError(f"DATASETS.TRAIN {list(cfg.DATASETS.TRAIN)}: pairs need videos, not stills")
    videos = [v for v in group_by_video(records) if any(r["annotations"] for r in v["frames"])]
    if not videos:
        raise UserError(f"DATASETS.TRAIN {list(cfg.DATASETS.TRAIN)}: no video has an object in it")
    return build_detection_train_loader(cfg, mapper=PairMapper(cfg), dataset=videos)


def mark_last_frames(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with ``last``: whether the frame is its video's last one in the dataset."""
    followers = [r["video_id"] for r in records[1:]] + [None]
    return [
        {**r, "last": r["video_id"] != follower}
        for r, follower in zip(records, followers, strict=True)
    ]


def build_vid_test_loader(cfg, dataset_name: str, batch_size: int = 1) -> DataLoader:
    """Frames of whole videos in order, each with ``video_id``, ``frame_index`` and ``last``."""
    records = mark_last_frames(DatasetCatalog.get(dataset_name))
    return build_detection_test_loader(
        records,
        mapper=DatasetMapper(cfg, is_train=False),
        sampler=VideoSampler(
            [r["video_id"] for r in records], comm.get_rank(), comm.get_world_size()
        ),
        batch_size=batch_size,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
