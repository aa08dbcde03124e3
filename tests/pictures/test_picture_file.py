"""A PNG file has the colours of the image, and replaces another only when asked."""

import numpy as np
import pytest
from PIL import Image

from d2_plugtrack.errors import UserError
from d2_plugtrack.pictures.picture_file import ensure_new, write_picture


def test_colors_come_back(tmp_path):
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, :3], image[0, 5] = (255, 0, 0), (1, 2, 3)  # BGR
    write_picture(tmp_path / "a.png", image)
    read = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(read, image[:, :, ::-1])
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_an_older_file_stays_unless_asked(tmp_path):
    path = tmp_path / "a.png"
    ensure_new(path, ".png", overwrite=False)
    path.write_bytes(b"older")
    with pytest.raises(UserError, match=r"--output .*a\.png: is there already; --overwrite"):
        ensure_new(path, ".png", overwrite=False)
    ensure_new(path, ".png", overwrite=True)
    assert path.read_bytes() == b"older"


def test_other_endings_and_places_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected a name ending in \.png, found '\.jpg'"):
        ensure_new(tmp_path / "a.jpg", ".png", overwrite=True)
    with pytest.raises(UserError, match="expected an existing folder"):
        ensure_new(tmp_path / "no/a.png", ".png", overwrite=True)
