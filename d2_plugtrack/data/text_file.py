"""Reading a text file of the user's: what is wrong with it names the file, and the line if any."""

from os import PathLike

from ..errors import UserError


def read_text(path: str | PathLike[str], file: str, content: str) -> str:
    """The text of a file in UTF-8, without its byte order mark, lines ending in ``\\n``.

    Args:
        path: the file.
        file, content: what was expected, for messages: "a list file" of "text".

    Raises:
        UserError: the file cannot be read or is not in UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as opened:  # -sig: some editors put a mark first
            return opened.read()
    except OSError as error:
        raise UserError(f"{path}: expected {file}, found {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"{path}, line {line}: expected {content} in UTF-8, found {error.reason}"
        raise UserError(message) from None
