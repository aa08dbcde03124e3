"""The memory of a process."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from d2_plugtrack.benchmarks.machine import memory_mib, peak_mb


def test_a_process_does_not_inherit_the_peak_of_its_parent():
    np.ones(2**27)  # 1 GiB, for a moment
    assert memory_mib("VmHWM") > 1024
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert 1 < pool.submit(peak_mb).result() < 1000
