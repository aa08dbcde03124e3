"""What is in the project's Markdown files: links, headings, code blocks, command lines."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("datasets/*.md")])

_FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command of a code block: its words without variables before it, a prompt or a comment."""

    file: str
    words: list[str]


def name_of(path: Path) -> str:
    """The file as seen from the repository's root."""
    return str(path.relative_to(ROOT))


def code_blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, "" for those that name none."""
    return [body for name, body in _FENCE.findall(text) if name == language]


def prose(text: str) -> str:
    """The text without its code blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Targets of links and pictures, in Markdown or HTML."""
    found = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", prose(text))
    return [target for pair in found for target in pair if target]


def anchors(text: str) -> set[str]:
    """The names that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def commands(path: Path) -> Iterator[Command]:
    """Every command of the code blocks that name no language; output lines come along."""
    for block in code_blocks(path.read_text(encoding="utf-8"), ""):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|", line.strip().removeprefix("$ ")):
                yield from _command(name_of(path), part)


def _command(file: str, line: str) -> Iterator[Command]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quotation mark of a sentence: printed by a command
        return
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words:
        yield Command(file, words)
