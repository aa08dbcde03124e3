"""Numbers as they are written in XML and lists: in ASCII digits, of a size that can be kept.

Python reads more than that: ``1_0`` and digits of any script are damage here.
"""


def parse_whole(text: str | None) -> int:
    """A whole number of 64 bits.

    Raises:
        ValueError: the text is none.
    """
    value = int(_plain(text))
    if abs(value) >= 2**63:
        raise ValueError("expected a whole number of 64 bits")
    return value


def parse_decimal(text: str | None) -> float:
    """A number, NaN and infinity included.

    Raises:
        ValueError: the text is none.
    """
    return float(_plain(text))


def _plain(text: str | None) -> str:
    if text is None or not text.isascii() or "_" in text:
        raise ValueError("expected a number in ASCII")
    return text
