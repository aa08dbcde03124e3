"""The tracker's losses on pairs of frames: regions of the one, what they became in the other.

Shape letters: N pairs, G objects of a frame, R regions. Boxes are xyxy in pixels of the network's
input. A pair without objects in its first frame gives no regions; objects may be in one frame
only. Regions are drawn by ``sampling.py``; the losses themselves are in ``tracker.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .finite import watch
from .sampling import sample_regions
from .tracker import TrackerHead


class Objects(NamedTuple):
    """The true objects of one frame."""

    boxes: Tensor  # (G, 4)
    track_ids: Tensor  # (G,) int64, the same for one object in both frames of a pair


def pair_losses(
    tracker: TrackerHead,
    prev_maps: Tensor,
    curr_maps: Tensor,
    prev_objects: Sequence[Objects],
    curr_objects: Sequence[Objects],
    region_sampling: Mapping[str, Any],
    mean_count: Callable[[Tensor], Tensor] = lambda count: count,
) -> dict[str, Tensor]:
    """``loss_track_box`` and ``loss_track_iou`` of N pairs (Sec. 4, Eq. 3).

    Args:
        prev_maps, curr_maps: (N, C, H, W) tracking maps.
        region_sampling: keyword arguments of ``sampling.sample_regions``.
        mean_count: makes of R what the losses are divided by. Where processes average their
            gradients, the mean of their R, so that they do together what one would with all
            regions: divide by the number of all. It is called once, also without regions.
    """
    samples = [
        _regions_and_targets(prev, curr, region_sampling)
        for prev, curr in zip(prev_objects, curr_objects, strict=True)
    ]
    boxes, targets, present = zip(*samples, strict=True)
    deltas, scores = tracker(prev_maps, curr_maps, boxes)
    regions = torch.cat(boxes)
    for name, values in (("regions", regions), ("box deltas", deltas), ("IoU scores", scores)):
        watch(name, values)
    count = mean_count(deltas.new_tensor(float(len(regions))))
    count = torch.where(count > 0, count, 1.0)
    return tracker.losses(deltas, scores, regions, torch.cat(targets), torch.cat(present), count)


def _regions_and_targets(
    prev: Objects, curr: Objects, region_sampling: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Regions (R, 4) of a pair, the true boxes (R, 4) to reach, and whether there is one."""
    regions = sample_regions(prev.boxes, **region_sampling)
    wanted = prev.track_ids[regions.objects]
    same = wanted[:, None] == curr.track_ids[None, :]
    present = same.any(dim=1)
    targets = torch.zeros_like(regions.boxes)
    partner = same.float().argmax(dim=1) if len(curr.boxes) else wanted
    targets[present] = curr.boxes[partner[present]]
    return regions.boxes, targets, present
