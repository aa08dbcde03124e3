"""Which boxes the links start from, and a change of all that an object has."""

import pytest
import torch

from d2_plugtrack.core.rescoring import Rescoring, TrackedObjects, rescore_video
from d2_plugtrack.core.seq_nms import Rescored, seq_nms
from d2_plugtrack.core.tfd import FrameResult

PAPER = Rescoring(enabled=True, track_links=True, link_iou=0.5, nms_iou=0.45, min_score=0.01)


def result(boxes, scores, mapped_boxes=(), num_classes=2, masks=None):
    boxes, mapped, scores = (
        torch.tensor(values, dtype=torch.float32).reshape(-1, columns)
        for values, columns in ((boxes, 4), (mapped_boxes, 4), (scores, num_classes))
    )
    nan, none = torch.full((len(boxes),), torch.nan), torch.full((len(boxes),), -1)
    return FrameResult(boxes, scores, nan, mapped, none, (100, 100), masks)


def random_video(frames=5, most=6):
    """Boxes that hardly move; mapped boxes that say that they do not."""
    results, before = [], []
    for _ in range(frames):
        count = int(torch.randint(0, most + 1, ()))
        corners = 10 * torch.randint(0, 4, (count, 2)) + torch.randint(0, 3, (count, 2))
        boxes = torch.cat([corners, corners + 20], dim=1).tolist()
        results.append(result(boxes, (torch.rand(count, 2) + 0.01).tolist(), before))
        before = boxes
    return results


# the object is at (0, 0), then at (50, 50), 10 x 10: only the tracker knows
JUMP = [
    result([[0, 0, 10, 10]], [[0.2, 0.6]]),
    result([[50, 50, 60, 60]], [[0.4, 0.8]], mapped_boxes=[[50, 50, 60, 59]]),
]


def test_track_links_start_from_the_mapped_boxes():
    rescored = rescore_video(JUMP, PAPER)
    for scores, paths in zip(rescored.scores, rescored.paths, strict=True):
        # the means of 0.2 and 0.4, and of 0.6 and 0.8, on one path of each class
        torch.testing.assert_close(scores, torch.tensor([[0.3, 0.7]]))
        assert paths.tolist() == [[0, 1]]


def test_other_links_start_from_the_boxes():
    rescored = rescore_video(JUMP, PAPER._replace(track_links=False))
    for scores, frame in zip(rescored.scores, JUMP, strict=True):
        torch.testing.assert_close(scores, frame.scores)
    assert [p.tolist() for p in rescored.paths] == [[[0, 1]], [[2, 3]]]


@pytest.mark.parametrize("track_links", [True, False])
@pytest.mark.parametrize("changes", [{}, {"link_iou": 0.8}, {"nms_iou": 0.9}, {"min_score": 0.5}])
def test_settings_go_where_they_belong(track_links, changes):
    how = PAPER._replace(track_links=track_links, **changes)
    for seed in range(10):
        torch.manual_seed(seed)
        video = random_video()
        keys = {"link_iou": 0.5, "nms_iou": 0.45, "min_score": 0.01, **changes}
        boxes, scores = [r.boxes for r in video], [r.scores for r in video]
        mapped = [r.mapped_boxes for r in video] if track_links else None
        expected = seq_nms(boxes, scores, mapped, **keys)
        torch.testing.assert_close(rescore_video(video, how), expected)


def test_without_rescoring_scores_stay():
    video = [result([[0, 0, 9, 9], [5, 5, 9, 9]], [[0.3, 0], [0, 0]]), result([], [])]
    rescored = rescore_video(video, PAPER._replace(enabled=False))
    assert all(new.equal(r.scores) for new, r in zip(rescored.scores, video, strict=True))
    assert rescored.kept[0].tolist() == [[True, False], [False, False]]
    assert rescored.paths[0].tolist() == [[-1, -1], [-1, -1]]
    assert rescored.paths[0].dtype == torch.int64 and rescored.kept[1].numel() == 0


@pytest.mark.parametrize("enabled", [True, False])
def test_no_frames(enabled):
    rescored = rescore_video([], PAPER._replace(enabled=enabled))
    assert rescored == Rescored([], [], [])


@pytest.mark.parametrize("masks", [None, torch.rand(1, 2, 2)])
def test_a_change_of_every_field(masks):
    labels = torch.tensor([1])
    objects = TrackedObjects(torch.rand(1, 4), torch.rand(1), labels, labels, masks)
    none = objects.map(lambda field: field[:0])
    assert none.boxes.shape == (0, 4) and none.track_ids.shape == (0,)
    assert none.masks is None if masks is None else none.masks.shape == (0, 2, 2)
    torch.testing.assert_close(objects.map(torch.Tensor.cpu), objects)
