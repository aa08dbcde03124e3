"""The light detector's backbone: HRNet by timm, its four branches as one map (Fig. 9).

Shape letters: N images, H, W of the image, C channels. The branches at strides 4, 8, 16 and 32
(HRNet-W32: 32, 64, 128, 256 channels) are brought to the second's size and concatenated: RPN,
R-CNN and the tracker all work on this one map, ``hrnet``, at stride 8 (HRNet-W32: 480 channels).
Weights come later; ``imagenet_weights.py`` loads those of ImageNet.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from detectron2.config import CfgNode
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from ..core.features import concatenate_stages
from ..errors import UserError

NORMS = ("FrozenBN", "BN", "SyncBN")
TARGET = 1  # the branch whose size the others take


class HRNetBackbone(Backbone):
    """One map, ``hrnet``, of timm's HRNet.

    Args:
        net: timm's features-only HRNet, its four raw branches as outputs.
        freeze_at: 0 freezes nothing, 1 the stem (two convolutions), 2 also the first stage
            (``layer1``), as with detectron2's ResNet. Frozen batch norms keep their statistics.
    """

    def __init__(self, net: nn.Module, freeze_at: int = 0):
        super().__init__()
        self.net = net
        channels, strides = net.feature_info.channels(), net.feature_info.reduction()
        self._out_features = ["hrnet"]
        self._out_feature_channels = {"hrnet": sum(channels)}
        self._out_feature_strides = {"hrnet": strides[TARGET]}
        self._size_divisibility = max(strides)
        if not 0 <= freeze_at <= 2:
            raise UserError(
                f"MODEL.BACKBONE.FREEZE_AT {freeze_at}: an HRNet expects 0 (nothing), 1 (the stem) "
                "or 2 (the stem and the first stage)"
            )
        frozen = ["conv1", "bn1", "conv2", "bn2", "layer1"][: (0, 4, 5)[freeze_at]]
        for name in frozen:
            module = getattr(net, name).requires_grad_(False)
            setattr(net, name, FrozenBatchNorm2d.convert_frozen_batchnorm(module))

    @property
    def size_divisibility(self) -> int:
        """What height and width of a batch must be multiples of: 32."""
        return self._size_divisibility

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) images to ``{"hrnet": (N, C, H / 8, W / 8)}``."""
        return {"hrnet": concatenate_stages(self.net(images), TARGET)}


@BACKBONE_REGISTRY.register()
def build_hrnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> HRNetBackbone:
    """The HRNet that ``MODEL.HRNET`` and ``MODEL.BACKBONE.FREEZE_AT`` describe, untrained.

    Raises:
        UserError: no timm, no such HRNet in it, or another norm or FREEZE_AT than there is.
    """
    keys = cfg.MODEL.HRNET
    if keys.NORM not in NORMS:
        raise UserError(f"MODEL.HRNET.NORM {keys.NORM}: expected one of {', '.join(NORMS)}")
    net = _create_hrnet(keys.NAME, input_shape.channels)
    if keys.NORM == "FrozenBN":
        net = FrozenBatchNorm2d.convert_frozen_batchnorm(net)
    elif keys.NORM == "SyncBN":
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    return HRNetBackbone(net, cfg.MODEL.BACKBONE.FREEZE_AT)


def _create_hrnet(name: str, in_channels: int) -> nn.Module:
    timm = import_timm(f"MODEL.HRNET.NAME {name}")
    known = timm.list_models("hrnet*")
    if name not in known:
        raise UserError(f"MODEL.HRNET.NAME {name}: expected one of {', '.join(known)}")
    return timm.create_model(
        name,
        pretrained=False,
        in_chans=in_channels,
        features_only=True,
        feature_location="",  # the branches themselves, not widened for classification
        out_indices=(1, 2, 3, 4),
    )


def import_timm(purpose: str):
    """timm, which only HRNet and timm's own weights need.

    Raises:
        UserError: it is not installed; the message begins with ``purpose``.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError(f'{purpose} needs timm: pip install "timm>=1.0.9"') from error
    return timm
