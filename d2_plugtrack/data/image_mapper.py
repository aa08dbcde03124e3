"""detectron2's DatasetMapper on images that may be bad: named in training, patched in evaluation.

Which images are bad and what becomes of them is in ``bad_images.py``.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetMapper
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from PIL import Image

from .bad_images import BadImage, BadImages, naming_bad_image, read_partial_frame


def read_record_image(record: dict[str, Any], image_format: str) -> np.ndarray:
    """The (H, W, C) image of a record, as detectron2's mapper reads it.

    Raises:
        BadImage: it cannot be read, or has another size than the record.
    """
    with naming_bad_image(record["file_name"]):
        image = utils.read_image(record["file_name"], format=image_format)
        utils.check_image_size(dict(record), image)
    return image


class ImageMapper:
    """A DatasetMapper that says which image is bad.

    Args:
        mapper: detectron2's.

    Raises:
        BadImage: where the mapper failed because of its image; what else it raises stays as it is.
    """

    def __init__(self, mapper: DatasetMapper):
        self.mapper = mapper

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.mapper(record)
        except Exception:
            read_record_image(record, self.mapper.image_format)  # the image's fault, or a bug
            raise


class FrameMapper:
    """An :class:`ImageMapper` for evaluation: what can be read of a bad image is a frame too.

    Args:
        mapper: detectron2's, with ``is_train=False``.
        bad_images: takes note of bad images.
    """

    def __init__(self, mapper: DatasetMapper, bad_images: BadImages):
        self.mapper = ImageMapper(mapper)
        self.augmentations, self.image_format = mapper.augmentations, mapper.image_format
        self.bad_images = bad_images

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.mapper(record)
        except BadImage as bad:
            self.bad_images.report(bad, "used as far as it can be read")
        rgb = Image.fromarray(np.ascontiguousarray(read_partial_frame(record)[:, :, ::-1]))
        aug_input = T.AugInput(utils.convert_PIL_to_numpy(rgb, self.image_format))
        self.augmentations(aug_input)
        frame = {key: value for key, value in record.items() if key != "annotations"}
        frame["image"] = torch.as_tensor(np.ascontiguousarray(aug_input.image.transpose(2, 0, 1)))
        return frame
