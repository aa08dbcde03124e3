"""What every test gets: detectron2 or a reported skip, two threads at most, and fixed seeds.

A test that needs detectron2 has nothing to do: where detectron2 is not installed, an import of it
that a test reaches, at the top of its module, in its body or inside the package, skips the module
or the test with a reason that says how to get it. ``@pytest.mark.detectron2`` does the same before
the test's body and fixtures run: use it where the need is not an import in this process (a
subprocess), or to choose tests with ``-m "not detectron2"``.

With the environment variable ``PLUGTRACK_REQUIRE_DETECTRON2=1`` nothing is skipped for that
reason: the run stops at once, with one line.
"""

import importlib.abc
import os
import random
import sys

import numpy as np
import pytest

from d2_plugtrack.prerequisites import require_detectron2

try:
    import torch
except ImportError:
    torch = None
else:
    torch.set_num_threads(min(2, torch.get_num_threads()))

try:
    require_detectron2()
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = ""


class SkipOnDetectron2(importlib.abc.MetaPathFinder):
    """Turns an import of the missing detectron2 into a skip, wherever a test reaches it."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "detectron2":
            pytest.skip(MISSING, allow_module_level=True)


def pytest_configure():
    if not MISSING:
        return
    if os.environ.get("PLUGTRACK_REQUIRE_DETECTRON2", "0") not in ("", "0"):
        raise pytest.UsageError(f"PLUGTRACK_REQUIRE_DETECTRON2 is set, but {MISSING}")
    sys.meta_path.insert(0, SkipOnDetectron2())


def pytest_collection_modifyitems(items):
    if MISSING:
        for item in items:
            if item.get_closest_marker("detectron2"):
                item.add_marker(pytest.mark.skip(reason=MISSING))


def name_the_test(report, path, line):
    """Report a skip of the finder at the test that reached it; it is raised in this file."""
    if MISSING and report.skipped and MISSING in report.longrepr[-1]:
        report.longrepr = (str(path), line, f"Skipped: {MISSING}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return name_the_test((yield), collector.path, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    return name_the_test((yield), item.path, item.location[1] + 1)


@pytest.fixture(autouse=True)
def seeds():
    """The same random numbers for every test, whichever tests ran before it."""
    random.seed(0)
    np.random.seed(0)
    if torch is not None:
        torch.manual_seed(0)
