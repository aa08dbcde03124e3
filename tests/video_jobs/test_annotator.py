"""What is drawn on a frame: enlarged where small, with labels that say number, class and score."""

import numpy as np
import pytest
import torch

from d2_plugtrack.video_jobs import annotator as module
from d2_plugtrack.video_jobs.annotator import Annotator, usual_zoom
from tests.tracked import make_objects

NOTHING = make_objects([], [])


def gray(height, width):
    return np.full((height, width, 3), 90, np.uint8)


@pytest.mark.parametrize(
    ("size", "zoom"),
    # 480 / 128 = 3.75; 480 / 239 = 2.01; at most 8 times, nor 16384 pixels
    [
        ((128, 160), 4),
        ((239, 500), 3),
        ((240, 240), 1),
        ((1080, 1920), 1),
        ((3, 900), 8),
        ((3, 8000), 2),
    ],
)
def test_small_frames_are_enlarged_by_themselves(size, zoom):
    assert usual_zoom(size) == zoom
    drawn = Annotator(["x"]).draw(gray(*size), NOTHING)
    assert drawn.shape == (zoom * size[0], zoom * size[1], 3)


def test_a_zoom_that_is_asked_for_is_used_and_that_of_the_first_frame_stays():
    assert Annotator(["x"], 3).draw(gray(20, 30), NOTHING).shape == (60, 90, 3)
    annotator = Annotator(["x"])
    annotator.draw(gray(120, 160), NOTHING)
    assert annotator.draw(gray(300, 400), NOTHING).shape == (1200, 1600, 3)


def test_boxes_masks_and_labels_are_those_of_the_objects(monkeypatch):
    given = {}

    def draw_tracks(image, boxes, labels, track_ids, masks):
        given.update(boxes=boxes, labels=labels, tracks=track_ids, masks=masks)
        return image

    monkeypatch.setattr(module, "draw_tracks", draw_tracks)
    boxes = [[1, 2, 5, 6], [0, 0, 4, 4]]
    objects = make_objects(boxes, [7, -1], [1, 0], [0.256, 1], torch.ones(2, 3, 3))
    Annotator(["cat", "dog"], 2).draw(gray(10, 12), objects)
    assert given["labels"] == ["7 dog 0.26", "cat 1.00"]
    assert given["boxes"].tolist() == [[2, 4, 10, 12], [0, 0, 8, 8]]
    assert given["tracks"].tolist() == [7, -1]
    assert given["masks"].shape == (2, 20, 24)
    for mask, (x1, y1, x2, y2) in zip(given["masks"], given["boxes"].astype(int), strict=True):
        rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (x1, y1, x2, y2)


def test_the_frame_stays_as_it_is_and_a_note_is_drawn_in_its_corner():
    frame = gray(300, 400)
    plain = Annotator(["x"]).draw(frame, NOTHING)
    assert np.array_equal(plain, frame) and plain is not frame
    noted = Annotator(["x"]).draw(frame, NOTHING, "9.5 frames/s")
    changed = (noted != frame).any(axis=2)
    assert changed[:40, :150].mean() > 0.2 and not changed[60:].any()
    assert np.array_equal(frame, gray(300, 400))
