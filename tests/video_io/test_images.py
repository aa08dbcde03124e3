"""Images as frames: in natural order, upright, in any mode; broken ones are left out and told."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from d2_plugtrack.errors import UserError
from d2_plugtrack.video_io import open_frames
from tests.video_io.clips import (
    COLORS,
    assert_close,
    noise_frames,
    solid,
    truncate,
    warnings_of,
)


def test_folder_is_read_in_natural_order(tmp_path):
    folder = tmp_path / "frames.v2"
    folder.mkdir()
    names = ["f1.png", "f2.bmp", "f10.PNG", "f11.JPEG", "f100.jpg"]
    for name, color in zip(names, COLORS, strict=True):
        Image.fromarray(solid(color)[:, :, ::-1]).save(folder / name)
    (folder / "._f1.png").write_bytes(b"left by another system")
    (folder / "notes.txt").write_text("not an image")
    source = open_frames(folder, default_frame_rate=12.5)
    assert (source.name, source.num_frames) == ("frames.v2", 5)
    assert source.frame_rate == Fraction(25, 2)
    assert_close(source, COLORS)
    assert_close(source, COLORS)
    assert all(frame.flags.c_contiguous for frame in source)


def test_one_image_is_a_source_of_one_frame(tmp_path):
    Image.fromarray(solid(COLORS[0])[:, :, ::-1]).save(tmp_path / "one.png")
    source = open_frames(tmp_path / "one.png")
    assert (source.name, source.num_frames) == ("one", 1)
    assert_close(source, COLORS[:1])


@pytest.mark.parametrize(
    "pixels, expected",
    [
        (np.full((4, 6), 90, np.uint8), 90),
        (np.full((4, 6), 90 * 256 + 7, np.uint16), 90),
        (np.full((4, 6, 4), (90, 90, 90, 128), np.uint8), 90),
    ],
    ids=["gray", "16 bits", "alpha"],
)
def test_image_modes_become_bgr(tmp_path, pixels, expected):
    Image.fromarray(pixels).save(tmp_path / "one.png")
    (frame,) = open_frames(tmp_path / "one.png")
    np.testing.assert_array_equal(frame, np.full((4, 6, 3), expected, np.uint8))


def test_exif_rotation_is_applied_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned counterclockwise by a quarter
    Image.fromarray(solid(COLORS[0], 48, 64)).save(tmp_path / "one.jpg", exif=exif)
    (frame,) = open_frames(tmp_path / "one.jpg")
    assert frame.shape == (64, 48, 3)


def test_palettes_and_printers_colours_become_bgr(tmp_path):
    picture = Image.fromarray(solid(COLORS[0])[:, :, ::-1])
    picture.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    picture.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert_close(open_frames(tmp_path), COLORS[:1] * 2)


@pytest.mark.parametrize(
    "excerpt, indices",
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"stride": 4}, [0, 4, 8]),
        ({"start": 0.3}, [3, 4, 5, 6, 7, 8, 9]),  # 0.3 is meant, not the double above it
        ({"start": 0.31, "end": 0.7}, [4, 5, 6]),
        ({"start": 0.25, "end": 0.71, "stride": 2}, [3, 5, 7]),
        ({"end": 99}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_an_excerpt_of_images_keeps_their_times_and_places(tmp_path, excerpt, indices):
    for index in range(10):
        Image.fromarray(solid((0, 0, 20 * index), 8, 8)[:, :, ::-1]).save(tmp_path / f"{index}.png")
    source = open_frames(tmp_path, 10, **excerpt)
    frames = list(source.timed())
    assert [frame.index for frame in frames] == indices
    assert [frame.image[0, 0, 2] // 20 for frame in frames] == indices
    assert [frame.time for frame in frames] == [Fraction(index, 10) for index in indices]
    assert source.num_frames == len(frames) and not source.losses and not source.is_live
    assert source.frame_rate == Fraction(10, excerpt.get("stride", 1))


def test_an_excerpt_without_an_image_is_refused(tmp_path):
    Image.fromarray(solid(COLORS[0])).save(tmp_path / "0.png")
    with pytest.raises(
        UserError, match=r"expected images after 1 s, found that its 1 end at 0.5 s"
    ):
        open_frames(tmp_path, 2, start=1)


def test_empty_folder_says_what_was_expected(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"")
    with pytest.raises(UserError, match=r"expected images \(.bmp.* none among 1 entries"):
        open_frames(tmp_path)


def test_broken_image_in_a_folder_is_left_out_and_named(tmp_path, caplog):
    for name in ("0.jpg", "1.jpg", "2.jpg"):
        Image.fromarray(noise_frames(1)[0]).save(tmp_path / name)
    truncate(tmp_path / "1.jpg")
    source = open_frames(tmp_path)
    frames = list(source.timed())
    assert [(frame.index, frame.time) for frame in frames] == [(0, 0), (2, Fraction(2, 25))]
    assert source.losses == (2, 1, 1, 0)
    _, (message,) = warnings_of(source, caplog, passes=2)
    assert "read 2 frames of 3" in message and "1.jpg: expected an image" in message


def test_folder_of_broken_images_is_an_error(tmp_path):
    for name in ("0.jpg", "1.jpg"):
        Image.fromarray(noise_frames(1)[0]).save(tmp_path / name)
        truncate(tmp_path / name)
    with pytest.raises(UserError, match=r"0\.jpg: expected an image.*truncated.*and so do 1 other"):
        open_frames(tmp_path)


def test_broken_images_between_strides_are_not_read(tmp_path):
    for index in range(4):
        Image.fromarray(noise_frames(1)[0]).save(tmp_path / f"{index}.jpg")
    truncate(tmp_path / "1.jpg")
    source = open_frames(tmp_path, stride=2)
    assert len(list(source)) == 2 and not source.losses
