"""The overlap of tracked boxes with the truth, by hand, with a double of the tracker."""

import pytest
import torch

from d2_plugtrack.core.boxes import clip_boxes
from d2_plugtrack.core.tracker import Tracked, TrackerHead
from d2_plugtrack.tracker_evaluation import tracking_overlap

SIZE = (50, 100)  # of the network's input; the frames are twice as large


def standing_tracker():
    """A real tracker head that leaves every box where it is."""
    tracker = TrackerHead(
        in_features=["a"],
        in_channels=[3],
        target=0,
        stride=8,
        channels=4,
        template_size=7,
        search_factor=3,
        box_weights=(10.0, 10.0, 5.0, 5.0),
        smooth_l1_beta=1.0,
        iou_loss_weight=1.0,
    )
    torch.nn.init.zeros_(tracker.box_branch.weight)
    return tracker.eval()


class ShiftingTracker:
    """Moves every box right by 2 pixels of the network's input a frame; maps are frame numbers."""

    def __init__(self):
        self.pairs = []

    def track(self, prev_map, curr_map, boxes, image_size):
        self.pairs.append((int(prev_map), int(curr_map)))
        step = 2.0 * int(curr_map - prev_map)
        moved = clip_boxes(boxes + torch.tensor([step, 0, step, 0]), image_size)
        return Tracked(moved, torch.ones(len(boxes)))


def record(objects):
    annotations = [{"track_id": name, "bbox": box} for name, box in objects.items()]
    return {"height": 100, "width": 200, "annotations": annotations}


def box_at(x, y=20):
    return [x, y, x + 20, y + 40]


def overlap(records, gap):
    tracker = ShiftingTracker()
    maps = [torch.tensor(float(t)) for t in range(len(records))]
    return tracker, tracking_overlap(tracker, maps, records, gap, SIZE)


def test_overlap_by_hand():
    # in frames twice as large a step is 4 pixels. Object 7 moves by 4: found; left alone 16 of
    # 24 columns overlap. Object 3 stands: 16 of 24, and 1 left alone.
    records = [record({7: box_at(10), 3: box_at(60)}), record({3: box_at(60), 7: box_at(14)})]
    _, (tracked, unmoved) = overlap(records, 1)
    torch.testing.assert_close(tracked, torch.tensor([1, 16 / 24]))
    torch.testing.assert_close(unmoved, torch.tensor([16 / 24, 1]))


def test_only_objects_of_both_frames_count():
    records = [record({1: box_at(10), 2: box_at(60)}), record({2: box_at(64), 5: box_at(10)})]
    _, (tracked, unmoved) = overlap(records, 1)
    torch.testing.assert_close(tracked, torch.tensor([1.0]))
    torch.testing.assert_close(unmoved, torch.tensor([16 / 24]))


@pytest.mark.parametrize("gap", [1, 2, 4])
def test_pairs_are_a_gap_apart(gap):
    # the object moves as the tracker says, so that the tracker is right over any gap
    records = [record({1: box_at(10 + 4 * t)}) for t in range(5)]
    tracker, (tracked, unmoved) = overlap(records, gap)
    assert tracker.pairs == [(t, t + gap) for t in range(5 - gap)]
    torch.testing.assert_close(tracked, torch.ones(5 - gap))
    torch.testing.assert_close(unmoved, torch.full((5 - gap,), (20 - 4 * gap) / (20 + 4 * gap)))


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_video_shorter_than_the_gap_gives_nothing(length):
    tracker, (tracked, unmoved) = overlap([record({1: box_at(10)})] * length, 3)
    assert tracked.shape == unmoved.shape == (0,) and not tracker.pairs


def test_pairs_without_common_objects_give_nothing():
    for objects in ({}, {9: box_at(10)}):
        _, (tracked, unmoved) = overlap([record({1: box_at(10)}), record(objects)], 1)
        assert tracked.shape == unmoved.shape == (0,)


def test_a_real_tracker_on_low_precision_maps():
    # bfloat16 has no 257: the boxes must not be read in the maps' precision
    box, tracker = [257.0, 100, 301, 141], standing_tracker()
    frame = {"height": 400, "width": 640, "annotations": [{"track_id": 1, "bbox": box}]}
    maps = [torch.randn(3, 25, 40).bfloat16() for _ in range(2)]
    tracked, unmoved = tracking_overlap(tracker, maps, [frame, frame], 1, (200, 320))
    torch.testing.assert_close(tracked, torch.ones(1))
    assert tracked.dtype == torch.float32 and unmoved.tolist() == [1] and not tracked.requires_grad
