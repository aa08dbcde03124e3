"""Entries of an annotation file in JSON, with the place in the file that a message names.

A bad entry is a :class:`BadEntry`, which ``noted`` turns into a problem; a file that is no JSON
object at all is a ``UserError``, since nothing of it could be kept.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..limits import FAR, LARGE, MAX_PIXELS
from ..problems import Problems, shown
from ..text_file import read_text

Entry = dict[str, Any]
Id = int | str
StrPath = str | Path

_MISSING = object()


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

    NaN and Infinity, which are not JSON but get written, and numbers too large for a float become
    null.

    Raises:
        UserError: no such file, no JSON (with line and column), or no object.
    """
    content = read_text(path, "a JSON file", "JSON")
    try:
        data = json.loads(
            content, parse_constant=lambda name: None, parse_float=_finite, parse_int=_bounded
        )
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno}: expected JSON, found {error.msg}"
        ) from None
    except RecursionError:
        raise UserError(f"{path}: expected JSON, found lists in lists too deep") from None
    if not isinstance(data, dict):
        raise UserError(
            f"{path}: expected an object with videos, categories and annotations, "
            f"found a {type(data).__name__}"
        )
    return data


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _bounded(text: str) -> int | None:
    return int(text) if len(text) < 300 else None  # Python itself refuses 4300 digits


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
        hint = " (COCO's files of single images have none)" if section == "videos" else ""
        raise UserError(f"{path}: expected a list {section}, found {what}{hint}")
    for index, entry in enumerate(found):
        where = f"{path}, {section}[{index}]"
        if not isinstance(entry, dict):
            problems.report(f"bad {section}", f"{where}: expected an object, found {shown(entry)}")
            continue
        yield (f"{where} (id {_shown_id(entry['id'])})" if "id" in entry else where), entry


def _shown_id(value: Any) -> str:
    return value[:80] if isinstance(value, str) else shown(value)


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


def image_size(where: str, entry: Entry) -> dict[str, int]:
    """The ``height`` and ``width`` of an entry; anything that no image has is a BadEntry."""
    size = {key: whole(where, entry, key, least=1, below=LARGE) for key in ("height", "width")}
    if size["height"] * size["width"] > MAX_PIXELS:
        found = f"{size['width']}x{size['height']}"
        message = f"{where}: expected at most {MAX_PIXELS} pixels of width x height, found {found}"
        raise BadEntry("entries with missing or bad keys", message)
    return size


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


def file_name(where: str, entry: Entry) -> str:
    """The text under ``file_name`` that a file can have as its name, or else a BadEntry."""
    value = text(where, entry, "file_name")
    if not is_file_name(value):
        message = _expected(where, "file_name", "a name that a file can have", value)
        raise BadEntry("entries with missing or bad keys", message)
    return value


def is_file_name(value: Any) -> bool:
    """Whether a value is a text that a file can have as its name."""
    if type(value) is not str or not value or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


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
    numbers = numbers and all(type(v) in (int, float) and abs(v) < FAR for v in box)
    if not numbers:
        message = f"{where}: expected [x, y, width, height] in bbox, found {shown(box)}"
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
    found = "no such key" if value is _MISSING else shown(value)
    return f"{where}: expected {expected} in {key}, found {found}"
