"""Everything that is made of one video's objects, frame by frame: files, and a window.

Files are opened with the first frame and have their names when the ``with`` block ends well. Each
is whole or absent, and all that are there have the same frames; an older file stays where the new
one is absent. Without a frame nothing is made. An exception in the block leaves none. An output
that cannot be written, as on a full disk, is absent and in ``failures``; what that means for the
others is ``keep_others``'.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from ..core.rescoring import TrackedObjects
from ..data.video_json.video_set import relative_name
from ..errors import UserError
from ..exports import CocoVidWriter, CsvWriter, Export, MotWriter
from ..video_io import FrameSource, ImageWriter, VideoWriter
from ..video_io.image_source import ImageSource
from ..video_io.image_writer import image_name
from .annotator import Annotator, check_zoom
from .output_paths import OutputPaths, make_folders


class FoundFrame(NamedTuple):
    """A frame with its objects, whose boxes are in its pixels."""

    index: int  # its place in the source, from 0
    time: Fraction  # seconds since the source's first frame
    image_size: tuple[int, int]  # height, width
    objects: TrackedObjects
    image: np.ndarray | None  # BGR; None where nothing is drawn


class VideoOutputs:
    """The outputs of a video: ``with VideoOutputs(...) as outputs``, then ``write`` frame by frame.

    Args:
        paths: of files; their folders are made, and older files replaced.
        source: of the frames.
        class_names: in label order.
        zoom: frames are drawn so many times as large; None: small ones are enlarged, unless they
            are written as images, which then have the size that the boxes are meant for.
        show: is given every annotated frame; False ends the video.
        keep_others: an output that fails in mid-video is given up alone, and only the failure of
            the last one is raised; otherwise every failure is. At the end of the block the others
            are finished in either case.

    Attributes:
        frames: that were written.
        failures: why outputs, by their paths, are not there.
        tracks: how many of them have objects that are written.
        end_time: when the last frame ends, in seconds; set before the block ends, if known.
    """

    def __init__(
        self,
        paths: OutputPaths,
        source: FrameSource,
        class_names: list[str],
        zoom: int | None = None,
        show: Callable[[np.ndarray], bool] | None = None,
        keep_others: bool = False,
    ):
        self.paths, self.source, self.class_names = paths, source, class_names
        self.frames = self.tracks = 0
        self.end_time: Fraction | None = None
        self.failures: dict[Path, UserError] = {}
        self._zoom = 1 if zoom is None and paths.images else zoom
        self._annotator, self._show = Annotator(class_names, self._zoom), show
        self._keep_others, self._stack = keep_others, ExitStack()
        self._outputs: dict[Path, Export | VideoWriter | ImageWriter] = {}  # that are written to

    @property
    def draws(self) -> bool:
        """Whether it takes the frames' images."""
        return bool(self.paths.video or self.paths.images or self._show)

    def __enter__(self) -> Self:
        return self

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Refuse frames of a (height, width) that are too large to be drawn so many times as large.

        Raises:
            UserError: before anything is detected in them.
        """
        if self.draws and self._zoom is not None:
            check_zoom(self._zoom, image_size)

    def write(self, frame: FoundFrame, note: str = "") -> bool:
        """Take the next frame, and draw a note on it; False where the video is to end here.

        Raises:
            UserError: an output that cannot be written; with ``keep_others`` the last one.
        """
        if not self.frames:
            self._open()
        image = self._annotator.draw(frame.image, frame.objects, note) if self.draws else None
        for path, output in list(self._outputs.items()):
            try:
                _write(output, frame, image)
            except UserError as error:
                if not self._keep_others:
                    raise
                self._give_up(path, error)
        self.frames += 1
        self.tracks = max([self.tracks, *(frame.objects.track_ids + 1).tolist()])
        return self._show is None or self._show(image)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if error is None and len(self.failures) == len(self.paths.given):
            self._raise_if_useless()

    def _open(self) -> None:
        make_folders(self.paths)
        makes: list[tuple[Path | None, Callable[[Path], Any]]] = [
            (self.paths.video, self._video_writer),
            (self.paths.images, lambda p: ImageWriter(p, overwrite=True)),
            (self.paths.coco_vid, self._coco_vid),
            (self.paths.mot, lambda p: MotWriter(p, self.class_names)),
            (self.paths.csv, lambda p: CsvWriter(p, self.class_names)),
        ]
        for path, make in makes:
            if path is not None:
                self._outputs[path] = make(path).__enter__()
                self._stack.push(partial(self._finish, path))

    def _finish(self, path: Path, *error: Any) -> None:
        """End one output, well unless there is an error; its own failure spares the others."""
        output = self._outputs.pop(path, None)
        if output is None:  # given up before
            return
        if isinstance(output, VideoWriter):
            output.end_time = self.end_time
        try:
            output.__exit__(*error)
        except UserError as failure:
            self.failures[path] = failure

    def _give_up(self, path: Path, error: UserError) -> None:
        self.failures[path] = error
        with suppress(UserError):  # what is on a full disk may not even be closed
            self._outputs.pop(path).__exit__(type(error), error, error.__traceback__)
        if not self._outputs:
            self._raise_if_useless()

    def _raise_if_useless(self) -> None:
        """Where nothing is made any more, and nobody looks on."""
        if self.failures and self._show is None:
            raise next(iter(self.failures.values()))

    def _video_writer(self, path: Path) -> VideoWriter:
        return VideoWriter(path, self.source.frame_rate, fragmented=self.source.is_live)

    def _coco_vid(self, path: Path) -> CocoVidWriter:
        source = self.source
        return CocoVidWriter(
            path, self.class_names, source.name, source.frame_rate, self._image_names(path)
        )

    def _image_names(self, json_path: Path) -> Callable[[int], str] | None:
        """Names, from the file's folder, of images of the size that boxes are meant for.

        That is the source's images, or else those that are written unless they are enlarged; None
        where there are none.
        """
        source, written = self.source, self.paths.images
        if isinstance(source, ImageSource):
            return lambda index: relative_name(
                json_path.resolve(), str(source.paths[index].resolve())
            )
        if written is None or self._zoom != 1:
            return None
        return lambda _: relative_name(
            json_path.resolve(), str(written.resolve() / image_name(self.frames))
        )


def _write(
    output: Export | VideoWriter | ImageWriter, frame: FoundFrame, image: np.ndarray | None
) -> None:
    if isinstance(output, Export):
        output.write(frame.index, frame.time, frame.image_size, frame.objects)
    else:
        output.write(image, frame.time)
