"""VideoPredictor online and offline, what it is asked for, and use out of order; no network."""

import numpy as np
import pytest
import torch

from d2_plugtrack import predictor as predictor_module
from d2_plugtrack.core.online_rescorer import OnlineRescorer
from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.core.tracked_video import TrackNumbers
from d2_plugtrack.errors import UserError
from d2_plugtrack.predictor import READ_AHEAD, VideoPredictor
from tests.core.video_results import frame_result
from tests.stub_predictors import as_lists, image, scripted_predictor, stub_predictor

MODES = ["offline", "online"]


def moving(num_frames: int) -> list[FrameResult]:
    """Two objects that the tracker follows; their class probabilities change."""
    boxes = [[10, 10, 30, 30], [50, 10, 70, 30]]
    scores = [[0.9, 0.1], [0.3, 0.7]]
    video = []
    for number in range(num_frames):
        shown = [[p / (1 + number % 3) for p in row] for row in scores]
        result = frame_result(boxes, shown, boxes if number else ())
        if number:
            source, ious = torch.tensor([0, 1]), torch.tensor([0.9, 0.8])
            result = result._replace(source=source, track_scores=ious)
        video.append(result)
    return video


def test_online_a_frames_objects_come_with_it():
    video = moving(6)
    predictor = scripted_predictor(video, "online")
    found = [predictor.step(image()) for _ in video]
    assert predictor.mode == "online" and predictor.finish() == []
    numbers, rescorer = TrackNumbers(), OnlineRescorer(predictor.rescorer.rescoring)
    expected = [numbers.objects(frame) for frame in rescorer.rescore(video)]
    assert as_lists(found) == as_lists(expected)
    assert [o.track_ids.tolist() for o in found] == [[0, 1]] * 6
    assert [o.classes.tolist() for o in found] == [[0, 1]] * 6


def test_offline_objects_come_at_the_end():
    predictor = scripted_predictor(moving(6), "offline")
    assert predictor.mode == "offline"
    assert [predictor.step(image()) for _ in range(6)] == [None] * 6
    objects = predictor.finish()
    assert [o.track_ids.tolist() for o in objects] == [[0, 1]] * 6
    assert len({tuple(o.scores.tolist()) for o in objects}) == 1  # of the whole track


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_a_call_gives_what_steps_give(mode, batch_size):
    frames, video = [image() for _ in range(6)], moving(6)
    stepped = scripted_predictor(video, mode)
    found = [stepped.step(frame) for frame in frames]
    expected = found if mode == "online" else stepped.finish()
    predictor = scripted_predictor(video, mode)
    for _ in range(2):
        objects = predictor(iter(frames), batch_size)
        assert next(objects).track_ids.tolist() == [0, 1]
        assert as_lists(objects) == as_lists(expected)[1:]
        assert predictor.finish() == []  # the video was ended
    assert len(predictor.detector.given) == 12


@pytest.mark.parametrize("mode", MODES)
def test_a_call_begins_a_video(mode):
    predictor = scripted_predictor(moving(6), mode)
    predictor.step_batch([image()] * 6)
    objects = list(predictor(image() for _ in range(6)))
    assert len(objects) == 6 and [o.track_ids.tolist() for o in objects] == [[0, 1]] * 6


@pytest.mark.parametrize(("mode", "taken"), [("online", 1 + READ_AHEAD), ("offline", 20)])
def test_online_a_call_reads_little_ahead(mode, taken):
    read = []
    predictor = stub_predictor(mode=mode)
    next(predictor(read.append(1) or image() for _ in range(20)))
    assert (len(read) <= taken) if mode == "online" else (len(read) == taken)


@pytest.mark.parametrize("mode", MODES)
def test_results_belong_to_the_video_of_the_steps(mode):
    video = moving(6)
    predictor, frames = scripted_predictor(video, mode), [image() for _ in range(6)]
    first = predictor.step(frames[0])
    assert [id(result) for result in predictor.results(frames[1:5])] == [id(r) for r in video[1:5]]
    last, rest = predictor.step(frames[5]), predictor.finish()
    if mode == "online":
        assert first.track_ids.tolist() == last.track_ids.tolist() == [0, 1] and rest == []
    else:
        assert first is last is None and [o.track_ids.tolist() for o in rest] == [[0, 1]] * 6


@pytest.mark.parametrize("mode", MODES)
def test_what_is_asked_for_is_given_and_numbered(mode):
    video, frames = moving(6), [image() for _ in range(6)]
    everything = [o.scores[1].item() for o in scripted_predictor(video, mode)(frames)]
    for wanted in ({"classes": ["y"]}, {"classes": ("y", "y")}, {"classes": {"y"}}):
        found = list(scripted_predictor(video, mode, **wanted)(frames))
        assert [o.scores.tolist() for o in found] == [[score] for score in everything]
        assert [(o.classes.tolist(), o.track_ids.tolist()) for o in found] == [([1], [0])] * 6
    threshold = everything[2]
    found = list(scripted_predictor(video, mode, classes=["y"], score_threshold=threshold)(frames))
    expected = [[s] if s >= threshold else [] for s in everything]
    assert [o.scores.tolist() for o in found] == expected
    assert list(scripted_predictor(video, mode, classes=[])(frames))[0].boxes.shape == (0, 4)
    assert len(list(scripted_predictor(video, mode, classes=["x", "y"])(frames))[0].boxes) == 2


def test_what_cannot_be_asked_for():
    with pytest.raises(UserError, match="class z: expected one of x, y"):
        stub_predictor(classes=["x", "z"])
    for threshold in (-0.1, 1.5, float("nan")):
        with pytest.raises(UserError, match=f"score_threshold {threshold}: expected from 0 to 1"):
            stub_predictor(score_threshold=threshold)


def test_mistakes_are_told_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setattr(predictor_module, "open_host", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UserError, match="TEST.VID.MODE live: expected one of offline, online"):
        VideoPredictor.from_config_file("c.yaml", mode="live")
    with pytest.raises(UserError, match="score_threshold 2: expected from 0 to 1"):
        VideoPredictor.from_config_file("c.yaml", score_threshold=2)


@pytest.mark.parametrize("mode", MODES)
def test_an_online_stream_does_not_pile_up(mode):
    predictor = stub_predictor(mode=mode)
    for _ in range(5):
        predictor.step(image())
    assert len(predictor._objects) == 0  # offline they wait to be re-scored, online nothing does
    assert len(predictor.finish()) == (0 if mode == "online" else 5)


# ---- out of order --------------------------------------------------------------------------------


# offline a call reads to the end before it gives anything
@pytest.mark.parametrize(
    ("mode", "iterate", "left"),
    [("offline", "results", 6), ("online", "results", 0), ("online", "__call__", 0)],
)
def test_while_an_iteration_is_under_way(mode, iterate, left):
    predictor, frames = stub_predictor(mode=mode), [image() for _ in range(4)]
    begun = getattr(predictor, iterate)(frames, 1)
    next(begun)
    uses = [
        lambda: predictor.step(image()),
        lambda: predictor.step_batch([image()]),
        lambda: predictor.finish(),
        lambda: next(predictor.results(frames)),
    ]
    for use in uses:
        with pytest.raises(RuntimeError, match="an iteration over frames of this video is under w"):
            use()
    assert len(list(begun)) == 3  # it is none the worse
    for _ in range(2):
        predictor.step(image())
    assert len(predictor.finish()) == left


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["reset", "call"])
def test_an_iteration_of_a_video_that_is_over_cannot_go_on(mode, end):
    predictor, frames = stub_predictor(mode=mode), [image() for _ in range(4)]
    begun = predictor.results(frames, 1)
    next(begun)
    if end == "reset":
        predictor.reset()
        predictor.step(image())
    else:
        another = predictor(frames)
        next(another)
    with pytest.raises(RuntimeError, match="was reset, or began another video.*cannot go on"):
        next(begun)
    if end == "call":  # the other video goes on
        if mode == "online":
            with pytest.raises(RuntimeError, match="is under way"):
                predictor.step(image())
        assert len(list(another)) == 3
    assert len(predictor.finish()) == (1 if (mode, end) == ("offline", "reset") else 0)


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_is_broken_off_leaves_nothing(mode):
    predictor = stub_predictor(mode=mode)
    begun = predictor(image() for _ in range(4))
    next(begun)
    begun.close()
    assert predictor.finish() == [] and len(list(predictor([image()] * 3))) == 3


@pytest.mark.parametrize("mode", MODES)
def test_an_error_among_the_frames_ends_a_call(mode):
    predictor, found = stub_predictor(mode=mode), []
    with pytest.raises(ValueError, match=r"got \(4, 4\) of uint8"):
        for objects in predictor([image(), image(), np.zeros((4, 4), np.uint8)], 1):
            found.append(objects)
    assert len(found) == (2 if mode == "online" else 0)
    assert predictor.finish() == []


def test_an_error_of_the_pipeline_ends_the_iteration_and_the_video():
    predictor = stub_predictor(mode="online")
    step, calls = predictor.pipeline.step, []

    def failing(frame):
        calls.append(frame)
        if len(calls) == 2:
            raise FloatingPointError("frame 1: NaN")
        return step(frame)

    predictor.pipeline.step = failing
    begun = predictor([image() for _ in range(4)])
    next(begun)
    with pytest.raises(FloatingPointError, match="frame 1: NaN"):
        next(begun)
    assert list(begun) == [] and predictor.step(image()).track_ids.tolist() == [0]
