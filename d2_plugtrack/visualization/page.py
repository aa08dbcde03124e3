"""The page of a video: one HTML file that shows what the method does with it, frame by frame.

It needs no network and opens from the disk: markup, style and scripts (those of ``page_parts/``),
the boxes as JSON and the frames as JPEGs in data URIs are all in it. Boxes are drawn by the
browser, as SVG over the picture, and not into it: a frame is stored once for all stages and
thresholds, small frames stay small (the browser enlarges them with crisp pixels), lines and letters
are sharp at any size, and a box can be pointed at.

``pictures`` are BGR uint8 ``(H, W, 3)``, or what :func:`encode_picture` made of them. No frames
and no tracks are pages like any other. What the page says is ``page_data.py``'s.
"""

import html
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from .drawing import NO_TRACK_COLOR
from .sheets import fit_width

JPEG_QUALITY = 80
SCRIPTS = ("state.js", "frame.js", "tracks.js", "controls.js")  # one script, in this order


def shrink(image: np.ndarray, width: int) -> np.ndarray:
    """The image ``width`` pixels wide; itself where it is not wider."""
    return fit_width(image, width)[0] if image.shape[1] > width else image


def encode_picture(image: np.ndarray, width: int) -> str:
    """A BGR frame, shrunk to ``width``, as a JPEG in a data URI."""
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", shrink(image, width), quality)
    return "data:image/jpeg;base64," + b64encode(encoded.tobytes()).decode("ascii")


def page_html(
    name: str,
    facts: Mapping[str, str],
    settings: Mapping[str, str],
    frame_rate: float,
    data: Mapping[str, Any],
    pictures: Sequence[str],
) -> str:
    """The whole file.

    Args:
        name: of the video.
        facts: what the head of the page says of it (its model, say), by what it is.
        settings: likewise, listed where a person asks for them.
        frame_rate: at which the page plays.
        data: from :func:`page_data`.
        pictures: of its frames, from :func:`encode_picture`.

    Raises:
        ValueError: not as many pictures as frames, or numbers that are not finite.
    """
    if len(pictures) != len(data["frames"]):
        raise ValueError(f"expected {len(data['frames'])} pictures, found {len(pictures)}")
    about = {
        "name": name,
        "facts": facts,
        "settings": settings,
        "frame_rate": frame_rate,
        "no_track_color": NO_TRACK_COLOR,
    }
    parts = {
        "name": html.escape(name),
        "style": _read("page.css"),
        "script": "\n".join(_read(name) for name in SCRIPTS),
        "data": _as_script_data({**about, **data, "pictures": pictures}),
    }
    # in one go: what is put in may look like a place to put something
    return re.sub(r"<!-- put (\w+) here -->", lambda place: parts[place[1]], _read("page.html"))


def _as_script_data(data: object) -> str:
    """JSON that can stand in a script element: no ``<`` that could end it or begin a comment."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _read(name: str) -> str:
    return files(__package__).joinpath("page_parts", name).read_text(encoding="utf-8")
