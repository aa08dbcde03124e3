"""How long methods take, each without what other watched methods inside it take.

On CUDA the device's own clock counts, between events that stand in its queue before and after the
call: nothing waits for anything until the figures are asked for. On the CPU it is the wall's.
A method that is never called takes nothing.
"""

import functools
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest.mock import patch

import torch


class _Span(NamedTuple):
    name: str
    start: Any
    parent: int | None  # its place in the list of spans
    end: Any = None


class Stopwatch:
    """``with Stopwatch(device) as watch``: methods are watched until the block ends."""

    def __init__(self, device: torch.device):
        self._device = device
        self._patches = ExitStack()
        self._spans: list[_Span] = []
        self._open: list[int] = []

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *error) -> None:
        self._patches.close()

    def watch(self, owner: object, method: str, name: str) -> None:
        """Count the time of ``owner.method`` to ``name``, together with others of that name.

        Of this object only, not of its class; a module's ``forward`` serves as well.
        """
        timed = self._timed(getattr(owner, method), name)
        self._patches.enter_context(patch.object(owner, method, timed))

    def take_milliseconds(self) -> dict[str, float]:
        """The time of each name since the last call of this."""
        synchronize(self._device)
        spans, self._spans = self._spans, []
        total = Counter()
        for span in spans:
            spent = self._milliseconds(span)
            total[span.name] += spent
            if span.parent is not None:
                total[spans[span.parent].name] -= spent
        return dict(total)

    def _timed(self, method: Callable, name: str) -> Callable:
        @functools.wraps(method)
        def timed(*args, **kwargs):
            index = len(self._spans)
            parent = self._open[-1] if self._open else None
            self._spans.append(_Span(name, self._now(), parent))
            self._open.append(index)
            try:
                return method(*args, **kwargs)
            finally:
                self._open.pop()
                self._spans[index] = self._spans[index]._replace(end=self._now())

        return timed

    def _now(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _milliseconds(self, span: _Span) -> float:
        if self._device.type == "cuda":
            return span.start.elapsed_time(span.end)
        return 1e3 * (span.end - span.start)


def synchronize(device: torch.device) -> None:
    """Wait until a CUDA device has done what it was given; others never have anything open."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
