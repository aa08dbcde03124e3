"""Reading ahead: the same items in the same order, never too far ahead, and nothing left behind."""

import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import numpy as np
import pytest

from d2_plugtrack.prefetch import batches, prefetch

ROOT = Path(__file__).resolve().parent.parent
LONG = 30  # seconds after which a test fails instead of hanging


def prefetch_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("prefetch")]


class Source:
    """The numbers from 0 on, as a generator that tells what happened to it."""

    def __init__(self, stop=None):
        self.stop, self.taken, self.closed, self.threads = stop, 0, False, set()
        self.reached = [threading.Event() for _ in range(20)]

    def __iter__(self):
        try:
            while self.taken != self.stop:
                self.threads.add(threading.get_ident())
                self.taken += 1
                if self.taken < len(self.reached):
                    self.reached[self.taken].set()
                yield self.taken - 1
        finally:
            self.closed = True


@pytest.mark.parametrize("depth", [1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_the_same_items_in_the_same_order(depth, count):
    source = Source(count)
    assert list(prefetch(source, depth)) == list(range(count))
    assert source.closed and prefetch_threads() == []
    assert list(prefetch(range(count), depth)) == list(range(count))  # nothing to close


def test_another_thread_reads_while_the_consumer_works():
    source = Source()
    items = prefetch(source, 3)
    assert source.taken == 0 and prefetch_threads() == []  # nothing before it is asked for
    assert next(items) == 0
    assert source.reached[4].wait(LONG)  # the next three, without being asked
    assert threading.get_ident() not in source.threads and len(source.threads) == 1
    items.close()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_it_is_never_further_ahead_than_depth(depth):
    asked, ahead = 0, []

    def source():
        for item in range(200):
            ahead.append(item + 1 - asked)  # taken, this one included, over asked for
            yield item

    items = prefetch(source(), depth)
    for expected in range(200):
        asked += 1
        assert next(items) == expected
    assert len(ahead) == 200 and max(ahead) <= depth
    assert next(items, None) is None


def test_an_exception_comes_in_its_place_with_its_traceback():
    def source():
        yield from "ab"
        decode_badly()

    def decode_badly():
        raise OSError("frame 2")

    items = prefetch(source(), 5)
    assert [next(items), next(items)] == ["a", "b"]
    with pytest.raises(OSError, match="frame 2") as caught:
        next(items)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "decode_badly" and prefetch_threads() == []
    assert next(items, "over") == "over"


def test_an_iterable_that_cannot_be_iterated():
    with pytest.raises(TypeError, match="not iterable"):
        next(prefetch(5, 1))


def test_closing_early_ends_the_thread_and_closes_the_source():
    source = Source()
    items = prefetch(source, 2)
    next(items)
    items.close()
    assert source.closed and prefetch_threads() == []
    assert source.taken <= 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_of_the_consumer_does_too(error):
    source = Source()

    def consume():
        for item in prefetch(source, 2):
            if item == 4:
                raise error

    with pytest.raises(error):
        consume()
    assert source.closed and prefetch_threads() == []


def test_a_second_interrupt_comes_through_while_the_source_is_busy(monkeypatch):
    """The source is in the middle of an item, and the thread closes it after that item."""
    busy, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def source():
        try:
            yield 0
            busy.set()
            go_on.wait(LONG)
            yield 1
        finally:
            closed.set()

    def interrupted(*_):
        raise KeyboardInterrupt("again")

    items = prefetch(source(), 1)
    next(items)
    assert busy.wait(LONG)
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt, match="again"):
        items.throw(KeyboardInterrupt("first"))
    monkeypatch.undo()
    assert not closed.is_set()
    go_on.set()
    assert closed.wait(LONG)


def test_control_c_ends_the_process():
    code = """
from d2_plugtrack.prefetch import prefetch
def source():
    try:
        while True:
            yield bytes(10)
    finally:
        print("closed", flush=True)
for item in prefetch(source(), 2):
    print("working", flush=True)
    __import__("threading").Event().wait()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=LONG)[0] == "closed\n"
    assert process.returncode == -signal.SIGINT


def test_an_iterator_that_is_never_asked_starts_nothing():
    source = Source()
    prefetch(source, 2)
    assert not source.taken and prefetch_threads() == []


@pytest.mark.parametrize(("function", "name"), [(prefetch, "depth"), (batches, "size")])
def test_less_than_one_is_refused_at_once(function, name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, found 0"):
        function([], 0)


def frames(*heights):
    """A frame of each height, which holds its own number."""
    return [np.full((h, 4, 3), i, np.uint8) for i, h in enumerate(heights)]


@pytest.mark.parametrize(
    ("heights", "size", "expected"),
    [
        ([], 2, []),
        ([5], 2, [[0]]),
        ([5, 5, 5, 5], 2, [[0, 1], [2, 3]]),
        ([5, 5, 5], 2, [[0, 1], [2]]),
        ([5, 5, 5], 1, [[0], [1], [2]]),
        ([5, 6, 6, 5, 5, 5], 2, [[0], [1, 2], [3, 4], [5]]),  # another size, another batch
        ([5, 6, 5], 9, [[0], [1], [2]]),
    ],
)
def test_batches_have_one_shape_each(heights, size, expected):
    found = list(batches(iter(frames(*heights)), size))
    assert [[int(frame.flat[0]) for frame in batch] for batch in found] == expected
    assert all(isinstance(batch, list) for batch in found)


def test_a_batch_is_not_held_back_for_the_frame_after_it():
    taken = []

    def source():
        for frame in frames(5, 5, 5):
            taken.append(frame)
            yield frame

    assert len(next(batches(source(), 2))) == 2
    assert len(taken) == 2


def test_closing_prefetched_batches_closes_the_frames():
    closed = []

    def source():
        try:
            while True:
                yield frames(5)[0]
        finally:
            closed.append(True)

    items = prefetch(batches(source(), 3), 2)
    assert len(next(items)) == 3
    items.close()
    assert closed == [True] and prefetch_threads() == []
