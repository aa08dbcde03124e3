"""Stages are what predictor and ablation give of the same clip, from one pass of the detector."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from d2_plugtrack.ablation import ABLATION_ROWS, build_ablation_runs
from d2_plugtrack.build import build_rescoring
from d2_plugtrack.core.rescoring import TrackedObjects, rescore_video
from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.pictures.stages import detect_images, record_stages
from d2_plugtrack.predictor import VideoPredictor
from tests.tiny_clips import tiny_clip, tiny_host

NUM_FRAMES = 7


@pytest.fixture(scope="module")
def host():
    return tiny_host()


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(NUM_FRAMES)


@pytest.fixture(scope="module")
def stages(host, clip):
    return record_stages(host, iter(clip))


def assert_same(fields, others):
    """Bit for bit: the detector sees the same batches."""
    for field, other in zip(fields, others, strict=True):
        if isinstance(field, torch.Tensor):
            assert torch.equal(field.nan_to_num(-1), other.nan_to_num(-1))
        else:
            assert field == other


def test_every_frame_has_its_image_and_number(stages, clip):
    assert [stage.index for stage in stages] == list(range(NUM_FRAMES))
    for stage, image in zip(stages, clip, strict=True):
        np.testing.assert_array_equal(stage.image, image)


def test_tracked_boxes_and_objects_are_the_predictors(host, stages, clip):
    predictor = VideoPredictor.from_host(host, "offline")
    results = list(predictor.results(clip))
    for stage, result, objects in zip(stages, results, predictor.finish(), strict=True):
        assert_same(stage.tracked, result)
        assert_same(stage.objects, objects)
    assert any((stage.tracked.source >= 0).any() for stage in stages)
    assert any(len(stage.objects.boxes) for stage in stages)


def test_detector_is_the_ablations_row_per_frame(host, stages, clip):
    run = build_ablation_runs(host.cfg, None, ABLATION_ROWS[:1])["per frame"]
    for index, (stage, (_, frame)) in enumerate(
        zip(stages, detect_images(host, clip), strict=True)
    ):
        assert_same(stage.detector, run.detect(frame, ("clip", index)))
    assert all(len(stage.detector.boxes) for stage in stages)


def test_rescored_rows_are_the_tracked_boxes_over_the_whole_clip(host, stages):
    whole = rescore_video([stage.tracked for stage in stages], build_rescoring(host.cfg))
    for stage, scores, kept in zip(stages, whole.scores, whole.kept, strict=True):
        np.testing.assert_array_equal(stage.rescored.boxes, stage.tracked.boxes)
        np.testing.assert_array_equal(stage.rescored.scores, scores)
        np.testing.assert_array_equal(stage.rescored.kept, kept)


def test_online_is_no_matter(stages, clip):
    online = record_stages(tiny_host("TEST.VID.MODE", "online"), clip)
    for stage, other in zip(stages, online, strict=True):
        assert_same(stage.objects, other.objects)


def test_chosen_frames_are_those_of_the_whole_clip(host, stages, clip):
    some = record_stages(host, clip, {5, 2, 99})
    assert [stage.index for stage in some] == [2, 5]
    for stage in some:
        assert_same(stage.detector, stages[stage.index].detector)
        assert_same(stage.tracked, stages[stage.index].tracked)
        assert_same(stage.objects, stages[stage.index].objects)


def test_tracks_have_the_numbers_of_a_video_that_is_drawn(host, clip):
    threshold = 0.3
    drawn = list(VideoPredictor.from_host(host, "offline", threshold)(clip))
    found = []
    for stage in record_stages(host, clip, {4, 6}, threshold=threshold):
        shown = stage.objects.scores >= threshold
        assert stage.objects.track_ids[shown].tolist() == drawn[stage.index].track_ids.tolist()
        found += stage.objects.track_ids.tolist()
    strong = max(int(objects.track_ids.max()) for objects in drawn if len(objects.boxes))
    assert max(found) > strong  # the others come after them


def test_a_frame_that_is_none_is_refused(host, clip):
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8, got \(128, 160\)"):
        record_stages(host, [clip[0], clip[1][:, :, 0]])


def test_no_frames_give_nothing(host):
    assert record_stages(host, []) == []


def test_frames_without_boxes(host):
    nothing = tiny_host("TEST.TFD.SCORE_THRESH", "1.0", "TEST.PER_FRAME.SCORE_THRESH", "1.0")
    for stage in record_stages(nothing, tiny_clip(2)):
        assert isinstance(stage.detector, FrameResult) and isinstance(stage.objects, TrackedObjects)
        assert len(stage.detector.boxes) == len(stage.tracked.boxes) == 0
        assert len(stage.rescored.boxes) == len(stage.objects.boxes) == 0


def test_the_detector_runs_once(host, clip):
    class Counting:
        num_classes = host.detector.num_classes
        calls = {"extract": 0, "detect": 0}

        def __getattr__(self, name):
            if name in self.calls:
                self.calls[name] += 1
            return getattr(host.detector, name)

    detector = Counting()
    record_stages(replace(host, detector=detector), clip[:3])
    assert detector.calls == {"extract": 3, "detect": 3}  # one frame a batch on the CPU
