"""Kinds of damage to a list file: to one of its rows, or to all of the file.

What happens to a row is a function of it (its fields); ``ROWS`` of a form of list are those that
can happen to it. A row's video is touched, and no other.
"""

import random
from collections.abc import Callable, Sequence

from .kinds import (
    NO_NUMBERS,
    PLACES,
    Kind,
    flipped,
    garbage,
    one_of,
    truncated,
    with_a_hole,
    without_a_part,
)

Row = list[str]


def _field(number: int, values: Sequence[str]) -> Callable[[random.Random, Row], Row]:
    def damage(rng: random.Random, row: Row) -> Row:
        return [*row[:number], rng.choice(values), *row[number + 1 :]]

    return damage


def _no_number(rng: random.Random, row: Row) -> Row:
    return _field(rng.randrange(1, len(row)), NO_NUMBERS)(rng, row)


HUGE = ["9" * 10, "9" * 19, "9" * 40, "9" * 4000, "9" * 5000]
GARBAGE = ["# a comment", "}", "\x1b[31mred\x1b[0m", "ÿþ", "<xml/>", "a,b,c,d", "\0\0\0"]

ANY_ROW = {
    "no number": _no_number,
    "a column more": lambda rng, row: [*row, rng.choice(["1", "x", "0", "#"])],
    "other separators": lambda rng, row: [rng.choice([",", ";", "|"]).join(row)],
    "a long line": lambda rng, row: [rng.choice(["a" * 10**6, "1" * 10**6, "x " * 10**5])],
    "many columns": lambda rng, row: row * 20_000,
    "NUL in the path": lambda rng, row: [f"{row[0][:-1]}\0{row[0][-1]}", *row[1:]],
    "a path that is not there": lambda rng, row: [f"{row[0]}x/{row[0][-6:]}", *row[1:]],
    "a long path": lambda rng, row: [f"{'d/' * 3000}{row[0]}", *row[1:]],
    "a mark inside": lambda rng, row: [f"{row[0][:-1]}\ufeff{row[0][-1]}", *row[1:]],
}
FOUR_COLUMNS = ANY_ROW | {
    "a column less": lambda rng, row: row[:-1],
    "path alone": lambda rng, row: row[:1],
    "fraction": _field(2, ["0.5", "1.0", "1e0"]),
    "negative frame": _field(2, ["-1", "-99", "-9999999999"]),
    "negative length": _field(3, ["-1", "-99", "0"]),
    "huge length": _field(3, HUGE),
    "beyond the end": lambda rng, row: [*row[:2], str(int(row[3]) + rng.randrange(9)), row[3]],
    "a long video": _field(3, ["999999999", "2000000000", "12345678"]),
}
#: by form of list: what can happen to a row
ROWS = {
    "video": FOUR_COLUMNS
    | {
        "a row twice": lambda rng, row: [*row, "\n", *row],
        "a start that is not 0": _field(2, ["1", "2", "10"]),
    },
    "frame": FOUR_COLUMNS | {"another length": lambda rng, row: [*row[:3], str(int(row[3]) + 1)]},
    "short frame": ANY_ROW
    | {
        "path alone": lambda rng, row: row[:1],
        "short number": lambda rng, row: [row[0][:-1], *row[1:]],
        "a letter in the number": lambda rng, row: [row[0][:-1] + "x", *row[1:]],
        "other digits": lambda rng, row: [row[0][:-6] + "٠٠٠٠٠١", *row[1:]],
        "far behind the end": lambda rng, row: [row[0][:-6] + "999999", *row[1:]],
    },
    "image": ANY_ROW | {"path alone": lambda rng, row: row[:1]},
}

KINDS = [
    Kind("another line", "named", lambda rng, text: _inserted(rng, text, rng.choice(GARBAGE))),
    Kind("truncated", "any", lambda rng, text: truncated(rng, text.encode())),
    Kind("bytes flipped", "any", lambda rng, text: flipped(rng, text.encode())),
    Kind("a part missing", "any", lambda rng, text: without_a_part(rng, text.encode())),
    Kind("two rows in one", "any", lambda rng, text: _joined(rng, text)),
    Kind("zeros in the middle", "any", lambda rng, text: with_a_hole(rng, text.encode())),
    Kind("zeros at the end", "named", lambda rng, text: text + "\0" * rng.randint(1, 5000)),
    Kind("empty", "fatal", one_of("", "\n", " \r\n\t\n", "\ufeff")),
    Kind("random bytes", "fatal", lambda rng, text: garbage(rng, b"")),
    Kind("UTF-16", "fatal", lambda rng, text: text.encode("utf-16")),
    Kind("latin-1", "fatal", lambda rng, text: _inserted(rng, text, "é").encode("latin-1")),
    Kind("nothing but bad rows", "fatal", one_of("what\nis\nthis\n", "[1, 2]\n", "\0" * 4096)),
    *(Kind(name, "fatal", one_of(place)) for name, place in PLACES),
    Kind("carriage returns", "same", lambda rng, text: text.replace("\n", "\r\n")),
    Kind("only carriage returns", "same", lambda rng, text: text.replace("\n", "\r")),
    Kind("byte order mark", "same", lambda rng, text: "\ufeff" + text),
    Kind("blank lines", "same", lambda rng, text: _inserted(rng, text, rng.choice(["", "  \t"]))),
    Kind("tabs and spaces", "same", lambda rng, text: _spaced(text)),
    Kind("no end of line at the end", "same", lambda rng, text: text.rstrip()),
    Kind("unsorted", "same", lambda rng, text: _shuffled(rng, text)),
]


def damaged_row(rng: random.Random, text: str, damage: Callable) -> tuple[str, int]:
    """The text with one row damaged, and the row's index."""
    rows = text.splitlines()
    index = rng.randrange(len(rows))
    rows[index] = " ".join(damage(rng, rows[index].split()))
    return "\n".join(rows) + "\n", index


def _inserted(rng: random.Random, text: str, line: str) -> str:
    lines = text.splitlines()
    lines.insert(rng.randint(0, len(lines)), line)
    return "\n".join(lines) + "\n"


def _joined(rng: random.Random, text: str) -> str:
    lines = text.splitlines()
    index = rng.randrange(len(lines) - 1)
    return "\n".join([*lines[:index], lines[index] + lines[index + 1], *lines[index + 2 :], ""])


def _spaced(text: str) -> str:
    return "".join(f" {'  '.join(line.split())}\t \n" for line in text.splitlines())


def _shuffled(rng: random.Random, text: str) -> str:
    lines = text.splitlines()
    rng.shuffle(lines)
    return "\n".join(lines) + "\n"
