"""Addresses such as ``rtsp://`` and ``http://``, and how they are named without their secrets."""

import re
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Names and passwords may have any character: all up to the last @ goes, unless it is in a path, as
# in http://host/@channel, and no colon comes before it.
_USER = re.compile(r"^([^:/]+://)(?=[^/?#]*@|.*:.*@).*@", re.DOTALL)
_SECRET = re.compile(r"((?:pass|pwd|token|key|auth|secret|sig)[^=/?&;]*=)[^&]*", re.IGNORECASE)


def is_address(name: str) -> bool:
    """Whether a name begins as an address does."""
    return bool(_ADDRESS.match(name))


def shown_address(name: str) -> str:
    """An address for messages, without its user, password and keys; other names as they are.

    Of ``rtsp://me:pw@cam/live?token=1&fps=5`` it is ``rtsp://cam/live?token=***&fps=5``. In doubt
    too much is left out.
    """
    return _SECRET.sub(r"\1***", _USER.sub(r"\1", name)) if is_address(name) else name


def short_name(address: str) -> str:
    """A file name for what an address sends: the last part of its path, or its host."""
    parts = urlsplit(address)
    last = parts.path.rstrip("/").rpartition("/")[2].rpartition(".")
    name = last[0] or last[2] or parts.hostname or parts.scheme
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "stream"
