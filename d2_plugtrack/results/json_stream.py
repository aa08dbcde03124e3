"""Lists in large JSON files, entry by entry: a file is never in memory as a whole.

The text moves past in a window; the standard library decodes one entry of it at a time. A file
that is no JSON is a ``UserError`` with line and column, a file that ends too early is one as well.
"""

import codecs
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from ..errors import UserError

_CHUNK = 2**20  # bytes
_LONGEST = 2**26  # characters of one entry: in a damaged file it is looked no further for its end

_OF_NUMBERS = ("", ".", "e", "E")
_BLANK = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


def read_lists(path: str | Path, names: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    """The entries of a file's lists, in the order of the file.

    Args:
        path: a file that holds a list, or an object with lists under some keys.
        names: the keys that are wanted; what is under others is passed over.

    Yields:
        (key, number from 0, entry); the key is "" where the file is a list itself. A list without
        entries is (key, -1, None), once.

    Raises:
        UserError: no such file, no JSON, neither of the two forms, or a key twice.
    """
    try:
        size = Path(path).stat().st_size
        with (
            open(path, "rb") as file,
            tqdm(
                None, f"reading {Path(path).name}", size, unit="B", unit_scale=True, disable=None
            ) as bar,
        ):
            yield from _lists(_Window(path, file, bar), names)
    except OSError as error:
        raise UserError(f"{path}: expected a JSON file, found {error.strerror}") from None


def _lists(window: "_Window", names: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    if window.peek() == "[":
        yield from _entries(window, "")
    else:
        yield from _sections(window, names)
    if window.peek():
        raise window.unexpected("the end of the file")


def _sections(window: "_Window", names: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    window.take("{", what="a list, or an object with lists")
    seen: set[str] = set()
    if window.peek() == "}":
        window.take("}")
        return
    while True:
        if window.peek() != '"':
            raise window.unexpected("a key")
        name = window.value()
        window.take(":")
        if name not in names:
            window.value()
        elif name in seen:
            raise UserError(f"{window.path}: expected {name} once, found it again")
        else:
            seen.add(name)
            yield from _entries(window, name)
        if window.take(",", "}") == "}":
            return


def _entries(window: "_Window", name: str) -> Iterator[tuple[str, int, Any]]:
    window.take("[", what=f"a list {name}")
    if window.peek() == "]":
        window.take("]")
        yield name, -1, None
        return
    number = 0
    while True:
        yield name, number, window.value()
        if window.take(",", "]") == "]":
            return
        number += 1


class _Window:
    """The part of a file's text that is looked at.

    Args:
        bar: is moved on by the bytes read.
    """

    def __init__(self, path: str | Path, file: IO[bytes], bar: tqdm):
        self.path, self._file, self._bar = path, file, bar
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at = "", 0
        self._line, self._column = 1, 1  # of the text's first character

    def peek(self) -> str:
        """The next character that is not blank; "" at the end of the file."""
        while True:
            self._at = _BLANK.match(self._text, self._at).end()
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def take(self, *expected: str, what: str = "") -> str:
        """The next character that is not blank, which has to be one of these."""
        found = self.peek()
        if found not in expected:
            raise self.unexpected(what or " or ".join(map(repr, expected)))
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._read_on():
                    raise self._no_json(error) from None
            except (RecursionError, ValueError) as error:  # nested or a number too long for Python
                raise UserError(f"{self._place(self._at)}: expected JSON, found {error}") from None
            else:
                # a number may go on: after its last digit, or after a point without digits yet
                goes_on = self._text[end : end + 1] in _OF_NUMBERS
                if not goes_on or not self._read_on():
                    self._at = end
                    return value

    def unexpected(self, expected: str) -> UserError:
        """The error about the next character."""
        found = repr(self._text[self._at]) if self._at < len(self._text) else "the end of the file"
        return UserError(f"{self._place(self._at)}: expected {expected}, found {found}")

    def _no_json(self, error: json.JSONDecodeError) -> UserError:
        ended = error.pos >= len(self._text.rstrip()) or error.msg.startswith("Unterminated")
        if ended and len(self._text) - self._at < _LONGEST:
            self._at = len(self._text)
            return self.unexpected("more JSON")
        return UserError(f"{self._place(error.pos)}: expected JSON, found {error.msg}")

    def _place(self, at: int) -> str:
        lines = self._text.count("\n", 0, at)
        column = at - self._text.rfind("\n", 0, at) if lines else self._column + at
        return f"{self.path}, line {self._line + lines}, column {column}"

    def _read_on(self) -> bool:
        """Let go of what has been taken and double the rest; False where that cannot be."""
        rest = len(self._text) - self._at
        if rest >= _LONGEST:
            return False
        data = self._file.read(max(_CHUNK, rest))
        try:
            more = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path}: expected JSON in UTF-8, found {error.reason}") from None
        self._bar.update(len(data))
        if not data:
            return False
        taken = self._text[: self._at]
        lines = taken.count("\n")
        self._line += lines
        self._column = len(taken) - taken.rfind("\n") if lines else self._column + len(taken)
        self._text, self._at = self._text[self._at :] + more, 0
        return True
