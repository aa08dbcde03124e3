"""Bad images: what counts as one, what becomes of it, and that it is counted in every process."""

import logging
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from d2_plugtrack.data.bad_images import (
    GREY,
    MAX_WARNINGS,
    BadImage,
    BadImages,
    SkipBadImages,
    naming_bad_image,
    read_frame,
    read_partial_frame,
    read_whole_frame,
)
from d2_plugtrack.errors import UserError
from tests.data.damage.image_kinds import png_of_size

KINDS = ["truncated", "empty", "not an image", "missing", "another size"]


def assert_counted(bad_images: BadImages, times: int) -> None:
    assert bad_images.count == times
    assert (str(times) in bad_images.summary()) == (times > 0)


# ---- reading -------------------------------------------------------------------------------------


def test_a_good_image_is_read_as_it_is(bad_record, photo):
    record = bad_record("good")
    bad_images = BadImages()
    image = read_frame(record, bad_images)
    assert np.array_equal(image, read_whole_frame(record))
    assert np.abs(image.astype(int) - photo).mean() < 3
    del record["width"], record["height"]  # of no stated size
    assert np.array_equal(read_whole_frame(record), image)
    assert_counted(bad_images, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_image_is_named(bad_record, kind):
    record = bad_record(kind)
    with pytest.raises(BadImage) as error:
        read_whole_frame(record)
    assert str(error.value).startswith(f"{record['file_name']}: expected a whole image, found ")
    assert error.value.file_name == record["file_name"] and "\n" not in str(error.value)
    with pytest.raises(UserError, match=f"^{record['file_name']}: expected a whole image"):
        read_frame(record, BadImages(strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_what_there_is_of_it_is_a_frame_of_the_records_size(bad_record, photo, kind):
    bad_images = BadImages(strict=False)
    image = read_frame(bad_record(kind), bad_images)
    assert image.shape == photo.shape and image.dtype == np.uint8
    assert_counted(bad_images, 1)
    difference = np.abs(image.astype(int) - photo).mean(axis=(1, 2))
    if kind == "truncated":
        assert difference[:8].mean() < 20 < difference[-8:].mean()
    elif kind == "another size":
        assert difference.mean() < 8
    else:
        assert (image == GREY).all()


def test_a_size_without_the_rotation_of_exif(bad_record, photo):
    """A file whose EXIF says to turn it, and a record with the size of its pixels as stored."""
    from PIL import Image

    record = bad_record("good")
    with Image.open(record["file_name"]) as opened:
        exif = opened.getexif()
        exif[0x0112] = 6  # a quarter turn
        opened.save(record["file_name"], exif=exif, quality=95)
    with pytest.raises(BadImage, match="a size of 48x64, not 64x48"):
        read_whole_frame(record)
    image = read_frame(record, BadImages(strict=False))
    assert np.abs(image.astype(int) - photo).mean() < 4


# ---- counting ------------------------------------------------------------------------------------


def test_one_warning_a_file_and_every_time_counted(bad_record, caplog):
    bad_images = BadImages(strict=False)
    assert bad_images.summary() == ""
    bad_images.log_summary()
    assert caplog.text == ""
    records = [bad_record("truncated"), bad_record("missing")]
    for record in records * 3:
        read_frame(record, bad_images)
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 2
    assert all(str(r["file_name"]) in caplog.text for r in records)
    assert_counted(bad_images, 6)
    caplog.clear()
    bad_images.log_summary()
    assert [r.getMessage() for r in caplog.records] == [bad_images.summary()]


class Frames(Dataset):
    def __init__(self, records: list[dict], bad_images: BadImages):
        self.records, self.bad_images = records, bad_images

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_frame(self.records[index], self.bad_images)


def test_the_count_is_that_of_all_workers(bad_record):
    records = [bad_record(kind) for kind in ("truncated", "good", "missing", "good")] * 2
    bad_images = BadImages(strict=False)
    assert len(list(DataLoader(Frames(records, bad_images), num_workers=2))) == 8
    assert_counted(bad_images, 4)


def test_a_file_is_warned_of_once_whichever_workers_meet_it(bad_record, tmp_path):
    records = [bad_record("truncated"), bad_record("missing")] * 8
    handler = logging.FileHandler(tmp_path / "log.txt")  # what workers say, a parent does not hear
    logger = logging.getLogger("d2_plugtrack")
    logger.addHandler(handler)
    bad_images = BadImages(strict=False)
    try:
        for _ in range(2):  # workers of an epoch are gone in the next one
            list(DataLoader(Frames(records, bad_images), num_workers=2))
    finally:
        logger.removeHandler(handler)
        handler.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert sorted(line.split(": ")[0] for line in lines) == sorted(
        {str(r["file_name"]) for r in records}
    )
    assert_counted(bad_images, 2 * 16)


def test_warnings_come_to_an_end_and_the_count_does_not(caplog):
    bad_images = BadImages(strict=False)
    for number in range(MAX_WARNINGS + 50):
        bad_images.report(BadImage(f"{number}.jpg", "nothing"), "skipped")
    assert len(caplog.records) == MAX_WARNINGS
    assert_counted(bad_images, MAX_WARNINGS + 50)


def test_messages_of_odd_names_are_one_line(caplog):
    BadImages(strict=False).report(BadImage("a\n\ud800.jpg", "b\nc"), "skipped")
    assert caplog.messages == ["a\\n\\ud800.jpg: a bad image (b\\nc), skipped"]
    with pytest.raises(UserError, match=r"a\\nb\.jpg: expected a whole image, found c"):
        BadImages().report(BadImage("a\nb.jpg", "c"), "skipped")


# ---- sizes that nobody has memory for ------------------------------------------------------------


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**20 + 1, 1), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_of_an_absurd_size_is_grey(bad_record, photo, monkeypatch, size):
    """OpenCV would raise an error of its own, or begin to decode a gigabyte."""
    record = bad_record("good")
    with open(record["file_name"], "wb") as file:
        file.write(png_of_size(*size))
    if size[0] == size[1]:
        monkeypatch.setattr("cv2.imread", None)  # is not even asked
    with pytest.raises(BadImage):
        read_whole_frame(record)
    image = read_frame(record, BadImages(strict=False))
    assert image.shape == photo.shape and (image == GREY).all()


def test_an_image_much_larger_than_its_record_is_not_decoded(bad_record, photo, monkeypatch):
    """4000x4000 is 16,000,000 pixels, below 2^24; 5000x4000 is above, and 16 * 64 * 48 = 49,152."""
    for size, asked in (((4000, 4000), 1), ((5000, 4000), 0)):
        record, decoded = bad_record("good"), []
        with open(record["file_name"], "wb") as file:
            file.write(png_of_size(*size))
        for place in ("PIL.ImageOps.exif_transpose", "cv2.imread"):
            monkeypatch.setattr(place, lambda *_, decoded=decoded: decoded.append(1))
        assert (read_frame(record, BadImages(strict=False)) == GREY).all()
        assert len(decoded) == 2 * asked
        with pytest.raises(BadImage):
            read_whole_frame(record)


# ---- mappers -------------------------------------------------------------------------------------


def test_an_image_that_opencv_refuses_by_an_exception_is_grey(bad_record):
    record, width = bad_record("good"), 2**20 + 8  # more than OpenCV takes in a row
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, width, 1, 1, 24, *[0] * 6)
    Path(record["file_name"]).write_bytes(header + bytes(3 * width))
    with pytest.raises(cv2.error):
        cv2.imread(record["file_name"])
    assert (read_partial_frame(record) == GREY).all()


def test_a_bad_image_becomes_none_and_a_bug_stays_one(bad_record):
    bad_images = BadImages(strict=False)

    def mapper(record):
        image = read_whole_frame(record)
        return 1 // (image is None)  # a bug

    skipping = SkipBadImages(mapper, bad_images, attempts=1)
    assert skipping(bad_record("truncated")) is None
    assert_counted(bad_images, 1)
    with pytest.raises(ZeroDivisionError):
        skipping(bad_record("good"))
    with pytest.raises(UserError, match="expected a whole image"):
        SkipBadImages(mapper, BadImages(), attempts=1)(bad_record("truncated"))


@pytest.mark.parametrize(("good_after", "attempts", "found"), [(2, 3, "good"), (3, 3, None)])
def test_a_mapper_that_draws_is_asked_again(good_after, attempts, found):
    calls = []

    def mapper(item):
        calls.append(item)
        if len(calls) <= good_after:
            raise BadImage("a.jpg", "nothing")
        return "good"

    bad_images = BadImages(strict=False)
    assert SkipBadImages(mapper, bad_images, attempts)("video") == found
    assert_counted(bad_images, good_after)


def test_errors_without_words_have_a_name():
    with pytest.raises(BadImage, match="a.jpg: .* found EOFError"), naming_bad_image("a.jpg"):
        raise EOFError


# ---- fixtures' own -------------------------------------------------------------------------------


def test_opencv_says_nothing_of_a_truncated_jpeg(bad_record):
    """Why Pillow is asked first; of the kinds of bad images this is the one that decodes."""
    assert cv2.imread(bad_record("truncated")["file_name"]) is not None
