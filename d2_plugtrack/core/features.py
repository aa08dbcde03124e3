"""Several stages of a backbone to the one map that the tracker pools from (Figs. 9 and 10).

Shape letters: N frames, C channels, H, W of a map. A list of maps of any sizes goes in, one map
of the size of a chosen one comes out. Pooling regions from that map is in ``tracker.py``.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def concatenate_stages(maps: Sequence[Tensor], target: int) -> Tensor:
    """Resize every map to the size of ``maps[target]`` and concatenate them.

    Finer maps come down by adaptive max pooling, coarser ones go up by nearest neighbour
    (concatenated, not averaged).

    Args:
        maps: (N, C_i, H_i, W_i) each.
        target: index of the map whose size the others take.

    Returns:
        (N, sum of C_i, H, W), ``H, W`` those of ``maps[target]``.
    """
    size = maps[target].shape[-2:]
    return torch.cat([_resize(m, size) for m in maps], dim=1)


def _resize(feature_map: Tensor, size: tuple[int, int]) -> Tensor:
    if feature_map.shape[-2:] == size:
        return feature_map
    if feature_map.shape[-2] >= size[0] and feature_map.shape[-1] >= size[1]:
        return F.adaptive_max_pool2d(feature_map, size)
    return F.interpolate(feature_map, size=size, mode="nearest")


def zero_outside_images(
    features: Tensor, image_sizes: Sequence[tuple[int, int]], stride: float
) -> Tensor:
    """Zero the cells of (N, C, H, W) maps that lie wholly beyond their image (batch padding).

    Args:
        features: maps of N frames padded to one size.
        image_sizes: N times (height, width) of the frame in pixels, before padding.
        stride: pixels per cell.
    """
    height, width = features.shape[-2:]
    cells = [(math.ceil(h / stride), math.ceil(w / stride)) for h, w in image_sizes]
    rows, columns = torch.tensor(cells, device=features.device).reshape(-1, 2, 1).unbind(1)
    beyond_rows = torch.arange(height, device=features.device) >= rows
    beyond_columns = torch.arange(width, device=features.device) >= columns
    beyond = beyond_rows[:, None, :, None] | beyond_columns[:, None, None, :]
    return features.masked_fill(beyond, 0.0)
