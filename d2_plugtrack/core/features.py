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
    return torch.cat([_repeat_up(_pool_down(m, size), size) for m in maps], dim=1)


def reduce_stages(maps: Sequence[Tensor], weight: Tensor, target: int) -> Tensor:
    """What a 1x1 convolution without bias makes of :func:`concatenate_stages`.

    Neither the concatenated map nor its coarse stages at full size are made: the parts of a
    convolution add up, and cells may be repeated after it as well as before. The four
    stages of an HRNet-W32 need 0.30 of the multiplications, an FPN's three 0.75; a map that comes
    concatenated, as the light model's, all of them.

    Args:
        maps: (N, C_i, H_i, W_i) each.
        weight: (D, sum of C_i, 1, 1).
        target: index of the map whose size the others take.

    Returns:
        (N, D, H, W), equal up to rounding.
    """
    size = maps[target].shape[-2:]
    parts = weight.split([m.shape[1] for m in maps], dim=1)
    reduced = F.conv2d(maps[target], parts[target])
    for i, feature_map in enumerate(maps):
        if i != target:
            reduced += _repeat_up(F.conv2d(_pool_down(feature_map, size), parts[i]), size)
    return reduced


def _pool_down(feature_map: Tensor, size: tuple[int, int]) -> Tensor:
    """A finer map at ``size``; others as they are."""
    if feature_map.shape[-2:] == size or not _is_finer(feature_map, size):
        return feature_map
    return F.adaptive_max_pool2d(feature_map, size)


def _repeat_up(feature_map: Tensor, size: tuple[int, int]) -> Tensor:
    """A coarser map at ``size``; others as they are."""
    if _is_finer(feature_map, size):
        return feature_map
    return F.interpolate(feature_map, size=size, mode="nearest")


def _is_finer(feature_map: Tensor, size: tuple[int, int]) -> bool:
    return feature_map.shape[-2] >= size[0] and feature_map.shape[-1] >= size[1]


def zero_outside_images_(
    features: Tensor, image_sizes: Sequence[tuple[int, int]], stride: float
) -> Tensor:
    """Zero the cells of (N, C, H, W) maps that lie wholly beyond their image (batch padding).

    In place: a map is large, and the host knows what to cut, so that no device is asked.

    Args:
        features: maps of N frames padded to one size.
        image_sizes: N times (height, width) of the frame in pixels, before padding.
        stride: pixels per cell.

    Returns:
        ``features``.
    """
    for index, (height, width) in enumerate(image_sizes):
        # by index: autograd lets no views that come several at a time be changed in place
        features[index, :, math.ceil(height / stride) :] = 0
        features[index, :, :, math.ceil(width / stride) :] = 0
    return features
