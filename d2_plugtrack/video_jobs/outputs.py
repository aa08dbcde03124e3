"""Everything that is made of one video's objects, frame by frame: files, and a window.

Files are opened with the first frame and have their names when the ``with`` block ends well: all
have the same frames then. Without a frame nothing is made. On an exception nothing is left.
"""

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from ..core.rescoring import TrackedObjects
from ..data.video_json.video_set import relative_name
from ..exports import CocoVidWriter, CsvWriter, Export, MotWriter
from ..video_io import FrameSource, ImageWriter, VideoWriter
from ..video_io.image_source import ImageSource
from .annotator import Annotator
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
        zoom: frames are drawn so many times as large; None: small ones are enlarged.
        show: is given every annotated frame; False ends the video.

    Attributes:
        frames: that were written.
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
    ):
        self.paths, self.source, self.class_names = paths, source, class_names
        self.frames = self.tracks = 0
        self.end_time: Fraction | None = None
        self._annotator, self._show = Annotator(class_names, zoom), show
        self._stack = ExitStack()
        self._exports: list[Export] = []
        self._writers: list[VideoWriter | ImageWriter] = []

    @property
    def draws(self) -> bool:
        """Whether it takes the frames' images."""
        return bool(self.paths.video or self.paths.images or self._show)

    def __enter__(self) -> Self:
        return self

    def write(self, frame: FoundFrame, note: str = "") -> bool:
        """Take the next frame, and draw a note on it; False where the video is to end here."""
        if not self.frames:
            self._open()
        self.frames += 1
        self.tracks = max([self.tracks, *(frame.objects.track_ids + 1).tolist()])
        for export in self._exports:
            export.write(frame.index, frame.time, frame.image_size, frame.objects)
        if not self.draws:
            return True
        image = self._annotator.draw(frame.image, frame.objects, note)
        for writer in self._writers:
            writer.write(image, frame.time)
        return self._show is None or self._show(image)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers:
            if isinstance(writer, VideoWriter):
                writer.end_time = self.end_time
        self._writers, self._exports = [], []
        self._stack.__exit__(kind, error, trace)

    def _open(self) -> None:
        make_folders(self.paths)
        makes: list[tuple[Path | None, list[Any], Callable[[Path], Any]]] = [
            (self.paths.video, self._writers, self._video_writer),
            (self.paths.images, self._writers, lambda p: ImageWriter(p, overwrite=True)),
            (self.paths.coco_vid, self._exports, self._coco_vid),
            (self.paths.mot, self._exports, lambda p: MotWriter(p, self.class_names)),
            (self.paths.csv, self._exports, lambda p: CsvWriter(p, self.class_names)),
        ]
        for path, opened, make in makes:
            if path is not None:
                opened.append(self._stack.enter_context(make(path)))

    def _video_writer(self, path: Path) -> VideoWriter:
        return VideoWriter(path, self.source.frame_rate, fragmented=self.source.is_live)

    def _coco_vid(self, path: Path) -> CocoVidWriter:
        """Frames that are files have their names, from the file's folder."""
        source, file_name = self.source, None
        if isinstance(source, ImageSource):

            def file_name(index: int) -> str:
                return relative_name(path.resolve(), str(source.paths[index].resolve()))

        return CocoVidWriter(path, self.class_names, source.name, source.frame_rate, file_name)
