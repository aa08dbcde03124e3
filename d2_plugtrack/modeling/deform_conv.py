"""Deformable convolution (DCN, DCNv2) that trains on the CPU and on CUDA alike.

Shape letters: N images, C channels, H, W of the input, H', W' of the output, k of the kernel's
points. detectron2's own layers need its compiled part, have no CPU path when modulated, and ignore
groups on the CPU when not; this one is torchvision's, with detectron2's parameter names, so that
a checkpoint of one is a checkpoint of the other. An empty batch gives an empty batch.

:func:`deform_block` turns a plain bottleneck block of detectron2 into its deformable one, whose
``forward`` stays detectron2's. The backbone built of them is in ``resnext_dcn.py``.
"""

from ..prerequisites import require_detectron2

require_detectron2()

import math
from collections.abc import Callable

import torch
import torchvision
from detectron2.layers import CNNBlockBase, Conv2d
from detectron2.modeling.backbone.resnet import BottleneckBlock, DeformBottleneckBlock
from torch import Tensor, nn


class DeformConv2d(torchvision.ops.DeformConv2d):
    """torchvision's layer, in float32 at least, followed by a norm and an activation.

    Parameters are ``weight``, ``bias`` where there is one, and ``norm.*``.

    Args:
        args, kwargs: those of ``torchvision.ops.DeformConv2d``.
        norm: applied to the result.
        activation: applied last.
    """

    def __init__(
        self,
        *args,
        norm: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """Convolve ``x`` at displaced points.

        Args:
            x: (N, C, H, W).
            offset: (N, 2 k, H', W') for each group of channels that moves together, which is
                as many times the channels; y before x, point by point, in cells.
            mask: (N, k, H', W') likewise, the weight of each point (DCNv2); all 1 where None.

        Returns:
            (N, C', H', W') in the type of ``x``; on the CPU all NaN of an image with a NaN offset.
        """
        dtype = torch.promote_types(x.dtype, torch.float32)
        lost = _images_to_lose(offset)
        if lost is not None:
            offset = offset.nan_to_num()
        with torch.autocast(x.device.type, enabled=False):  # half positions are not precise enough
            out = torchvision.ops.deform_conv2d(
                x.to(dtype),
                offset.to(dtype),
                self.weight.to(dtype),
                None if self.bias is None else self.bias.to(dtype),
                stride=self.stride,
                padding=self.padding,
                dilation=self.dilation,
                mask=None if mask is None else mask.to(dtype),
            ).to(x.dtype)
        if lost is not None:
            out = out.masked_fill(lost[:, None, None, None], math.nan)
        if self.norm is not None:
            out = self.norm(out)
        return out if self.activation is None else self.activation(out)


def _images_to_lose(offset: Tensor) -> Tensor | None:
    """(N,) booleans of images with a NaN, None where there are none; asked on the CPU only.

    There torchvision's operator would end the process on them.
    """
    if offset.device.type != "cpu":
        return None
    bad = offset.isnan().flatten(1).any(dim=1)
    return bad if bad.any() else None


class _DeformBlock(DeformBottleneckBlock):
    """detectron2's deformable block of a plain block's parts, without its own compiled layers."""

    def __init__(self, plain: BottleneckBlock, modulated: bool, deform_groups: int):
        CNNBlockBase.__init__(self, plain.in_channels, plain.out_channels, plain.stride)
        self.deform_modulated = modulated
        self.shortcut, self.conv1 = plain.shortcut, plain.conv1
        conv = plain.conv2
        place = {
            name: getattr(conv, name) for name in ("kernel_size", "stride", "padding", "dilation")
        }
        numbers = (3 if modulated else 2) * conv.kernel_size[0] * conv.kernel_size[1]
        self.conv2_offset = Conv2d(conv.in_channels, numbers * deform_groups, **place)
        nn.init.zeros_(self.conv2_offset.weight)  # a plain convolution to begin with (DCN, Sec. 2)
        nn.init.zeros_(self.conv2_offset.bias)
        self.conv2 = DeformConv2d(
            conv.in_channels,
            conv.out_channels,
            groups=conv.groups,
            bias=conv.bias is not None,
            norm=conv.norm,
            activation=conv.activation,
            **place,
        )
        self.conv2.load_state_dict(conv.state_dict())
        self.conv3 = plain.conv3  # last: detectron2's order of parameters


def deform_block(
    plain: BottleneckBlock, *, modulated: bool, deform_groups: int
) -> DeformBottleneckBlock:
    """The deformable block in place of a plain one, with the plain one's layers and weights.

    Its state has the names of detectron2's DeformBottleneckBlock. Until ``conv2_offset``, which
    starts at zero, has learned anything, it samples where the plain block does.

    Args:
        modulated: DCNv2; the mask starts at 1/2 everywhere.
        deform_groups: groups of channels that move together.
    """
    block = _DeformBlock(plain, modulated, deform_groups)
    if not any(parameter.requires_grad for parameter in plain.conv1.parameters()):
        block.freeze()
    return block
