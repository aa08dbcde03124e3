"""Frames that come one by one are re-scored as the whole video is, and leave when they can."""

import os
import tempfile
import tracemalloc

import numpy as np
import pytest
import torch

from d2_plugtrack.core import open_part, video_rescorer
from d2_plugtrack.core.rescoring import Rescoring, rescore_video
from d2_plugtrack.core.spool import Spooling
from d2_plugtrack.core.video_rescorer import VideoRescorer
from tests.core.video_results import frame_result, random_video

PAPER = Rescoring(enabled=True, track_links=True, link_iou=0.5, nms_iou=0.45, min_score=0.01)
BOX, FAR = [0, 0, 10, 10], [50, 50, 60, 60]


@pytest.fixture
def sizes(monkeypatch):
    """A function that sets how many frames and boxes are worked on together."""

    def set_sizes(frames, nodes=10**6, scores=10**6):
        monkeypatch.setattr(video_rescorer, "FRAMES_OF_BLOCK", frames)
        monkeypatch.setattr(open_part, "NODES_AT_ONCE", nodes)
        monkeypatch.setattr(open_part, "SCORES_AT_ONCE", scores)

    return set_sizes


def send(rescorer, video):
    """The frames that are finished before the end, and the others."""
    early = [frame for result in video for frame in rescorer.push(result)]
    return early, list(rescorer.finish())


def assert_same(frames, video, how):
    """Exactly as ``seq_nms`` says of the whole video, path numbers included."""
    expected = rescore_video(video, how)
    assert len(frames) == len(video)
    for frame, result, *wanted in zip(frames, video, *expected, strict=True):
        np.testing.assert_array_equal(frame.boxes, result.boxes.numpy())
        for found, value in zip((frame.scores, frame.kept, frame.paths), wanted, strict=True):
            np.testing.assert_array_equal(found, value.numpy())
            assert found.dtype == value.numpy().dtype
        assert (frame.masks is None) == (result.masks is None)
        if result.masks is not None:
            np.testing.assert_array_equal(frame.masks, result.masks.numpy())


# ---- the same result, wherever blocks, cuts and the disk come in ---------------------------------


@pytest.mark.parametrize("num_cases", [120, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_result_is_that_of_the_whole_video(tmp_path, sizes, num_cases):
    num_early = num_spooled = 0
    for seed in range(num_cases):
        rng = np.random.default_rng(seed)
        sizes(int(rng.integers(1, 7)), int(rng.integers(1, 50)), int(rng.integers(1, 100)))
        spooling = [None, Spooling(int(rng.integers(0, 4000)), tmp_path)][rng.integers(2)]
        links, min_score = bool(rng.integers(2)), [0.01, 0.9][rng.integers(2)]
        how = PAPER._replace(track_links=links, min_score=min_score)
        parked, masks = seed % 3 == 1, seed % 3 == 2
        num_frames, num_classes = int(rng.integers(0, 18)), int(rng.integers(1, 4))
        video = random_video(seed, num_frames, num_classes, parked=parked, masks=masks)
        rescorer = VideoRescorer(how, spooling)
        early, rest = send(rescorer, video)
        assert_same(early + rest, video, how)
        assert not (parked and early)
        num_early, num_spooled = num_early + len(early), num_spooled + rescorer.bytes_spooled
    assert num_early > num_cases and num_spooled > num_cases


@pytest.mark.parametrize("limit", [0, 2000, 20_000, 10**9])
@pytest.mark.parametrize("parked", [True, False])
def test_the_disk_changes_nothing(tmp_path, sizes, limit, parked):
    sizes(frames=4, nodes=30)
    video = random_video(seed=1, num_frames=60, empty=0, parked=parked, masks=True)
    rescorer = VideoRescorer(PAPER, Spooling(limit, tmp_path))
    early, rest = send(rescorer, video)
    assert_same(early + rest, video, PAPER)
    if limit in (0, 10**9):
        assert (rescorer.bytes_spooled > 0) == (limit == 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("num_frames", [0, 1, 2, 3])
@pytest.mark.parametrize("num_classes", [0, 1, 3])
@pytest.mark.parametrize("empty", [0, 1])
def test_little_or_nothing(tmp_path, sizes, num_frames, num_classes, empty):
    sizes(frames=2)
    video = random_video(3, num_frames, num_classes, empty)
    for spooling in (None, Spooling(0, tmp_path)):
        early, rest = send(VideoRescorer(PAPER, spooling), video)
        assert_same(early + rest, video, PAPER)


def test_a_video_after_another_begins_anew(sizes):
    sizes(frames=3)
    rescorer = VideoRescorer(PAPER, None)
    for seed in range(3):  # of other classes, too
        video = random_video(seed, 8, num_classes=seed + 1)
        early, rest = send(rescorer, video)
        assert_same(early + rest, video, PAPER)


def test_reset_forgets_the_frames_so_far(sizes):
    sizes(frames=3)
    rescorer = VideoRescorer(PAPER, None)
    for result in random_video(0, 10):
        rescorer.push(result)
    rescorer.reset()
    video = random_video(1, 7)
    early, rest = send(rescorer, video)
    assert_same(early + rest, video, PAPER)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_scores_of_other_types(sizes, dtype):
    sizes(frames=3)
    video = [r._replace(scores=r.scores.to(dtype)) for r in random_video(2, 9)]
    early, rest = send(VideoRescorer(PAPER, None), video)
    wide = dtype if dtype == torch.float64 else torch.float32  # has all values of the halves
    assert_same(early + rest, [r._replace(scores=r.scores.to(wide)) for r in video], PAPER)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_results_on_a_gpu(sizes):
    sizes(frames=4)
    video = random_video(2, 20, masks=True)
    on_gpu = [r._replace(scores=r.scores.cuda(), masks=r.masks.cuda()) for r in video]
    early, rest = send(VideoRescorer(PAPER, None), on_gpu)
    assert_same(early + rest, video, PAPER)


# ---- when frames are finished --------------------------------------------------------------------


def test_frames_leave_at_the_last_cut_of_a_block(sizes):
    sizes(frames=4)
    places = [BOX, BOX, FAR, BOX, BOX, BOX, BOX, BOX, FAR, FAR]
    video = [frame_result([p], [[0.5, 0.5]]) for p in places]
    rescorer = VideoRescorer(PAPER._replace(track_links=False), None)
    # BOX and FAR do not link: of the first four frames three are finished, then five in memory
    # wait for the end, where a cut is after the eighth
    assert [len(list(rescorer.push(result))) for result in video] == [0] * 3 + [3] + [0] * 6
    frames = list(rescorer.finish())
    assert [f.boxes.tolist() for f in frames] == [[p] for p in places[3:]]
    # one path of each class: from frame 3, whose box is number 3 of the video, and from frame 8
    assert [f.paths.tolist() for f in frames] == [[[6, 7]]] * 5 + [[[16, 17]]] * 2


def test_finished_frames_can_wait_while_others_come(tmp_path, sizes):
    sizes(frames=3)
    video = random_video(seed=4, num_frames=30)
    rescorer = VideoRescorer(PAPER, Spooling(500, tmp_path))
    finished = [rescorer.push(result) for result in video] + [rescorer.finish()]
    assert_same([frame for frames in finished for frame in frames], video, PAPER)


def test_without_rescoring_frames_pass(sizes):
    sizes(frames=2)
    video = [
        frame_result([BOX, FAR], [[0.3, 0], [0, 0]], masks=torch.rand(2, 3, 3)),
        frame_result([], [], masks=torch.zeros(0, 1, 1)),
        frame_result([BOX], [[torch.nan, 0.2]]),  # whose mapped boxes do not matter
    ]
    early, rest = send(VideoRescorer(PAPER._replace(enabled=False), None), video)
    assert (len(early), len(rest)) == (2, 1)
    assert early[0].kept.tolist() == [[True, False], [False, False]]
    assert early[1].boxes.shape == (0, 4) and early[1].masks.shape == (0, 1, 1)
    for frame, result in zip(early + rest, video, strict=True):
        np.testing.assert_array_equal(frame.scores, result.scores.numpy())
        assert (frame.paths == -1).all() and frame.paths.shape == frame.scores.shape


def test_memory_does_not_grow_with_a_video_on_disk(tmp_path, sizes):
    sizes(frames=16)

    def peak(num_frames):
        rescorer = VideoRescorer(PAPER, Spooling(0, tmp_path))
        tracemalloc.start()
        for result in random_video(0, num_frames, num_classes=40, parked=True):
            assert list(rescorer.push(result)) == []
        bytes_now = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return bytes_now

    # 5 boxes of 40 float32 scores: 800 bytes a frame, were they in memory
    assert peak(240) - peak(80) < 160 * 800 / 2


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": torch.zeros(1, 5)}, r"frame 2: expected boxes of shape \(1, 4\), got \(1, 5\)"),
        ({"scores": torch.zeros(1, 3)}, r"frame 2: expected scores of shape \(1, 2\), got \(1, 3"),
        ({"scores": torch.zeros(2, 2)}, r"frame 2: expected scores of shape \(1, 2\), got \(2, 2"),
        ({"mapped_boxes": torch.zeros(0, 4)}, r"frame 2: expected mapped_boxes .*\(1, 4\).*\(0, 4"),
        ({"boxes": torch.full((1, 4), torch.nan)}, "frame 2: boxes must be finite, got NaN"),
        ({"scores": torch.full((1, 2), torch.inf)}, "frame 2: scores must be finite"),
        ({"mapped_boxes": torch.full((1, 4), torch.inf)}, "frame 2: mapped_boxes must be finite"),
    ],
)
def test_what_does_not_fit_is_named(sizes, change, message):
    sizes(frames=2)
    good = frame_result([BOX], [[0.5, 0.5]], [BOX])
    rescorer = VideoRescorer(PAPER, None)
    rescorer.push(good._replace(mapped_boxes=torch.zeros(0, 4)))
    rescorer.push(good)
    with pytest.raises(ValueError, match=message):
        rescorer.push(good._replace(**change))
        rescorer.finish()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_names_the_folder(tmp_path, monkeypatch, sizes):
    sizes(frames=2)

    def full(dir, buffering):
        return open("/dev/full", "r+b", buffering)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    rescorer = VideoRescorer(PAPER, Spooling(0, tmp_path))
    with pytest.raises(OSError, match="No space left on device") as caught:
        send(rescorer, random_video(0, 4, empty=0))
    assert caught.value.filename == str(tmp_path)


def test_one_video_after_another_at_once(sizes):
    sizes(4)
    rescorer = VideoRescorer(PAPER, None)
    for seed in range(5):
        video = random_video(seed, 30)
        assert_same(list(rescorer.rescore(iter(video))), video, PAPER)
    assert list(rescorer.rescore([])) == []
