"""Where each image of a sheet is."""

import numpy as np
import pytest

from d2_plugtrack.visualization import captioned, contact_sheet, fit_width, titled_sheet
from d2_plugtrack.visualization.sheets import TITLE_HEIGHT


def test_contact_sheet_places_row_by_row():
    images = [np.full((10, 20, 3), value, np.uint8) for value in (10, 20, 30)]
    images[1] = images[1][:6, :8]
    sheet = contact_sheet(images, columns=2, gap=4)
    assert sheet.shape == (24, 44, 3)
    assert (sheet[:10, :20] == 10).all() and (sheet[14:, :20] == 30).all()
    assert (sheet[:6, 24:32] == 20).all()
    assert (sheet[14:, 20:] == 255).all() and (sheet[6:14, 24:] == 255).all()


def test_contact_sheet_of_nothing_is_refused():
    with pytest.raises(ValueError, match="found 0 and 2"):
        contact_sheet([], 2)
    with pytest.raises(ValueError, match="found 1 and 0"):
        contact_sheet([np.zeros((2, 2, 3), np.uint8)], 0)


def test_titled_sheet_has_titles_beside_rows_and_above_columns():
    images = [
        [np.full((50, 80, 3), 10 * (3 * i + j), np.uint8) for j in range(3)] for i in range(2)
    ]
    sheet = titled_sheet(images, ["detector", "tracker"], ["frame 0", "frame 7", "frame 14"], gap=4)
    assert sheet.shape == (TITLE_HEIGHT + 2 * 50 + 4, TITLE_HEIGHT + 3 * 80 + 2 * 4, 3)
    for i, row in enumerate(images):
        for j, image in enumerate(row):
            top, left = TITLE_HEIGHT + 54 * i, TITLE_HEIGHT + 84 * j
            np.testing.assert_array_equal(sheet[top : top + 50, left : left + 80], image)
    above, beside = sheet[:TITLE_HEIGHT, TITLE_HEIGHT:], sheet[TITLE_HEIGHT:, :TITLE_HEIGHT]
    for j in range(3):
        assert (above[:, 84 * j : 84 * j + 80] < 100).any()
    for i in range(2):
        assert (beside[54 * i : 54 * i + 50] < 100).any()
    assert (sheet[:TITLE_HEIGHT, :TITLE_HEIGHT] == 255).all()


def test_titled_sheet_of_nothing_or_of_uneven_rows_is_refused():
    image = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(ValueError, match=r"expected rows of 2 images, found \[2, 1\]"):
        titled_sheet([[image, image], [image]], ["a", "b"], ["c", "d"])
    with pytest.raises(ValueError, match=r"expected rows of 1 images, found \[\]"):
        titled_sheet([], [], ["a"])
    with pytest.raises(ValueError, match="expected 1 row titles, found 2"):
        titled_sheet([[image]], ["a", "b"], ["c"])


def test_caption_is_above_the_image():
    image = np.full((40, 120, 3), 7, np.uint8)
    picture = captioned(image, "frame 3")
    np.testing.assert_array_equal(picture[TITLE_HEIGHT:], image)
    assert (picture[:TITLE_HEIGHT] < 100).any()


@pytest.mark.parametrize(
    "size, width, height", [((10, 20), 60, 30), ((90, 60), 20, 30), ((1, 900), 9, 1)]
)
def test_fit_width_keeps_the_aspect_ratio(size, width, height):
    image, zoom = fit_width(np.full((*size, 3), 77, np.uint8), width)
    assert image.shape == (height, width, 3) and zoom == width / size[1] and (image == 77).all()
