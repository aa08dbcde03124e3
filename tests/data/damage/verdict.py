"""What reading a damaged dataset came to, and whether that is what it should be."""

import logging
import re
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2_plugtrack.errors import UserError

from .kinds import Outcome

SECONDS = 20  # of any one case: more is a hang
LONGEST = 1000  # characters of a message, without the folder that the test is in
PLACE = re.compile(r", line \d+|, [a-z]+\[\d+\]|, image \S+")

Records = Mapping[str, Mapping[str, Any]]  # by image_id


@dataclass
class Outcomes:
    """Of one damaged dataset, read in every way: records, or the message of the error."""

    strict: Records | str
    lenient: Records | str
    said: str  # the summary of ``lenient``


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """A TimeoutError in what takes longer."""

    def stop(*_):
        raise TimeoutError(f"more than {seconds} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextmanager
def listening() -> Iterator[list[str]]:
    """What the package warns of, as it goes to a log file."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("d2_plugtrack")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def read_in_every_way(load: Callable[[bool], Sequence[Mapping[str, Any]]]) -> Outcomes:
    """Strictly and not, each twice: the second time from the cache where there is one."""
    with time_limit(SECONDS):
        strict = _attempt(load, True)
        with listening() as said:
            lenient = _attempt(load, False)
        assert _attempt(load, False) == lenient, "the cache says otherwise"
        assert _attempt(load, True) == strict, "the cache says otherwise where strict"
    return Outcomes(strict, lenient, "\n".join(said))


def _attempt(load: Callable, strict: bool) -> Records | str:
    try:
        return by_image(load(strict))
    except UserError as error:
        return str(error)


def by_image(records: Sequence[Mapping[str, Any]]) -> Records:
    """Records whose order, and that of their objects, does not matter."""
    return {
        str(record["image_id"]): {
            **record,
            "annotations": sorted(record["annotations"], key=repr),
        }
        for record in records
    }


def judge(
    found: Outcomes, outcome: Outcome, good: Records, touched: Collection[str], file: Path
) -> None:
    """Assert that all is as the kind of damage says.

    Args:
        good: the records of the undamaged dataset.
        touched: those of them that the damage may change.
        file: the damaged one, which messages name.
    """
    for message in (found.strict, found.lenient):
        if isinstance(message, str):
            assert_message(message, file)
    for line in found.said.splitlines():
        assert_message(line, file)
    if outcome == "same":
        assert found.strict == good and found.lenient == good and not found.said
    elif outcome == "fatal":
        assert isinstance(found.strict, str) and isinstance(found.lenient, str)
    elif outcome == "named":
        assert isinstance(found.strict, str), "nothing is said where strict"
        whole_file = found.strict == found.lenient  # of which nothing can be kept
        assert whole_file or PLACE.search(found.strict), f"no place in: {found.strict}"
        _assert_the_rest_is_there(found, good, touched)
    elif isinstance(found.strict, str):
        _assert_the_rest_is_there(found, good, touched)
    else:
        assert found.lenient == found.strict and not found.said


def _assert_the_rest_is_there(found: Outcomes, good: Records, touched: Collection[str]) -> None:
    untouched = {key: record for key, record in good.items() if key not in touched}
    if isinstance(found.lenient, str):  # nothing at all is left
        assert not untouched, f"nothing was read: {found.lenient}"
        return
    assert "left out" in found.said and found.strict in found.said, "not in the summary"
    kept = {key: record for key, record in found.lenient.items() if key in untouched}
    assert kept == untouched, "what was not damaged is gone"


def assert_message(message: str, file: Path) -> None:
    """One printable line of bearable length that names the file."""
    assert message.isprintable(), f"not one printable line: {message!r:.300}"
    assert str(file) in message, f"{file} is not named: {message:.300}"
    assert len(message) < LONGEST + 4 * len(str(file)), f"too long: {message:.300}"
