"""A part of a video, block by block: re-scored as ``seq_nms`` does it, numbered as in the video."""

import numpy as np
import pytest

from d2_plugtrack.core import open_part
from d2_plugtrack.core.box_graph import find_edges
from d2_plugtrack.core.host_frames import to_host
from d2_plugtrack.core.open_part import OpenPart
from d2_plugtrack.core.seq_nms import seq_nms
from d2_plugtrack.core.spool import Spooling
from tests.core.video_results import random_video


def edges_of(frames, before):
    """Links between boxes, of these frames and the one before them."""
    boxes = [np.zeros((0, 4)) if before is None else before.boxes, *(f.boxes for f in frames)]
    starts, together = np.cumsum([0, *map(len, boxes)]), np.concatenate(boxes)
    return find_edges(together, together, starts, 0.5, 0.45)


def filled(video, block_sizes, first_node=0, spooling=None):
    """A part of the video's frames, appended so many at a time."""
    part, frames, before = OpenPart(first_node, spooling), to_host(video), None
    while frames:
        count = next(block_sizes)
        block, frames = frames[:count], frames[count:]
        part.append(block, edges_of(block, before))
        before = block[-1]
    return part


def some_sizes(rng):
    while True:
        yield int(rng.integers(1, 6))


def assert_rescored(part, video, first_node=0, min_score=0.01):
    part.rescore(min_score)
    boxes, scores = [r.boxes for r in video], [r.scores for r in video]
    wanted = seq_nms(boxes, scores, min_score=min_score)
    found = list(part.frames())
    assert len(found) == len(video)
    for t, (frame, result) in enumerate(zip(found, video, strict=True)):
        np.testing.assert_array_equal(frame.boxes, result.boxes.numpy())
        np.testing.assert_array_equal(frame.scores, wanted.scores[t].numpy())
        np.testing.assert_array_equal(frame.kept, wanted.kept[t].numpy())
        paths = wanted.paths[t].numpy()
        shifted = np.where(paths >= 0, paths + first_node * paths.shape[1], -1)
        np.testing.assert_array_equal(frame.paths, shifted)
        assert (frame.masks is None) == (result.masks is None)
        if result.masks is not None:
            np.testing.assert_array_equal(frame.masks, result.masks.numpy())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("limit", [None, 0, 3000])
def test_blocks_and_the_disk_change_nothing(monkeypatch, tmp_path, seed, limit):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(open_part, "NODES_AT_ONCE", int(rng.integers(1, 40)))
    monkeypatch.setattr(open_part, "SCORES_AT_ONCE", int(rng.integers(1, 60)))
    video = random_video(seed, int(rng.integers(1, 20)), masks=seed % 2 == 0, parked=seed % 3 == 0)
    spooling = None if limit is None else Spooling(limit, tmp_path)
    part = filled(video, some_sizes(rng), 7, spooling)
    assert part.num_nodes == sum(len(r.boxes) for r in video)
    assert_rescored(part, video, first_node=7, min_score=(0.01, 0.9)[seed % 2])
    if limit in (None, 0):
        assert (part.bytes_on_disk > 0) == (limit == 0)


@pytest.mark.parametrize("num_classes", [0, 2])
def test_frames_without_boxes_are_part_of_it(num_classes):
    video = random_video(0, 3, num_classes, empty=1)
    assert_rescored(filled(video, iter([2, 1])), video)


def test_no_frames():
    part = OpenPart(0, None)
    part.rescore(0.01)
    assert list(part.frames()) == [] and part.num_nodes == part.bytes_on_disk == 0
