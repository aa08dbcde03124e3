"""A detector of no framework: it knows red and green things, by their colour."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes, roi_align

from d2_plugtrack.core.detector import FrameFeatures, Proposals


class ColorDetector:
    num_classes = 2  # red, green

    def extract(self, frames: Sequence[np.ndarray]) -> FrameFeatures:
        """The feature map of a frame is its image in half the size; a batch has one size."""
        images = torch.stack([torch.from_numpy(f.copy()).permute(2, 0, 1) for f in frames])
        maps = torch.nn.functional.avg_pool2d(images / 255.0, 2)
        sizes = [frame.shape[:2] for frame in frames]  # nothing is resized on the way in
        return FrameFeatures({"image": maps}, sizes, sizes)

    def detect(self, features: FrameFeatures) -> list[Proposals]:
        """One proposal for each colour that is there, around everything of that colour."""
        return [self._detect(features.frame(i)) for i in range(len(features.image_sizes))]

    def _detect(self, frame: FrameFeatures) -> Proposals:
        blue, green, red = frame.maps["image"][0]
        masks = torch.stack([red - green - blue, green - red - blue]) > 0.3
        boxes = masks_to_boxes(masks[masks.any(dim=2).any(dim=1)])
        boxes = 2 * boxes + torch.tensor([0, 0, 2, 2])  # cells to pixels, last cell included
        return Proposals(boxes[:, None], self.classify(frame, boxes))

    def classify(self, frame: FrameFeatures, boxes: Tensor) -> Tensor:
        """How red and how green a box is; the rest, up to 1, is background."""
        colors = roi_align(frame.maps["image"], [boxes], output_size=1, spatial_scale=0.5)
        blue, green, red = colors.flatten(1).unbind(dim=1)
        return torch.stack([red - green - blue, green - red - blue], dim=1).clamp(min=0)
