"""Detections from saved boxes are those of the boxes in memory, bit for bit, a video at a time."""

import numpy as np
import pytest
import torch

from d2_plugtrack.core import video_rescorer
from d2_plugtrack.core.average_precisions import mean_average_precision
from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.core.spool import Spooling
from d2_plugtrack.core.video_evaluation import DetectionLimits, VideoRun
from d2_plugtrack.errors import UserError
from d2_plugtrack.results import run_folder
from d2_plugtrack.results.rescored import rescore_run
from tests.core.video_results import frame_result
from tests.results.saved_runs import save_run, tracked_video

SEQ_TRACK_NMS = Rescoring(True, track_links=True, link_iou=0.5, nms_iou=0.45, min_score=0.01)
SETTINGS = {
    "seq-track-nms": SEQ_TRACK_NMS,
    "seq-nms": SEQ_TRACK_NMS._replace(track_links=False, nms_iou=0.3),
    "as it is": SEQ_TRACK_NMS._replace(enabled=False),
    "online": SEQ_TRACK_NMS._replace(online=True),
    "online, as it is": SEQ_TRACK_NMS._replace(enabled=False, online=True),
}
LIMITS = DetectionLimits(0.05, 7)
VIDEOS = {
    "a/b": tracked_video(0, 90),
    "one": tracked_video(1, 1),
    3: tracked_video(2, 30, parked=True),
    "empty": [frame_result([], [], num_classes=3)] * 4,
}


class Given:
    """A pipeline to which frames come as its results."""

    def reset(self):
        pass

    def step(self, frame):
        return frame


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("run"), VIDEOS)


def in_memory(rescoring: Rescoring) -> dict:
    """What VideoRun collects of the same videos."""
    collected = VideoRun(Given(), rescoring, LIMITS)
    for video, results in VIDEOS.items():
        for index, result in enumerate(results):
            collected.process(result, (video, index), last=index == len(results) - 1)
    return collected.detections


def assert_same(found, expected):
    assert list(found) == list(expected)
    for key, arrays in expected.items():
        for one, other in zip(found[key], arrays, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", SETTINGS)
def test_detections_are_those_of_the_run(run, name):
    expected = in_memory(SETTINGS[name])
    assert sum(len(labels) for _, _, labels in expected.values()) > 200
    assert_same(rescore_run(run, SETTINGS[name], LIMITS), expected)


def test_memory_and_disk_give_the_same(run, tmp_path, monkeypatch):
    expected = in_memory(SEQ_TRACK_NMS)
    monkeypatch.setattr(video_rescorer, "FRAMES_OF_BLOCK", 4)
    assert_same(rescore_run(run, SEQ_TRACK_NMS, LIMITS, Spooling(0, tmp_path)), expected)
    assert list(tmp_path.iterdir()) == []


def test_map_is_the_same_bit_for_bit(run):
    rng = np.random.default_rng(0)
    records = [
        {
            **{"video_id": video, "frame_index": index},
            "annotations": [
                {"bbox": box, "category_id": int(rng.integers(3)), "track_id": number}
                for number, box in enumerate((result.boxes + 1).tolist())
            ],
        }
        for video, results in VIDEOS.items()
        for index, result in enumerate(results)
    ]
    for rescoring in SETTINGS.values():
        two = in_memory(rescoring), rescore_run(run, rescoring, LIMITS)
        first, second = (mean_average_precision(records, d, "abc", "fgfa") for d in two)
        np.testing.assert_equal(first, second)
        assert first["mAP"] > 1


def test_every_video_is_read_once_in_the_runs_order(run, monkeypatch):
    read = []

    def note(path):
        read.append(path.name)
        return read_video(path)

    read_video = run_folder.read_video
    monkeypatch.setattr(run_folder, "read_video", note)
    detections = rescore_run(run, SEQ_TRACK_NMS, LIMITS)
    assert len(detections) == 125 and ("one", 0) in detections and read == []
    for key in detections:
        detections[key]
    assert read == [run.path(video).name for video in VIDEOS]
    detections["a/b", 5]  # any order will do, and is slower
    detections["a/b", 2]
    assert len(read) == 5


def test_frames_that_are_not_of_the_run(run):
    detections = rescore_run(run, SEQ_TRACK_NMS, LIMITS)
    for key in (("one", 1), ("none", 0)):
        assert key not in detections
        with pytest.raises(KeyError):
            detections[key]


def test_a_damaged_file_is_named_and_the_others_can_be_read(tmp_path):
    run = save_run(tmp_path, VIDEOS)
    data = bytearray(run.path("a/b").read_bytes())
    data[len(data) // 2] ^= 16
    run.path("a/b").write_bytes(data)
    detections = rescore_run(run, SEQ_TRACK_NMS, LIMITS)
    for _ in range(2):
        with pytest.raises(UserError, match="00000_a_b.npz: expected results of a video, found"):
            detections["a/b", 0]
    for key, arrays in in_memory(SEQ_TRACK_NMS).items():
        if key[0] != "a/b":
            np.testing.assert_array_equal(detections[key][1], arrays[1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mapped_boxes": torch.zeros(0, 4)}, r"frame 1: expected mapped_boxes of shape \(1, 4\)"),
        ({"boxes": torch.full((1, 4), torch.nan)}, "frame 1: boxes must be finite"),
    ],
)
def test_boxes_that_cannot_be_rescored_name_their_file(tmp_path, changes, said):
    box = frame_result([[0, 0, 9, 9]], [[0.5, 0.5]], [[0, 0, 9, 9]])
    first = box._replace(mapped_boxes=torch.zeros(0, 4))
    run = save_run(tmp_path, {"a": [first, box._replace(**changes)]})
    with pytest.raises(UserError, match=f"{tmp_path}/00000_a.npz: {said}"):
        rescore_run(run, SEQ_TRACK_NMS, LIMITS)["a", 0]


def test_a_folder_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    detections = rescore_run(run, SEQ_TRACK_NMS, LIMITS, Spooling(0, tmp_path / "file"))
    with pytest.raises(UserError, match=f"{tmp_path}/file: cannot be written"):
        detections["a/b", 0]


def test_a_damaged_video_does_not_reach_the_next_one(tmp_path):
    run = save_run(tmp_path, {"a": tracked_video(0, 90), "b": tracked_video(1, 5)})
    data = bytearray(run.path("a").read_bytes())
    data[data.index(b"000001/scores.npy") + 60] ^= 1  # in the second block
    run.path("a").write_bytes(data)
    found = rescore_run(run, SEQ_TRACK_NMS, LIMITS)
    with pytest.raises(UserError, match="00000_a.npz"):
        found["a", 0]
    assert len(found["b", 0]) == 3
