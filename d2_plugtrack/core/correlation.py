"""Depth-wise cross-correlation of a template with a search window (Fig. 3).

Shape letters: R regions, C channels. Size law: a template of ``h x w`` slid over a window of
``H x W`` without padding gives ``(H - h + 1) x (W - w + 1)``: 7x7 on 21x21 gives 15x15.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def depthwise_correlation(template: Tensor, search: Tensor) -> Tensor:
    """Correlate each channel of each region with its own template.

    One grouped convolution over ``R * C`` groups, in float32 even under autocast: products of
    7x7 features around 40 overflow float16.

    Args:
        template: (R, C, h, w), what is looked for.
        search: (R, C, H, W), where it is looked for, ``H >= h`` and ``W >= w``.

    Returns:
        (R, C, H - h + 1, W - w + 1) in float32; ``R = 0`` gives an empty tensor of that shape.
    """
    regions, channels, height, width = search.shape
    size = (height - template.shape[2] + 1, width - template.shape[3] + 1)
    if regions == 0:
        return search.new_zeros((0, channels, *size), dtype=torch.float32)
    with torch.autocast(search.device.type, enabled=False):
        response = F.conv2d(
            search.float().reshape(1, regions * channels, height, width),
            template.float().reshape(regions * channels, 1, *template.shape[2:]),
            groups=regions * channels,
        )
    return response.reshape(regions, channels, *size)
