"""What the commands have in common: a parser with manners, types of arguments, shared options.

A mistake in an argument is said in one line, ``error: --option: expected ..., found ...``, and the
exit code is 2, before anything is read or loaded. ``--help`` begins with what a command does and
ends with its examples.
"""

import argparse
import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..config_file import check_device
from ..errors import UserError
from ..outputs import ensure_writable

EXAMPLES = "Examples:\n"


class CommandParser(argparse.ArgumentParser):
    """A parser whose help is the command's docstring, with the usage and the options in it.

    A subcommand's text is given in the same way: ``add_parser(name, text=...)``.

    Args:
        text: what the command does and, at its end, below a line ``Examples:``, indented lines that
            work as they are in the repository's root.
    """

    def __init__(self, text: str = "", **others: Any):
        about, heading, examples = inspect.cleandoc(text).partition(EXAMPLES)
        super().__init__(
            epilog=heading + examples.rstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **others,
        )
        self.about = about.strip()

    def format_help(self) -> str:
        return f"{self.about}\n\n{super().format_help()}".lstrip()

    def error(self, message: str) -> NoReturn:
        reason = message.removeprefix("argument ")
        if reason == message:  # of the command line as a whole
            reason += " (see --help)"
        self.exit(2, f"error: {' '.join(reason.split())}\n")


# ---- types -----------------------------------------------------------------------------------


def positive_int(text: str) -> int:
    """1, 2, 3, ..."""
    return _number(int, text, "a whole number of at least 1", lambda value: value >= 1)


def non_negative_int(text: str) -> int:
    """0, 1, 2, ..."""
    return _number(int, text, "a whole number of at least 0", lambda value: value >= 0)


def positive_number(text: str) -> float:
    """Above 0 and finite."""
    return _number(float, text, "a number above 0", lambda value: value > 0)


def non_negative_number(text: str) -> float:
    """At least 0 and finite."""
    return _number(float, text, "a number of at least 0", lambda value: value >= 0)


def fraction(text: str) -> float:
    """From 0 to 1."""
    return _number(float, text, "a number from 0 to 1", lambda value: 0 <= value <= 1)


def _number(
    kind: Callable[[str], Any], text: str, expected: str, fits: Callable[[Any], bool]
) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not fits(value):
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")
    return value


def existing_file(text: str) -> Path:
    """A file to read."""
    path = Path(text)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "something else" if path.exists() else "none"
        raise argparse.ArgumentTypeError(f"{text}: expected a file, found {found}")
    return path


def existing_folder(text: str) -> Path:
    """A folder to read."""
    path = Path(text)
    if not path.is_dir():
        found = "a file" if path.exists() else "none"
        raise argparse.ArgumentTypeError(f"{text}: expected a folder, found {found}")
    return path


def existing_path(text: str) -> Path:
    """A file or a folder to read."""
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text}: expected a file or a folder, found none")
    return path


def output_file(text: str, suffix: str | None = None) -> Path:
    """A file to write, in a folder that is there; ``functools.partial`` fixes its ending."""
    return _checked(ensure_writable, text, suffix)


def file_name(text: str, suffix: str) -> Path:
    """A file to write, whose place is checked later; ``functools.partial`` fixes its ending."""
    path = Path(text)
    if path.suffix.lower() != suffix:
        raise argparse.ArgumentTypeError(
            f"{text}: expected a name ending in {suffix}, found {path.suffix!r}"
        )
    return path


def output_folder(text: str) -> Path:
    """A folder to write to; it need not be there, what is there must not be a file."""
    path = Path(text)
    for place in (path, *path.parents):
        if place.exists():
            if not place.is_dir():
                raise argparse.ArgumentTypeError(f"{text}: expected a folder, {place} is a file")
            break
    return path


def device(text: str) -> str:
    """A device of torch's that is there: cpu, cuda, cuda:1, ..."""
    _checked(check_device, text)
    return text


def _checked(check: Callable[..., Any], *values: Any) -> Any:
    """A check of the package's as that of an argument."""
    try:
        return check(*values)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class KeyValuePairs(argparse.Action):
    """Words that must come in pairs; options are not looked for among them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        words: Sequence[str] = values
        for key in words[::2]:
            if key.startswith("-"):
                parser.error(f"{key}: expected before the KEY VALUE pairs, or as a KEY of one")
            if "=" in key:
                parser.error(f"{key}: expected a KEY and a VALUE as two words")
        if len(words) % 2:
            parser.error(f"{words[-1]}: expected a VALUE after this KEY")
        setattr(namespace, self.dest, list(words))


# ---- options of several commands -------------------------------------------------------------


def add_config_file(parser: argparse.ArgumentParser) -> None:
    """``--config-file``, as text."""
    parser.add_argument(
        "--config-file",
        required=True,
        type=lambda text: str(existing_file(text)),
        metavar="FILE",
        help="YAML, such as those below configs/",
    )


def add_opts(parser: argparse.ArgumentParser, more: str = "") -> None:
    """``KEY VALUE`` pairs at the end of the command line, as ``opts``: a list of words."""
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        action=KeyValuePairs,
        metavar="KEY VALUE",
        help=f"config keys and their values, after all options{more and '; '}{more}",
    )


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """``--dataset``: whether there is such a one, ``find_videos`` says."""
    parser.add_argument(
        "--dataset",
        required=True,
        metavar="NAME",
        help="a dataset of videos, such as tiny_vid_test, or a .json file of your own",
    )


def add_batch_size(parser: argparse.ArgumentParser, default: int = 4) -> None:
    """``--batch-size``."""
    parser.add_argument(
        "--batch-size",
        type=positive_int,
        default=default,
        metavar="N",
        help="frames that go through the detector together (default: %(default)s)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument(
        "--json", type=output_file, metavar="FILE", help="write the figures here as well"
    )


def add_reports(parser: argparse.ArgumentParser) -> None:
    """``--json`` and ``--markdown``."""
    add_json(parser)
    parser.add_argument(
        "--markdown", type=output_file, metavar="FILE", help="write the tables here as well"
    )
