"""What is not finite: noticed while the device computes, named when somebody reads the flags.

Shape letters: N rows (images) of a tensor. A NaN or an infinity need not reach a loss: regions may
be pooled from elsewhere, an IoU with a NaN counts as 0. Who computes what must be finite says so by
:func:`watch`, which costs one sum and never makes the host wait; who makes a training step enters a
:class:`Watch`, reads one flag, and asks for the names where it is set. Outside of a Watch nothing
is done. :class:`Snapshot` puts back what a refused step has changed, :func:`bad_gradients` names
gradients. Nothing watched, no tensors, no gradients: nothing is wrong.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

_active: ContextVar["Watch | None"] = ContextVar("watch", default=None)


class Watch:
    """Takes note of what :func:`watch` is told while it is entered."""

    def __init__(self):
        self._sums: list[Tensor] = []  # (N,) or (1,) each
        self._names: list[Callable[[int], str]] = []

    def __enter__(self) -> "Watch":
        self._token = _active.set(self)
        return self

    def __exit__(self, *_) -> None:
        _active.reset(self._token)

    def add(self, sums: Tensor, name: Callable[[int], str]) -> None:
        """Take note of (N,) sums, and of how each of them is called."""
        self._sums.append(sums)
        self._names.append(name)

    def flag(self, device: torch.device) -> Tensor:
        """() boolean on the device: something is not finite."""
        if not self._sums:
            return torch.zeros((), dtype=torch.bool, device=device)
        return ~torch.cat(self._sums).isfinite().all()

    def names(self) -> list[str]:
        """What is not finite, in the order in which it was computed."""
        return [
            f"NaN or infinity in {name(row)}"
            for sums, name in zip(self._sums, self._names, strict=True)
            for row in (~sums.isfinite()).nonzero().flatten().tolist()
        ]


def watch(name: str, values: Tensor, row: Callable[[int], str] | None = None) -> None:
    """Say that ``values`` must be finite; sums over float32's range count as infinite.

    Args:
        name: of the values.
        row: makes of the number of a row of ``values`` (N, ...) what it is called; where None, the
            values have one name together.
    """
    current = _active.get()
    if current is None:
        return
    rows = values.detach()[None] if row is None else values.detach()
    sums = rows.flatten(1).sum(dim=1, dtype=torch.float32)
    current.add(sums, lambda i: name if row is None else f"{name} of {row(i)}")


def image_name(item: Mapping[str, Any], number: int) -> str:
    """What an image of a batch is called: its number there, and its video and frame or its file."""
    if "video_id" in item and "frame_index" in item:
        return f"image {number} (video {item['video_id']}, frame {item['frame_index']})"
    if "file_name" in item:
        return f"image {number} ({item['file_name']})"
    return f"image {number}"


def bad_true_boxes(boxes: Sequence[Tensor], names: Callable[[int], str]) -> list[str]:
    """Names the first box of each image, (G, 4) on the CPU, that is not finite.

    Args:
        names: makes of an image's number what it is called.
    """
    finite = [given.isfinite().all(dim=1) for given in boxes]
    return [
        f"true box {boxes[i][~good][0].tolist()} of {names(i)}"
        for i, good in enumerate(finite)
        if not good.all()
    ]


def refuse_bad_true_boxes(boxes: Sequence[Tensor]) -> None:
    """Refuse them.

    Raises:
        FloatingPointError: what :func:`bad_true_boxes` names.
    """
    problems = bad_true_boxes(boxes, lambda i: f"image {i}")
    if problems:
        raise FloatingPointError(summarize(problems))


def gradient_norms(parameters: Iterable[nn.Parameter]) -> Tensor:
    """(G,) norms of the G gradients that there are; one that overflows is not finite either.

    Its square would overflow in the optimizer's state (AdamW) as well.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(0)
    return torch.stack(torch._foreach_norm(gradients))


def bad_gradients(named_parameters: Iterable[tuple[str, nn.Parameter]]) -> list[str]:
    """The parameters' names whose gradients :func:`gradient_norms` finds not finite."""
    named = [(name, p) for name, p in named_parameters if p.grad is not None]
    finite = gradient_norms([p for _, p in named]).isfinite().tolist()
    return [
        f"NaN or infinity in the gradient of {name}"
        for (name, _), good in zip(named, finite, strict=True)
        if not good
    ]


def training_buffers(module: nn.Module) -> list[Tensor]:
    """Buffers of the parts in training mode, such as statistics of batch norm."""
    return [b for m in module.modules() if m.training for b in m.buffers(recurse=False)]


class Snapshot:
    """Keeps the values of tensors, to put them back.

    Args:
        tensors: they are changed in place, by others and by :meth:`restore`.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self.tensors = list(tensors)
        self._kept = [t.detach().clone() for t in self.tensors]

    @torch.no_grad()
    def save(self) -> None:
        """Keep what the tensors are now."""
        if self.tensors:
            torch._foreach_copy_(self._kept, self.tensors)

    @torch.no_grad()
    def restore(self) -> None:
        """Make them again what they were when last kept."""
        if self.tensors:
            torch._foreach_copy_(self.tensors, self._kept)


def summarize(problems: Sequence[str], limit: int = 4) -> str:
    """The first few in one line, and how many more there are."""
    more = [f"{len(problems) - limit} more"] if len(problems) > limit else []
    return "; ".join([*problems[:limit], *more])
