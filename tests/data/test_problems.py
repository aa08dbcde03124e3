"""Problems are raised where strict, and otherwise counted by kind with the first of each."""

import pytest

from d2_plugtrack.data.problems import Problems
from d2_plugtrack.errors import UserError


def test_strict_raises_the_message():
    problems = Problems()
    with pytest.raises(UserError, match=r"^a\.xml: expected a box$"):
        problems.report("boxes without area", "a.xml: expected a box")
    assert problems.counts == {} and problems.summary() == ""


def test_otherwise_they_are_counted_by_kind_with_the_first_of_each():
    problems = Problems(strict=False)
    for name in "abc":
        problems.report("missing images", f"{name}: none")
    problems.report("boxes without area", "d: a line")
    assert problems.counts == {"missing images": 3, "boxes without area": 1}
    assert problems.summary() == (
        "left out 3 missing images; the first: a: none\n"
        "left out 1 boxes without area; the first: d: a line"
    )
