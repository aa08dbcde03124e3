"""How often the frame loop makes the host wait for the device: a bound, whatever the boxes.

Without a GPU calls are counted (``tests/sync_counter.py``), with one PyTorch counts them itself.
"""

import warnings

import pytest
import torch

from d2_plugtrack.core.detector import FrameFeatures, Proposals, assemble_frames
from d2_plugtrack.core.modes import build_rescorer
from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.core.tfd import VideoPipeline
from tests.sync_counter import SyncCounter, on_device

SIZE = (160, 240)
SETTINGS = {
    "per_frame": False,
    "score_threshold": 0.03,
    "nms_threshold": 0.45,
    "iou_score_threshold": 0.0,  # an untrained tracker: everything is tracked on
    "track_nms_threshold": 0.7,
    "merge_threshold": 0.7,
    "masks": False,
}
RESCORING = Rescoring(True, True, link_iou=0.5, nms_iou=0.45, min_score=0.01)


class QuietDetector:
    """Random proposals, and probabilities without any wait for the device."""

    num_classes = 3

    def __init__(self, place):
        self.place = place

    def proposals(self, count):
        corners = 100 * torch.rand(count, 3, 2)
        boxes = torch.cat([corners, corners + 10 + 50 * torch.rand(count, 3, 2)], dim=2)
        return Proposals(self.place(boxes), self.place(torch.rand(count, 3)))

    def classify(self, features, boxes):
        return (boxes[:, :3] * features.maps["a"].mean()).sigmoid()


def frames_of(detector, batch, count):
    maps = {"a": detector.place(torch.randn(batch, 3, 20, 30))}
    features = FrameFeatures(maps, [SIZE] * batch, [(320, 480)] * batch)
    return features, [detector.proposals(count) for _ in range(batch)]


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [1, 60])
def test_one_wait_a_batch_and_one_a_frame(build_tracker, batch, count):
    detector, tracker = QuietDetector(on_device), build_tracker().eval()
    pipeline = VideoPipeline(tracker, max_boxes=1000, **SETTINGS)
    for first in (True, False):
        given = frames_of(detector, batch, count)
        with SyncCounter() as counter:
            frames = assemble_frames(detector, tracker, *given)
        assert counter.calls == {"cpu": 1}
        for frame in frames:
            with SyncCounter() as counter:
                result = pipeline.step(frame)
            # the mapped boxes; nothing is mapped into the first frame of a video
            assert counter.calls == ({} if first else {"cpu": 1})
            first = False
            decided = (result.boxes, result.mapped_boxes, result.track_scores, result.source)
            assert {type(t) for t in decided} == {torch.Tensor}  # on the CPU
            assert type(result.scores) is not torch.Tensor
    assert len(result.mapped_boxes) > 0


def test_more_boxes_than_are_carried_on_wait_once_more(build_tracker):
    detector, tracker = QuietDetector(on_device), build_tracker().eval()
    pipeline = VideoPipeline(tracker, max_boxes=5, **SETTINGS)
    for waits in (1, 2):
        given = frames_of(detector, 1, 60)
        with SyncCounter() as counter:
            (frame,) = assemble_frames(detector, tracker, *given)
            result = pipeline.step(frame)
        assert counter.calls == {"cpu": 1 + waits} and len(result.boxes) == 5


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("online", [True, False])
def test_rescoring_waits_online_for_scores_and_masks_and_offline_for_nothing(
    build_tracker, online, masks
):
    detector, tracker = QuietDetector(on_device), build_tracker().eval()
    pipeline = VideoPipeline(tracker, max_boxes=1000, **SETTINGS)
    rescorer, num_linked = build_rescorer(RESCORING._replace(online=online), None), 0
    for _ in range(4):
        given = frames_of(detector, 1, 60)
        with SyncCounter():  # what comes to the CPU there bears no mark any more
            (frame,) = assemble_frames(detector, tracker, *given)
            result = pipeline.step(frame)
        if masks:
            result = result._replace(masks=on_device(torch.rand(len(result.boxes), 3, 3)))
        num_linked += int((result.source >= 0).sum())
        with SyncCounter() as counter:
            finished = list(rescorer.push(result))
        assert counter.calls == ({"cpu": 1 + masks} if online else {})
        assert len(finished) == int(online)
    assert num_linked > 0


def test_the_counter_sees_what_waits():
    boxes, values = on_device(torch.rand(4, 4)), on_device(torch.rand(4))
    waits = [
        lambda: values.max().item(),
        lambda: bool((values > 2).any()),
        lambda: int(values.sum()),
        lambda: values.tolist(),
        lambda: values.cpu(),
        lambda: values.nonzero(),
        lambda: boxes[values > 0.5],
        lambda: values.new_tensor([1.0, 2]),
        lambda: torch.tensor([1.0, 2], device=values.device),
        lambda: torch.ones(3).to(values.device),
    ]
    free = [
        lambda: boxes[torch.tensor([0, 2])],
        lambda: torch.ones(3).to(values.device, non_blocking=True),
        lambda: torch.ones(3).tolist(),
        lambda: values.cpu,
        lambda: torch.cat([boxes, values[:, None]], dim=1).split(2),
    ]
    for calls, expected in ((waits, 1), (free, 0)):
        for call in calls:
            with SyncCounter() as counter:
                call()
            assert counter.total == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("online", "waits"), [(False, 2), (True, 3)])
def test_waits_on_a_gpu(build_tracker, online, waits):
    detector = QuietDetector(lambda tensor: tensor.cuda())
    tracker = build_tracker().cuda().eval()
    pipeline = VideoPipeline(tracker, max_boxes=300, **SETTINGS)
    rescorer = build_rescorer(RESCORING._replace(online=online), None)
    for number in range(4):
        given = frames_of(detector, 1, 60)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                (frame,) = assemble_frames(detector, tracker, *given)
                list(rescorer.push(pipeline.step(frame)))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        if number >= 2:  # libraries may wait when they are used first
            assert sum("synchroniz" in str(w.message) for w in caught) <= waits
