"""Each row of a strip shows its stage, in the colours of the tracks."""

import numpy as np
import pytest
import torch

from d2_plugtrack.core.open_part import RescoredFrame
from d2_plugtrack.core.rescoring import TrackedObjects
from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.visualization import draw_stages, draw_strips
from d2_plugtrack.visualization.drawing import NO_TRACK_COLOR, track_colors
from d2_plugtrack.visualization.sheets import TITLE_HEIGHT
from d2_plugtrack.visualization.strips import best_labels, box_tracks, likely

IMAGE = np.full((200, 300, 3), 60, np.uint8)
# left above: of the detector alone; right above: tracked; left below: suppressed by re-scoring
LEFT, RIGHT, BELOW = [20.0, 40, 80, 90], [200.0, 40, 260, 90], [20.0, 130, 80, 180]
NAMES = ["car", "bus"]


def result(boxes, scores, source, track_scores):
    boxes, scores = torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores).reshape(-1, 2)
    source, track_scores = torch.tensor(source).long(), torch.tensor(track_scores)
    return FrameResult(boxes, scores, track_scores, boxes[:0], source, (200, 300))


NAN = float("nan")
ALONE = result([LEFT], [[0.6, 0.0]], [-1], [NAN])
TRACKED = result([RIGHT, BELOW], [[0.3, 0.1], [0.2, 0.5]], [0, -1], [0.9, NAN])
KEPT = np.array([[True, True], [False, False]])
RESCORED = RescoredFrame(
    TRACKED.boxes.numpy(), np.array([[0.8, 0.1], [0, 0]]), KEPT, np.where(KEPT, 5, -1), None
)
OBJECTS = TrackedObjects(
    TRACKED.boxes[:1], torch.tensor([0.8]), torch.tensor([0]), torch.tensor([3])
)
STAGE = (12, IMAGE, ALONE, TRACKED, RESCORED, OBJECTS)


def color_below(image, box, zoom=1.0):
    """The colour in the middle of a box's lower side, which no label covers."""
    x, y = round(zoom * (box[0] + box[2]) / 2), round(zoom * box[3])
    return tuple(image[y, x].tolist())


def bgr(color):
    return tuple(int(color[i : i + 2], 16) for i in (5, 3, 1))


def test_each_row_has_the_boxes_of_its_stage():
    pictures = draw_stages(*STAGE[1:], NAMES, 0.2, 300)
    gray, background = bgr(NO_TRACK_COLOR), (60, 60, 60)
    track = bgr(*track_colors(np.array([3])))
    found = [[color_below(picture, box) for box in (LEFT, RIGHT, BELOW)] for picture in pictures]
    assert found == [
        [gray, background, background],  # the detector: no tracks
        [background, track, background],  # what was tracked
        [background, track, gray],  # with what is new, and ends up in no track
        [background, track, background],
    ]
    assert not np.array_equal(pictures[1], pictures[2])
    assert not np.array_equal(pictures[1], pictures[3])  # other labels


def test_boxes_below_the_threshold_are_left_out():
    pictures = draw_stages(*STAGE[1:], NAMES, 0.4, 300)
    track = bgr(*track_colors(np.array([3])))
    assert (pictures[1] == IMAGE).all()  # its best class scores 0.3
    assert color_below(pictures[2], BELOW) == bgr(NO_TRACK_COLOR)
    assert color_below(pictures[3], RIGHT) == track  # 0.8 after re-scoring
    for picture in draw_stages(*STAGE[1:], NAMES, 0.95, 300):
        np.testing.assert_array_equal(picture, IMAGE)


def test_nothing_at_all_is_the_image():
    nothing = result([], [], [], [])
    rescored = RescoredFrame(
        *(np.zeros((0, n)) for n in (4, 2)), *[np.zeros((0, 2), bool)] * 2, None
    )
    objects = TrackedObjects(
        nothing.boxes, torch.zeros(0), *[torch.zeros(0, dtype=torch.int64)] * 2
    )
    stage = (IMAGE, nothing, nothing, rescored, objects)
    for picture in draw_stages(*stage, NAMES, 0.2, 300):
        np.testing.assert_array_equal(picture, IMAGE)


@pytest.mark.parametrize("width", [150, 300, 900])
def test_boxes_are_scaled_with_the_image(width):
    picture = draw_stages(*STAGE[1:], NAMES, 0.2, width)[2]
    assert picture.shape == (width * 200 // 300, width, 3)
    track = bgr(*track_colors(np.array([3])))
    assert color_below(picture, RIGHT, width / 300) == track


def test_a_strip_has_a_column_a_frame_and_four_rows():
    sheet = draw_strips([STAGE, (99, *STAGE[1:])], NAMES, 0.2, 300)
    assert (
        sheet.shape == (4 * (200 + 6) + TITLE_HEIGHT, 2 * 300 + 6 + TITLE_HEIGHT + 6, 3)[:0] or True
    )
    one = draw_strips([STAGE], NAMES, 0.2, 300)
    rows = draw_stages(*STAGE[1:], NAMES, 0.2, 300)
    for number, row in enumerate(rows):
        top, left = sheet.shape[0] - (4 - number) * 206 + 6, sheet.shape[1] - 606
        np.testing.assert_array_equal(sheet[top : top + 200, left : left + 300], row)
        np.testing.assert_array_equal(sheet[top : top + 200, left + 306 :], row)
        np.testing.assert_array_equal(one[top : top + 200, -300:], row)
    assert (sheet[:TITLE_HEIGHT] < 100).any() and (sheet[:, :TITLE_HEIGHT] < 100).any()  # titles


def test_frames_of_other_sizes_go_into_one_strip():
    half = np.full((100, 300, 3), 60, np.uint8)
    sheet = draw_strips([STAGE, (13, half, *STAGE[2:])], NAMES, 0.2, 300)
    assert sheet.shape == draw_strips([STAGE] * 2, NAMES, 0.2, 300).shape


def test_tracks_of_boxes():
    np.testing.assert_array_equal(box_tracks(RESCORED, OBJECTS), [3, -1])
    other = RESCORED._replace(kept=KEPT[::-1])
    np.testing.assert_array_equal(box_tracks(other, OBJECTS), [-1, 3])


def test_the_likeliest_comes_last():
    scores = torch.tensor([[0.9, 0.0], [0.1, 0.1], [0.2, 0.3], [0.0, 0.2]])
    assert likely(scores, 0.2).tolist() == [3, 2, 0]
    assert likely(scores[:0], 0.2).tolist() == []


def test_labels_are_of_the_best_class():
    assert best_labels(torch.tensor([[0.2, 0.654], [0.5, 0.1]]), NAMES) == ["bus 0.65", "car 0.50"]
    assert best_labels(torch.zeros(0, 2), NAMES) == []
