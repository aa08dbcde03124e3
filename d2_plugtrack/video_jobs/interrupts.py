"""Signals end work in good order: at once where nothing is half done, or else after it.

A handler that raises wherever a signal happens to arrive would leave half a line in a file. Inside
``held`` a signal is noted instead, and raised where the work lets it in (``released``): between two
frames. A second signal is raised wherever it arrives, and a third ends the process on the spot.
Only the main thread gets signals; anywhere else, and before ``with``, nothing here ever raises.
"""

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal; like Ctrl-C it passes by whatever catches ``Exception``."""


class Interrupts:
    """Listens to SIGINT, SIGTERM and SIGHUP: ``with Interrupts() as interrupts``.

    A signal that the process was told to ignore (``nohup``, a shell's ``&``) stays ignored.

    Args:
        notice: a line for standard error when the first signal comes.

    Attributes:
        received: the first signal; None before.
        again: there was another one: stop, finish nothing.
    """

    def __init__(self, notice: str = ""):
        self.received: signal.Signals | None = None
        self.again = False
        self._notice, self._held = notice, False
        self._previous: dict[int, object] = {}

    @property
    def exit_code(self) -> int:
        """As a shell says that the signal ended a process: 130, 143 or 129; 0 without one."""
        return 128 + self.received if self.received else 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, signal.SIG_DFL if previous is None else previous)
        self._previous.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.again:
            os._exit(self.exit_code)
        self.again = self.received is not None
        if not self.again:
            self.received = signal.Signals(number)
            if number == signal.SIGHUP:
                _leave_closed_terminal()
            self._notify()
        if self.again or not self._held:
            raise Interrupted(number)

    def _notify(self) -> None:
        """Without print, which a signal may have interrupted."""
        if self._notice:
            line = ("\n" if os.isatty(2) else "") + self._notice + "\n"
            os.write(2, line.encode())

    def check(self) -> None:
        """Raise the signal that was noted, or one that somebody swallowed."""
        if self.received:
            raise Interrupted(self.received)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, the first signal is noted and no more."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before

    @contextmanager
    def released(self) -> Iterator[None]:
        """Inside, a signal is raised, also one that was noted before."""
        before, self._held = self._held, False
        try:
            self.check()
            yield
        finally:
            self._held = before


def _leave_closed_terminal() -> None:
    """What is still said goes nowhere, where it would be an error that ends the work."""
    poll = select.poll()
    for output in (1, 2):
        poll.register(output, 0)  # errors are told of always
    for output, _ in poll.poll(0):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
