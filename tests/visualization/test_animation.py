"""Before and after side by side: what is drawn, under which titles, and how large."""

import numpy as np
import pytest

from d2_plugtrack.core.tracked_video import TrackNumbers
from d2_plugtrack.visualization import draw_boxes
from d2_plugtrack.visualization.animation import GAP, draw_beside, of_detector, of_video
from d2_plugtrack.visualization.drawing import track_colors
from d2_plugtrack.visualization.sheets import TITLE_HEIGHT, fit_width
from tests.visualization.stage_examples import CLASSES, example, frame_result


def test_the_left_has_the_colors_of_classes_and_the_right_those_of_tracks():
    first, _, third = example()
    left = of_detector(first.detector, CLASSES, 0.3)
    assert left.labels == ["car 0.90", "bus 0.31"]
    assert left.colors == track_colors(np.array([0, 1]))
    numbers = TrackNumbers(0.3)
    right = of_video(numbers.objects(third.rescored), CLASSES, 0.3)
    assert right.labels == ["0 car 0.60", "1 bus 0.80"]
    assert right.colors == track_colors(np.array([0, 1]))
    np.testing.assert_allclose(right.boxes[1], [32, 4, 60, 24])


def test_the_threshold_is_the_same_on_both_sides():
    first, second, third = example()
    assert of_detector(first.detector, CLASSES, 0.4).labels == ["car 0.90"]
    assert of_video(third.objects, CLASSES, 0.7).labels == ["1 bus 0.80"]
    for threshold, count in ((0.2, 2), (0.21, 1), (0.61, 0)):
        assert len(of_video(second.objects, CLASSES, threshold).boxes) == count


@pytest.mark.parametrize("width", [136, 328, 329])
def test_frames_stand_side_by_side_at_the_size_that_was_asked_for(width):
    _, _, third = example()
    picture = draw_beside(*(third.image, third.detector, third.objects), CLASSES, 0.3, width)
    each = (width - GAP) // 2
    height = round(48 * each / 64)
    assert picture.shape == (TITLE_HEIGHT + height, 2 * each + GAP, 3)
    frame, zoom = fit_width(third.image, each)
    np.testing.assert_array_equal(picture[TITLE_HEIGHT:, :each], frame)  # nothing is detected
    shown = of_video(third.objects, CLASSES, 0.3)
    expected = draw_boxes(frame, shown.boxes * zoom, shown.labels, shown.colors)
    np.testing.assert_array_equal(picture[TITLE_HEIGHT:, each + GAP :], expected)
    assert (expected != frame).any()


def test_boxes_are_put_to_the_scale_of_a_smaller_picture_of_the_frame():
    _, _, third = example()
    shapes = []
    for image in (third.image, np.full((24, 32, 3), 80, np.uint8)):  # of half its size
        shapes.append(draw_beside(image, third.detector, third.objects, CLASSES, 0.3, 136))
    np.testing.assert_array_equal(*shapes)


def test_frames_without_boxes_are_the_frames():
    (stage, *_) = example()
    nothing = stage.objects.map(lambda field: field[:0])
    picture = draw_beside(stage.image, frame_result([], []), nothing, CLASSES, 0.3, 136)
    assert not picture[TITLE_HEIGHT:, :64].any() and not picture[TITLE_HEIGHT:, 72:].any()
