"""torchvision's Faster and Mask R-CNN, of any backbone, as a ``core.detector.VideoDetector``.

Shape letters: N frames, P proposals of a frame, B boxes, K foreground classes (torchvision counts
the background as one more, number 0; labels here start at 0 without it), M cells of a mask's side.
Boxes are xyxy in pixels of the network's input, which is what the model's own ``transform`` makes
of a frame. detectron2 is not needed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import maskrcnn_inference

from ..core.boxes import bound_boxes
from ..core.detector import FrameFeatures, Proposals
from ..core.finite import refuse_bad_true_boxes, watch
from ..core.precision import Part

if TYPE_CHECKING:
    from ..data.labeled_frames import LabeledFrame


class MapShape(NamedTuple):
    """One of the backbone's maps, as a tracker must know it."""

    channels: int
    stride: int  # pixels of the network's input per cell


class TorchvisionDetector:
    """A trained torchvision model, frozen, for video detection.

    The model itself is used, not copied: it is put into evaluation mode and needs no gradients
    from here on. Keypoints are left aside.

    Args:
        model: a FasterRCNN or a subclass of it (MaskRCNN, KeypointRCNN), on its device.

    Raises:
        ValueError: a model of another kind (one without proposals, say).
    """

    def __init__(self, model: FasterRCNN):
        heads = getattr(model, "roi_heads", None)
        if not isinstance(model, FasterRCNN) or not hasattr(heads.box_predictor, "cls_score"):
            raise ValueError(
                "model: expected torchvision's FasterRCNN or a subclass such as MaskRCNN, with a "
                f"box_predictor that has cls_score as FastRCNNPredictor has, found {type(model)}"
            )
        self.model = model.eval().requires_grad_(False)
        self.map_shapes = self._measure_maps()
        self.num_classes = model.roi_heads.box_predictor.cls_score.out_features - 1

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def _measure_maps(self) -> dict[str, MapShape]:
        side = 256
        maps = self._backbone(torch.zeros(1, 3, side, side, device=self.device))
        return {name: MapShape(m.shape[1], side // m.shape[-1]) for name, m in maps.items()}

    def _backbone(self, images: Tensor) -> Mapping[str, Tensor]:
        features = self.model.backbone(images)
        return {"0": features} if isinstance(features, Tensor) else features

    def extract(self, frames: Sequence[np.ndarray | Tensor]) -> FrameFeatures:
        """Feature maps of N frames.

        Args:
            frames: (H, W, 3) uint8 BGR arrays, or (3, H, W) float RGB tensors in [0, 1] as the
                model itself takes them.
        """
        images = [to_image(frame).to(self.device) for frame in frames]
        originals = [tuple(image.shape[-2:]) for image in images]
        batch, _ = self.model.transform(images)
        return FrameFeatures(self._backbone(batch.tensors), batch.image_sizes, originals)

    def detect(self, features: FrameFeatures) -> list[Proposals]:
        """RPN and R-CNN on N frames: every proposal's boxes (P, K, 4) and scores (P, K)."""
        heads = self.model.roi_heads
        proposals, _ = self.model.rpn(self._image_list(features), features.maps)
        logits, deltas = self._predict(features.maps, proposals, features.image_sizes)
        boxes = heads.box_coder.decode(deltas, proposals).reshape(*logits.shape, 4)
        counts = [len(p) for p in proposals]
        return [
            Proposals(b[:, 1:], s[:, 1:])
            for b, s in zip(boxes.split(counts), logits.softmax(dim=1).split(counts), strict=True)
        ]

    def classify(self, features: FrameFeatures, boxes: Tensor) -> Tensor:
        """R-CNN's (B, K) class probabilities of (B, 4) boxes of the one frame of ``features``."""
        logits, _ = self._predict(features.maps, [boxes], features.image_sizes)
        return logits.softmax(dim=1)[:, 1:]

    @property
    def segment(self) -> Callable[[FrameFeatures, Tensor, Tensor], Tensor] | None:
        """A MaskRCNN's (B, M, M) masks of (B, 4) boxes of classes (B,); None of other models."""
        return self._segment if self.model.roi_heads.has_mask() else None

    def _segment(self, features: FrameFeatures, boxes: Tensor, labels: Tensor) -> Tensor:
        heads = self.model.roi_heads
        regions = heads.mask_roi_pool(features.maps, [boxes], features.image_sizes)
        logits = heads.mask_predictor(heads.mask_head(regions))
        return maskrcnn_inference(logits, [labels + 1])[0][:, 0]  # one more: the background

    def parts(self) -> list[Part]:
        """The networks of the model, for ``core.precision.speed_up``; the predictor is small."""
        heads = self.model.roi_heads
        on_regions = [heads.box_head]
        if heads.has_mask():
            on_regions += [heads.mask_head, heads.mask_predictor]
        on_images = (self.model.backbone, self.model.rpn.head)
        return [*(Part(m, compiles=True) for m in on_images), *map(Part, on_regions)]

    def _predict(self, maps, boxes: list[Tensor], image_sizes) -> tuple[Tensor, Tensor]:
        heads = self.model.roi_heads
        return heads.box_predictor(heads.box_head(heads.box_roi_pool(maps, boxes, image_sizes)))

    def _image_list(self, features: FrameFeatures) -> ImageList:
        """The RPN asks its images for their padded size and nothing else."""
        name, some_map = next(iter(features.maps.items()))
        stride, divisor = self.map_shapes[name].stride, self.model.transform.size_divisible
        # up to what the transform pads to: a stride that does not divide it drops the last pixels
        height, width = (math.ceil(n * stride / divisor) * divisor for n in some_map.shape[-2:])
        return ImageList(
            some_map.new_zeros(()).expand(len(some_map), 3, height, width), features.image_sizes
        )


def to_image(frame: np.ndarray | Tensor) -> Tensor:
    """A (H, W, 3) uint8 BGR array as the (3, H, W) float RGB tensor that torchvision takes."""
    if isinstance(frame, Tensor):
        return frame
    rgb = np.ascontiguousarray(frame[:, :, ::-1].transpose(2, 0, 1))
    return torch.from_numpy(rgb).float().div(255)


def detector_losses(model: FasterRCNN, frames: Sequence["LabeledFrame"]) -> dict[str, Tensor]:
    """The losses of a model in training mode on N frames with their objects (stage one).

    Raises:
        FloatingPointError: a true box that is not finite.
    """
    refuse_bad_true_boxes([frame.boxes for frame in frames])
    device = next(model.parameters()).device
    targets = [
        {
            "boxes": bound_boxes(frame.boxes, frame.image.shape[:2]).to(device),
            "labels": frame.labels.to(device) + 1,  # 0: background
        }
        for frame in frames
    ]
    images = [to_image(frame.image).to(device) for frame in frames]
    with model.backbone.register_forward_hook(_watch_features):
        return model(images, targets)


def _watch_features(module: nn.Module, inputs: Any, maps: Mapping[str, Tensor] | Tensor) -> None:
    """The losses are of some cells only; proposals of a NaN are left out without a word."""
    for name, feature_map in ({"0": maps} if isinstance(maps, Tensor) else maps).items():
        watch(f"feature map {name}", feature_map, lambda i: f"image {i}")
