"""The inputs that a user's words mean: one video each, and where they lie."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..video_io import VIDEO_SUFFIXES, is_live, shown_address
from ..video_io.image_files import IMAGE_SUFFIXES, natural_key


def expand_inputs(names: Sequence[str]) -> list[str]:
    """Inputs, with the videos of a folder or a pattern in place of one that means no images.

    They come in natural order; by its name's ending a file is a video. What means neither images
    nor videos stays as it is: whoever opens it says what is wrong.

    Raises:
        UserError: more than one camera or stream, of which none would ever end.
    """
    inputs = [given for name in names for given in _videos_in(name) or [name]]
    live = [shown_address(name) for name in inputs if is_live(name)]
    if len(live) > 1:
        raise UserError(
            f"--input: expected one camera or stream at most, found {len(live)}: {', '.join(live)}"
        )
    return inputs


def _videos_in(name: str) -> list[str]:
    """The videos of a folder or a pattern that has no images."""
    if os.path.isdir(name):
        entries = [os.path.join(name, entry) for entry in _visible(name)]
    else:
        entries = _matches(name)
    suffixes = {Path(entry).suffix.lower() for entry in entries}
    if suffixes.intersection(IMAGE_SUFFIXES):
        return []
    videos = [entry for entry in entries if Path(entry).suffix.lower() in VIDEO_SUFFIXES]
    return sorted(filter(os.path.isfile, videos), key=lambda entry: natural_key(Path(entry)))


def _visible(folder: str) -> list[str]:
    try:
        return [entry for entry in os.listdir(folder) if not entry.startswith(".")]
    except OSError:  # whoever opens it says so
        return []


def _matches(name: str) -> list[str]:
    """Of a pattern; a file or an address is none."""
    is_pattern = not os.path.lexists(name) and not is_live(name)
    return glob.glob(name, recursive=True) if is_pattern else []


def places_of(name: str) -> list[Path]:
    """The files and folders that are read for an input, whether it can be opened or not."""
    found = [name] if os.path.lexists(name) else _matches(name)
    return [Path(place) for place in found]
