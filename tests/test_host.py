"""A detector with its tracker from a config file: without detectron2, and the same with it."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from d2_plugtrack.build import build_tracker
from d2_plugtrack.config_file import read_host
from d2_plugtrack.data.tiny_vid import TINY_CLASSES, write_tiny_vid
from d2_plugtrack.errors import UserError
from d2_plugtrack.host import Host, load_torchvision_config, open_host
from d2_plugtrack.hosts.torchvision import TorchvisionDetector
from d2_plugtrack.hosts.torchvision_models import build_torchvision_model
from d2_plugtrack.predictor import VideoPredictor
from d2_plugtrack.weights import joined_state, write_weights

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs/TinyVID"
CONFIG = str(CONFIGS / "torchvision_tiny.yaml")
NAMES = list(TINY_CLASSES.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Random weights of the tiny model, with and without a tracker."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights")
    cfg = load_torchvision_config(CONFIG)
    model = build_torchvision_model(
        cfg.MODEL.NAME, len(NAMES), cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
    )
    tracker = build_tracker(cfg, TorchvisionDetector(model).map_shapes)
    write_weights(path / "joined.pth", joined_state(model, tracker))
    write_weights(path / "detector.pth", joined_state(model, None))
    return path


@pytest.fixture(scope="module")
def opts(folder) -> list[str]:
    return ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", str(folder / "joined.pth")]


@pytest.fixture(scope="module")
def host(opts) -> Host:
    return open_host(CONFIG, opts)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data root with one video of each split of the tiny set, and stills."""
    root = tmp_path_factory.mktemp("data")
    write_tiny_vid(root / "tiny_vid", seed=0, splits=["train", "test"], num_videos=2)
    return root


@pytest.fixture
def videos(monkeypatch, data, host):
    """``host.load_videos`` below that data root."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(data))
    return host.load_videos


def refusal(config_file: str, opts, **arguments) -> str:
    with pytest.raises(UserError) as refused:
        open_host(config_file, opts, **arguments)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def image(height: int = 96, width: int = 120) -> np.ndarray:
    return np.random.randint(0, 256, (height, width, 3), dtype=np.uint8)


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# ---- opening ---------------------------------------------------------------------------------


def test_detector_and_tracker_are_loaded_and_ready(host, folder):
    saved = torch.load(folder / "joined.pth", weights_only=True)["model"]
    loaded = joined_state(host.detector.model, host.tracker)
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[key], loaded[key]) for key in saved)
    assert not host.detector.model.training and not host.tracker.training
    assert host.class_names == NAMES


@pytest.mark.parametrize("sets", ["('imagenet_vid_val',)", "()"])
def test_class_names_are_numbers_where_no_set_has_as_many(opts, sets):
    names = open_host(CONFIG, [*opts, "DATASETS.TEST", sets]).class_names
    assert names == [str(i) for i in range(len(NAMES))]


def test_class_names_are_those_of_the_set_that_is_said(opts):
    said = ["DATASETS.CLASSES", "tiny_vid_val", "DATASETS.TEST", "()"]
    assert open_host(CONFIG, [*opts, *said]).class_names == NAMES
    said = ["DATASETS.CLASSES", "tiny_vid_val", "DATASETS.TEST", "('imagenet_vid_val',)"]
    assert open_host(CONFIG, [*opts, *said]).class_names == NAMES


def test_a_tracker_is_required_where_it_is_used(folder):
    without = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", str(folder / "detector.pth")]
    per_frame = [*without, "TEST.TFD.ENABLED", "False"]
    for message in (refusal(CONFIG, without), refusal(CONFIG, per_frame, tracker_required=True)):
        assert "detector.pth" in message and "missing, the first is tracker." in message
    assert open_host(CONFIG, per_frame).tracker is not None
    open_host(CONFIG, without, tracker_required=False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["MODEL.WEIGHTS", ""], "MODEL.WEIGHTS"),
        (["MODEL.WEIGHTS", "no_such.pth"], "no_such.pth: no such file"),
        (["MODEL.NUM_CLASSES", "3"], "joined.pth: .*cls_score"),
        (["MODEL.NAME", "retinanet_resnet50_fpn"], "MODEL.NAME retinanet_resnet50_fpn: expected"),
        (["MODEL.PLUGTRACK.IN_FEATURES", "['p2']"], r"IN_FEATURES \['p2'\].*maps \['0'\]"),
        (["DATASETS.TEST", "['no_such_set']"], "dataset no_such_set: expected one of .*tiny_vid"),
        (["DATASETS.CLASSES", "no_such_set"], "dataset no_such_set: expected one of .*tiny_vid"),
        (
            ["DATASETS.CLASSES", "imagenet_vid_val"],
            "DATASETS.CLASSES imagenet_vid_val: expected .* detector's 8 classes, found 30 class",
        ),
        (["ZOO", "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"], "ZOO COCO-D.*: expected a config"),
        (["MODEL.NUM_CLASES", "3"], "MODEL.NUM_CLASES"),
        (["MODEL.DEVICE", "quantum"], "MODEL.DEVICE quantum"),
    ],
)
def test_a_mistake_in_the_options_is_named(opts, changes, named):
    with pytest.raises(UserError, match=named):
        open_host(CONFIG, [*opts, *changes])


# ---- config files ----------------------------------------------------------------------------


def test_an_absent_file_is_named(tmp_path, opts):
    assert refusal(str(tmp_path / "none.yaml"), opts).startswith(str(tmp_path / "none.yaml"))
    assert "--config-file" in refusal("", opts)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("HOST: jax\n", "HOST jax: expected one of detectron2, torchvision"),
        ("HOST:\n", "expected one of detectron2, torchvision"),
        ("HOST: torchvision\nTEST:\n  TFD:\n    MERGE_TRESH: 0.3\n", "TEST.TFD.MERGE_TRESH"),
        ("HOST: torchvision\nMODEL:\n  RESNETS:\n    NORM: BN\n", "MODEL.RESNETS"),
        ("HOST: torchvision\nTEST:\n  TFD:\n    MAX_BOXES: [1]\n", "TEST.TFD.MAX_BOXES"),
        ("HOST: torchvision\nMODEL: 3\n", "Type mismatch"),
        ("HOST: [1, }\n", "line 1"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path, opts, text, named):
    path = written(tmp_path / "config.yaml", text)
    message = refusal(path, opts)
    assert message.startswith(f"{path}: ") and named in message


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (f"_BASE_: {CONFIG}\n", "detectron2"),  # the file's own key alone counts
        ("HOST: torchvision\n", "torchvision"),
        ("HOST: 3\n", "3"),
        ("MODEL:\n  HOST: torchvision\n", "detectron2"),
        ("SIZES: !!python/object/apply:eval ['[1, 2]']\n", "detectron2"),  # detectron2 takes it
        ("- a list\n", "detectron2"),
        ("", "detectron2"),
    ],
)
def test_the_host_is_the_files_own(tmp_path, text, host):
    assert read_host(written(tmp_path / "config.yaml", text)) == host


def test_reading_the_host_executes_nothing(tmp_path):
    made = tmp_path / "made"
    text = f"A: !!python/object/apply:os.mkdir ['{made}']\nHOST: torchvision\n"
    assert read_host(written(tmp_path / "config.yaml", text)) == "torchvision"
    assert not made.exists()


def test_later_sources_win_and_an_empty_device_is_chosen(tmp_path, monkeypatch):
    text = f"_BASE_: {CONFIG}\nTEST:\n  TFD:\n    MERGE_THRESH: 0.4\n    MAX_BOXES: 7\n"
    path = written(tmp_path / "config.yaml", text)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cfg = load_torchvision_config(path, ["TEST.TFD.MAX_BOXES", "9", "MODEL.DEVICE", ""])
    assert (cfg.TEST.TFD.MERGE_THRESH, cfg.TEST.TFD.MAX_BOXES) == (0.4, 9)
    assert cfg.MODEL.PLUGTRACK.IN_FEATURES == ["0"]  # of the base
    assert cfg.TEST.TFD.SCORE_THRESH == 0.03  # a default
    assert cfg.MODEL.DEVICE == "cpu"


# ---- videos ----------------------------------------------------------------------------------


def test_the_last_frame_of_each_video_is_marked(videos):
    records = videos("tiny_vid_test")
    assert len({r["video_id"] for r in records}) == 2 and len(records) == 60
    assert [i for i, r in enumerate(records) if r["last"]] == [29, 59]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_set", "dataset no_such_set: .*video datasets are .*tiny_vid_test"),
        ("tiny_det_train", "dataset tiny_det_train: expected videos"),
        ("imagenet_vid_val", "the detector has 8 classes: dataset imagenet_vid_val has 30 classes"),
    ],
)
def test_what_is_no_set_of_videos_of_the_detectors_classes_is_refused(videos, name, reason):
    with pytest.raises(UserError, match=reason):
        videos(name)


def test_every_record_is_detected_in_order_whatever_the_batch(videos, host):
    records = videos("tiny_vid_test")[27:32]  # the end of a video and the beginning of another
    one, three = (list(host.detect(records, batch_size)) for batch_size in (1, 3))
    assert [r for r, _ in one] == [r for r, _ in three] == records
    assert [r["last"] for r, _ in three] == [False, False, True, False, False]
    for (_, a), (_, b) in zip(one, three, strict=True):
        assert a.image_size == b.image_size == (128, 160)
        assert len(a.proposals.scores) > 0
        for first, second in zip(a.proposals, b.proposals, strict=True):
            torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(a.tracking_map, b.tracking_map, atol=1e-4, rtol=1e-4)
        assert not a.tracking_map.requires_grad


@pytest.mark.parametrize("strict", [False, True])
def test_a_bad_image_is_a_frame_all_the_same_unless_strict(videos, opts, caplog, strict):
    host = open_host(CONFIG, [*opts, "DATASETS.STRICT", str(strict)])
    records = [dict(r) for r in host.load_videos("tiny_vid_test")[:3]]
    records[1]["file_name"] += ".gone"
    if strict:
        with pytest.raises(UserError, match=r"\.gone: expected a whole image"):
            list(host.detect(records, batch_size=3))
        return
    found = list(host.detect(records, batch_size=2))
    assert [record["frame_index"] for record, _ in found] == [0, 1, 2]
    messages = [r.getMessage() for r in caplog.records]
    assert len(messages) == 2 and ".gone" in messages[0] and "1 times" in messages[1]


@pytest.mark.parametrize("strict", [False, True])
def test_the_configs_strictness_reaches_the_reader(videos, opts, monkeypatch, strict):
    asked = []
    monkeypatch.setattr(
        "d2_plugtrack.data.catalog.DatasetEntry.load_records",
        lambda entry, strict: asked.append(strict) or [],
    )
    open_host(CONFIG, [*opts, "DATASETS.STRICT", str(strict)]).load_videos("tiny_vid_test")
    assert asked == [strict]


def test_no_records_are_no_detections(host):
    assert list(host.detect([], 3)) == []


# ---- a predictor -----------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["host", "config file"])
def test_a_video_is_tracked(host, opts, origin):
    if origin == "host":
        predictor = VideoPredictor.from_host(host)
    else:
        predictor = VideoPredictor.from_config_file(CONFIG, opts)
    assert predictor.class_names == NAMES
    results = list(predictor.results(image() for _ in range(3)))
    assert len(results[0].boxes) > 0 == len(results[0].mapped_boxes)
    assert [len(r.mapped_boxes) for r in results[1:]] == [len(r.boxes) for r in results[:2]]
    objects = predictor.finish()
    assert len(objects) == 3
    for frame in objects:
        assert len(frame.track_ids) == len(frame.boxes) > 0
        assert frame.track_ids.unique().numel() == len(frame.track_ids)
        assert (frame.boxes >= 0).all() and (frame.boxes <= torch.tensor([120, 96] * 2)).all()
        assert (frame.classes < len(NAMES)).all()


def test_everything_works_where_detectron2_is_missing(opts):
    code = f"""
import sys
sys.modules["detectron2"] = None
import numpy as np
from d2_plugtrack.predictor import VideoPredictor
predictor = VideoPredictor.from_config_file({CONFIG!r}, {opts!r})
predictor.step(np.random.default_rng(0).integers(0, 256, (96, 120, 3), dtype=np.uint8))
print(len(predictor.finish()[0].boxes) > 0)
try:
    VideoPredictor.from_config_file({str(CONFIGS / "plugtrack_tiny.yaml")!r})
except ImportError as error:
    print(error)
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    predicted, message = result.stdout.splitlines()
    assert predicted == "True"
    assert message.startswith("detectron2 is not installed; get it")


# ---- detectron2's host -----------------------------------------------------------------------


@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
def test_a_frame_is_prepared_as_detectron2_does(tmp_path, image_format):
    from detectron2.data import DatasetMapper
    from detectron2.modeling import build_model

    from d2_plugtrack.plugin import load_config

    config = str(CONFIGS / "plugtrack_tiny.yaml")
    opts = ["MODEL.DEVICE", "cpu", "INPUT.FORMAT", image_format]
    model = build_model(load_config(config, opts))
    write_weights(tmp_path / "random.pth", model.state_dict())
    host = open_host(config, [*opts, "MODEL.WEIGHTS", str(tmp_path / "random.pth")])
    assert host.class_names == NAMES
    frame = image(150, 90)  # limited by the longer side
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    mapper = DatasetMapper(host.cfg, is_train=False)
    expected = mapper({"file_name": str(tmp_path / "frame.png"), "height": 150, "width": 90})
    prepared = host.prepare(frame)
    assert torch.equal(prepared["image"], expected["image"])
    assert (prepared["height"], prepared["width"]) == (150, 90)
    features = host.detector.extract([prepared])
    assert features.original_sizes == [(150, 90)]
    assert features.image_sizes == [tuple(expected["image"].shape[1:])]


def test_the_host_is_that_of_the_file_itself(tmp_path, opts):
    derived = tmp_path / "derived.yaml"
    derived.write_text(f"_BASE_: {CONFIG}\nHOST: torchvision\n")
    assert open_host(str(derived), opts).cfg.HOST == "torchvision"
    with pytest.raises(UserError, match="HOST detectron2: expected in .*derived.yaml itself"):
        open_host(str(derived), [*opts, "HOST", "detectron2"])


def test_a_detectron2_config_may_say_so(tmp_path):
    pytest.importorskip("detectron2")
    silent = tmp_path / "silent.yaml"
    silent.write_text(f"_BASE_: {CONFIG}\n")
    with pytest.raises(UserError, match="Non-existent config key"):
        open_host(str(silent))
    said = tmp_path / "said.yaml"
    said.write_text("HOST: detectron2\nMODEL:\n  META_ARCHITECTURE: GeneralizedRCNN\n")
    with pytest.raises(UserError, match="GeneralizedRCNN: expected PlugTrackRCNN"):
        open_host(str(said))


def test_a_config_is_looked_at_before_weights():
    seen = []

    def check(cfg):
        seen.append(cfg.MODEL.WEIGHTS)
        raise UserError("not this one")

    with pytest.raises(UserError, match="not this one"):
        open_host(CONFIG, ["MODEL.WEIGHTS", "none.pth"], check=check)
    assert seen == ["none.pth"]
