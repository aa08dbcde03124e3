"""What comes next is made ready while what came before is worked on.

Decoding and resizing let other threads run, and so does a detector: a frame decoded in a thread of
its own costs no time where a core is free. For any iterable; nothing gives nothing.

A thread, not a process: decoding a frame of 720p takes 3 ms of a processor's time with it or
without, and 7 through a worker of torch's DataLoader, which copies frames.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby, islice
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_END = object()


def prefetch(iterable: Iterable[T], depth: int) -> Iterator[T]:
    """The same items in the same order, taken in another thread up to ``depth`` ahead.

    An exception of the iterable's is raised where its item would have come, with its traceback.
    When the iterator is closed (also by being forgotten, or by an exception around it such as
    KeyboardInterrupt), the item under way is finished, the thread ends, and the iterable's own
    iterator is closed. Another exception while that is waited for comes through at once; the thread
    closes the iterator then, when it has finished the item.

    Args:
        depth: items that may be ready and not yet asked for; at least 1.

    Raises:
        ValueError: a depth below 1, at once.
    """
    if depth < 1:
        raise ValueError(f"depth: expected at least 1, found {depth}")
    return _prefetch(iterable, depth)


def _prefetch(iterable: Iterable[T], depth: int) -> Iterator[T]:
    items, pool, pending = iter(iterable), ThreadPoolExecutor(1, "prefetch"), deque()
    try:
        pending.extend(pool.submit(next, items, _END) for _ in range(depth))
        while (item := pending[0].result()) is not _END:
            pending.popleft()
            pending.append(pool.submit(next, items, _END))
            yield item
    finally:
        running = [future for future in pending if not (future.cancel() or future.done())]
        pending.clear()  # one that failed holds, by its traceback, this frame and what was read
        try:
            pool.shutdown()
        except BaseException:
            for future in running:  # a generator that runs can be closed by its thread alone
                future.add_done_callback(lambda _: _close(items))
            raise
        _close(items)


def batches(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Lists of at most ``size`` consecutive frames of one shape, in order.

    A frame of another shape begins another list: in a batch of several shapes the smaller ones
    would be padded, and features near the padding differ.

    Raises:
        ValueError: a size below 1, at once.
    """
    if size < 1:
        raise ValueError(f"size: expected at least 1, found {size}")
    return _batches(frames, size)


def _batches(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    with _closing(iter(frames)) as items:
        for _, same_shape in groupby(items, key=np.shape):
            while batch := list(islice(same_shape, size)):
                yield batch


@contextmanager
def _closing(items: Iterator[T]) -> Iterator[Iterator[T]]:
    try:
        yield items
    finally:
        _close(items)


def _close(items: Iterator) -> None:
    """Close a generator; other iterators have nothing to close."""
    getattr(items, "close", lambda: None)()
