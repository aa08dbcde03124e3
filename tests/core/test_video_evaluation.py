"""Whole videos go through a run in order, and exactly their frames have detections."""

import math

import numpy as np
import pytest
import torch

from d2_plugtrack.core import video_rescorer
from d2_plugtrack.core.detector import Proposals, detect_frames
from d2_plugtrack.core.rescoring import Rescoring, rescore_video
from d2_plugtrack.core.spool import Spooling
from d2_plugtrack.core.tfd import FrameResult, VideoPipeline
from d2_plugtrack.core.vid_metrics import limit_detections
from d2_plugtrack.core.video_evaluation import DetectionLimits, FrameOrder, VideoRun
from tests.core.video_results import random_video

SEQ_NMS = Rescoring(enabled=True, track_links=False, link_iou=0.5, nms_iou=0.45, min_score=0.01)
AS_IT_IS = SEQ_NMS._replace(enabled=False)


class ScriptedPipeline:
    """A pipeline whose frames are already (boxes, scores); it counts the frames of a video."""

    def __init__(self):
        self.frame = 0

    def reset(self):
        self.frame = 0

    def step(self, frame):
        self.frame += 1
        boxes, scores = (torch.tensor(values, dtype=torch.float32) for values in frame)
        nan, none = torch.full((len(boxes),), torch.nan), torch.full((len(boxes),), -1)
        return FrameResult(boxes, scores, nan, torch.zeros(0, 4), none, (100, 100))


BOX, BESIDE = [0.0, 0, 10, 10], [0.0, 0, 10, 9]


def build_run(rescoring=AS_IT_IS, floor=1e-3, per_frame=300, spooling=None):
    return VideoRun(ScriptedPipeline(), rescoring, DetectionLimits(floor, per_frame), spooling)


# ---- runs -----------------------------------------------------------------------------------


def test_a_video_is_rescored_when_its_last_frame_has_come():
    run = build_run(SEQ_NMS)
    run.process(([BOX, BESIDE], [[0.2], [0.1]]), ("a", 0), last=False)
    assert run.detections == {}
    run.process(([BOX], [[0.5]]), ("a", 1), last=False)
    run.process(([BOX], [[0.8]]), ("a", 2), last=True)
    # 0.2, 0.5 and 0.8 are one path with the mean 0.5; what overlaps it is deleted
    assert list(run.detections) == [("a", 0), ("a", 1), ("a", 2)]
    for boxes, scores, labels in run.detections.values():
        np.testing.assert_array_equal(boxes, [BOX])
        np.testing.assert_allclose(scores, [0.5])
        assert labels.tolist() == [0]


@pytest.mark.parametrize("rescoring", [SEQ_NMS, AS_IT_IS])
def test_detections_are_those_of_the_video_at_once(tmp_path, monkeypatch, rescoring):
    monkeypatch.setattr(video_rescorer, "FRAMES_OF_BLOCK", 4)
    run = build_run(rescoring, 0.3, per_frame=5, spooling=Spooling(1000, tmp_path))
    video = random_video(seed=8, num_frames=30)
    early = 0
    for number, r in enumerate(video):
        run.process((r.boxes.tolist() or np.zeros((0, 4)), r.scores.numpy()), (7, number), False)
        early = len(run.detections)
    assert 0 < early < 30
    run.process((np.zeros((0, 4)), np.zeros((0, 3))), (7, 30), last=True)
    scores = rescore_video(video, rescoring).scores
    assert list(run.detections) == [(7, number) for number in range(31)]
    for number, (result, new_scores) in enumerate(zip(video, scores, strict=True)):
        expected = limit_detections(result.boxes.numpy(), new_scores.numpy(), floor=0.3, limit=5)
        for found, values in zip(run.detections[7, number], expected, strict=True):
            np.testing.assert_array_equal(found, values)


def test_frames_of_a_video_of_which_some_are_finished(monkeypatch):
    monkeypatch.setattr(video_rescorer, "FRAMES_OF_BLOCK", 1)
    run = build_run()
    run.process(([BOX], [[0.2]]), ("a", 0), last=False)
    assert list(run.detections) == [("a", 0)]
    with pytest.raises(ValueError, match=r"\('b', 0\): expected the rest of video 'a'"):
        run.process(([BOX], [[0.2]]), ("b", 0), last=False)
    with pytest.raises(ValueError, match=r"\('a', 0\): seen before"):
        run.process(([BOX], [[0.2]]), ("a", 0), last=False)
    run.reset()
    run.process(([BOX], [[0.2]]), ("b", 0), last=True)
    assert list(run.detections) == [("b", 0)]


def test_videos_do_not_know_each_other():
    run = build_run(SEQ_NMS)
    for video, score in (("a", 0.2), ("b", 0.8)):
        run.process(([BOX], [[score]]), (video, 0), last=True)
        assert run.pipeline.frame == 0  # it begins anew
    scores = {key: scores.tolist() for key, (_, scores, _) in run.detections.items()}
    assert scores == {("a", 0): [pytest.approx(0.2)], ("b", 0): [pytest.approx(0.8)]}


def test_limits_apply_after_rescoring():
    # means 0.5 and 0.05: the weak frame of the first path counts, the second path does not
    far = [50.0, 50, 60, 60]
    run = build_run(SEQ_NMS, floor=0.1, per_frame=300)
    run.process(([BOX, far], [[0.05], [0.07]]), ("a", 0), last=False)
    run.process(([BOX, far], [[0.95], [0.03]]), ("a", 1), last=True)
    for boxes, scores, _ in run.detections.values():
        np.testing.assert_array_equal(boxes, [BOX])
        np.testing.assert_allclose(scores, [0.5])
    run = build_run(per_frame=2)
    run.process(([BOX, far], [[0.3, 0.0], [0.2, 0.4]]), ("a", 0), last=True)
    boxes, scores, labels = run.detections["a", 0]
    np.testing.assert_array_equal(boxes, [far, BOX])
    np.testing.assert_allclose(scores, [0.4, 0.3])
    assert labels.tolist() == [1, 0]


def test_a_frame_without_boxes_has_an_entry():
    run = build_run()
    run.process((np.zeros((0, 4)), np.zeros((0, 2))), ("a", 0), last=True)
    assert [len(values) for values in run.detections["a", 0]] == [0, 0, 0]


def test_frames_of_another_video_are_refused():
    run = build_run()
    run.process(([BOX], [[0.2]]), ("a", 0), last=False)
    with pytest.raises(ValueError, match=r"\('b', 0\): expected the rest of video 'a'"):
        run.process(([BOX], [[0.2]]), ("b", 0), last=False)
    run.process(([BOX], [[0.2]]), ("a", 1), last=True)  # the refused one left no trace
    assert list(run.detections) == [("a", 0), ("a", 1)]


def test_a_frame_comes_once():
    run = build_run()
    run.process(([BOX], [[0.2]]), ("a", 0), last=False)
    with pytest.raises(ValueError, match=r"\('a', 0\): seen before"):
        run.process(([BOX], [[0.2]]), ("a", 0), last=False)
    run.process(([BOX], [[0.2]]), ("a", 1), last=True)
    with pytest.raises(ValueError, match=r"\('a', 1\): seen before"):
        run.process(([BOX], [[0.2]]), ("a", 1), last=True)


def test_a_frame_that_is_refused_does_not_reach_the_pipeline():
    run = build_run()
    run.process(([BOX], [[0.2]]), ("a", 0), last=False)
    for key in (("a", 0), ("b", 0)):
        with pytest.raises(ValueError):
            run.detect(([BOX], [[0.2]]), key)
    assert run.pipeline.frame == 1
    result = run.detect(([BOX], [[0.2]]), ("a", 1))
    run.collect(result, ("a", 1), last=True)
    assert list(run.detections) == [("a", 0), ("a", 1)] and run.pipeline.frame == 0


def test_a_video_that_failed_can_come_again():
    run = build_run(SEQ_NMS)
    run.process(([BOX], [[0.2]]), ("a", 0), last=False)
    with pytest.raises(ValueError, match="must be finite"):
        run.process(([BOX], [[math.nan]]), ("a", 1), last=True)
    for number in range(2):
        run.process(([BOX], [[0.2]]), ("a", number), last=number == 1)
    assert list(run.detections) == [("a", 0), ("a", 1)]


def test_order_of_frames():
    order = FrameOrder()
    for key, last in ((("a", 0), False), (("a", 4), True), (("b", 0), False)):
        order.check(key)
        order.add(key, last)
    for key, said in (
        (("a", 0), "expected the rest of video 'b'"),
        (("c", 0), "expected the rest of video 'b'"),
        (("b", 0), "seen before"),
    ):
        with pytest.raises(ValueError, match=said):
            order.check(key)
    order.start_video()
    order.check(("b", 0))  # it is forgotten
    order.check(("c", 0))
    with pytest.raises(ValueError, match=r"\('a', 9\): seen before"):
        order.check(("a", 9))  # of a video that was finished


def test_reset_forgets_everything():
    run = build_run()
    run.process(([BOX], [[0.2]]), ("a", 0), last=True)
    run.process(([BOX], [[0.2]]), ("b", 0), last=False)
    run.reset()
    assert run.detections == {} and run.pipeline.frame == 0
    run.process(([BOX], [[0.2]]), ("a", 0), last=True)
    assert list(run.detections) == [("a", 0)]


def test_a_run_from_a_detector_to_its_detections(toy_detector):
    # the box is found in both frames with 0.9 and 0.5; frames as they came are twice as large
    box = torch.tensor([[[4.0, 4, 20, 20]]])
    proposals = [Proposals(box, torch.tensor([[0.1, score, 0.0]])) for score in (0.9, 0.5)]
    detector = toy_detector(proposals, torch.zeros(2, 3, 4, 6), (32, 48), (64, 96))
    pipeline = VideoPipeline(
        None,
        per_frame=True,
        score_threshold=0.2,
        nms_threshold=0.45,
        iou_score_threshold=0.5,
        track_nms_threshold=0.7,
        merge_threshold=0.7,
        max_boxes=300,
        masks=False,
    )
    run = VideoRun(pipeline, SEQ_NMS, DetectionLimits(1e-3, 300))
    for number, frame in enumerate(detect_frames(detector, None, [0, 1])):
        run.process(frame, (7, number), last=number == 1)
    for boxes, scores, labels in run.detections.values():
        np.testing.assert_array_equal(boxes, [[8, 8, 40, 40]])
        np.testing.assert_allclose(scores, [0.7])
        assert labels.tolist() == [1]
