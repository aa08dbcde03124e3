"""A small residual backbone with a one-level or several-level FPN, for the tiny VID set.

detectron2's own ResNet-18 is fixed at 64 to 512 channels; this is its ResNet class with fewer,
and its FPN on top without the extra pooled level.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN, ResNet
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem


@BACKBONE_REGISTRY.register()
def build_tiny_resnet_fpn_backbone(cfg, input_shape: ShapeSpec) -> FPN:
    """Stages res2 to res4 at strides 4 to 16 of ``MODEL.TINY_RESNET.CHANNELS``, then an FPN."""
    stem_channels, *channels = cfg.MODEL.TINY_RESNET.CHANNELS
    norm = cfg.MODEL.RESNETS.NORM
    stem = BasicStem(input_shape.channels, stem_channels, norm)
    stages, in_channels = [], stem_channels
    for index, out_channels in enumerate(channels):
        stride = 1 if index == 0 else 2  # the stem has brought the stride to 4
        stages.append(
            ResNet.make_stage(
                BasicBlock,
                cfg.MODEL.TINY_RESNET.BLOCKS_PER_STAGE,
                stride_per_block=[stride] + [1] * (cfg.MODEL.TINY_RESNET.BLOCKS_PER_STAGE - 1),
                in_channels=in_channels,
                out_channels=out_channels,
                norm=norm,
            )
        )
        in_channels = out_channels
    bottom_up = ResNet(stem, stages, out_features=[f"res{i + 2}" for i in range(len(stages))])
    return FPN(
        bottom_up=bottom_up,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
