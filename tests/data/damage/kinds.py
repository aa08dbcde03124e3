"""What a kind of damage is, and the tools that kinds are made of; all of it by a seeded generator.

``named``: a reader must say file and place, and leave out no more than what was touched.
``fatal``: nothing of the file can be kept, and the file is named. ``same``: the file is as good as
before. ``any``: whether something is wrong cannot be known (a digit became another one); the reader
must live.
"""

import random
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

Outcome = Literal["named", "fatal", "same", "any"]


class Kind(NamedTuple):
    """One kind of damage: ``damage(rng, content)`` is the new content of a file."""

    name: str
    outcome: Outcome
    damage: Callable[[random.Random, Any], Any]


class InPlace(NamedTuple):
    """Something else than a file with content: ``folder``, ``absent`` or ``loop``."""

    what: str


FOLDER, ABSENT, LOOP = map(InPlace, ("folder", "absent", "loop"))
PLACES = [
    ("a folder in its place", FOLDER),
    ("not there", ABSENT),
    ("a link to itself", LOOP),
]

#: no number that Python's int and float would take without a word is left out
NO_NUMBERS = ["", "abc", "12,5", "0x10", "1_0", "٣", "１２", "--1", "1 2", "1e", "NaN?", "None"]


def replaced(rng: random.Random, text: str, pattern: str, new: str | Callable) -> str:
    """One of the places where ``pattern`` is, chosen at random, replaced."""
    found = rng.choice(list(re.finditer(pattern, text)))
    return text[: found.start()] + (new(found) if callable(new) else new) + text[found.end() :]


def flipped(rng: random.Random, content: bytes) -> bytes:
    """A few bytes are others."""
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncated(rng: random.Random, content: bytes) -> bytes:
    """An end anywhere, the first byte at the earliest."""
    return content[: rng.randrange(1, len(content))]


def with_a_hole(rng: random.Random, content: bytes) -> bytes:
    """Zeros, as a file system leaves them after a crash."""
    start = rng.randrange(len(content))
    stop = rng.randint(start + 1, len(content))
    return content[:start] + bytes(stop - start) + content[stop:]


def without_a_part(rng: random.Random, content: bytes) -> bytes:
    """Some bytes in the middle are gone."""
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randint(1, 40) :]


def garbage(rng: random.Random, content: bytes) -> bytes:
    """Random bytes; the first one never begins a text."""
    return b"\xff" + rng.randbytes(rng.randint(1, 2000))


def one_of(*values: Any) -> Callable[[random.Random, Any], Any]:
    """A damage that is one of these contents, whatever was there."""
    return lambda rng, content: rng.choice(values)
