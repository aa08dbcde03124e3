"""Entries of an annotation file in JSON, with the place in the file that a message names.

A bad entry is a :class:`BadEntry`, which ``noted`` turns into a problem; a file that is no JSON
object at all is a ``UserError``, since nothing of it could be kept.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..problems import Problems

Entry = dict[str, Any]
Id = int | str
StrPath = str | Path

LARGE = 2**31 - 1  # what sizes and frame numbers are below

_MISSING = object()
_FAR = 1e9  # pixels; NaN and infinity are not below it


class BadEntry(Exception):
    """An entry that has to be left out.

    Args:
        kind, message: as of ``Problems.report``.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind, self.message = kind, message


@contextmanager
def noted(problems: Problems) -> Iterator[None]:
    """What is raised inside as a BadEntry is a problem, and the block ends there."""
    try:
        yield
    except BadEntry as bad:
        problems.report(bad.kind, bad.message)


def load_json(path: StrPath) -> Entry:
    """The object in a file.

    Raises:
        UserError: no such file, no JSON (with line and column), or no object.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            # NaN and Infinity, which are not JSON but get written, become null.
            data = json.load(file, parse_constant=lambda name: None)
    except OSError as error:
        raise UserError(f"{path}: expected a JSON file, found {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno}: expected JSON, found {error.msg}"
        ) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON in UTF-8, found {error}") from None
    if not isinstance(data, dict):
        raise UserError(
            f"{path}: expected an object with videos, categories and annotations, "
            f"found a {type(data).__name__}"
        )
    return data


def entries(
    path: StrPath, data: Entry, section: str, problems: Problems
) -> Iterator[tuple[str, Entry]]:
    """``(where, entry)`` of every entry of a section, ``where`` as the head of a message.

    Raises:
        UserError: there is no such list.
    """
    found = data.get(section, _MISSING)
    if not isinstance(found, list):
        what = "none" if found is _MISSING else f"a {type(found).__name__}"
        raise UserError(f"{path}: expected a list {section}, found {what}")
    for index, entry in enumerate(found):
        where = f"{path}, {section}[{index}]"
        if not isinstance(entry, dict):
            problems.report(f"bad {section}", f"{where}: expected an object, found {entry!r:.80}")
            continue
        yield (f"{where} (id {entry['id']})" if "id" in entry else where), entry


def whole(where: str, entry: Entry, key: str, least: int | None = None, below: int = 2**63) -> int:
    """The whole number under ``key``; 3.0 is one.

    Raises:
        BadEntry: none, one below ``least``, or one as large as ``below``.
    """
    value = entry.get(key, _MISSING)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) >= below or (least is not None and value < least):
        expected = "a whole number" + ("" if least is None else f" from {least}")
        raise BadEntry("entries with missing or bad keys", _expected(where, key, expected, value))
    return value


def identifier(where: str, entry: Entry, key: str = "id") -> Id:
    """A whole number or a text under ``key``; anything else is a BadEntry."""
    value = entry.get(key, _MISSING)
    if type(value) not in (int, str):
        message = _expected(where, key, "a whole number or a text", value)
        raise BadEntry("entries with missing or bad keys", message)
    return value


def text(where: str, entry: Entry, key: str) -> str:
    """A text that is not empty under ``key``; anything else is a BadEntry."""
    value = entry.get(key, _MISSING)
    if type(value) is not str or not value:
        raise BadEntry("entries with missing or bad keys", _expected(where, key, "a text", value))
    return value


def listed(where: str, entry: Entry, key: str) -> list:
    """A list under ``key``; anything else is a BadEntry."""
    value = entry.get(key, _MISSING)
    if type(value) is not list:
        raise BadEntry("entries with missing or bad keys", _expected(where, key, "a list", value))
    return value


def box_xyxy(where: str, box: Any, size: tuple[int, int]) -> list[float]:
    """A box ``[x, y, width, height]`` as xyxy, as it is where it leaves the image in part.

    Args:
        size: (height, width) of the image.

    Raises:
        BadEntry: not four numbers of pixels, no area, or nothing of it inside the image.
    """
    numbers = isinstance(box, list) and len(box) == 4
    numbers = numbers and all(type(v) in (int, float) and abs(v) < _FAR for v in box)
    if not numbers:
        message = f"{where}: expected [x, y, width, height] in bbox, found {box!r:.80}"
        raise BadEntry("boxes that are not four numbers", message)
    x1, y1 = float(box[0]), float(box[1])
    x2, y2 = x1 + box[2], y1 + box[3]
    if not (x1 < x2 and y1 < y2):
        message = f"{where}: expected a width and height above 0 in bbox, found {box}"
        raise BadEntry("boxes without area", message)
    height, width = size
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        message = f"{where}: expected a bbox inside {width}x{height} pixels, found {box}"
        raise BadEntry("boxes outside the image", message)
    return [x1, y1, x2, y2]


def _expected(where: str, key: str, expected: str, value: Any) -> str:
    found = "no such key" if value is _MISSING else f"{value!r:.80}"
    return f"{where}: expected {expected} in {key}, found {found}"
