"""PlugTrackRCNN: the stock GeneralizedRCNN and a tracker beside it.

Shape letters: N pairs or frames, P proposals of a frame, B boxes, K foreground classes, M cells of
a mask's side. Boxes are xyxy in pixels of the network's input.

It exists for training the tracker and for video inference; stage one trains the stock class. As a
subclass it keeps the stock names of parameters, only ``tracker.*`` is new, so that stock
checkpoints load as they are. The detector is frozen: no gradients, and evaluation mode whatever
``train()`` is told, so that no buffer moves either. What depends on the kind of its ROI heads is in
``second_stage.py``, the frame loop in ``core/tfd.py``.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from collections.abc import Callable

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import ImageList
from torch import Tensor, nn

from ..build import build_region_sampling
from ..core.detector import FrameFeatures, Proposals, assemble_frames
from ..core.finite import image_name, watch
from ..core.pair_losses import Objects, pair_losses
from ..core.precision import Part
from ..core.tracker import TrackerHead
from ..errors import UserError
from ..processes import mean_over_processes
from .second_stage import Predictions, build_second_stage
from .tracker_heads import build_tracker_head


@META_ARCH_REGISTRY.register()
class PlugTrackRCNN(GeneralizedRCNN):
    """A frozen two-stage detector that offers ``core.detector.MaskDetector``, and a tracker.

    Args:
        tracker: the tracker head; the only part that trains.
        region_sampling: keyword arguments of ``core.sampling.sample_regions``.
        kwargs: those of GeneralizedRCNN.
    """

    @configurable
    def __init__(self, *, tracker: TrackerHead, region_sampling: dict, **kwargs):
        super().__init__(**kwargs)
        if self.proposal_generator is None:
            raise UserError("MODEL.PROPOSAL_GENERATOR.NAME PrecomputedProposals: expected RPN")
        self.second_stage = build_second_stage(self.roi_heads)
        self.requires_grad_(False)
        self.tracker = tracker
        self.region_sampling = region_sampling
        self.num_classes = self.roi_heads.num_classes

    @classmethod
    def from_config(cls, cfg) -> dict:
        ret = super().from_config(cfg)
        ret["tracker"] = build_tracker_head(cfg, ret["backbone"].output_shape())
        ret["region_sampling"] = build_region_sampling(cfg)
        return ret

    def train(self, mode: bool = True) -> nn.Module:
        """Put the tracker into training mode; the detector stays in evaluation mode."""
        super().train(mode)
        for name, module in self.named_children():
            if name != "tracker":
                module.eval()
        return self

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Losses of N pairs in training; N detected frames in evaluation.

        Args:
            batched_inputs: in training pairs as from ``data.pair_mapper``, ``{"prev", "curr"}``;
                in evaluation detectron2's dicts of single frames.

        Returns:
            In training ``loss_track_box`` and ``loss_track_iou``. In evaluation one dict a frame:
            ``"instances"``, the stock detector's output, and ``"frame"``, the
            ``core.detector.DetectedFrame`` that the video pipeline takes.
        """
        if self.training:
            return self._tracker_losses(batched_inputs)
        features = self.extract(batched_inputs)
        predictions = self._predict(features)
        frames = assemble_frames(self, self.tracker, features, _proposals(predictions))
        instances = self.second_stage.detections(features.maps, predictions)
        stock = self._postprocess(instances, batched_inputs, features.image_sizes)
        return [{**output, "frame": f} for output, f in zip(stock, frames, strict=True)]

    # ---- core.detector.MaskDetector ----------------------------------------------------------

    def extract(self, frames: list[dict]) -> FrameFeatures:
        """Backbone features of N frames given as detectron2's dicts."""
        images = self.preprocess_image(frames)
        sizes = [tuple(size) for size in images.image_sizes]
        originals = [
            (f.get("height", size[0]), f.get("width", size[1]))
            for f, size in zip(frames, sizes, strict=True)
        ]
        return FrameFeatures(self.backbone(images.tensor), sizes, originals)

    def detect(self, features: FrameFeatures) -> list[Proposals]:
        """RPN and R-CNN on N frames: every proposal's boxes (P, K or 1, 4) and scores (P, K)."""
        return _proposals(self._predict(features))

    def classify(self, features: FrameFeatures, boxes: Tensor) -> Tensor:
        """R-CNN's (B, K) class probabilities of (B, 4) boxes of the one frame of ``features``."""
        (size,) = features.image_sizes
        return self.second_stage.classify(features.maps, boxes, size)[:, :-1]

    @property
    def segment(self) -> Callable[[FrameFeatures, Tensor, Tensor], Tensor] | None:
        """The (B, M, M) masks of (B, 4) boxes of classes (B,); None without a mask head."""
        return self._segment if self.second_stage.has_masks else None

    def parts(self) -> list[Part]:
        """The networks of the detector, for ``core.precision.speed_up``."""
        on_images = [self.backbone]
        if isinstance(self.proposal_generator, RPN):
            on_images.append(self.proposal_generator.rpn_head)
        return [*(Part(m, compiles=True) for m in on_images), *self.second_stage.parts()]

    # ---- inside ------------------------------------------------------------------------------

    def _segment(self, features: FrameFeatures, boxes: Tensor, labels: Tensor) -> Tensor:
        (size,) = features.image_sizes
        return self.second_stage.segment(features.maps, boxes, labels, size)

    def _predict(self, features: FrameFeatures) -> Predictions:
        some_map = next(iter(features.maps.values()))
        # proposal generators look at the sizes of the images only
        images = ImageList(some_map.new_zeros(len(some_map), 0), features.image_sizes)
        proposals, _ = self.proposal_generator(images, features.maps, None)
        return self.second_stage.predict(features.maps, proposals)

    def _tracker_losses(self, pairs: list[dict]) -> dict[str, Tensor]:
        with torch.no_grad():
            frames = [p["prev"] for p in pairs] + [p["curr"] for p in pairs]
            features = self.extract(frames)
            maps = self.tracker.tracking_map(features.maps, features.image_sizes)
            watch("tracking map", maps, lambda i: image_name(frames[i], i))
        prev, curr = ([self._objects(p[key]) for p in pairs] for key in ("prev", "curr"))
        prev_maps, curr_maps = maps.split(len(pairs))
        return pair_losses(
            self.tracker,
            *(prev_maps, curr_maps, prev, curr),
            self.region_sampling,
            mean_count=mean_over_processes,
        )

    def _objects(self, frame: dict) -> Objects:
        instances = frame["instances"].to(self.device)
        return Objects(instances.gt_boxes.tensor, instances.gt_track_ids)


def _proposals(predictions: Predictions) -> list[Proposals]:
    """Boxes (P, K or 1, 4) and scores (P, K) of each image, without the background."""
    return [
        Proposals(b.reshape(len(b), b.shape[1] // 4, 4), s[:, :-1])
        for b, s in zip(predictions.boxes, predictions.probabilities, strict=True)
    ]
