"""Two-frame dataset mapper: a video to a pair of frames for the tracker to train on (Sec. 6.2).

A video is ``{"video_id", "frames": [records]}`` as from ``imagenet.records.group_by_video``. A
pair is ``{"prev": dict, "curr": dict, "video_id", "gap", "height", "width"}``; the two dicts are
detectron2's, with an image and ``instances`` whose ``gt_track_ids`` match objects between them. A
video of one frame gives that frame twice (gap 0); an object may be in one frame only.
"""

from ..prerequisites import require_detectron2

require_detectron2()

import copy
from typing import Any

import numpy as np
import torch
from detectron2.config import configurable
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T

from .image_mapper import read_record_image
from .labeled_frames import PairDrawing


class PairMapper:
    """Maps a video to a training pair whose ``prev`` has objects.

    Where many draws find none, or the augmentations leave no object, the result is None, and
    detectron2 takes another video. An image that cannot be read raises ``bad_images.BadImage``.

    Args:
        augmentations: one draw of them is applied to both frames.
        image_format: channel order, as ``INPUT.FORMAT``.
        drawing: of the two frames.
    """

    @configurable
    def __init__(
        self, *, augmentations: list[T.Augmentation], image_format: str, drawing: PairDrawing
    ):
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.drawing = drawing

    @classmethod
    def from_config(cls, cfg) -> dict[str, Any]:
        keys = cfg.INPUT.PAIR
        return {
            "augmentations": utils.build_augmentation(cfg, is_train=True),
            "image_format": cfg.INPUT.FORMAT,
            "drawing": PairDrawing(keys.MIN_GAP, keys.MAX_GAP, keys.REVERSE_PROB),
        }

    def __call__(self, video: dict[str, Any]) -> dict[str, Any] | None:
        frames = video["frames"]
        # Many draws, not a None each: detectron2 sets a video aside for every None, and fails
        # when none is left, which a handful of videos with empty frames soon reaches. numpy's
        # global state is what detectron2 seeds in its loader workers.
        pair = self.drawing.draw_with_objects(frames, np.random)
        if pair is None:
            return None
        prev, curr = pair
        prev_input, transforms = self._map_frame(frames[prev], None)
        if len(prev_input["instances"]) == 0:
            return None
        curr_input, _ = self._map_frame(frames[curr], transforms)
        return {
            "prev": prev_input,
            "curr": curr_input,
            "video_id": video["video_id"],
            "gap": curr - prev,
            "height": prev_input["height"],
            "width": prev_input["width"],
        }

    def _map_frame(
        self, record: dict[str, Any], transforms: T.TransformList | None
    ) -> tuple[dict[str, Any], T.TransformList]:
        frame = {k: v for k, v in record.items() if k != "annotations"}
        image = read_record_image(record, self.image_format)
        frame["height"], frame["width"] = image.shape[:2]
        aug_input = T.AugInput(image)
        if transforms is None:
            transforms = self.augmentations(aug_input)
        else:
            aug_input.transform(transforms)
        frame["image"] = torch.as_tensor(np.ascontiguousarray(aug_input.image.transpose(2, 0, 1)))
        frame["instances"] = _to_instances(record, transforms, aug_input.image.shape[:2])
        return frame, transforms


def _to_instances(record: dict[str, Any], transforms: T.TransformList, image_size):
    annotations = [  # a crowd has no box of its own to follow
        utils.transform_instance_annotations(copy.deepcopy(a), transforms, image_size)
        for a in record["annotations"]
        if not a.get("iscrowd")
    ]
    instances = utils.annotations_to_instances(annotations, image_size)
    ids = [a["track_id"] for a in annotations]
    instances.gt_track_ids = torch.tensor(ids, dtype=torch.int64)
    return utils.filter_empty_instances(instances)
