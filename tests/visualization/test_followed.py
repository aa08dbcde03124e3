"""What was followed is drawn in the colour of its score, what was let go as gray corners."""

import numpy as np
import pytest
import torch

from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.visualization import draw_followed
from d2_plugtrack.visualization.drawing import NO_TRACK_COLOR
from d2_plugtrack.visualization.followed import find_let_go, score_colors
from d2_plugtrack.visualization.sheets import TITLE_HEIGHT

IMAGE = np.full((200, 300, 3), 60, np.uint8)
LEFT, RIGHT, BELOW = [20.0, 40, 80, 90], [200.0, 40, 260, 90], [20.0, 130, 80, 180]
NEAR_RIGHT = [202.0, 40, 262, 90]  # IoU with RIGHT: 58 / 62 = 0.94
NAN = float("nan")


def result(boxes, scores, source, track_scores, mapped):
    boxes, mapped = (torch.tensor(b).reshape(-1, 4) for b in (boxes, mapped))
    values = torch.as_tensor(scores)[:, None], torch.tensor(track_scores)
    return FrameResult(boxes, *values, mapped, torch.tensor(source).long(), (200, 300))


# of four boxes the first goes on, the second is suppressed by it, the third is let go, the fourth
# is not likely enough to be shown; beside them there is a new one
PREV = result([RIGHT] * 4, [0.9, 0.8, 0.7, 0.1], [-1] * 4, [NAN] * 4, [])
CURR = result([RIGHT, LEFT], [0.9, 0.9], [0, -1], [0.8, NAN], [RIGHT, NEAR_RIGHT, BELOW, LEFT])


def bgr(color):
    return tuple(int(color[i : i + 2], 16) for i in (5, 3, 1))


def picture_of(*steps, columns=4):
    return draw_followed(steps, 0.2, 0.7, columns, 300)[TITLE_HEIGHT:]


def test_what_goes_on_is_drawn_and_what_is_let_go_has_corners():
    picture = picture_of((5, IMAGE, PREV, CURR))
    middles = {"right": picture[90, 230], "below": picture[180, 50], "left": picture[90, 50]}
    assert tuple(middles["right"].tolist()) == bgr(*score_colors([0.8]))
    assert middles["below"].tolist() == middles["left"].tolist() == [60, 60, 60]
    assert tuple(picture[180, 20].tolist()) == bgr(NO_TRACK_COLOR)  # a corner of what was let go


def test_suppressed_is_not_let_go():
    assert find_let_go(CURR, np.array([0, 1, 2]), 0.7).tolist() == [2]
    assert find_let_go(CURR, np.array([0, 1, 2]), 0.95).tolist() == [1, 2]
    assert find_let_go(CURR, np.array([], int), 0.7).tolist() == []


def test_all_are_let_go_where_nothing_is_tracked():
    curr = result([], torch.zeros(0), [], [], [RIGHT, NEAR_RIGHT, BELOW, LEFT])
    assert find_let_go(curr, np.array([0, 2]), 0.7).tolist() == [0, 2]
    assert (picture_of((5, IMAGE, PREV, curr)) != IMAGE).any()


def test_a_first_frame_and_one_without_boxes_are_the_image():
    nothing = result([], torch.zeros(0), [], [], [])
    for prev, curr in [
        (None, CURR),
        (nothing, nothing),
        (nothing, CURR._replace(source=-1 - 0 * CURR.source)),
    ]:
        np.testing.assert_array_equal(picture_of((0, IMAGE, prev, curr)), IMAGE)


@pytest.mark.parametrize("columns, shape", [(1, (3, 1)), (2, (2, 2)), (3, (1, 3)), (8, (1, 3))])
def test_frames_go_row_by_row(columns, shape):
    steps = [(i, IMAGE, PREV, CURR) for i in range(3)]
    sheet = draw_followed(steps, 0.2, 0.7, columns, 150)
    rows, wide = shape
    cell = 100 + TITLE_HEIGHT
    assert sheet.shape == (rows * (cell + 6) - 6, wide * 156 - 6, 3)


def test_colors_go_from_red_to_green():
    low, middle, high = (bgr(color) for color in score_colors([0.0, 0.5, 1.0]))
    assert low[2] > 100 > low[1] and high[1] > 90 > high[2]
    assert middle[1] > 200 and middle[2] > 200
    assert score_colors([]) == []
