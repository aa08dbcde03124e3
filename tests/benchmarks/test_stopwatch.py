"""Time inside methods, each without the watched ones inside it, by a clock that the test turns."""

import pytest
import torch
from torch import nn

from d2_plugtrack.benchmarks import stopwatch
from d2_plugtrack.benchmarks.stopwatch import Stopwatch, synchronize

CPU = torch.device("cpu")


class Clock:
    """Stands for the time module; work makes it go on."""

    now = 100.0

    def perf_counter(self):
        return self.now


class Worker:
    def __init__(self, clock):
        self.clock = clock

    def outer(self, inner_seconds):
        """3 s of its own, and the inner ones."""
        self.clock.now += 1
        for seconds in inner_seconds:
            self.inner(seconds)
        self.clock.now += 2
        return "done"

    def inner(self, seconds):
        self.clock.now += seconds
        if seconds > 50:
            raise TimeoutError


@pytest.fixture
def worker(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    return Worker(clock)


def test_what_is_inside_is_not_counted_twice(worker):
    with Stopwatch(CPU) as watch:
        watch.watch(worker, "outer", "outer")
        watch.watch(worker, "inner", "inner")
        assert worker.outer([10, 20]) == "done"
        worker.inner(5)
        # outer 1 + 2; inner 10 + 20 inside it and 5 alone
        assert watch.take_milliseconds() == pytest.approx({"outer": 3000, "inner": 35000})
        assert watch.take_milliseconds() == {}  # taken
        worker.outer([])
        assert watch.take_milliseconds() == pytest.approx({"outer": 3000})


def test_methods_of_one_name_are_added(worker):
    with Stopwatch(CPU) as watch:
        watch.watch(worker, "outer", "both")
        watch.watch(worker, "inner", "both")
        worker.outer([10])
        assert watch.take_milliseconds() == pytest.approx({"both": 13000})


def test_an_exception_passes_and_is_timed(worker):
    with Stopwatch(CPU) as watch:
        watch.watch(worker, "outer", "outer")
        watch.watch(worker, "inner", "inner")
        with pytest.raises(TimeoutError):
            worker.outer([60])
        worker.outer([1])  # after which nothing is left open
        assert watch.take_milliseconds() == pytest.approx({"outer": 4000, "inner": 61000})


def test_objects_are_as_before_afterwards(worker):
    other, module = Worker(worker.clock), nn.Identity()
    worker.inner = print  # an attribute of its own
    with Stopwatch(CPU) as watch:
        watch.watch(worker, "outer", "outer")
        watch.watch(worker, "inner", "inner")
        watch.watch(module, "forward", "module")
        other.outer([1])
        assert module(2) == 2
        assert list(watch.take_milliseconds()) == ["module"]
    assert "outer" not in vars(worker) and worker.inner is print
    assert "forward" not in vars(module)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_the_device_counts():
    device = torch.device("cuda")
    module = nn.Linear(2048, 2048, device=device)
    data = torch.zeros(2048, 2048, device=device)
    with Stopwatch(device) as watch:
        watch.watch(module, "forward", "module")
        for _ in range(20):
            module(data)
        (found,) = watch.take_milliseconds().values()
    assert found > 0
    synchronize(device)
