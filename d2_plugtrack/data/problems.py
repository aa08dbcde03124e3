"""Bad input met while a dataset is read: an error at once, or skipped, counted and summed up.

A reader goes on to the next object, frame or row after it has reported a problem, where it is
allowed to. Nothing here knows what is read; the readers of XML, lists and JSON do.
"""

import logging
from dataclasses import dataclass, field

from ..errors import UserError

logger = logging.getLogger(__name__)

_HEAD, _TAIL = 900, 100  # characters of a message that stay where it is too long

_said: set[str] = set()  # summaries, in this process


def one_line(message: str) -> str:
    """A message on one printable line of bearable length: a damaged file may hold anything."""
    if len(message) > _HEAD + _TAIL:
        message = f"{message[:_HEAD]} ... {message[-_TAIL:]}"
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


def shown(value: object) -> str:
    """The beginning of a value's ``repr``, for a message."""
    try:
        return f"{value!r:.80}"
    except RecursionError:  # lists in lists in lists
        return f"a deep {type(value).__name__}"


@dataclass
class Problems:
    """What was wrong with a dataset, by kind.

    Args:
        strict: the first problem is a :class:`UserError`; otherwise problems are counted.
    """

    strict: bool = True
    counts: dict[str, int] = field(default_factory=dict)  # kind: how often
    first: dict[str, str] = field(default_factory=dict)  # kind: the first one's message

    def report(self, kind: str, message: str, count: int = 1) -> None:
        """Take note of one problem, so that the reader can leave out what it is about.

        Args:
            kind: a few words in the plural, the same for all of a kind ("boxes without area").
            message: names file and line or object, what was expected and what was found; it is
                made printable and cut in its middle where it is long.
            count: of several that are alike, the message being about the first.

        Raises:
            UserError: with ``message``, where ``strict``.
        """
        message = one_line(message)
        if self.strict:
            raise UserError(message)
        self.counts[kind] = self.counts.get(kind, 0) + count
        self.first.setdefault(kind, message)

    def summary(self) -> str:
        """A line a kind with its count and its first message; empty where nothing was wrong."""
        return "\n".join(
            f"left out {count} {kind}; the first: {self.first[kind]}"
            for kind, count in self.counts.items()
        )

    def log_summary(self, name: object) -> None:
        """Warn of what was left out of ``name``, once in a process however often it is read."""
        message = f"{name}: {self.summary()}"
        if self.counts and message not in _said:
            _said.add(message)
            logger.warning("%s", message)
