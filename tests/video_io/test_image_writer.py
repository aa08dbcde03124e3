"""Folders of numbered images are written all or nothing."""

import errno

import numpy as np
import pytest
from PIL import Image

from d2_plugtrack.errors import UserError
from d2_plugtrack.video_io import ImageWriter, open_frames
from tests.video_io.clips import COLORS, assert_close, noise_frames, solid


def save(folder, frames, **options):
    with ImageWriter(folder, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_images_are_numbered_and_have_the_size_of_their_frames(tmp_path):
    frames = [solid(color, 20 + index, 31) for index, color in enumerate(COLORS)]
    folder = save(tmp_path / "out", frames)
    assert names(folder) == [f"{index:06d}.jpg" for index in range(5)]
    read = list(open_frames(folder))
    assert [frame.shape for frame in read] == [frame.shape for frame in frames]
    assert_close(read, COLORS)
    assert names(tmp_path) == ["out"]


def test_jpeg_has_a_quality_of_95(tmp_path):
    save(tmp_path / "out", noise_frames(1))
    Image.fromarray(noise_frames(1)[0]).save(tmp_path / "95.jpg", quality=95)
    with Image.open(tmp_path / "out/000000.jpg") as found, Image.open(tmp_path / "95.jpg") as good:
        assert found.quantization == good.quantization


def test_an_older_folder_is_replaced_only_if_it_is_said_and_holds_nothing_else(tmp_path):
    folder = save(tmp_path / "out", noise_frames(3))
    with pytest.raises(UserError, match=r"out: expected no such folder, .* found 3 entries"):
        ImageWriter(folder)
    save(folder, noise_frames(1), overwrite=True)
    assert names(folder) == ["000000.jpg"]
    (folder / "thesis.docx").write_text("mine")
    with pytest.raises(UserError, match="expected nothing but numbered images.*thesis.docx"):
        ImageWriter(folder, overwrite=True)
    assert names(folder) == ["000000.jpg", "thesis.docx"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    assert names(save(tmp_path / "out", noise_frames(2))) == ["000000.jpg", "000001.jpg"]


def test_places_that_cannot_be_written_are_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/out", "no/out"):
        with pytest.raises(UserError, match=f"{place}: expected a"):
            ImageWriter(tmp_path / place)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("count", [0, 2])
def test_an_exception_leaves_the_older_folder_or_nothing(tmp_path, error, count):
    for older in ([], noise_frames(1)):
        with pytest.raises(error), ImageWriter(tmp_path / "out", overwrite=True) as writer:
            for frame in noise_frames(count):
                writer.write(frame)
            raise error
        assert [path.name for path in tmp_path.rglob("*")] == (
            ["out", "000000.jpg"] if older else []
        )
        if not older:
            save(tmp_path / "out", noise_frames(1))


def test_a_full_disk_is_the_users_error_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(UserError, match="out: cannot be written: No space left on device"):
        save(tmp_path / "out", noise_frames(2))
    assert names(tmp_path) == []


def test_frames_of_the_right_kind_inside_the_block(tmp_path):
    with pytest.raises(ValueError, match="expected at least one frame"):
        save(tmp_path / "out", [])
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\), found"):
        save(tmp_path / "out", [np.zeros((4, 4), np.uint8)])
    writer = ImageWriter(tmp_path / "out")
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        writer.write(solid(COLORS[0]))
    with writer:
        writer.write(solid(COLORS[0]))
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        writer.write(solid(COLORS[0]))
