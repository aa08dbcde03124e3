"""What is asked of detectron2's ROI heads in video detection, for each kind of them.

Shape letters: N images, P proposals of an image, B given boxes, K foreground classes, M cells of a
mask's side. Boxes are xyxy in pixels of the network's input; detectron2 counts the background as
one more class, the last. Heads are in evaluation mode.

Stock inference in one piece goes from features to detections; here its steps are apart: what the
heads say of every proposal (:meth:`SecondStage.predict`), the detections that stock inference makes
of that (:meth:`SecondStage.detections`, bit by bit), and what is new in a video: class
probabilities and masks of boxes given from elsewhere, at their own positions.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from detectron2.modeling.roi_heads import (
    CascadeROIHeads,
    FastRCNNOutputLayers,
    Res5ROIHeads,
    ROIHeads,
    StandardROIHeads,
)
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.modeling.roi_heads.mask_head import BaseMaskRCNNHead
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from ..core.boxes import clip_boxes
from ..core.precision import Part
from ..errors import UserError

Maps = Mapping[str, Tensor]  # name: (N, C, H, W)


class Predictions(NamedTuple):
    """What the heads say of the proposals of N images, before any selection."""

    boxes: list[Tensor]  # N times (P, K * 4), a refined box per class, or (P, 4)
    probabilities: list[Tensor]  # N times (P, K + 1)
    image_sizes: list[tuple[int, int]]  # (height, width)


class SecondStage:
    """StandardROIHeads (FPN, DC5): one box head, one predictor. The base of the other kinds."""

    def __init__(self, heads: ROIHeads):
        self.heads = heads

    @property
    def has_masks(self) -> bool:
        """Whether :meth:`segment` has an answer."""
        return self.heads.mask_on

    @property
    def predictor(self) -> FastRCNNOutputLayers:
        """Whose boxes and thresholds stock inference takes."""
        return self.heads.box_predictor

    def parts(self) -> list[Part]:
        """The networks of boxes and masks; the predictors are small, and are no parts."""
        parts = [Part(head) for head in self._box_heads()]
        if self.has_masks and isinstance(self.heads.mask_head, BaseMaskRCNNHead):
            parts.append(Part(self.heads.mask_head, "layers"))  # forward takes Instances
        return parts

    def predict(self, maps: Maps, proposals: list[Instances]) -> Predictions:
        """Boxes and class probabilities of the proposals of N images."""
        raw = self.predictor(self._box_vectors(maps, [p.proposal_boxes for p in proposals]))
        return Predictions(
            self.predictor.predict_boxes(raw, proposals),
            self.predictor.predict_probs(raw, proposals),
            [p.image_size for p in proposals],
        )

    def detections(self, maps: Maps, predictions: Predictions) -> list[Instances]:
        """What stock inference gives of N images: thresholds, NMS, then masks and keypoints."""
        instances, _ = fast_rcnn_inference(
            *predictions,
            self.predictor.test_score_thresh,
            self.predictor.test_nms_thresh,
            self.predictor.test_topk_per_image,
        )
        return self.heads.forward_with_given_boxes(maps, instances)

    def classify(self, maps: Maps, boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
        """(B, K + 1) class probabilities of (B, 4) boxes of one image."""
        given = [Instances(image_size, proposal_boxes=Boxes(boxes))]
        return self.predict(maps, given).probabilities[0]

    def segment(
        self, maps: Maps, boxes: Tensor, labels: Tensor, image_size: tuple[int, int]
    ) -> Tensor:
        """(B, M, M) mask probabilities inside (B, 4) boxes of one image, of classes (B,)."""
        given = Instances(image_size, pred_boxes=Boxes(boxes), pred_classes=labels)
        (segmented,) = self.heads.forward_with_given_boxes(maps, [given])
        return segmented.pred_masks[:, 0]

    def _box_heads(self) -> Iterable[nn.Module]:
        return [self.heads.box_head]

    def _box_vectors(self, maps: Maps, boxes: list[Boxes]) -> Tensor:
        heads = self.heads
        return heads.box_head(heads.box_pooler([maps[n] for n in heads.box_in_features], boxes))


class Res5Stage(SecondStage):
    """Res5ROIHeads (C4): the backbone's last stage is the box head, and shared with masks."""

    def _box_heads(self) -> Iterable[nn.Module]:
        return [self.heads.res5]

    def _box_vectors(self, maps: Maps, boxes: list[Boxes]) -> Tensor:
        heads = self.heads
        regions = heads._shared_roi_transform([maps[n] for n in heads.in_features], boxes)
        return regions.mean(dim=[2, 3])


class CascadeStage(SecondStage):
    """CascadeROIHeads: each stage refines the boxes of the one before.

    Proposals have the last stage's boxes and the mean of all stages' probabilities, each of its own
    boxes. Given boxes are not to be moved, so that every stage classifies the boxes themselves.
    """

    @property
    def predictor(self) -> FastRCNNOutputLayers:
        return self.heads.box_predictor[-1]

    def predict(self, maps: Maps, proposals: list[Instances]) -> Predictions:
        heads, sizes = self.heads, [p.image_size for p in proposals]
        box_maps = [maps[name] for name in heads.box_in_features]
        boxes, probabilities = [p.proposal_boxes.tensor for p in proposals], []
        for index, predictor in enumerate(heads.box_predictor):
            if index > 0:
                # detectron2 asserts that they are finite; their scores are not, and tell
                finite = [clip_boxes(b, size) for b, size in zip(boxes, sizes, strict=True)]
                proposals = heads._create_proposals_from_boxes(finite, sizes)
            raw = heads._run_stage(box_maps, proposals, index)
            boxes = predictor.predict_boxes(raw, proposals)
            probabilities.append(predictor.predict_probs(raw, proposals))
        means = [self._mean(stages) for stages in zip(*probabilities, strict=True)]
        return Predictions(boxes, means, sizes)

    def classify(self, maps: Maps, boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
        heads, given = self.heads, [Instances(image_size, proposal_boxes=Boxes(boxes))]
        regions = heads.box_pooler([maps[n] for n in heads.box_in_features], [Boxes(boxes)])
        stages = zip(heads.box_head, heads.box_predictor, strict=True)
        return self._mean([p.predict_probs(p(head(regions)), given)[0] for head, p in stages])

    def _box_heads(self) -> Iterable[nn.Module]:
        return self.heads.box_head  # a list, one a stage

    def _mean(self, stages: list[Tensor]) -> Tensor:
        # not torch.mean: stock's own order of operations, to the bit
        return sum(stages) * (1.0 / len(stages))


def build_second_stage(heads: ROIHeads) -> SecondStage:
    """The room for heads of this kind; a subclass is taken for its parent.

    Raises:
        UserError: heads that cannot be asked for the classes of given boxes, or whose box
            predictors choose detections in a way of their own (rotated boxes, say).
    """
    kinds = {
        CascadeROIHeads: CascadeStage,  # a StandardROIHeads too, so that it is asked first
        StandardROIHeads: SecondStage,
        Res5ROIHeads: Res5Stage,
    }
    stage = next((build(heads) for kind, build in kinds.items() if isinstance(heads, kind)), None)
    if stage is None:
        raise UserError(
            f"MODEL.ROI_HEADS.NAME {type(heads).__name__}: expected StandardROIHeads, "
            "Res5ROIHeads, CascadeROIHeads or a subclass of one"
        )
    predictor = type(stage.predictor)
    if getattr(predictor, "inference", None) is not FastRCNNOutputLayers.inference:
        raise UserError(
            f"MODEL.ROI_HEADS.NAME {type(heads).__name__}: expected box predictors that are "
            f"FastRCNNOutputLayers with its inference, found {predictor.__name__}"
        )
    return stage
