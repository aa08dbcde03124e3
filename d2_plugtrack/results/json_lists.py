"""Lists in large JSON files, entry by entry: a file is never in memory as a whole."""

import codecs
import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson
from tqdm import tqdm

from ..errors import UserError

_CHUNK = 2**12  # bytes: ijson says the whole way to every value of a chunk, however deep they are
_DEEPEST = 100  # keys and lists around a value

_Event = tuple[str, str, Any]  # the way to a value ("annotations.item.bbox"), its kind, the value


def read_lists(path: str | Path, names: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    """The entries of a file's lists, in the order of the file.

    Args:
        path: a file that holds a list, or an object with lists under some keys.
        names: the keys that are wanted, without points; what is under others is passed over.

    Yields:
        (key, number from 0, entry); the key is "" where the file is a list itself. A list without
        entries is (key, -1, None), once.

    Raises:
        UserError: no such file, no JSON (NaN, Infinity and whole numbers beyond 64 bits are none),
            neither of the two forms, or a key twice.
    """
    place, name_of_bar = str(path), f"reading {Path(path).name}"
    try:
        size = Path(path).stat().st_size
        with (
            open(path, "rb") as file,
            tqdm(None, name_of_bar, size, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for name, number, entry in _entries(path, _events(file), names):
                yield name, number, entry
                if number >= 0:
                    place = f"{path}, after {name}[{number}]"
                bar.update(file.tell() - bar.n)
    except OSError as error:
        raise UserError(f"{path}: expected a JSON file, found {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: expected JSON in UTF-8, found {error.reason}") from None
    except ijson.JSONError as error:
        reason = error.args[0]  # in bytes where the file's own, which it quotes, are no UTF-8
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        first_line, *_ = text.split("\n")
        raise UserError(f"{place}: expected JSON, found {first_line}") from None


def _events(file: BinaryIO) -> Iterator[_Event]:
    if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        file.seek(0)
    for event in ijson.parse(file, buf_size=_CHUNK, use_float=True):
        if event[0].count(".") > _DEEPEST:
            raise ijson.JSONError("values nested too deeply")
        yield event


def _entries(
    path: str | Path, events: Iterator[_Event], names: Collection[str]
) -> Iterator[tuple[str, int, Any]]:
    _, kind, value = next(events)
    if kind == "start_array":
        yield from _numbered(events, "")
    elif kind != "start_map":
        raise UserError(f"{path}: expected a list, or an object with lists, found {value!r:.80}")
    seen: set[str] = set()
    for way, kind, value in events:
        if not way and kind == "map_key":
            if not value or value in seen:  # what is under "" would look as if it were outside
                raise UserError(f"{path}: expected every key once and none empty, found {value!r}")
            seen.add(value)
        elif way and way in names:
            if kind != "start_array":
                raise UserError(f"{path}: expected a list {way}, found a {kind.split('_')[-1]}")
            yield from _numbered(events, way)


def _numbered(events: Iterator[_Event], name: str) -> Iterator[tuple[str, int, Any]]:
    """The entries of a list whose beginning has been taken from the events, up to its end."""
    inside = itertools.takewhile(lambda event: event[0] != name, events)
    number = -1
    for number, entry in enumerate(ijson.items(inside, f"{name}.item" if name else "item")):
        yield name, number, entry
    if number < 0:
        yield name, -1, None
