"""Where each image of a sheet is."""

import numpy as np
import pytest

from d2_plugtrack.visualization import contact_sheet


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
