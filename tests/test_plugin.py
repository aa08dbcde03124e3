"""What importing the plugin registers, and how a config that is wrong is reported."""

import importlib
import json
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, build_model

from d2_plugtrack import plugin
from d2_plugtrack.config_file import read_host
from d2_plugtrack.data.catalog import DATASETS, find_dataset
from d2_plugtrack.data.imagenet.classes import VID_CLASSES
from d2_plugtrack.data.loaders import check_registered
from d2_plugtrack.data.tiny_vid import TINY_CLASSES, write_tiny_vid
from d2_plugtrack.errors import UserError
from d2_plugtrack.host import load_torchvision_config
from d2_plugtrack.modeling.tracker_heads import TRACKER_HEADS
from d2_plugtrack.plugin import load_config, load_model
from tests.data.video_sets import coco_vid, write_images

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs/TinyVID"
CONFIG = str(CONFIGS / "plugtrack_tiny.yaml")
VIDEO_SETS = [
    *("imagenet_vid_train_15frames", "imagenet_vid_train"),
    *("imagenet_vid_val", "imagenet_vid_val_frames"),
]
TINY_VIDEO_SETS = ["tiny_vid_train_15frames", "tiny_vid_train", "tiny_vid_val", "tiny_vid_test"]


def refusal(config_file: str, opts=()) -> str:
    with pytest.raises(UserError) as error:
        load_config(config_file, opts)
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


# ---- configs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*/*.yaml")), ids=lambda p: p.stem)
def test_shipped_configs_load(path):
    load = load_config if read_host(str(path)) == "detectron2" else load_torchvision_config
    assert load(str(path)).MODEL.DEVICE in ("cpu", "cuda")


def test_later_sources_win(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"_BASE_: {CONFIG}\nTEST:\n  TFD:\n    MERGE_THRESH: 0.4\n    MAX_BOXES: 7\n")
    cfg = load_config(str(path), ["TEST.TFD.MAX_BOXES", "9"])
    assert (cfg.TEST.TFD.MERGE_THRESH, cfg.TEST.TFD.MAX_BOXES) == (0.4, 9)
    assert cfg.MODEL.META_ARCHITECTURE == "PlugTrackRCNN"
    assert cfg.TEST.TFD.SCORE_THRESH == 0.03  # a default


ZOO = "COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml"


def test_a_config_of_the_zoo_comes_before_the_file_and_what_it_is_based_on(tmp_path):
    base, path = tmp_path / "base.yaml", tmp_path / "config.yaml"
    base.write_text("SOLVER:\n  MAX_ITER: 7\n  BASE_LR: 0.5\nVERSION: 2\n")
    path.write_text(f"_BASE_: base.yaml\nZOO: {ZOO}\nSOLVER:\n  BASE_LR: 0.25\n")
    derived = tmp_path / "derived.yaml"
    derived.write_text("_BASE_: config.yaml\nSOLVER:\n  MAX_ITER: 8\n")
    for file, opts, max_iter in (
        (path, [], 7),
        (derived, [], 8),
        (base, ["ZOO", ZOO, "SOLVER.BASE_LR", "0.25"], 7),
    ):
        cfg = load_config(str(file), opts)
        assert cfg.ZOO == ZOO and cfg.MODEL.RESNETS.DEPTH == 101  # the zoo's
        assert cfg.SOLVER.STEPS == (210000, 250000)
        assert max_iter == cfg.SOLVER.MAX_ITER and cfg.SOLVER.BASE_LR == 0.25
        assert cfg.MODEL.DEVICE in ("cpu", "cuda")


@pytest.mark.parametrize(
    "name",
    [
        *("COCO-Detection/faster_rcnn_R_51_FPN_3x.yaml", "COCO-Detection", "../model_zoo.py"),
        *("Misc/mmdet_mask_rcnn_R_50_FPN_1x.py", "/no/such.yaml", "no such"),
    ],
)
def test_a_config_that_the_zoo_does_not_have_is_named(tmp_path, name):
    path = tmp_path / "config.yaml"
    path.write_text(f"ZOO: {name}\nVERSION: 2\n")
    message = refusal(str(path))
    assert message.startswith(f"ZOO {name}: expected a .yaml of detectron2's model zoo, such as ")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("MODEL:\n  PLUGTRAK:\n    CONV_DIM: 3\n", "MODEL.PLUGTRAK"),
        ("TEST:\n  TFD:\n    MERGE_TRESH: 0.3\n", "TEST.TFD.MERGE_TRESH"),
        ("TEST:\n  TFD:\n    MERGE_THRESH: [1]\n", "TEST.TFD.MERGE_THRESH"),
        ("MODEL: {WEIGHTS: [1, }", "line 1"),
        ("just a sentence\n", ""),
        ("- a\n- list\n", ""),
        ("", ""),
        ("MODEL: 3\n", ""),
        ("_BASE_: 3\n", ""),
        ("_BASE_: config.yaml\n", ""),
        ("_BASE_: no_such_file.yaml\n", "no_such_file.yaml"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path, text, named):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    message = refusal(str(path), ["TEST.TFD.MAX_BOXES", "9"])
    assert message.startswith(f"{path}: ") and named in message


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    assert str(path) in refusal(str(path))


def test_an_absent_file_is_named(tmp_path):
    assert str(tmp_path / "none.yaml") in refusal(str(tmp_path / "none.yaml"))
    assert str(tmp_path) in refusal(str(tmp_path))
    assert "--config-file" in refusal("")


@pytest.mark.parametrize(
    ("opts", "named"),
    [
        (["TEST.TFD.MERGE_TRESH", "0.3"], "TEST.TFD.MERGE_TRESH"),
        (["MODEL.PLUGTRACK.CONV_DIM", "many"], "MODEL.PLUGTRACK.CONV_DIM"),
        (["MODEL.PLUGTRACK.CONV_DIM.X", "3"], "MODEL.PLUGTRACK.CONV_DIM.X"),
        (["MODEL.WEIGHTS"], "MODEL.WEIGHTS"),
        (["MODEL", "3"], "MODEL 3"),
        (["MODEL.DEVICE", "quantum"], "MODEL.DEVICE quantum"),
    ],
)
def test_a_mistake_in_the_options_is_named_and_the_file_not_blamed(opts, named):
    message = refusal(CONFIG, opts)
    assert named in message and CONFIG not in message


def test_cuda_where_there_is_none_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load_config(CONFIG).MODEL.DEVICE == "cpu"
    for device in ("cuda", "cuda:1"):
        assert f"MODEL.DEVICE {device}: there is no CUDA" in refusal(
            CONFIG, ["MODEL.DEVICE", device]
        )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert load_config(CONFIG).MODEL.DEVICE == "cuda"
    assert load_config(CONFIG, ["MODEL.DEVICE", "cpu"]).MODEL.DEVICE == "cpu"


# ---- models --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stock_weights(tmp_path_factory) -> str:
    """Weights of a detector without a tracker."""
    model = build_model(load_config(CONFIG, ["MODEL.DEVICE", "cpu"]))
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("tracker.")}
    path = tmp_path_factory.mktemp("weights") / "stock.pth"
    torch.save({"model": state}, path)
    return str(path)


def test_a_tracker_is_required_where_it_is_used(stock_weights):
    opts = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", stock_weights]
    with pytest.raises(UserError, match="tracker"):
        load_model(load_config(CONFIG, opts))
    without = load_config(CONFIG, [*opts, "TEST.TFD.ENABLED", "False"])
    assert not load_model(without).training
    load_model(load_config(CONFIG, opts), tracker_required=False)
    with pytest.raises(UserError, match="tracker"):
        load_model(without, tracker_required=True)


def test_another_architecture_is_refused(stock_weights):
    cfg = load_config(str(CONFIGS / "detector_tiny.yaml"), ["MODEL.WEIGHTS", stock_weights])
    with pytest.raises(UserError, match="GeneralizedRCNN: expected PlugTrackRCNN"):
        load_model(cfg)


def test_what_is_registered():
    assert "PlugTrackRCNN" in META_ARCH_REGISTRY
    assert "build_tiny_resnet_fpn_backbone" in BACKBONE_REGISTRY
    assert "build_regression_tracker" in TRACKER_HEADS


# ---- datasets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*VIDEO_SETS, "imagenet_det_train"])
def test_imagenet_sets_have_their_thirty_classes(name):
    metadata = MetadataCatalog.get(name)
    assert name in DatasetCatalog
    assert metadata.wordnet_ids == list(VID_CLASSES) and len(metadata.wordnet_ids) == 30
    assert metadata.thing_classes == list(VID_CLASSES.values())
    assert metadata.wordnet_ids[:2] == ["n02691156", "n02419796"]
    assert metadata.thing_classes[:2] == ["airplane", "antelope"]


@pytest.mark.parametrize("name", [*TINY_VIDEO_SETS, "tiny_det_train"])
def test_tiny_sets_have_their_classes(name):
    assert name in DatasetCatalog
    assert MetadataCatalog.get(name).thing_classes == list(TINY_CLASSES.values())


def test_video_sets_are_marked_for_the_evaluator():
    marked = [
        n for n in DatasetCatalog.list() if MetadataCatalog.get(n).get("evaluator_type") == "vid"
    ]
    assert sorted(marked) == sorted(VIDEO_SETS + TINY_VIDEO_SETS)


def test_registered_sets_are_those_of_the_catalog(monkeypatch, tmp_path):
    write_tiny_vid(tmp_path / "tiny_vid", seed=0, num_videos=1)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))  # looked at when used, not imported
    for name in [*TINY_VIDEO_SETS, "tiny_det_train"]:
        records = DatasetCatalog.get(name)
        assert records == find_dataset(name).load_records()
        assert records[0]["file_name"].startswith(str(tmp_path))


def test_absent_data_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for name in DATASETS:
        with pytest.raises(UserError, match=f"{tmp_path}/.*: expected"):
            DatasetCatalog.get(name)


def test_importing_twice_is_fine():
    before = DatasetCatalog.list()
    importlib.reload(plugin)
    plugin.register_datasets()
    assert DatasetCatalog.list() == before


def test_the_configs_strictness_reaches_the_catalog(monkeypatch, tmp_path, caplog):
    write_tiny_vid(tmp_path / "tiny_vid", seed=0, splits=["test"], num_videos=1)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    (tmp_path / "tiny_vid/Data/VID/test/tiny_test_00000/000004.JPEG").unlink()
    load_config(CONFIG, ["DATASETS.STRICT", "True"])
    with pytest.raises(UserError, match="VID_test_videos.txt, line 1: .*000004.JPEG"):
        DatasetCatalog.get("tiny_vid_test")
    load_config(CONFIG)
    assert len(DatasetCatalog.get("tiny_vid_test")) == 29
    assert "left out 1 missing images" in caplog.text


def test_the_json_files_of_a_config_are_registered(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for seed in (0, 1):  # the second time the file has other classes
        data = coco_vid(seed)
        (tmp_path / "mine.json").write_text(json.dumps(data))
        write_images(tmp_path, data)
        load_config(CONFIG, ["DATASETS.TEST", "['mine.json']"])
        records = DatasetCatalog.get("mine.json")
        assert len(records) == len(data["images"])
        metadata = MetadataCatalog.get("mine.json")
        assert sorted(metadata.thing_classes) == sorted(c["name"] for c in data["categories"])
        assert metadata.evaluator_type == "vid"
    with pytest.raises(UserError, match=r"dataset no\.json: expected a JSON file"):
        load_config(CONFIG, ["DATASETS.TEST", "['no.json']"])
    load_config(CONFIG, ["DATASETS.TRAIN", "['no.json']"])  # who trains is told, not who looks
    with pytest.raises(UserError, match=r"dataset no\.json: expected a JSON file"):
        check_registered(["no.json"])
