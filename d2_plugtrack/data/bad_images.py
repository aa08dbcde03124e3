"""Images that cannot be read while training or evaluating: skipped or patched, counted, said.

An image is bad where it is missing, does not decode to its end, or has another size than its
record. Training takes something else instead; evaluation cannot leave out a frame that has ground
truth, and goes on with what there is of it. No framework; a frame is a (H, W, 3) uint8 BGR array.
What is wrong with a dataset's lists and annotations is found when they are read (``problems.py``).
"""

import hashlib
import logging
import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from ..errors import UserError
from ..video_io import read_image
from .limits import MAX_PIXELS
from .problems import one_line

logger = logging.getLogger(__name__)

GREY = 128  # of a frame of which nothing decodes
ANOTHER_SIZE = 16  # times the pixels of the record: what is larger is damaged, and not decoded
MANY_PIXELS = 2**24  # nothing to worry about, however small the record is
MAX_WARNINGS = 1000  # files; a thousand and first is counted without a word


class BadImage(UserError):
    """An image that cannot be used as it is.

    Args:
        file_name: of the image.
        reason: what was found.
    """

    def __init__(self, file_name: str, reason: str):
        super().__init__(one_line(f"{file_name}: expected a whole image, found {reason}"))
        self.file_name, self.reason = file_name, reason


class BadImages:
    """Takes note of bad images, in loader workers too: what it knows is shared memory.

    Args:
        strict: the first one is a :class:`UserError`; otherwise each file is warned of once,
            whichever workers meet it, up to ``MAX_WARNINGS`` files.
    """

    def __init__(self, strict: bool = True):
        self.strict = strict
        # how many, and then a hash of every file that was warned of; 0 is none yet
        self._shared = multiprocessing.Array("Q", 1 + MAX_WARNINGS)

    def __getstate__(self) -> dict[str, Any]:
        # detectron2 hands its mappers to workers through cloudpickle, which lacks the reducers of
        # shared memory; only where workers are not forked
        return {**self.__dict__, "_shared": bytes(ForkingPickler.dumps(self._shared))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _shared=ForkingPickler.loads(state["_shared"]))

    @property
    def count(self) -> int:
        """How often an image was skipped or patched, in all processes that share this object."""
        return self._shared[0]

    def report(self, bad: BadImage, remedy: str) -> None:
        """Take note of one.

        Args:
            bad: the image.
            remedy: what is done instead of using it, for the warning.

        Raises:
            UserError: naming the file, where ``strict``.
        """
        if self.strict:
            raise UserError(str(bad)) from bad  # not bad itself: a worker hands over messages only
        if self._count_it(bad.file_name):
            logger.warning("%s", one_line(f"{bad.file_name}: a bad image ({bad.reason}), {remedy}"))

    def _count_it(self, file_name: str) -> bool:
        """Whether the file has to be warned of."""
        name = str(file_name).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(name, digest_size=8).digest()
        number = int.from_bytes(digest, "little") or 1
        with self._shared.get_lock():
            self._shared[0] += 1
            said = self._shared[1:]
            if number in said or 0 not in said:
                return False
            self._shared[1 + said.index(0)] = number
            return True

    def summary(self) -> str:
        """A line with the count; empty where all images were good."""
        count = self.count
        return f"bad images were met {count} times; the warnings name them" if count else ""

    def log_summary(self) -> None:
        """Say the summary once, at the end; nothing where all images were good."""
        if summary := self.summary():
            logger.warning(summary)


class SkipBadImages:
    """A mapper whose bad images become None, for which detectron2 takes another item.

    Args:
        mapper: raises :class:`BadImage`.
        bad_images: takes note of them.
        attempts: how often an item is tried; more than once where a mapper draws what it reads.
    """

    def __init__(self, mapper: Callable[[Any], Any], bad_images: BadImages, attempts: int):
        self.mapper, self.bad_images, self.attempts = mapper, bad_images, attempts

    def __call__(self, item: Any) -> Any | None:
        for _ in range(self.attempts):
            try:
                return self.mapper(item)
            except BadImage as bad:
                self.bad_images.report(bad, "skipped")
        return None


@contextmanager
def naming_bad_image(file_name: str) -> Iterator[None]:
    """Around what reads one image and does nothing else: any error of it is a BadImage."""
    try:
        yield
    except Exception as error:  # the decoders keep no list of what they raise on bad input
        cause = error.__cause__ or error  # read_image's own message would name the file twice
        raise BadImage(file_name, str(cause) or type(cause).__name__) from error


def read_whole_frame(record: Mapping[str, Any]) -> np.ndarray:
    """The image of a record.

    Raises:
        BadImage: it is missing, does not decode to its end, or has another size than the record
            says, where it says one.
    """
    name = record["file_name"]
    with naming_bad_image(name):
        image = read_image(name, _most_pixels(record))
    height, width = image.shape[:2]
    expected = record.get("width", width), record.get("height", height)
    if (width, height) != expected:
        raise BadImage(name, f"a size of {width}x{height}, not {expected[0]}x{expected[1]}")
    return image


def read_frame(record: Mapping[str, Any], bad_images: BadImages) -> np.ndarray:
    """The image of a record, of the record's size whatever happens.

    A truncated image is read as far as it decodes, one of another size is resized, and where
    nothing decodes the frame is grey.
    """
    try:
        return read_whole_frame(record)
    except BadImage as bad:
        bad_images.report(bad, "used as far as it can be read")
        return read_partial_frame(record)


def read_partial_frame(record: Mapping[str, Any]) -> np.ndarray:
    """What can be read of a bad image, in the record's size."""
    import cv2  # returns a truncated JPEG without a word, where Pillow refuses it

    height, width = record["height"], record["width"]
    if not _is_bearable(record["file_name"], _most_pixels(record)):
        return np.full((height, width, 3), GREY, np.uint8)
    # the record's size may be that of the pixels as stored, without the EXIF rotation
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        try:
            image = cv2.imread(str(record["file_name"]), flags)
        except cv2.error:  # of a size that OpenCV refuses
            image = None
        if image is None:
            return np.full((height, width, 3), GREY, np.uint8)
        if image.shape[:2] == (height, width):
            return image
    return cv2.resize(image, (width, height))


def _most_pixels(record: Mapping[str, Any]) -> float:
    """That an image of the record may say it has, to be decoded at all."""
    expected = record.get("width", math.inf) * record.get("height", math.inf)
    return min(max(ANOTHER_SIZE * expected, MANY_PIXELS), MAX_PIXELS)


def _is_bearable(file_name: str, most_pixels: float) -> bool:
    """Whether an image does not say of itself that it is gigantic, which OpenCV would believe."""
    from PIL import Image

    try:
        with Image.open(file_name) as image:
            return image.width * image.height <= most_pixels
    except Image.DecompressionBombError:
        return False
    except Exception:  # OpenCV may know more of it
        return True
