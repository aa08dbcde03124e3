"""The scale-adaptive convolutional regression tracker and its losses (Sec. 4, Figs. 3 and 4).

Shape letters: N frames, R regions over all frames, C channels of the tracking map, D channels
inside the tracker. Boxes are xyxy in pixels of the network's input.

A 7x7 template pooled inside a box of the previous frame is correlated, channel by channel, with a
21x21 window pooled from three times the box in the current frame; the box there and the IoU that
this box will have are regressed. Zero boxes give zero outputs; non-finite and far-away boxes are
bounded before RoIAlign, which would crash on them. Which boxes are tracked is decided in
``tfd.py``, which regions train in ``sampling.py``.

The first convolution of a branch has no bias and nothing before it, so that it may be done on the
map ahead of RoIAlign. Frame by frame it is (:meth:`TrackerHead.follow`): once a frame, then 256
channels are pooled instead of 480 or 768, and templates are kept instead of a map. Milliseconds on
one core, map included, so and as :meth:`TrackerHead.track` does: R50-FPN at 600 pixels 51 and 31
with 1 box, 63 and 93 with 10, 116 and 258 with 30; HRNet-W32, its four stages
apart, 56 and 25, 88 and 120, 176 and 320.
What is lost below some five boxes is little beside a detector, and not worth a rule.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from .boxes import aligned_iou, bound_boxes, clip_boxes, decode_boxes, encode_boxes, expand_boxes
from .correlation import depthwise_correlation
from .features import concatenate_stages, reduce_stages, zero_outside_images_
from .finite import watch


class Tracked(NamedTuple):
    """Where boxes of the previous frame went."""

    boxes: Tensor  # (R, 4) in the current frame, clipped to it
    scores: Tensor  # (R,) predicted IoU with the object, in [0, 1]; NaN where no box was found


class Templates(NamedTuple):
    """What tracking from one frame into the next needs of the first one."""

    boxes: Tensor  # (R, 4) in that frame
    features: Tensor  # (R, D, 7, 7), in float32


class Comparison(NamedTuple):
    """What boxes look like, where they are looked for, and how alike both are; in float32."""

    template: Tensor  # (R, D, 7, 7)
    search: Tensor  # (R, D, 21, 21)
    response: Tensor  # (R, D, 15, 15) their correlation


class _ConvBlock(nn.Sequential):
    """1x1 convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, norm: Callable[[int], nn.Module]):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
            norm(out_channels),
            nn.ReLU(inplace=True),
        )
        nn.init.kaiming_normal_(self[0].weight, mode="fan_out", nonlinearity="relu")

    def after_convolution(self, convolved: Tensor) -> Tensor:
        """The rest of the block, on what is convolved already."""
        return self[2](self[1](convolved))


class TrackerHead(nn.Module):
    """Regresses boxes from one frame to the next on the detector's own features.

    Args:
        in_features: names of the detector's maps to use.
        in_channels: their channels, in the same order.
        target: index in ``in_features`` of the map whose size the others take.
        stride: pixels per cell of that map.
        channels: D, filters of every convolution inside (the paper: 256).
        template_size: bins of the template (7).
        search_factor: k, size of the search window over that of the box (3).
        box_weights: inverse standard deviations of the deltas (10, 10, 5, 5).
        smooth_l1_beta: of both losses (1).
        iou_loss_weight: of the IoU loss beside the box loss (1).
        norm: batch norm of so many channels, with the names of ``nn.BatchNorm2d``.
    """

    def __init__(
        self,
        *,
        in_features: Sequence[str],
        in_channels: Sequence[int],
        target: int,
        stride: float,
        channels: int,
        template_size: int,
        search_factor: int,
        box_weights: Sequence[float],
        smooth_l1_beta: float,
        iou_loss_weight: float,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        self.in_features = tuple(in_features)
        self.target = target
        self.stride = stride
        self.template_size = template_size
        self.search_factor = search_factor
        self.box_weights = tuple(box_weights)
        self.smooth_l1_beta = smooth_l1_beta
        self.iou_loss_weight = iou_loss_weight
        self.template_block = _ConvBlock(sum(in_channels), channels, norm)
        self.search_block = _ConvBlock(sum(in_channels), channels, norm)
        self.response_block = _ConvBlock(channels, channels, norm)
        self.shared = nn.Conv2d(channels, channels, kernel_size=1)
        response_size = (search_factor - 1) * template_size + 1
        self.box_branch = nn.Linear(channels * response_size**2, 4)
        self.iou_branch = nn.Linear(channels * response_size**2, 1)
        for branch in (self.box_branch, self.iou_branch):
            nn.init.normal_(branch.weight, std=0.001)
            nn.init.zeros_(branch.bias)

    def tracking_map(
        self, features: Mapping[str, Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """The (N, C, H, W) map to pool from: chosen stages as one, zero outside the images.

        Args:
            features: the detector's maps of N frames by name.
            image_sizes: (height, width) of each frame before padding.
        """
        merged = concatenate_stages([features[name] for name in self.in_features], self.target)
        return zero_outside_images_(merged, image_sizes, self.stride)

    def forward(
        self, prev_maps: Tensor, curr_maps: Tensor, boxes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Regress boxes of N previous frames into the N current ones.

        Args:
            prev_maps, curr_maps: (N, C, H, W) tracking maps.
            boxes: N tensors of (R_i, 4) boxes in the previous frames, R of them in all.

        Returns:
            (R, 4) deltas and (R,) IoU scores in [0, 1], in the order of the boxes; in float32
            even under autocast, because responses overflow float16.
        """
        with torch.autocast(prev_maps.device.type, enabled=False):
            return self._regress(prev_maps.float(), curr_maps.float(), boxes)

    def _regress(
        self, prev_maps: Tensor, curr_maps: Tensor, boxes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        # Zero boxes take the same way: every parameter gets a gradient, and batch norm that is
        # shared between processes gets the part it waits for.
        template = self.template_block(self._pool_templates(prev_maps, boxes))
        search = self.search_block(self._pool_windows(curr_maps, boxes))
        return self._compare(template, search)

    def _compare(self, template: Tensor, search: Tensor) -> tuple[Tensor, Tensor]:
        response = depthwise_correlation(template, search)
        shared = self.shared(self.response_block(response)).flatten(1)
        return self.box_branch(shared), self.iou_branch(shared).squeeze(1).sigmoid()

    def _pool_templates(self, maps: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        return self._pool(maps, [self._bound(b, maps) for b in boxes], self.template_size)

    def _pool_windows(self, maps: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        windows = [expand_boxes(self._bound(b, maps), self.search_factor) for b in boxes]
        return self._pool(maps, windows, self.search_factor * self.template_size)

    def _bound(self, boxes: Tensor, maps: Tensor) -> Tensor:
        """Finite boxes at most one map beyond the map: further off there are only zeros.

        Where NaN became 0 corners may be the wrong way round, which RoIAlign would crash on.
        """
        height, width = (self.stride * cells for cells in maps.shape[-2:])
        finite = torch.nan_to_num(boxes.to(maps.dtype))
        x1, y1, x2, y2 = bound_boxes(finite, (height, width)).unbind(dim=1)
        low, high = (pick(x1, x2) for pick in (torch.minimum, torch.maximum))
        top, bottom = (pick(y1, y2) for pick in (torch.minimum, torch.maximum))
        return torch.stack([low, top, high, bottom], dim=1)

    def _pool(self, maps: Tensor, boxes: list[Tensor], size: int) -> Tensor:
        return roi_align(
            maps,
            boxes,
            output_size=size,
            spatial_scale=1.0 / self.stride,
            sampling_ratio=0,  # adaptive: a bin averages all its samples
            aligned=True,
        )

    def track(
        self, prev_map: Tensor, curr_map: Tensor, boxes: Tensor, image_size: tuple[int, int]
    ) -> Tracked:
        """Track (R, 4) boxes of one frame into the next one of ``(height, width)``.

        Args:
            prev_map, curr_map: (C, H, W) tracking maps of the two frames.
        """
        deltas, scores = self(prev_map[None], curr_map[None], [boxes])
        return self._tracked(deltas, scores, boxes, image_size)

    def _tracked(
        self, deltas: Tensor, scores: Tensor, boxes: Tensor, image_size: tuple[int, int]
    ) -> Tracked:
        moved = decode_boxes(deltas, boxes, self.box_weights)
        unknown = 0 * deltas.sum(dim=1)  # NaN where a delta is not finite: clipping makes it a box
        return Tracked(clip_boxes(moved, image_size), scores + unknown)

    # ---- the same frame by frame -------------------------------------------------------------

    @torch.no_grad()
    def reduced_maps(
        self, features: Mapping[str, Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """The (N, 2 D, H, W) maps that :meth:`remember` and :meth:`follow` pool from.

        They are :meth:`tracking_map` after the first convolutions of both branches, templates'
        channels first, in float32. Arguments as there.
        """
        maps = [features[name] for name in self.in_features]
        weight = torch.cat([self.template_block[0].weight, self.search_block[0].weight])
        with torch.autocast(weight.device.type, enabled=False):
            reduced = reduce_stages([m.float() for m in maps], weight, self.target)
        return zero_outside_images_(reduced, image_sizes, self.stride)

    def remember(self, reduced_map: Tensor, boxes: Tensor) -> Templates:
        """What (R, 4) boxes of one frame look like, for :meth:`follow` in the next one.

        Args:
            reduced_map: (2 D, H, W) of their frame, which need not be kept after it.
        """
        with torch.autocast(reduced_map.device.type, enabled=False):
            template, _ = reduced_map[None].chunk(2, dim=1)
            pooled = self._pool_templates(template, [boxes])
            return Templates(boxes, self.template_block.after_convolution(pooled))

    def follow(
        self, templates: Templates, reduced_map: Tensor, image_size: tuple[int, int]
    ) -> Tracked:
        """Track what was remembered into a frame of ``(height, width)``: as :meth:`track` does.

        Args:
            reduced_map: (2 D, H, W) of this frame.
        """
        boxes, template = templates
        with torch.autocast(reduced_map.device.type, enabled=False):
            deltas, scores = self._compare(template, self._look(boxes, reduced_map))
        return self._tracked(deltas, scores, boxes, image_size)

    def compare(self, templates: Templates, reduced_map: Tensor) -> Comparison:
        """What :meth:`follow` reads box and IoU from; the arguments are the same."""
        with torch.autocast(reduced_map.device.type, enabled=False):
            search = self._look(templates.boxes, reduced_map)
        response = depthwise_correlation(templates.features, search)
        return Comparison(templates.features, search, response)

    def _look(self, boxes: Tensor, reduced_map: Tensor) -> Tensor:
        """(R, D, 21, 21) features of the windows around boxes."""
        _, search = reduced_map[None].chunk(2, dim=1)
        return self.search_block.after_convolution(self._pool_windows(search, [boxes]))

    # ---- training ----------------------------------------------------------------------------

    def losses(
        self,
        deltas: Tensor,
        scores: Tensor,
        boxes: Tensor,
        targets: Tensor,
        present: Tensor,
        count: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Smooth L1 losses of the box and of its IoU, each summed and divided by ``count``.

        Args:
            deltas, scores: (R, 4) and (R,), as from :meth:`forward`.
            boxes: (R, 4) regions in the previous frame.
            targets: (R, 4) true boxes of their objects in the current frame.
            present: (R,) booleans; where False the object has left: its IoU target is 0 and it
                has no box loss, and ``targets`` is not looked at.
            count: a positive number; R, or 1 without regions, where None.
        """
        if count is None:
            count = max(len(boxes), 1)
        with torch.no_grad():
            predicted = decode_boxes(deltas, boxes, self.box_weights)
            watch("predicted boxes", predicted)
            iou_targets = torch.where(present, aligned_iou(predicted, targets), 0.0)
            delta_targets = encode_boxes(boxes[present], targets[present], self.box_weights)
        beta = self.smooth_l1_beta
        box_loss = F.smooth_l1_loss(deltas[present], delta_targets, reduction="sum", beta=beta)
        iou_loss = F.smooth_l1_loss(scores, iou_targets, reduction="sum", beta=beta)
        return {
            "loss_track_box": box_loss / count,
            "loss_track_iou": self.iou_loss_weight * iou_loss / count,
        }
