"""Bad input met while a dataset is read: an error at once, or skipped, counted and summed up.

A reader goes on to the next object, frame or row after it has reported a problem, where it is
allowed to. Nothing here knows what is read; the readers of XML, lists and JSON do.
"""

from dataclasses import dataclass, field

from ..errors import UserError


@dataclass
class Problems:
    """What was wrong with a dataset, by kind.

    Args:
        strict: the first problem is a :class:`UserError`; otherwise problems are counted.
    """

    strict: bool = True
    counts: dict[str, int] = field(default_factory=dict)  # kind: how often
    first: dict[str, str] = field(default_factory=dict)  # kind: the first one's message

    def report(self, kind: str, message: str) -> None:
        """Take note of one problem, so that the reader can leave out what it is about.

        Args:
            kind: a few words in the plural, the same for all of a kind ("boxes without area").
            message: names file and line or object, what was expected and what was found.

        Raises:
            UserError: with ``message``, where ``strict``.
        """
        if self.strict:
            raise UserError(message)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.first.setdefault(kind, message)

    def summary(self) -> str:
        """A line a kind with its count and its first message; empty where nothing was wrong."""
        return "\n".join(
            f"left out {count} {kind}; the first: {self.first[kind]}"
            for kind, count in self.counts.items()
        )
