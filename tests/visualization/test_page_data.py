"""What a page shows of a video that is worked out by hand, in rounded numbers, as JSON can hold."""

import json

import numpy as np
import pytest

from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.core.tracked_video import TrackNumbers
from d2_plugtrack.core.video_rescorer import VideoRescorer
from d2_plugtrack.visualization.drawing import track_colors
from d2_plugtrack.visualization.page_data import page_data
from tests.core.video_results import frame_result as plain_result
from tests.visualization.stage_examples import (
    CLASSES,
    example,
    frame_result,
    make_stages,
    rescored_frame,
)

CAR, BUS, TREE = [10.0, 20.1, 30, 40], [32, 4, 60, 24], [0, 0, 8, 8]  # rounded to a tenth
TIMES = [0, 0.04, 0.0800001]


def data_of(stages, threshold=0.3):
    return page_data(stages, [stage.index / 25 for stage in stages], CLASSES, threshold)


def test_frames_have_their_place_time_and_size():
    data = page_data(example(), TIMES, CLASSES, 0.3)
    assert [frame["index"] for frame in data["frames"]] == [0, 1, 2]
    assert [frame["time"] for frame in data["frames"]] == [0, 0.04, 0.08]
    assert {(frame["width"], frame["height"]) for frame in data["frames"]} == {(64, 48)}
    assert (data["threshold"], data["lowest"], data["classes"]) == (0.3, 0.05, CLASSES)


def test_tracks_are_numbered_as_in_a_video_and_the_weak_ones_after_them():
    tracks = data_of(example())["tracks"]
    # path 8 (0.04) is last but one, and no track of the page; 5 is before 9, but below 0.3
    assert [track["id"] for track in tracks] == [0, 1, 3]
    assert [track["color"] for track in tracks] == track_colors(np.array([0, 1, 3]))
    assert [(track["class"], track["score"]) for track in tracks] == [(0, 0.6), (1, 0.8), (0, 0.2)]
    at_once = data_of(example(0.1), threshold=0.1)["tracks"]
    assert [track["score"] for track in at_once] == [0.6, 0.2, 0.8]


def test_numbers_are_those_of_a_video_that_is_drawn_at_this_threshold():
    data, numbers = data_of(example()), TrackNumbers(score_threshold=0.3)
    for stage, frame in zip(example(), data["frames"], strict=True):
        ids = numbers.objects(stage.rescored).track_ids.tolist()
        assert [row[6] for row in frame["rescored"] if row[5] >= 0.3] == ids


def test_numbers_stay_where_frames_are_left_out():
    (last,) = data_of(example()[2:])["frames"]
    assert last["rescored"] == [[*CAR, 0, 0.6, 0], [*BUS, 1, 0.8, 1]]
    (second,) = data_of(example()[1:2])["frames"]
    assert [row[6] for row in second["rescored"]] == [0, 3]


def test_scores_before_and_after():
    car, bus, weak = data_of(example())["tracks"]
    assert (car["frames"], car["before"], car["after"]) == ([0, 1, 2], [0.9, 0.3, 0.6], [0.6] * 3)
    assert (bus["frames"], bus["before"], bus["after"]) == ([2], [0.8], [0.8])
    assert (weak["frames"], weak["before"], weak["after"]) == ([1], [0.2], [0.2])


def test_boxes_of_every_stage():
    first, second, third = data_of(example())["frames"]
    # each row under its best class; the bus's 0.01 is below the lowest score
    assert first["detector"] == [[*CAR, 0, 0.9], [*CAR, 1, 0.312]]
    assert first["tracked"] == [[*CAR, 0, 0.9, 0, 0]]
    assert first["rescored"] == [[*CAR, 0, 0.6, 0]]
    # the frame alone says bus (0.4) of the car, which goes on as a car; it was followed, its
    # neighbour was not
    assert second["tracked"] == [[*CAR, 1, 0.4, 0, 1], [*BUS, 0, 0.2, 3, 0]]
    assert second["rescored"] == [[*CAR, 0, 0.6, 0], [*BUS, 0, 0.2, 3]]
    assert third["tracked"][:2] == [[*CAR, 0, 0.6, 0, 1], [*BUS, 1, 0.8, 1, 0]]
    # the tree is on no path
    assert third["tracked"][2] == [*TREE, 0, 0.5, -1, 0] and len(third["rescored"]) == 2
    assert second["detector"] == third["detector"] == []


def test_a_track_has_gaps_where_its_box_is_another_class():
    boxes = [frame_result([CAR], [scores]) for scores in ([0.5, 0], [0, 0.7], [0.5, 0])]
    paths = [rescored_frame(b, [p], [0.5]) for b, p in zip(boxes, (7, 9, 7), strict=True)]
    tracks = data_of(make_stages(*zip(boxes, boxes, paths, strict=True)))["tracks"]
    assert [track["frames"] for track in tracks] == [[0, 2], [1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_left_out(bad):
    tracked = frame_result([CAR, [0, bad, 9, 9], BUS], [[0.9, 0], [0.9, 0], [bad, 0]])
    rescored = rescored_frame(tracked, [7, -1, 5], [0.9, 0, 0.5])
    data = data_of(make_stages((tracked, tracked, rescored)))
    (frame,) = data["frames"]
    assert len(frame["detector"]) == len(frame["tracked"]) == 1
    assert [track["score"] for track in data["tracks"]] == [0.9]
    json.dumps(data, allow_nan=False)


def test_a_video_without_a_track():
    nothing = frame_result([], [])
    data = data_of(make_stages((nothing, nothing, rescored_frame(nothing, [], []))))
    (frame,) = data["frames"]
    assert frame["detector"] == frame["tracked"] == frame["rescored"] == data["tracks"] == []


def test_no_frames():
    data = page_data([], [], CLASSES, 0.3)
    assert data["frames"] == data["tracks"] == []


def test_without_rescoring_there_are_objects_and_no_tracks():
    how = Rescoring(enabled=False, track_links=False, link_iou=0.5, nms_iou=0.45, min_score=0.01)
    result = plain_result([[0, 0, 9, 9]], [[0.25, 0.5]])
    (rescored,) = [*(rescorer := VideoRescorer(how, None)).push(result), *rescorer.finish()]
    data = data_of(make_stages((result, result, rescored)))
    assert data["tracks"] == [] and data["frames"][0]["rescored"] == [[0, 0, 9, 9, 1, 0.5, -1]]


def test_what_does_not_belong_together_is_refused():
    (stage, *_) = example()
    with pytest.raises(ValueError):
        page_data([stage], [], CLASSES, 0.3)
    fewer = stage.objects.map(lambda field: field[:1])
    with pytest.raises(ValueError, match="frame 0: expected 2 objects.* found 1"):
        page_data([stage._replace(objects=fewer)], [0], CLASSES, 0.3)
