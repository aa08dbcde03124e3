"""R-CNN heads trained by online hard example mining (OHEM), for any config to name.

Shape letters: P proposals of an image. In training all proposals of an image are labelled, the
head as it stands classifies them without gradient, and those of largest loss are trained on
(``core/hard_mining.py``), instead of a random sample: BATCH_SIZE_PER_IMAGE of them, at most
POSITIVE_FRACTION positives. In evaluation the heads are the stock ones.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import Res5ROIHeads, StandardROIHeads
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage, get_event_storage
from torch import Tensor, nn

from ..core.hard_mining import IGNORED, hardest_regions
from ..errors import UserError


class HardMining:
    """Mixin in front of a class of detectron2's ROIHeads; it only has to say ``class_logits``."""

    @classmethod
    def from_config(cls, cfg, input_shape) -> dict:
        if cfg.MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE:
            raise UserError(
                f"MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE True with MODEL.ROI_HEADS.NAME {cls.__name__}: "
                "expected False, regions are mined by the softmax loss"
            )
        return super().from_config(cfg, input_shape)

    def forward(self, images, features: dict[str, Tensor], proposals, targets=None):
        """As detectron2's ROIHeads."""
        if self.training:
            proposals = self._mine(features, self._label(proposals, targets))
        return super().forward(images, features, proposals, targets)

    def label_and_sample_proposals(self, proposals, targets) -> list[Instances]:
        """The proposals as they are: ``forward`` has labelled and mined them."""
        return proposals

    def class_logits(self, features: dict[str, Tensor], boxes: list[Boxes]) -> Tensor:
        """The head's logits (sum of P, classes and background) of every image's boxes."""
        raise NotImplementedError

    # ---- inside ------------------------------------------------------------------------------

    def _label(self, proposals: list[Instances], targets: list[Instances]) -> list[Instances]:
        """Every labelled proposal, true boxes appended, as the stock method without its sampling.

        It logs the numbers of what it returns; they are not those trained on.
        """
        with EventStorage():
            return super().label_and_sample_proposals(proposals, targets)

    def _sample_proposals(
        self, matched_idxs: Tensor, matched_labels: Tensor, gt_classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All P proposals of an image, in order, but those that the matcher ignores."""
        labels = torch.full_like(matched_idxs, self.num_classes)
        if len(gt_classes) > 0:
            labels = torch.where(matched_labels == 0, labels, gt_classes[matched_idxs])
        indices = (matched_labels != IGNORED).nonzero().flatten()
        return indices, labels[indices]

    @torch.no_grad()
    def _mine(self, features: dict[str, Tensor], proposals: list[Instances]) -> list[Instances]:
        with _evaluating(self):
            logits = self.class_logits(features, [p.proposal_boxes for p in proposals])
        # Under autocast older torch (2.9) would go on with the half-precision weights of this
        # pass, which know no gradient, and not train the head.
        torch.clear_autocast_cache()
        mined = []
        per_image = logits.split([len(p) for p in proposals])
        for logits_per_image, proposals_per_image in zip(per_image, proposals, strict=True):
            labels = proposals_per_image.gt_classes
            chosen = hardest_regions(
                F.cross_entropy(logits_per_image.float(), labels, reduction="none"),
                labels,
                background=self.num_classes,
                limit=self.batch_size_per_image,
                positive_fraction=self.positive_fraction,
            )
            mined.append(proposals_per_image[chosen])
        self._log_numbers(mined)
        return mined

    def _log_numbers(self, proposals: list[Instances]) -> None:
        """Mean numbers of positives and negatives of an image, under the stock names."""
        negatives = sum(int((p.gt_classes == self.num_classes).sum()) for p in proposals)
        positives = sum(len(p) for p in proposals) - negatives
        storage = get_event_storage()
        storage.put_scalar("roi_head/num_fg_samples", positives / len(proposals))
        storage.put_scalar("roi_head/num_bg_samples", negatives / len(proposals))


@ROI_HEADS_REGISTRY.register()
class OHEMROIHeads(HardMining, StandardROIHeads):
    """StandardROIHeads (FPN and other separate heads) with hard mining."""

    def class_logits(self, features: dict[str, Tensor], boxes: list[Boxes]) -> Tensor:
        maps = [features[name] for name in self.box_in_features]
        return self.box_predictor(self.box_head(self.box_pooler(maps, boxes)))[0]


@ROI_HEADS_REGISTRY.register()
class OHEMRes5ROIHeads(HardMining, Res5ROIHeads):
    """Res5ROIHeads (C4) with hard mining."""

    def class_logits(self, features: dict[str, Tensor], boxes: list[Boxes]) -> Tensor:
        maps = [features[name] for name in self.in_features]
        return self.box_predictor(self._shared_roi_transform(maps, boxes).mean(dim=[2, 3]))[0]


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while: what is only looked at moves no batch norm's statistics."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        yield
    finally:
        for submodule in training:
            submodule.training = True
