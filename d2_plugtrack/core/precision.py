"""Faster arithmetic for a frozen detector: mixed precision, channels last, compilation.

A detector names its parts (:class:`Part`), the networks that nearly all of its time goes to: the
backbone, and the heads of RPN, boxes and masks. :func:`speed_up` changes how these compute. What
leaves a part is in float32 and laid out as ever, so that everything between them stays exact:
anchors, decoding, class scores, NMS, and RoIAlign, which would round its boxes to the precision of
the maps (bfloat16: to 2 pixels beyond 256). The tracker is no part: its responses overflow float16.

Names of parameters do not change, and a speed of nothing touches nothing. No regions are no special
case: an empty batch goes through a part as ever.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from types import MethodType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bf16", "fp16"]

DTYPES: Mapping[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Speed(NamedTuple):
    """How the parts of a detector compute."""

    precision: Precision  # others than float32: mixed, by torch.autocast
    channels_last: bool  # memory format of the weights
    compile: bool  # by torch.compile, the parts that it pays for


class Part(NamedTuple):
    """A network of a detector: a module's method of tensors, or lists or mappings of them."""

    module: nn.Module
    method: str = "forward"
    compiles: bool = False  # what enters has the size of the images, not a number of regions


def speed_up(parts: Iterable[Part], speed: Speed) -> None:
    """Make the parts of a detector, in evaluation mode, compute as ``speed`` says, in place."""
    if speed == Speed("float32", channels_last=False, compile=False):
        return
    for part in parts:
        if next(part.module.parameters(), None) is None:
            continue  # an nn.Identity in a head's place, say
        if speed.channels_last:
            part.module.to(memory_format=torch.channels_last)
        method = getattr(type(part.module), part.method)
        if speed.compile and part.compiles:
            method = torch.compile(method)
        faster = _leaving_float32(method, DTYPES.get(speed.precision))
        # bound, not closed over: a copy of the module gets a method of its own
        setattr(part.module, part.method, MethodType(faster, part.module))


def _leaving_float32(method: Callable, dtype: torch.dtype | None) -> Callable:
    """The method in mixed precision (none: as it is), its results as the rest expects them."""

    def faster(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        device = next(module.parameters()).device.type
        with nullcontext() if dtype is None else torch.autocast(device, dtype):
            results = method(module, *args, **kwargs)
        return _to_float32(results)

    return faster


def _to_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        # contiguous: RoIAlign would copy maps that are channels last at every call
        return value.contiguous().float() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _to_float32(v) for key, v in value.items()}
    return [_to_float32(v) for v in value] if isinstance(value, list | tuple) else value
