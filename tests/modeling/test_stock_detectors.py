"""The configs of configs/COCO, each a stock detector of detectron2 with a tracker plugged in.

The shipped files themselves, with overrides that make the networks tiny: what the stock detector
has and says is unchanged, and what a video needs of it works.
"""

import hashlib
import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2 import model_zoo
from detectron2.layers import paste_masks_in_image
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.structures import Boxes, Instances
from pycocotools import mask as coco

from d2_plugtrack.build import build_pipeline
from d2_plugtrack.core.detector import check
from d2_plugtrack.core.rescoring import TrackedObjects
from d2_plugtrack.errors import UserError
from d2_plugtrack.masks import paste_masks
from d2_plugtrack.modeling.checkpoint import load_weights
from d2_plugtrack.plugin import load_config
from d2_plugtrack.predictor import VideoPredictor
from d2_plugtrack.video_io import open_frames
from train_net import check_datasets

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "configs/COCO").glob("*.yaml"))
KINDS = {
    path.stem.removeprefix("plugtrack_"): str(path)
    for path in FILES
    if path.stem.startswith("plugtrack_")
}
WITH_MASKS = [kind for kind in KINDS if "mask" in kind]
MOST_BOXES = 40
TINY = [
    *("MODEL.DEVICE", "cpu", "MODEL.PIXEL_MEAN", [127.5] * 3, "MODEL.PIXEL_STD", [64.0] * 3),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.NORM", "BN"),  # frozen batch norm would hide that evaluation mode matters
    *("MODEL.FPN.OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 32),
    *("MODEL.ROI_MASK_HEAD.CONV_DIM", 8, "MODEL.PLUGTRACK.CONV_DIM", 8),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", 200, "MODEL.RPN.POST_NMS_TOPK_TEST", 25),
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 1e-3, "MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.45),
    *("TEST.DETECTIONS_PER_IMAGE", MOST_BOXES, "TEST.TFD.MAX_BOXES", MOST_BOXES),
    *("INPUT.MIN_SIZE_TEST", 64, "INPUT.MAX_SIZE_TEST", 96),
    *("TEST.TFD.IOU_SCORE_THRESH", 0.0),  # an untrained tracker: everything is tracked on
]
GROUPS = ["MODEL.RESNETS.NUM_GROUPS", 4, "MODEL.RESNETS.WIDTH_PER_GROUP", 2]
ONE_GROUP = ["MODEL.RESNETS.WIDTH_PER_GROUP", 8]


def tiny(kind: str) -> list[str]:
    return [str(value) for value in [*TINY, *(GROUPS if "32x8d" in kind else ONE_GROUP)]]


class Detector:
    """The stock detector of a config, and the PlugTrackRCNN with the same weights."""

    def __init__(self, zoo, kind: str):
        _, build_random = zoo
        self.kind = kind
        self.cfg = load_config(KINDS[kind], tiny(kind))
        stock_cfg = self.cfg.clone()
        stock_cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
        self.stock = build_random(stock_cfg)
        self.model = build_random(self.cfg)
        self.loaded = self.model.load_state_dict(self.stock.state_dict(), strict=False)


@pytest.fixture(scope="module", params=KINDS)
def detector(request, zoo):
    return Detector(zoo, request.param)


@pytest.fixture(scope="module", params=WITH_MASKS)
def masked(request, zoo):
    return Detector(zoo, request.param)


def frame(size=(64, 96), **keys) -> dict:
    return {"image": torch.randint(0, 256, (3, *size)).float(), **keys}


def moving_frames(count: int) -> list[dict]:
    image = torch.randint(0, 256, (3, 64, 96)).float()
    return [{"image": image.roll(4 * t, 2), "height": 128, "width": 192} for t in range(count)]


def annotated(left: float) -> dict:
    instances = Instances((64, 96))
    instances.gt_boxes = Boxes(torch.tensor([[left, 10, left + 40, 50]]))
    instances.gt_track_ids = torch.tensor([7])
    return {**frame(), "instances": instances}


def hashes(model) -> dict[str, str]:
    """Of every parameter and buffer outside the tracker, those that are not saved included."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {
        name: hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()
        for name, tensor in named
        if not name.startswith("tracker.")
    }


def assert_same_instances(ours: Instances, stock: Instances) -> None:
    assert set(ours.get_fields()) == set(stock.get_fields())
    for name, value in stock.get_fields().items():
        mine = ours.get(name)
        value, mine = (v.tensor if isinstance(v, Boxes) else v for v in (value, mine))
        assert torch.equal(mine, value), name


# ---- the files -----------------------------------------------------------------------------------


def test_the_detectors_that_there_are():
    assert set(KINDS) == {
        *("faster_rcnn_R_50_C4", "faster_rcnn_R_50_DC5", "faster_rcnn_R_50_FPN"),
        *("faster_rcnn_R_101_FPN", "faster_rcnn_X_101_32x8d_FPN"),
        *("mask_rcnn_R_50_FPN", "cascade_mask_rcnn_R_50_FPN"),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_has_less_than_15_lines(path):
    assert len(path.read_text().splitlines()) < 15


@pytest.mark.parametrize("kind", KINDS)
def test_a_config_is_the_zoos_but_for_what_it_says(kind):
    cfg = load_config(KINDS[kind])
    zoo = model_zoo.get_config(cfg.ZOO)
    address = model_zoo.get_checkpoint_url(cfg.ZOO)
    prefix = "https://dl.fbaipublicfiles.com/detectron2/"
    assert address.replace(prefix, "detectron2://") == cfg.MODEL.WEIGHTS
    assert cfg.MODEL.META_ARCHITECTURE == "PlugTrackRCNN"
    said = {"META_ARCHITECTURE", "WEIGHTS", "DEVICE"}
    for key in set(zoo.MODEL) - said:
        assert cfg.MODEL[key] == zoo.MODEL[key], key
    assert cfg.INPUT.MIN_SIZE_TEST == zoo.INPUT.MIN_SIZE_TEST
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.STEPS, cfg.SOLVER.MAX_ITER) == (1e-3, (80000,), 120000)


@pytest.mark.parametrize("kind", KINDS)
def test_at_full_size_names_and_shapes_are_the_stock_detectors(kind):
    cfg = load_config(KINDS[kind], ["MODEL.DEVICE", "cpu"])
    stock_cfg = model_zoo.get_config(cfg.ZOO)
    cfg.MODEL.DEVICE = stock_cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        ours, stock = (
            {key: value.shape for key, value in build_model(c).state_dict().items()}
            for c in (cfg, stock_cfg)
        )
    assert {key: s for key, s in ours.items() if not key.startswith("tracker.")} == stock


# ---- the detector stays what it is ---------------------------------------------------------------


def test_stock_weights_load_with_only_the_tracker_missing(detector, tmp_path):
    assert detector.loaded.unexpected_keys == []
    assert all(key.startswith("tracker.") for key in detector.loaded.missing_keys)
    torch.save({"model": detector.stock.state_dict()}, tmp_path / "stock.pth")
    fresh = build_model(detector.cfg)
    assert hashes(fresh) != hashes(detector.stock)
    load_weights(fresh, str(tmp_path / "stock.pth"), tracker_required=False)
    assert hashes(fresh) == hashes(detector.stock)


def test_frames_give_the_stock_output(detector):
    inputs = [frame((48, 64)), frame(height=128, width=192)]  # the first one is padded
    for ours, stock in zip(detector.model(inputs), detector.stock(inputs), strict=True):
        instances = stock["instances"]
        assert len(instances) > 20
        assert instances.scores.std() > 0.01 and len(instances.pred_classes.unique()) > 3
        assert instances.has("pred_masks") == (detector.kind in WITH_MASKS)
        assert_same_instances(ours["instances"], instances)


def test_the_per_frame_pipeline_gives_the_stock_detections(detector):
    cfg = detector.cfg.clone()
    cfg.merge_from_list(["TEST.TFD.ENABLED", False, "TEST.SEQ_NMS.TRACK_LINKS", False])
    pipeline = build_pipeline(cfg, detector.model.tracker, masks=True)
    inputs = [frame(height=128, width=192)]
    (output,), (stock,) = detector.model(inputs), detector.stock(inputs)
    result, instances = pipeline.step(output["frame"]), stock["instances"]
    scores, classes = result.scores.max(dim=1)
    assert torch.equal(result.boxes, instances.pred_boxes.tensor)
    assert torch.equal(scores, instances.scores)
    assert torch.equal(classes, instances.pred_classes)
    if detector.kind in WITH_MASKS:
        pasted = paste_masks_in_image(result.masks, result.boxes, (128, 192))
        assert torch.equal(pasted, instances.pred_masks)
    else:
        assert result.masks is None


def test_a_training_step_changes_no_bit_of_the_detector(detector):
    model = detector.model
    before = hashes(model)
    tracker_before = {k: v.clone() for k, v in model.tracker.state_dict().items()}
    optimizer = build_optimizer(detector.cfg, model)
    losses = model.train()([{"prev": annotated(10), "curr": annotated(14)}] * 2)
    sum(losses.values()).backward()
    optimizer.step()
    tracker_after = model.eval().tracker.state_dict()
    assert hashes(model) == before
    assert len(before) > 100
    assert not any(torch.equal(tracker_after[k], v) for k, v in tracker_before.items())


# ---- what a video needs of it --------------------------------------------------------------------


def test_tracking_first_detection_over_frames(detector):
    pipeline = build_pipeline(detector.cfg, detector.model.tracker, masks=True)
    before, num_tracked = 0, []
    for inputs in moving_frames(3):
        (output,) = detector.model([inputs])
        result = pipeline.step(output["frame"])
        assert result.mapped_boxes.shape == (before, 4)
        assert result.scores.shape == (len(result.boxes), 80)
        assert ((result.scores >= 0) & (result.scores <= 1)).all()
        assert result.scores.std(dim=0).max() > 0.01
        assert (result.boxes <= torch.tensor([192, 128] * 2)).all()
        num_tracked.append(int((result.source >= 0).sum()))
        if detector.kind in WITH_MASKS:
            assert_masks_are_stock(detector, inputs, result)
        else:
            assert result.masks is None
        before = len(result.boxes)
    assert num_tracked[0] == 0 and min(num_tracked[1:]) > 0


@torch.no_grad()
def assert_masks_are_stock(detector, inputs, result) -> None:
    """The stock mask head asked about the boxes of a result, tracked ones included."""
    stock = detector.stock
    features = stock.backbone(stock.preprocess_image([inputs]).tensor)
    given = Instances((64, 96), pred_boxes=Boxes(result.boxes / 2))
    given.pred_classes = result.scores.argmax(dim=1)
    (segmented,) = stock.roi_heads.forward_with_given_boxes(features, [given])
    assert result.masks.shape == (len(result.boxes), 28, 28) and result.masks.std() > 0.1
    torch.testing.assert_close(result.masks, segmented.pred_masks[:, 0])


def test_the_protocol_is_kept(detector):
    assert check(detector.model, moving_frames(2)) == []


@torch.no_grad()
def test_a_cascade_classifies_given_boxes_by_the_mean_of_its_stages(zoo):
    cascade = Detector(zoo, "cascade_mask_rcnn_R_50_FPN")
    features = cascade.model.extract([frame()])
    boxes = torch.tensor([[4.0, 4, 60, 60], [30, 10, 80, 50], [0, 0, 96, 64]])
    heads = cascade.stock.roi_heads
    regions = heads.box_pooler([features.maps[n] for n in heads.box_in_features], [Boxes(boxes)])
    stages = [
        predictor(head(regions))[0].softmax(dim=1)[:, :-1]
        for head, predictor in zip(heads.box_head, heads.box_predictor, strict=True)
    ]
    assert len(stages) == 3 and (stages[0] - stages[1]).abs().max() > 0.01
    scores = cascade.model.classify(features, boxes)
    torch.testing.assert_close(scores, torch.stack(stages).mean(dim=0))


# ---- from a config to the end --------------------------------------------------------------------


def test_class_names_are_cocos_and_training_needs_no_test_set(detector, tmp_path):
    opts = with_weights(detector, tmp_path)
    predictor = VideoPredictor.from_config_file(KINDS[detector.kind], opts)
    assert predictor.class_names[:2] == ["person", "bicycle"] and len(predictor.class_names) == 80
    cfg = load_config(KINDS[detector.kind])
    check_datasets(cfg, eval_only=False)
    with pytest.raises(UserError, match="DATASETS.TEST is empty"):
        check_datasets(cfg, eval_only=True)


def with_weights(detector: Detector, folder: Path) -> list[str]:
    torch.save({"model": detector.model.state_dict()}, folder / "weights.pth")
    return [*tiny(detector.kind), "MODEL.WEIGHTS", str(folder / "weights.pth")]


def test_masks_reach_the_demos_files(masked, tmp_path):
    opts, clip = with_weights(masked, tmp_path), tmp_path / "clip"
    write_clip(clip)
    predictor = VideoPredictor.from_config_file(KINDS[masked.kind], opts)
    results = list(predictor.results(open_frames(clip, 25), 1))
    objects = predictor.finish()
    threshold = torch.cat([o.scores for o in objects]).median().item()
    found = run_demo(masked, clip, tmp_path / "out.mp4", threshold, opts)
    num_tracked, num_objects = 0, 0
    for annotations, result, all_objects in zip(found, results, objects, strict=True):
        keep = all_objects.scores >= threshold
        sure = TrackedObjects(*(field[keep] for field in all_objects))
        pasted = paste_masks(sure.masks, sure.boxes, (64, 96))
        assert len(annotations) == len(sure.boxes)
        for i, (annotation, box) in enumerate(zip(annotations, sure.boxes, strict=True)):
            (row,) = (result.boxes == box).all(dim=1).nonzero().flatten().tolist()
            assert torch.equal(sure.masks[i], result.masks[row])
            mask = coco.decode(annotation["segmentation"])
            np.testing.assert_array_equal(mask, pasted[i])
            num_tracked += int(result.source[row] >= 0 and mask.any())
        num_objects += len(sure.boxes)
    assert 0 < num_tracked < num_objects < sum(len(o.boxes) for o in objects)
    assert len(list(open_frames(tmp_path / "out.mp4"))) == 3


def write_clip(folder: Path) -> None:
    folder.mkdir()
    image = np.random.randint(0, 256, (64, 96, 3), dtype=np.uint8)
    for t in range(3):
        cv2.imwrite(str(folder / f"{t}.png"), np.roll(image, 4 * t, axis=1))


def run_demo(detector: Detector, clip: Path, output: Path, threshold: float, opts: list) -> list:
    """The annotations of every frame."""
    command = ["--config-file", KINDS[detector.kind], "--input", str(clip), "--output", str(output)]
    command += ["--confidence-threshold", str(threshold), "--save-json"]
    # one by one: batches are not equal to the bit
    command += ["--batch-size", "1", "--opts", *opts]
    runpy.run_path(str(ROOT / "demo/video_demo.py"))["main"](command)
    report = json.loads(output.with_suffix(".json").read_text())
    images = [image["id"] for image in report["images"]]
    return [[a for a in report["annotations"] if a["image_id"] == image] for image in images]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_objects_of_a_detector_on_a_gpu_are_on_the_cpu(masked, tmp_path):
    opts = [*with_weights(masked, tmp_path), "MODEL.DEVICE", "cuda"]
    predictor = VideoPredictor.from_config_file(KINDS[masked.kind], opts)
    for _ in range(3):
        predictor.step(np.random.randint(0, 256, (64, 96, 3), dtype=np.uint8))
    for objects in predictor.finish():
        assert {field.device.type for field in objects} == {"cpu"}
        assert paste_masks(objects.masks, objects.boxes, (64, 96)).any()
