"""What the tracker compared is what it tracked with, and the correlation is one."""

import numpy as np
import pytest
import torch

from d2_plugtrack.core.boxes import decode_boxes, expand_boxes
from d2_plugtrack.core.correlation import depthwise_correlation
from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.errors import UserError
from d2_plugtrack.pictures.matches import choose_box, find_matches, find_some_match
from d2_plugtrack.pictures.stages import record_stages
from tests.tiny_clips import tiny_clip, tiny_host


@pytest.fixture(scope="module")
def host():
    return tiny_host()


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(6)


@pytest.fixture(scope="module")
def matches(host, clip):
    return find_matches(host, clip, {0, 3})


def test_response_is_the_correlation_of_template_and_search(matches):
    for match in matches:
        pair = (torch.from_numpy(maps)[None] for maps in (match.template, match.search))
        (response,) = depthwise_correlation(*pair).numpy()
        np.testing.assert_array_equal(match.response, response)
        # by hand, at one place of every channel: rows 4 to 10 and columns 9 to 15
        place = (match.template * match.search[:, 4:11, 9:16]).sum(axis=(1, 2))
        np.testing.assert_allclose(match.response[:, 4, 9], place, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_trackers_answer_follows_from_the_response(host, matches):
    """From the maps alone, through the rest of the head, to the box and the IoU."""
    tracker = host.tracker
    for match in matches:
        response = torch.from_numpy(match.response)[None]
        shared = tracker.shared(tracker.response_block(response)).flatten(1)
        moved = decode_boxes(
            tracker.box_branch(shared), torch.from_numpy(match.box)[None], tracker.box_weights
        )
        inside = moved[0].clamp(min=0).minimum(torch.tensor([160.0, 128, 160, 128]))
        np.testing.assert_allclose(match.found, inside, atol=1e-3)  # frames go in as they are
        assert match.iou == pytest.approx(tracker.iou_branch(shared).sigmoid().item(), abs=1e-5)


def test_boxes_are_those_of_the_frame_loop(host, clip, matches):
    stages = record_stages(host, clip)
    assert [match.index for match in matches] == [0, 3]
    for match in matches:
        prev, curr = (stages[match.index + i].tracked for i in (0, 1))
        row = int(prev.scores.max(dim=1).values.argmax())
        np.testing.assert_array_equal(match.box, prev.boxes[row])
        np.testing.assert_array_equal(match.found, curr.mapped_boxes[row])
        np.testing.assert_array_equal(match.window, expand_boxes(prev.boxes[row], 3))
        np.testing.assert_array_equal(match.prev_image, clip[match.index])
        np.testing.assert_array_equal(match.curr_image, clip[match.index + 1])
        followed = (curr.source == row).nonzero()
        if len(followed):
            assert match.iou == curr.track_scores[followed.item()].item()
        best = prev.scores[row].max(dim=0)
        assert match.label == f"{host.class_names[best.indices]} {best.values:.2f}"
    assert any(match.iou > 0.5 for match in matches)


def test_a_frame_without_a_next_one_is_left_out(host, clip):
    assert find_matches(host, clip[:1], {0}) == []


def test_without_a_frame_it_is_the_wanted_one_or_one_beside_it_that_has_a_box(clip):
    strict = tiny_host("TEST.TFD.SCORE_THRESH", "0.5", "TEST.TFD.IOU_SCORE_THRESH", "1.0")
    gray = np.full_like(clip[0], 128)
    video = [gray, *clip[:2], *[gray] * 3, *clip[2:4], gray]
    has_boxes = [len(stage.tracked.boxes) > 0 for stage in record_stages(strict, video)]
    assert has_boxes == [False, True, True, False, False, False, True, True, False]
    for wanted, expected in ((0, 1), (2, 2), (3, 6), (7, 7), (8, 7)):
        assert find_some_match(strict, video, wanted).index == expected
    (one,), some = find_matches(strict, video, {6}), find_some_match(strict, video, 4)
    np.testing.assert_array_equal(some.response, one.response)
    with pytest.raises(UserError, match="expected a frame with a box to follow, found none"):
        find_some_match(strict, [gray] * 3, 1)


def result(boxes, scores):
    boxes, nan = torch.tensor(boxes).reshape(-1, 4), torch.full((len(boxes),), torch.nan)
    scores = torch.as_tensor(scores)
    return FrameResult(boxes, scores, nan, boxes[:0], torch.full((len(boxes),), -1), (50, 50))


def test_the_likeliest_box_around_a_point_is_chosen():
    frame = result(
        [[0.0, 0, 30, 30], [10.0, 10, 40, 40], [20.0, 20, 30, 30]],
        [[0.9, 0.0], [0.1, 0.8], [0.3, 0.2]],
    )
    assert choose_box(frame, 0, None) == 0
    assert choose_box(frame, 0, (5, 5)) == 0
    assert choose_box(frame, 0, (25, 25)) == 0
    assert choose_box(frame, 0, (35, 35)) == 1
    assert choose_box(frame, 0, (30, 40)) == 1  # on the border


def test_no_box_is_a_mistake_that_says_where_there_is_one():
    frame = result([[0.0, 0, 30, 20], [10.0, 10, 40, 40]], [[0.1], [0.8]])
    with pytest.raises(UserError, match=r"--at 45 3: .* box of frame 7, found none .* is 25 25$"):
        choose_box(frame, 7, (45, 3))
    with pytest.raises(UserError, match=r"frame 7: expected a box to follow, .* --frames names"):
        choose_box(result([], torch.zeros(0, 2)), 7, None)
