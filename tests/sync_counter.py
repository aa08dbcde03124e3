"""What would make the host wait for a GPU, counted where there is none.

:func:`on_device` marks a tensor as one of the pretended device. Whatever is computed from it is
marked too; what is brought to the CPU is not. In a :class:`SyncCounter` every call counts that
needs a value or a size from the device, or makes or copies a tensor there from the host's memory;
only an upload with ``non_blocking`` is free. Calls are those of Python's side, in C++ none is seen:
the real thing is counted by ``torch.cuda.set_sync_debug_mode``. What detectron2 and torchvision
make on the device themselves (anchors, numbers of levels) bears no mark: compare counts of the
same detector.
"""

from collections import Counter

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

READS = {"item", "tolist", "numpy", "cpu", "nonzero", "masked_select", "unique", "nms"}
READS |= {"__bool__", "__int__", "__float__", "__index__", "__contains__", "equal", "allclose"}
UPLOADS = {"to", "cuda"}
CONSTRUCTORS = {"tensor", "as_tensor", "new_tensor"}


class _DeviceTensor(Tensor):
    """Marks what it is part of by being what PyTorch passes on."""


def on_device(tensor: Tensor) -> Tensor:
    """The same tensor, marked."""
    return tensor.as_subclass(_DeviceTensor)


def is_on_device(value: object) -> bool:
    return isinstance(value, _DeviceTensor)


class SyncCounter(TorchFunctionMode):
    """Counts while it is entered; ``calls`` says how many of each kind."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    @property
    def total(self) -> int:
        return self.calls.total()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func)).rpartition("::")[2].partition(".")[0]
        marked = any(map(is_on_device, _flat([args, list(kwargs.values())])))
        uploads = name in UPLOADS and not is_on_device(args[0]) and _names_device(args, kwargs)
        if self._waits(name, args, kwargs, marked) or (uploads and not kwargs.get("non_blocking")):
            self.calls[name] += 1
        result = func(*args, **kwargs)
        if name == "cpu" or _to_cpu(name, args):
            return result.as_subclass(Tensor)
        return on_device(result) if uploads else result

    def _waits(self, name, args, kwargs, marked) -> bool:
        if name == "repeat_interleave":
            return kwargs.get("output_size") is None and isinstance(args[1], Tensor)
        if name in CONSTRUCTORS:
            return not isinstance(args[-1], Tensor) and (
                kwargs.get("device") is not None or (marked and name == "new_tensor")
            )
        if not marked:
            return False
        if name in {"__getitem__", "__setitem__", "index_put_"}:
            return any(isinstance(i, Tensor) and i.dtype == torch.bool for i in _flat([args[1]]))
        return name in READS or (name == "where" and len(args) == 1) or _to_cpu(name, args)


def _names_device(args, kwargs) -> bool:
    wanted = [*args[1:], kwargs.get("device"), kwargs.get("other")]
    return any(isinstance(w, (torch.device, Tensor)) or w == "cuda" for w in wanted)


def _to_cpu(name: str, args) -> bool:
    return name == "to" and is_on_device(args[0]) and "cpu" in args[1:]


def _flat(values):
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _flat(value)
        else:
            yield value
