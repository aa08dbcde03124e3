"""Where what is found in a video goes, and whether it may go there: checked before any work."""

import mimetypes
import os
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..outputs import ensure_writable, os_errors_name
from ..video_io import VIDEO_SUFFIXES, ImageWriter


class OutputPaths(NamedTuple):
    """The outputs of one video; None is one that is not made."""

    video: Path | None = None  # an annotated mp4
    images: Path | None = None  # a folder of annotated images
    coco_vid: Path | None = None
    mot: Path | None = None
    csv: Path | None = None

    @property
    def given(self) -> list[Path]:
        """Those that are made."""
        return [path for path in self if path is not None]


def is_video_name(path: Path) -> bool:
    """Whether a path means an mp4, and not a folder.

    Raises:
        UserError: a file of another kind: a name such as ``clip.avi`` would become a folder's.
    """
    suffix = path.suffix.lower()
    if suffix == ".mp4":
        return True
    is_image = (mimetypes.guess_type(path.name)[0] or "").startswith("image/")
    if (is_image or suffix in VIDEO_SUFFIXES) and not path.is_dir():
        raise UserError(f"{path}: expected a name ending in .mp4 or a folder, found {path.suffix}")
    return False


def refuse_shared(outputs: Sequence[tuple[str, OutputPaths]]) -> None:
    """Refuse two inputs, given by what the user calls them, or two kinds, that share an output.

    One inside another's folder of images is shared too: that folder is replaced as a whole.
    """
    seen: dict[str, str] = {}
    for name, paths in outputs:
        for path in paths.given:
            place = os.path.realpath(path)
            if place in seen:
                raise UserError(
                    f"{path}: expected an output of its own for each input and kind, found that "
                    f"{seen[place]} and {name} would share it"
                )
            seen[place] = name
    folders = [paths.images for _, paths in outputs if paths.images is not None]
    for path in [path for _, paths in outputs for path in paths.given]:
        for folder in folders:
            if os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep):
                raise UserError(
                    f"{path}: expected a place outside of {folder}, a folder of images alone"
                )


def check_outputs(
    paths: OutputPaths,
    inputs: Sequence[Path],
    overwrite: bool,
    replaceable: Collection[Path] = (),
) -> None:
    """Refuse outputs that cannot be written, are inputs, or are there already.

    Args:
        inputs: every file and folder that is read.
        overwrite: outputs that are there may be replaced, inputs never.
        replaceable: outputs that may be replaced in any case.

    Raises:
        UserError: naming the output.
    """
    for path in paths.given:
        _refuse_inputs(path, inputs)
        replace = overwrite or path in replaceable
        if path.exists() and not replace:
            raise UserError(f"{path}: is there already; --overwrite replaces it")
        if not path.parent.exists():
            _check_new_folder(path.parent)
        elif path is paths.images:
            ImageWriter(path, replace)
        else:
            ensure_writable(path)


def _refuse_inputs(path: Path, inputs: Sequence[Path]) -> None:
    output = os.path.realpath(path)
    for given in inputs:
        source = os.path.realpath(given)
        inside = path.is_dir() and source.startswith(output + os.sep)
        if output == source or inside or (path.exists() and os.path.samefile(path, given)):
            raise UserError(f"{path}: is the input; name another output")


def _check_new_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise UserError(f"{folder}: expected a folder, {place} is a file")
    with os_errors_name(folder), tempfile.TemporaryFile(dir=place):
        pass


def make_folders(paths: OutputPaths) -> None:
    """Make the folders that outputs go into, where they are not there."""
    for path in paths.given:
        with os_errors_name(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
