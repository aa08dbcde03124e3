"""The one exception for a user's mistake, and how a command reports it.

A mistake in what the user gave (a file that is not there, a key that does not exist, a line that
does not parse) is not a bug: its message alone must say which file, line or key, what was
expected and what was found. Commands print it as one line, without a traceback, and exit with 2;
so they do where detectron2 is asked for and missing. A FloatingPointError, numbers that became NaN
or infinite, names where as well: one line, and exit code 1. Ctrl-C is one line, and exit code 130.
"""

import functools
import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(ValueError):
    """A mistake in the input; the message names it and says what was expected."""


def exit_on_user_error(main: Callable[..., object]) -> Callable[..., object]:
    """Wrap a command's ``main``: a :class:`UserError` becomes a line on stderr and exit code 2.

    A FloatingPointError becomes a line too, and exit code 1; Ctrl-C is a line and 130. Where
    nobody reads on, as behind ``| head``, the command ends without a word, with 141.
    """

    @functools.wraps(main)
    def guarded(*args, **kwargs):
        try:
            try:
                return main(*args, **kwargs)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()  # later, a reader that is gone would be a traceback
        except BrokenPipeError:
            if not _reader_is_gone():
                raise
            sys.exit(128 + 13)  # as a shell says that SIGPIPE, number 13, ended it
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(128 + 2)  # SIGINT
        except UserError as error:
            _stop(error)
        except FloatingPointError as error:
            _stop(error, 1)
        except ModuleNotFoundError as error:
            if error.name != "detectron2":
                raise
            _stop(error)  # a config of a host that is not installed; the message says how to

    return guarded


def mistake_of(trace: str) -> UserError | FloatingPointError | None:
    """What is said in one line, if a traceback of another process ends with it."""
    name, _, message = trace.strip().rpartition("\n")[2].partition(": ")
    for kind in (UserError, FloatingPointError):
        if name.rpartition(".")[2] == kind.__name__:
            return kind(message)
    return None


def _reader_is_gone() -> bool:
    """Whether it is standard output that broke; what it still holds then goes nowhere."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # no file, or closed
        return False
    poll = select.poll()
    poll.register(output, 0)  # errors are told of always
    if not any(events & select.POLLERR for _, events in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _stop(error: Exception, code: int = 2) -> NoReturn:
    # one that a data loader's worker raised arrives with the worker's traceback before it
    message = str(error).rpartition(f"{UserError.__name__}: ")[2].strip()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
