"""Offline, online and ByteTrack's tracks of scripted videos, and the tool that compares them."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from yacs.config import CfgNode

from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.core.modes import build_rescorer
from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.data.tiny_vid import write_tiny_vid
from d2_plugtrack.errors import UserError
from d2_plugtrack.identity.methods import (
    METHODS,
    IdentityRun,
    PathTracks,
    build_identity_runs,
)
from d2_plugtrack.identity.metrics import PERCENTAGES, SWITCHES, true_boxes
from tests.identity.scripted import MOVING, result_of, track

pytest.importorskip("trackeval")
pytest.importorskip("trackers")

ROOT = Path(__file__).resolve().parents[2]


def paths_of(threshold, online):
    how = Rescoring(True, True, 0.5, 0.45, 0.01, online)
    return PathTracks(build_rescorer(how, None), threshold)


@pytest.mark.parametrize("online", [False, True])
def test_paths_and_links_keep_what_is_sure_enough(online):
    tracks = paths_of(0.5, online)
    expected = [[(0, 1, 0)], [(2, 1, 0)], [(4, 1, 0)]]
    assert track(tracks, MOVING) == expected
    assert track(tracks, MOVING) == expected  # numbers begin anew in every video
    tracks = paths_of(0.3, online)
    assert [len(frame) for frame in track(tracks, MOVING)] == [2, 2, 2]
    other = [result_of([50, 70], [[0.9, 0], [0, 0.9]])]
    assert track(tracks, other) == [[(50, 0, 0), (70, 1, 1)]]
    assert track(paths_of(0.95, online), MOVING) == [[], [], []]
    assert track(paths_of(0.5, online), [result_of([], [])]) == [[]]
    assert track(paths_of(0.5, online), []) == []


def test_offline_sees_the_whole_video_and_online_the_past():
    """Scores 0.9, 0.7, 0.8: 0.8 over all; online 0.9, 0.8, 0.8."""
    assert track(paths_of(0.85, False), MOVING) == [[], [], []]
    assert [len(frame) for frame in track(paths_of(0.85, True), MOVING)] == [1, 0, 0]


# ---- runs ------------------------------------------------------------------------------------


class Scripted:
    """A pipeline that gives back what it is given."""

    def reset(self):
        pass

    def step(self, frame):
        return frame


def test_a_run_counts_finished_videos_only():
    run = IdentityRun(Scripted(), paths_of(0.5, online=False))
    for video in ("a", "b"):
        for index, result in enumerate(MOVING):
            found = {"bbox": [2 * index, 0, 2 * index + 10, 10], "category_id": 1, "track_id": 5}
            record = {"video_id": video, "frame_index": index, "annotations": [found]}
            run.process(result, {**record, "last": video == "a" and index == 2})
        assert run.metrics.figures() == pytest.approx(
            {**dict.fromkeys(PERCENTAGES, 100.0), SWITCHES: 0}
        )


@pytest.fixture
def cfg():
    cfg = CfgNode({name: CfgNode() for name in ("MODEL", "INPUT", "DATASETS", "SOLVER", "TEST")})
    cfg.OUTPUT_DIR = "output"
    add_plugtrack_config(cfg)
    return cfg


def test_runs_work_on_what_their_methods_say(cfg):
    thresholds = {"offline": 0.1, "online": 0.2, "bytetrack": 0.05}
    cfg.TEST.VID.MODE, cfg.TEST.TFD.ENABLED, cfg.TEST.TFD.NMS_THRESH = "online", False, 0.6
    cfg.freeze()
    runs = build_identity_runs(cfg, object(), thresholds)
    assert list(runs) == [method.name for method in METHODS]
    offline, online, bytetrack = runs.values()
    for run, is_online, threshold in ((offline, False, 0.1), (online, True, 0.2)):
        assert run._pipeline.tracker is not None and not run._pipeline.per_frame
        rescoring = run._tracks._rescorer.rescoring
        assert (rescoring.enabled, rescoring.track_links) == (True, True)
        assert (rescoring.online, run._tracks._threshold) == (is_online, threshold)
    assert bytetrack._pipeline.per_frame and bytetrack._pipeline.tracker is None
    assert (bytetrack._tracks._floor, bytetrack._tracks._nms_threshold) == (0.05, 0.6)
    assert len({id(run._pipeline) for run in runs.values()}) == 3
    assert cfg.TEST.VID.MODE == "online"  # the config is only read
    assert not any(run.metrics._ignore_classes for run in runs.values())
    for run in build_identity_runs(cfg, object(), thresholds, ignore_classes=True).values():
        assert run.metrics._ignore_classes


def test_without_a_tracker_there_is_bytetrack(cfg):
    assert len(build_identity_runs(cfg, None, {"bytetrack": 0.5})) == 1
    with pytest.raises(UserError, match="no tracker"):
        build_identity_runs(cfg, None, {"online": 0.5})


# ---- the tool --------------------------------------------------------------------------------


def test_the_tool_on_the_tiny_set(tmp_path, monkeypatch, capsys):
    """One pass of the detector, three rows; the figures are those of the tables."""
    write_tiny_vid(tmp_path / "tiny_vid", seed=0, splits=["test"], num_videos=1)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    main = runpy.run_path(str(ROOT / "tools/eval_identity.py"))["main"]
    files = {name: tmp_path / f"out.{name}" for name in ("json", "markdown")}
    words = [
        *("--config-file", str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")),
        *("--dataset", "tiny_vid_test", "--online-threshold", "1", "--batch-size", "8"),
        *("--json", str(files["json"]), "--markdown", str(files["markdown"])),
    ]
    opts = ["MODEL.WEIGHTS", str(ROOT / "demo/torchvision_tiny.pth"), "MODEL.DEVICE", "cpu"]
    main([*words, *opts])
    printed = capsys.readouterr().out
    assert files["markdown"].read_text() == printed
    assert "\nThresholds: offline 0.35, online 1, bytetrack 0.55\n" in printed
    data = json.loads(files["json"].read_text())
    assert data["dataset"] == "tiny_vid_test" and data["thresholds"]["online"] == 1
    offline, online, bytetrack = data["rows"].values()
    assert list(data["rows"]) == [method.name for method in METHODS]
    assert online == {**dict.fromkeys(PERCENTAGES, 0), SWITCHES: 0}  # nothing is that sure
    assert 0 < offline["HOTA"] <= 100 and 0 < bytetrack["HOTA"] <= 100
    for name, row in data["rows"].items():
        cells = [f"{row[key]:.1f}" for key in PERCENTAGES]
        assert f"| {name} | {' | '.join(cells)} | {row[SWITCHES]} |" in printed
    main([*words, "--methods", "offline", "--ignore-classes", *opts])
    assert "\n| tracks, classes ignored | HOTA |" in capsys.readouterr().out
    ignoring = json.loads(files["json"].read_text())
    assert ignoring["ignore_classes"] and not data["ignore_classes"]
    ((name, row),) = ignoring["rows"].items()
    assert row["MOTA"] > data["rows"][name]["MOTA"]


def test_the_tool_refuses_missing_packages_before_the_weights(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "trackers", None)
    main = runpy.run_path(str(ROOT / "tools/eval_identity.py"))["main"]
    more = ["--batch-size", "1", "MODEL.WEIGHTS", "no.pth"]
    words = ["--config-file", str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")]
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--dataset", "tiny_vid_test", "MODEL.WEIGHTS", "nowhere.pth"])
    assert capsys.readouterr().err.startswith("error: trackers is not installed: pip install")
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--dataset", "tiny_vid_test", "--methods", "online", *more])
    assert "no.pth: no such file" in capsys.readouterr().err


def test_true_boxes_are_those_of_the_tiny_set(tmp_path):
    from d2_plugtrack.data.imagenet.records import load_vid_videos
    from d2_plugtrack.data.tiny_vid import TINY_CLASSES

    write_tiny_vid(tmp_path, seed=0, splits=["test"], num_videos=1)
    records = load_vid_videos(tmp_path, tmp_path / "ImageSets/VID_test_videos.txt", TINY_CLASSES)
    frames = [true_boxes(record) for record in records]
    assert sum(len(frame.ids) for frame in frames) >= 30
    assert all(np.all(f.boxes[:, 2:] > f.boxes[:, :2]) for f in frames)
