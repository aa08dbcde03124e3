"""Frame results as numpy arrays on the CPU, many frames in few transfers.

Shape letters: F frames, B boxes of a frame, B' of the frame before, K foreground classes, M cells
of a mask's side. Boxes are xyxy in pixels of the frame. Half precision becomes float32, which has
all its values. No frames give no frames.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .tfd import FrameResult


class HostFrame(NamedTuple):
    """What re-scoring needs of a :class:`FrameResult`, and what goes along with it."""

    boxes: np.ndarray  # (B, 4)
    scores: np.ndarray  # (B, K)
    mapped_boxes: np.ndarray  # (B', 4)
    masks: np.ndarray | None  # (B, M, M) float32


def to_host(results: Sequence[FrameResult]) -> list[HostFrame]:
    """F results of any device."""
    columns = [[getattr(r, name) for r in results] for name in ("boxes", "scores", "mapped_boxes")]
    return [
        HostFrame(*fields)
        for fields in zip(
            *map(split_on_host, columns), _masks_to_numpy([r.masks for r in results]), strict=True
        )
    ]


def _masks_to_numpy(masks: list[Tensor | None]) -> list[np.ndarray | None]:
    """The same for masks, of which every frame may have its own size, or none."""
    flat = iter(split_on_host([m.float().flatten() for m in masks if m is not None]))
    return [None if m is None else next(flat).reshape(m.shape) for m in masks]


def split_on_host(per_frame: Sequence[Tensor]) -> list[np.ndarray]:
    """Tensors (N, ..) of any device, alike but for N, as parts of one array."""
    if not per_frame:
        return []
    together = torch.cat(per_frame).detach()
    if together.dtype in (torch.float16, torch.bfloat16):
        together = together.float()
    ends = np.cumsum([len(values) for values in per_frame])
    return np.split(together.cpu().numpy(), ends[:-1])


def flatten_masks(masks: Sequence[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray]:
    """Masks of F frames in one array (cells,) float32, and their sides (F,): -1 for None."""
    flat = [np.zeros(0, np.float32), *(m.ravel() for m in masks if m is not None)]
    sides = [-1 if m is None else m.shape[-1] for m in masks]
    return np.concatenate(flat, dtype=np.float32), np.array(sides, np.int32)


def mask_starts(sizes: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Where the masks of each of F frames begin in that array, and its length: (F + 1,).

    Args:
        sizes: (F,) boxes of each frame.
    """
    cells = np.where(sides < 0, 0, sizes * sides.astype(np.int64) ** 2)
    return np.concatenate([[0], np.cumsum(cells)])


def unflatten_masks(cells: np.ndarray, size: int, side: int) -> np.ndarray | None:
    """The masks of one frame from its part of that array."""
    return None if side < 0 else cells.reshape(size, side, side)
