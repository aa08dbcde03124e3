"""From BGR frames to what a detector takes, on its way to the detector's device.

A frame is an (H, W, 3) uint8 array. No frames give nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch


@torch.no_grad()
def prepare_frames(
    frames: Sequence[np.ndarray],
    prepare: Callable[[np.ndarray], Any] | None,
    device: torch.device,
) -> list[Any]:
    """What ``prepare`` makes of each frame, or the frame itself; in pinned memory for a GPU.

    Raises:
        ValueError: no array, or one of another shape or type or without pixels.
    """
    for frame in frames:
        _check_frame(frame)
    given = list(frames) if prepare is None else [prepare(f) for f in frames]
    return given if device.type != "cuda" else [_pinned(g) for g in given]


def _check_frame(frame: np.ndarray) -> None:
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"frame: expected an array (H, W, 3) of uint8, got {type(frame).__name__}")
    is_image = frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0
    if not is_image or frame.dtype != np.uint8:
        raise ValueError(f"frame: expected (H, W, 3) uint8, got {frame.shape} of {frame.dtype}")


def _pinned(prepared: Any) -> Any:
    """An image in detectron2's dict in pinned memory; whatever else is given stays as it is.

    From there it goes to a GPU while the processor, and what the GPU has to do, go on.
    """
    image = _image_of(prepared)
    if image is None or image.device.type != "cpu":
        return prepared
    return {**prepared, "image": image.pin_memory()}


def uploaded(prepared: Any, device: torch.device) -> Any:
    """The same on its way to the device, in the stream of the detector."""
    image = _image_of(prepared)
    if device.type != "cuda" or image is None or not image.is_pinned():
        return prepared
    return {**prepared, "image": image.to(device, non_blocking=True)}


def _image_of(prepared: Any) -> torch.Tensor | None:
    image = prepared.get("image") if isinstance(prepared, dict) else None
    return image if isinstance(image, torch.Tensor) else None
