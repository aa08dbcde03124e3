"""A tiny torchvision Faster R-CNN for the tiny VID set: torchvision's parts, few channels.

The counterpart of ``configs/TinyVID/Base-TinyVID.yaml``: three stages of one residual block, an FPN
of which the finest map (stride 4) alone is used, by the RPN, by R-CNN and by the tracker.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.resnet import BasicBlock
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork, MultiScaleRoIAlign

STEM, STAGES, PYRAMID = 24, (32, 64, 96), 48  # channels
BOX_HEAD = 128  # width of R-CNN's two layers
ANCHOR_SIZES, ANCHOR_RATIOS = (16, 24, 36, 52), (0.6, 1.0, 1.6)


class TinyBackbone(nn.Module):
    """(N, 3, H, W) images to one map (N, 48, H/4, W/4), named "0"."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            Conv2dNormActivation(3, STEM, kernel_size=7, stride=2),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList(
            _residual_block(before, after, stride=1 if i == 0 else 2)
            for i, (before, after) in enumerate(zip((STEM, *STAGES), STAGES, strict=False))
        )
        self.pyramid = FeaturePyramidNetwork(STAGES, PYRAMID, norm_layer=nn.BatchNorm2d)
        self.out_channels = PYRAMID

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps, current = OrderedDict(), self.stem(images)
        for index, stage in enumerate(self.stages):
            current = stage(current)
            maps[str(index)] = current
        return {"0": self.pyramid(maps)["0"]}


def _residual_block(before: int, after: int, stride: int) -> nn.Module:
    shortcut = Conv2dNormActivation(
        before, after, kernel_size=1, stride=stride, activation_layer=None
    )
    return BasicBlock(before, after, stride, downsample=shortcut)


def build_tiny_fasterrcnn(num_classes: int, min_size: int, max_size: int) -> FasterRCNN:
    """An untrained detector of 0.7 M parameters.

    Args:
        num_classes: with the background, as torchvision counts.
        min_size, max_size: of the network's input, shorter and longer side.
    """
    backbone = TinyBackbone()
    return FasterRCNN(
        backbone,
        min_size=min_size,
        max_size=max_size,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
        rpn_anchor_generator=AnchorGenerator((ANCHOR_SIZES,), (ANCHOR_RATIOS,)),
        rpn_pre_nms_top_n_train=400,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_train=150,
        rpn_post_nms_top_n_test=100,
        rpn_batch_size_per_image=128,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=1),
        box_head=TwoMLPHead(backbone.out_channels * 7**2, BOX_HEAD),
        box_predictor=FastRCNNPredictor(BOX_HEAD, num_classes),
        box_batch_size_per_image=32,
        box_positive_fraction=0.5,
        box_score_thresh=1e-3,
        box_nms_thresh=0.45,
        box_detections_per_img=300,
    )
