"""The maps that are drawn are those that were given, cell by cell; patches are what boxes show."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from d2_plugtrack.visualization import Match, draw_matches
from d2_plugtrack.visualization.correlation import PATCH_SIDE, cut_out, strongest_channels


def example(num_channels=5, label="car 0.80"):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 60, 90, 3), dtype=np.uint8)
    maps = [rng.random((num_channels, side, side), np.float32) for side in (7, 21, 15)]
    box = np.array([30.0, 20, 50, 36])
    window = np.array([10.0, 4, 70, 52])
    return Match(3, *images, label, box, window, box + 2, 0.75, *maps)


@pytest.fixture
def shown(monkeypatch):
    """The figures that are made; their axes hold what is drawn."""
    figures = []

    class Kept(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            figures.append(self)

    monkeypatch.setattr("matplotlib.figure.Figure", Kept)
    return figures


def test_every_cell_shows_its_channel_and_its_middle(shown):
    match, channels = example(), [4, 1]
    draw_matches([match], channels, 8)
    (figure,) = shown
    cells = np.array(figure.axes).reshape(3, 3)
    for row, maps in zip(cells, (match.template, match.search, match.response), strict=True):
        for cell, channel in zip(row[1:], channels, strict=True):
            (image,) = cell.get_images()
            np.testing.assert_array_equal(image.get_array(), maps[channel])
            (dot,) = cell.get_lines()
            middle = (maps.shape[-1] - 1) / 2
            assert (dot.get_xdata().item(), dot.get_ydata().item()) == (middle, middle)
    assert [cell.get_title() for cell in cells[0, 1:]] == ["channel 4", "channel 1"]
    texts = [text.get_text() for text in figure.texts]
    assert "frame 3: car 0.80\nframe 4: predicted IoU 0.75" in texts
    assert {"template\nframe 3", "search window\nframe 4", "correlation"} < set(texts)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_no_text_leaves_the_picture(shown, count):
    picture = draw_matches([example(8, label="red_panda 0.99")], list(range(count)), 8)
    (figure,) = shown
    height, width = picture.shape[:2]
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_matches_stand_below_one_another():
    one, two = (draw_matches([example()] * n, [0, 1], 8) for n in (1, 2))
    assert one.dtype == np.uint8 and two.shape == (2 * one.shape[0], *one.shape[1:])
    np.testing.assert_array_equal(two[: len(one)], one)


def test_strongest_channels_rise_highest():
    response = np.zeros((5, 3, 3))
    response[[0, 1, 2, 3, 4], 1, 2] = [0.1, 5, 0, 3, 4]
    response[2] = 2  # large everywhere, but never as high
    assert strongest_channels(response, 3) == [1, 3, 4]
    assert strongest_channels(response, 9) == [0, 1, 2, 3, 4]


def test_a_patch_is_the_box_enlarged():
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = (1, 2, 3)
    patch, zoom = cut_out(image, np.array([30.0, 10, 50, 20]))
    assert zoom == PATCH_SIDE / 20 and patch.shape == (PATCH_SIDE // 2, PATCH_SIDE, 3)
    inside = patch[10:-10, 10:-10].reshape(-1, 3)
    assert (inside == (1, 2, 3)).all()


def test_a_patch_is_gray_beyond_the_image():
    image = np.full((40, 60, 3), 255, np.uint8)
    patch, zoom = cut_out(image, np.array([-20.0, 0, 20, 40]))  # half of it
    assert (patch[:, : PATCH_SIDE // 2 - 8] == 127).all()
    assert (patch[8:-8, PATCH_SIDE // 2 + 8 :] == 255).all()


def test_a_patch_of_a_box_without_area_is_something():
    patch, _ = cut_out(np.zeros((40, 60, 3), np.uint8), np.array([5.0, 5, 5, 5]))
    assert patch.shape == (1, 1, 3)
