"""Boxes and labels land where they should, in the colour of their track, on a copy of the frame."""

import numpy as np
import pytest

from d2_plugtrack.visualization import draw_boxes, draw_tracks

FRAME = np.full((240, 320, 3), 60, np.uint8)
BOX = np.array([[100.0, 80, 200, 180]])


def line_color(image, x=150, y=180):
    """The colour on the middle of the lower side of BOX, which no label covers."""
    return tuple(int(value) for value in image[y, x])


def test_nothing_to_draw_gives_a_copy():
    drawn = draw_tracks(FRAME, np.zeros((0, 4)), [], np.zeros(0, int))
    assert drawn is not FRAME and not np.shares_memory(drawn, FRAME)
    np.testing.assert_array_equal(drawn, FRAME)


def test_input_stays_and_output_has_its_size():
    frame, box = FRAME.copy(), BOX.copy()
    drawn = draw_tracks(frame, box, ["car 0.93"], np.array([4]))
    np.testing.assert_array_equal(frame, FRAME)
    np.testing.assert_array_equal(box, BOX)
    assert drawn.shape == FRAME.shape and drawn.dtype == np.uint8


def test_box_is_drawn_on_its_sides_and_label_above():
    drawn = draw_tracks(FRAME, BOX, ["car"], np.array([4]))
    changed = (drawn != FRAME).any(axis=2)
    for x, y in [(100, 130), (200, 130), (150, 180)]:
        assert changed[y, x]
    assert not changed[90:170, 110:190].any()  # the object stays visible
    assert not changed[185:].any()
    assert changed[70:78, 104:110].any()


def test_color_follows_the_track_and_not_the_order():
    first = draw_tracks(FRAME, BOX, ["a"], np.array([7]))
    boxes = np.concatenate([[[5.0, 200, 40, 230]], BOX])
    second = draw_tracks(FRAME, boxes, ["b", "a"], np.array([3, 7]))
    assert line_color(first) == line_color(second)
    colors = {line_color(draw_tracks(FRAME, BOX, [""], np.array([i]))) for i in range(10)}
    assert len(colors) == 10


def test_no_track_is_gray_and_large_ids_are_drawn():
    blue, green, red = line_color(draw_tracks(FRAME, BOX, ["a"], np.array([-1])))
    assert blue == green == red != FRAME[0, 0, 0]
    assert line_color(draw_tracks(FRAME, BOX, ["a"], np.array([10**9]))) != (60, 60, 60)


@pytest.mark.parametrize("size", [(128, 160), (1080, 1920), (20, 20)])
def test_text_grows_with_the_image(size):
    height, width = size
    box = np.array([[0.3 * width, 0.5 * height, 0.5 * width, 0.7 * height]])
    frame = np.zeros((height, width, 3), np.uint8)
    with_label = draw_tracks(frame, box, ["bus"], np.array([0])).any(axis=2)
    label_rows = with_label[: int(0.5 * height) - 3].any(axis=1).sum()
    assert min(7, height // 4) <= label_rows <= max(12, 0.04 * height)


def test_label_at_the_border_stays_inside():
    corner = np.array([[-30.0, -20, 60, 40], [290, 200, 900, 900]])
    drawn = draw_tracks(FRAME, corner, ["airplane 0.99", "bicycle 0.42"], np.array([0, 1]))
    assert (drawn[:20, :80] != 60).any(axis=2).sum() > 500  # not cut off above the image
    assert (drawn[239, 300] != 60).any() and (drawn[220, 319] != 60).any()


def test_boxes_that_are_not_finite_are_left_out():
    boxes = np.concatenate([[[np.nan, 0, 10, 10]], BOX, [[0, 0, np.inf, 10]]])
    drawn = draw_tracks(FRAME, boxes, ["x", "car", "y"], np.array([1, 4, 2]))
    np.testing.assert_array_equal(drawn, draw_tracks(FRAME, BOX, ["car"], np.array([4])))


def test_views_and_float32_boxes_are_accepted():
    drawn = draw_tracks(FRAME[:, ::-1], BOX.astype(np.float32), ["car"], np.array([4]))
    assert line_color(drawn) != (60, 60, 60)


def test_unequal_lengths_are_shown():
    with pytest.raises(ValueError, match="found 1 boxes, 2 labels, 1 track ids"):
        draw_tracks(FRAME, BOX, ["a", "b"], np.array([1]))


def test_masks_are_laid_over_the_frame_in_the_colors_of_their_tracks():
    masks = np.zeros((1, 240, 320), bool)
    masks[0, 110:150, 120:180] = True
    plain = draw_tracks(FRAME, BOX, ["car"], np.array([4]))
    drawn = draw_tracks(FRAME, BOX, ["car"], np.array([4]), masks)
    changed = (drawn != plain).any(axis=2)
    np.testing.assert_array_equal(changed, masks[0])
    tint = drawn[130, 150].astype(int) - 60
    assert np.corrcoef(tint, np.array(line_color(plain)) - 60)[0, 1] > 0.99
    assert (drawn[130, 150] != line_color(plain)).any()  # the object stays visible


def test_masks_go_with_their_boxes_where_one_is_left_out():
    boxes = np.concatenate([[[np.nan] * 4], BOX])
    masks = np.zeros((2, 240, 320), bool)
    masks[0, :50], masks[1, 110:150, 120:180] = True, True
    drawn = draw_tracks(FRAME, boxes, ["x", "car"], np.array([1, 4]), masks)
    alone = draw_tracks(FRAME, BOX, ["car"], np.array([4]), masks[1:])
    np.testing.assert_array_equal(drawn, alone)
    nothing = draw_tracks(FRAME, boxes[:0], [], np.zeros(0, int), masks[:0])
    np.testing.assert_array_equal(nothing, FRAME)


@pytest.mark.parametrize("shape", [(2, 240, 320), (1, 28, 28)])
def test_masks_of_another_number_or_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected masks \(1, 240, 320\), one per box, found"):
        draw_tracks(FRAME, BOX, ["car"], np.array([4]), np.zeros(shape, bool))


def test_boxes_have_the_colors_that_are_given():
    boxes = np.concatenate([BOX, [[20.0, 20, 60, 60]]])
    drawn = draw_boxes(FRAME, boxes, ["", ""], ["#102030", "#FF8000"])
    assert line_color(drawn) == (0x30, 0x20, 0x10)
    assert line_color(drawn, 40, 60) == (0x00, 0x80, 0xFF)
    again = draw_boxes(FRAME, boxes[::-1], ["", ""], ["#FF8000", "#102030"])
    np.testing.assert_array_equal(again, drawn)


def test_an_empty_label_is_not_drawn():
    drawn = draw_boxes(FRAME, BOX, [""], ["#FFFFFF"])
    changed = (drawn != FRAME).any(axis=2)
    assert changed.any() and not changed[:78].any()
    boxes = np.concatenate([BOX, BOX + 30])
    named = (draw_boxes(FRAME, boxes, ["", "car"], ["#FFFFFF"] * 2) != FRAME).any(axis=2)
    assert (
        not named[:78].any()
        and named[95:105, 131:140].all(axis=None) == named[95:105, 131:140].any()
    )


def test_only_corners():
    drawn = draw_boxes(FRAME, BOX, [""], ["#FFFFFF"], only_corners=True)
    assert line_color(drawn) == (60, 60, 60) and line_color(drawn, 100, 180) == (255, 255, 255)


@pytest.mark.parametrize("thickness", [1, 3, 7])
def test_lines_are_as_thick_as_asked(thickness):
    drawn = draw_boxes(FRAME, BOX, [""], ["#FFFFFF"], thickness=thickness)
    rows = (drawn[:, 150] == 255).all(axis=1).sum()  # of two lines
    assert thickness <= rows / 2 <= thickness + 2  # OpenCV draws some a little thicker


def test_no_boxes_of_any_colors_are_a_copy():
    for corners in (False, True):
        drawn = draw_boxes(FRAME, np.zeros((0, 4)), [], [], only_corners=corners)
        np.testing.assert_array_equal(drawn, FRAME)
        assert not np.shares_memory(drawn, FRAME)
