"""Problems are raised where strict, and otherwise counted by kind with the first of each."""

import pytest

from d2_plugtrack.data.problems import Problems, one_line, shown
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


def test_several_that_are_alike_count_as_many():
    problems = Problems(strict=False)
    problems.report("missing images", "a: none", 30)
    problems.report("missing images", "b: none")
    assert problems.summary() == "left out 31 missing images; the first: a: none"


def test_messages_are_one_printable_line_of_bearable_length():
    problems = Problems(strict=False)
    found = "\0\n\x1b[31m\ud800é " + "x" * 10**6 + " end"
    problems.report("bad rows", f"list.txt, line 7: found {found}")
    message = problems.first["bad rows"]
    assert message.startswith("list.txt, line 7: found \\x00\\n\\x1b[31m\\ud800é xxx")
    assert message.endswith("xxx end") and len(message) < 1100 and message.isprintable()
    assert one_line("a: as it was") == "a: as it was"
    with pytest.raises(UserError, match=r"^a\\nb$"):
        Problems().report("bad rows", "a\nb")


def test_values_are_shown_in_a_few_letters_however_deep_they_are():
    assert shown("a") == "'a'" and len(shown("a" * 1000)) == 80
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a deep list"


def test_a_summary_is_logged_once_in_a_process(caplog, monkeypatch):
    monkeypatch.setattr("d2_plugtrack.data.problems._said", set())

    def read(name: str, kind: str) -> None:
        problems = Problems(strict=False)
        problems.report(kind, "a: none")
        problems.log_summary(name)
        Problems(strict=False).log_summary(name)  # nothing was wrong

    read("list.txt", "bad rows")
    assert [r.getMessage() for r in caplog.records] == [
        "list.txt: left out 1 bad rows; the first: a: none"
    ]
    read("list.txt", "bad rows")
    assert len(caplog.records) == 1
    read("list.txt", "missing images")  # something else is wrong by now
    read("other.txt", "bad rows")
    assert len(caplog.records) == 3
