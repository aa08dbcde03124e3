"""The heavy detector's backbone: detectron2's ResNe(X)t and FPN, its deformable layers portable.

Config keys, names of parameters and outputs are those of detectron2's
``build_resnet_fpn_backbone``; what differs is the layer inside (``deform_conv.py``), so that it
also builds, trains and runs on the CPU and without detectron2's compiled part.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN
from detectron2.modeling.backbone.fpn import build_resnet_fpn_backbone
from detectron2.modeling.backbone.resnet import BottleneckBlock, ResNet
from torch import nn

from ..errors import UserError
from .deform_conv import deform_block


@BACKBONE_REGISTRY.register()
def build_resnet_dcn_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """detectron2's backbone of the same ``cfg``, deformable as MODEL.RESNETS.DEFORM_* say.

    Raises:
        UserError: DEFORM_ON_PER_STAGE with a residual network of basic blocks (depth 18 or 34).
    """
    plain = cfg.clone()
    plain.defrost()
    plain.MODEL.RESNETS.DEFORM_ON_PER_STAGE = [False] * 4
    backbone = build_resnet_fpn_backbone(plain, input_shape)
    _deform(backbone.bottom_up, cfg.MODEL.RESNETS)
    return backbone


def _deform(resnet: ResNet, keys: CfgNode) -> None:
    """Put deformable blocks into the stages res2, res3, ... that the config marks."""
    deformed = dict(zip(("res2", "res3", "res4", "res5"), keys.DEFORM_ON_PER_STAGE, strict=True))
    for name in filter(deformed.get, resnet.stage_names):
        stage: nn.Sequential = getattr(resnet, name)
        for index, block in enumerate(stage):
            if not isinstance(block, BottleneckBlock):
                raise UserError(
                    f"MODEL.RESNETS.DEFORM_ON_PER_STAGE {list(keys.DEFORM_ON_PER_STAGE)} with "
                    f"DEPTH {keys.DEPTH}: expected a depth of 50, 101 or 152"
                )
            stage[index] = deform_block(
                block,
                modulated=keys.DEFORM_MODULATED,
                deform_groups=keys.DEFORM_NUM_GROUPS,
            )
