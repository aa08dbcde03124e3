"""The sample is there, and is the first test video of the tiny set."""

import numpy as np
import pytest

from d2_plugtrack.commands import sample
from d2_plugtrack.commands.sample import sample_detector, write_sample_clip
from d2_plugtrack.data.tiny_vid import write_tiny_vid
from d2_plugtrack.errors import UserError
from d2_plugtrack.video_io import open_frames


def test_clip_is_the_sets_first_test_video(tmp_path):
    clip = write_sample_clip(tmp_path / "a")
    write_tiny_vid(tmp_path / "b", 0, ["test"], 2)
    frames = list(open_frames(clip))
    others = list(open_frames(tmp_path / "b/Data/VID/test/tiny_test_00000"))
    np.testing.assert_array_equal(frames, others)
    assert len(frames) == 30 and frames[0].shape == (128, 160, 3)
    again = write_sample_clip(tmp_path / "a")  # where it is already
    assert again == clip and len(list(open_frames(again))) == 30


@pytest.mark.detectron2
def test_detector_is_detectron2s():
    config_file, (key, weights) = sample_detector()
    assert config_file.endswith("configs/TinyVID/plugtrack_tiny.yaml") and key == "MODEL.WEIGHTS"
    assert weights.endswith("demo/plugtrack_tiny.pth")


def test_detector_is_torchvisions_without_detectron2(monkeypatch):
    def missing():
        raise ModuleNotFoundError("detectron2 is not installed", name="detectron2")

    monkeypatch.setattr(sample, "require_detectron2", missing)
    assert sample_detector().config_file.endswith("torchvision_tiny.yaml")
    assert sample_detector().opts[1].endswith("demo/torchvision_tiny.pth")


def test_a_package_without_its_project_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(sample, "ROOT", tmp_path)
    with pytest.raises(UserError, match="--config-file: expected, as .*_tiny.yaml is not there"):
        sample_detector()
