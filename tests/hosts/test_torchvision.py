"""torchvision's models in the video pipeline: what they report frame by frame, exactly."""

import inspect
from copy import deepcopy

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator

from d2_plugtrack.core.detector import check, detect_frames
from d2_plugtrack.core.precision import Speed, speed_up
from d2_plugtrack.core.tfd import VideoPipeline
from d2_plugtrack.data.labeled_frames import LabeledFrame
from d2_plugtrack.errors import UserError
from d2_plugtrack.hosts.tiny_fasterrcnn import build_tiny_fasterrcnn
from d2_plugtrack.hosts.torchvision import MapShape, TorchvisionDetector, detector_losses, to_image
from d2_plugtrack.hosts.torchvision_models import build_torchvision_model, model_names

CLASSES = 4  # with the background
SIZES = {"min_size": 96, "max_size": 128}
FEW = {"rpn_post_nms_top_n_test": 40, "box_detections_per_img": 20}
UNTRAINED = {"weights": None, "weights_backbone": None, "num_classes": CLASSES}
# As the network takes it, made larger, limited by the longer side, made smaller, upright.
FRAMES = [(96, 128), (50, 50), (60, 110), (150, 190), (128, 96)]
SLOW = ("resnet", "mask")  # three frames of these say enough
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def plain_model(stride: int, **changes) -> detection.FasterRCNN:
    """On a backbone of one convolution, which gives a Tensor and no dict."""
    backbone = nn.Sequential(nn.Conv2d(3, 16, stride, stride), nn.ReLU())
    backbone.out_channels = 16
    anchors = AnchorGenerator(((24, 48),), ((0.5, 1.0),))
    settings = {"num_classes": CLASSES, "rpn_anchor_generator": anchors, **SIZES, **FEW, **changes}
    return detection.FasterRCNN(backbone, **settings)


BUILDERS = {
    "tiny": lambda: build_tiny_fasterrcnn(CLASSES, **SIZES),
    "mobilenet": lambda: detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        **UNTRAINED, **SIZES, **FEW
    ),
    "resnet": lambda: detection.fasterrcnn_resnet50_fpn(**UNTRAINED, **SIZES, **FEW),
    "mask": lambda: detection.maskrcnn_resnet50_fpn(**UNTRAINED, **SIZES, **FEW),
    "plain": lambda: plain_model(16),
    "plain of an odd stride": lambda: plain_model(14),  # 32, of which torchvision pads, is no 14s
}


@torch.no_grad()
def confident(model: detection.FasterRCNN) -> detection.FasterRCNN:
    """Random weights made to say different things of different boxes."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.backbone.train()(torch.randn(4, 3, 128, 128))  # statistics as if trained
    detector, heads = TorchvisionDetector(model), model.roi_heads
    features = detector.extract(images((96, 128)))
    boxes = 90 * torch.rand(50, 2)
    vectors = heads.box_head(
        heads.box_roi_pool(features.maps, [torch.cat([boxes, boxes + 30], 1)], [(96, 128)])
    )
    linear = heads.box_predictor.cls_score
    spread = linear(vectors).std(dim=0).clamp(min=1e-9)
    linear.weight.mul_(1.5 / spread[:, None])
    linear.bias.sub_(linear(vectors).mean(dim=0))
    return model


@pytest.fixture(scope="module")
def models():
    """A function that gives one of the models by name, built once."""
    built = {}

    def get(name: str) -> detection.FasterRCNN:
        if name not in built:
            torch.manual_seed(0)
            built[name] = confident(BUILDERS[name]())
        return built[name]

    return get


@pytest.fixture
def tiny(models) -> TorchvisionDetector:
    return TorchvisionDetector(models("tiny"))


def images(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    return [torch.rand(3, *size) for size in sizes]


def report(detector: TorchvisionDetector, frames) -> list:
    """What the video pipeline gives frame by frame, with the model's own settings."""
    heads = detector.model.roi_heads
    pipeline = VideoPipeline(
        None,
        per_frame=True,
        score_threshold=heads.score_thresh,
        nms_threshold=heads.nms_thresh,
        max_boxes=heads.detections_per_img,
        **{"iou_score_threshold": 0.5, "track_nms_threshold": 0.7, "merge_threshold": 0.7},
        masks=False,
    )
    with torch.no_grad():
        return [pipeline.step(frame) for frame in detect_frames(detector, None, frames)]


def assert_same(results, stock) -> None:
    for result, expected in zip(results, stock, strict=True):
        scores, classes = result.scores.max(dim=1)
        assert (classes + 1).tolist() == expected["labels"].tolist()  # theirs count from 1
        torch.testing.assert_close(result.boxes, expected["boxes"], **CLOSE)
        torch.testing.assert_close(scores, expected["scores"], **CLOSE)


# ---- agreement with torchvision --------------------------------------------------------------


@pytest.mark.parametrize("name", BUILDERS)
def test_frames_come_out_as_from_the_model_itself(models, name):
    model = models(name)
    detector = TorchvisionDetector(model)
    for size in FRAMES[:3] if name in SLOW else FRAMES:
        frames = images(size)
        stock = model(frames)
        assert len(stock[0]["boxes"]) > 3
        assert_same(report(detector, frames), stock)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_batch_of_two_sizes_comes_out_as_from_the_model_itself(models, name):
    model, frames = models(name), images((96, 128), (130, 90))
    assert_same(report(TorchvisionDetector(model), frames), model(frames))


def test_no_proposals_are_nothing_found(models):
    model = models("tiny")
    before, model.rpn.score_thresh = model.rpn.score_thresh, 1.1
    try:
        (result,) = report(TorchvisionDetector(model), images((96, 128)))
        (frame,) = detect_frames(TorchvisionDetector(model), None, images((96, 128)))
    finally:
        model.rpn.score_thresh = before
    assert result.boxes.shape == (0, 4) and result.scores.shape == (0, CLASSES - 1)
    assert frame.proposals.class_boxes.shape == (0, CLASSES - 1, 4)


# ---- masks -----------------------------------------------------------------------------------


@torch.no_grad()
def test_masks_of_the_models_own_detections_are_the_models(models):
    model = models("mask")
    detector, frames = TorchvisionDetector(model), images((96, 128), (96, 128))
    features = detector.extract(frames)
    found = []
    hook = model.roi_heads.register_forward_hook(
        lambda module, inputs, output: found.extend(dict(one) for one in output[0])
    )
    model(frames)
    hook.remove()
    for i, own in enumerate(found):  # in pixels of the network's input, masks not yet pasted
        assert len(own["boxes"]) > 3 and len(own["labels"].unique()) > 1
        masks = detector.segment(features.frame(i), own["boxes"], own["labels"] - 1)
        torch.testing.assert_close(masks, own["masks"][:, 0], **CLOSE)


def test_only_a_mask_rcnn_has_masks(models, tiny):
    assert tiny.segment is None
    (frame,) = detect_frames(tiny, None, images((96, 128)))
    assert frame.segment is None
    (frame,) = detect_frames(TorchvisionDetector(models("mask")), None, images((96, 128)))
    assert frame.segment(torch.zeros(0, 4), torch.zeros(0).long()).shape == (0, 1, 1)


def test_check_finds_nothing_wrong_with_masks(models):
    assert check(TorchvisionDetector(models("mask")), images(*[(96, 128)] * 2)) == []


# ---- mixed precision -------------------------------------------------------------------------

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
CHOICES = [  # float16 on a CPU is for the patient
    ("cpu", "bf16"),
    pytest.param(("cuda", "bf16"), marks=NEEDS_CUDA),
    pytest.param(("cuda", "fp16"), marks=NEEDS_CUDA),
]


@torch.no_grad()
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", ["tiny", "plain", "mask"])
def test_in_mixed_precision_boxes_and_scores_stay_near(models, name, choice):
    device, precision = choice
    exact, faster = (TorchvisionDetector(deepcopy(models(name)).to(device)) for _ in range(2))
    speed_up(faster.parts(), Speed(precision, channels_last=True, compile=False))
    frames = images((64, 128))
    features, ours = exact.extract(frames), faster.extract(frames)
    for key, expected in features.maps.items():
        assert ours.maps[key].dtype is torch.float32 and ours.maps[key].is_contiguous()
        assert not torch.equal(ours.maps[key], expected)
        if name not in SLOW:
            assert (ours.maps[key] - expected).abs().max() < 0.05 * expected.abs().max()
    if name in SLOW:
        ours = features  # fifty random layers multiply what the first ones have rounded
    boxes = torch.rand(30, 4, device=device) * torch.tensor([90, 30, 36, 30], device=device)
    boxes[:, 2:] += boxes[:, :2] + 2
    found, expected = (refined(d, f, boxes) for d, f in ((faster, ours), (exact, features)))
    assert (found - expected).abs().max() < 0.2  # pixels
    scores = faster.classify(ours, boxes)
    assert scores.dtype is torch.float32 and scores.std() > 0.1
    assert (scores - exact.classify(features, boxes)).abs().max() < 0.1
    (proposals,) = faster.detect(ours)
    assert proposals.class_boxes.dtype is proposals.scores.dtype is torch.float32
    if exact.segment is not None:
        labels = torch.arange(30, device=device) % (CLASSES - 1)
        masks = faster.segment(ours, boxes, labels)
        assert masks.dtype is torch.float32
        errors = (masks - exact.segment(features, boxes, labels)).abs()
        assert errors.mean() < 0.01  # of logits of up to 80


def refined(detector: TorchvisionDetector, features, boxes: torch.Tensor) -> torch.Tensor:
    _, deltas = detector._predict(features.maps, [boxes], features.image_sizes)
    return detector.model.roi_heads.box_coder.decode(deltas, [boxes])


# ---- the protocol ----------------------------------------------------------------------------


def test_check_finds_nothing_wrong(tiny):
    assert check(tiny, images(*[(96, 128)] * 3)) == []


def test_bgr_arrays_and_rgb_tensors_are_taken_alike(tiny):
    array = np.random.randint(0, 256, (60, 80, 3), dtype=np.uint8)
    tensor = torch.from_numpy(array).permute(2, 0, 1)[[2, 1, 0]] / 255
    torch.testing.assert_close(to_image(array), tensor)
    features = tiny.extract([array, tensor])
    torch.testing.assert_close(*features.maps["0"])


def test_sizes_are_before_padding_and_as_the_frames_came(tiny):
    features = tiny.extract(images((48, 64), (130, 90), (20, 80)))
    assert features.image_sizes == [(96, 128), (128, 88), (32, 128)]
    assert features.original_sizes == [(48, 64), (130, 90), (20, 80)]
    assert features.maps["0"].shape == (3, 48, 32, 32)


@torch.no_grad()
def test_a_frame_of_the_batch_is_detected_as_alone(tiny):
    features = tiny.extract(images(*[(96, 128)] * 3))
    for i, together in enumerate(tiny.detect(features)):
        (alone,) = tiny.detect(features.frame(i))
        torch.testing.assert_close(alone.class_boxes, together.class_boxes, **CLOSE)
        torch.testing.assert_close(alone.scores, together.scores, **CLOSE)


@torch.no_grad()
def test_the_proposals_themselves_are_classified_as_in_detect(tiny, monkeypatch):
    features = tiny.extract(images((96, 128)))
    rpn, proposals = tiny.model.rpn.forward, []

    def keep_proposals(*args):
        boxes, losses = rpn(*args)
        proposals.extend(boxes)
        return boxes, losses

    monkeypatch.setattr(tiny.model.rpn, "forward", keep_proposals)
    (detected,) = tiny.detect(features)
    scores = tiny.classify(features, proposals[0])
    assert scores.std() > 0.1
    torch.testing.assert_close(scores, detected.scores, **CLOSE)


def test_zero_boxes_have_zero_probabilities(tiny):
    (frame,) = detect_frames(tiny, None, images((96, 128)))
    assert frame.classify(torch.zeros(0, 4)).shape == (0, CLASSES - 1)
    assert tiny.classify(tiny.extract(images((96, 128))), torch.zeros(0, 4)).shape == (0, 3)


def test_the_model_is_frozen_and_in_evaluation_mode():
    model = build_tiny_fasterrcnn(CLASSES, **SIZES).train()
    detector = TorchvisionDetector(model)
    assert detector.model is model and detector.num_classes == CLASSES - 1
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not detector.extract(images((96, 128))).maps["0"].requires_grad


def test_a_model_of_another_kind_is_refused():
    retinanet = detection.retinanet_resnet50_fpn(**UNTRAINED)
    with pytest.raises(ValueError, match="expected torchvision's FasterRCNN.*found.*RetinaNet"):
        TorchvisionDetector(retinanet)
    with pytest.raises(ValueError, match="expected torchvision's FasterRCNN.*found.*Linear"):
        TorchvisionDetector(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="box_predictor that has cls_score"):
        TorchvisionDetector(
            plain_model(16, num_classes=None, box_predictor=nn.Linear(1024, CLASSES))
        )


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("tiny", {"0": (48, 4)}),
        (
            "resnet",
            {"0": (256, 4), "1": (256, 8), "2": (256, 16), "3": (256, 32), "pool": (256, 64)},
        ),
        ("plain", {"0": (16, 16)}),
        ("plain of an odd stride", {"0": (16, 14)}),
    ],
)
def test_channels_and_strides_of_the_maps(models, name, shapes):
    found = TorchvisionDetector(models(name)).map_shapes
    assert found == {key: MapShape(*shape) for key, shape in shapes.items()}


# ---- training of stage one -------------------------------------------------------------------


def test_losses_are_finite_and_reach_the_model_also_without_objects():
    model = build_tiny_fasterrcnn(CLASSES, **SIZES).train()
    array = np.random.randint(0, 256, (2, 96, 128, 3), dtype=np.uint8)
    two = torch.tensor([[10.0, 10, 40, 50], [60, 20, 100, 80]])
    ids = torch.tensor([-1, -1])
    with_objects = LabeledFrame(array[0], two, torch.tensor([0, CLASSES - 2]), ids)
    without = LabeledFrame(array[1], two[:0], ids[:0], ids[:0])
    for frames in ([with_objects, without], [without]):
        model.zero_grad()
        losses = detector_losses(model, frames)
        assert sorted(losses) == [
            *("loss_box_reg", "loss_classifier", "loss_objectness", "loss_rpn_box_reg")
        ]
        assert all(loss.isfinite() for loss in losses.values())
        sum(losses.values()).backward()
        for layer in (model.backbone.stem[0][0], model.roi_heads.box_predictor.cls_score):
            assert layer.weight.grad.abs().sum() > 0


def test_labels_leave_number_0_to_the_background():
    given = []

    class Recorder(nn.Linear):
        def forward(self, images, targets):
            given.extend(targets)
            return {}

    boxes = torch.zeros(2, 4)
    frame = LabeledFrame(
        np.zeros((8, 8, 3), np.uint8), boxes, torch.tensor([0, 2]), torch.tensor([5, 6])
    )
    model = Recorder(1, 1)
    model.backbone = nn.Identity()
    detector_losses(model, [frame])
    assert given[0]["labels"].tolist() == [1, 3]


# ---- models by name --------------------------------------------------------------------------


def test_every_name_is_a_builder_of_a_faster_rcnn():
    assert model_names()[0] == "tiny_fasterrcnn"
    names = model_names()[1:]
    assert {"fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"} <= set(names)
    for name in names:
        signature = inspect.signature(torchvision.models.get_model_builder(name))
        assert issubclass(signature.return_annotation, detection.FasterRCNN)


@pytest.mark.parametrize("name", ["tiny_fasterrcnn", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_a_model_by_name_is_untrained_and_of_the_sizes_given(monkeypatch, name):
    def refuse(*args, **kwargs):
        raise AssertionError("weights are asked for")

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", refuse)
    model = build_torchvision_model(name, 3, 96, 128)
    assert TorchvisionDetector(model).num_classes == 3
    assert (model.transform.min_size, model.transform.max_size) == ((96,), 128)


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "keypointrcnn_resnet50_fpn", ""])
def test_an_unknown_name_is_refused_and_the_known_ones_are_listed(name):
    with pytest.raises(UserError, match=f"MODEL.NAME {name}: expected one of") as refused:
        build_torchvision_model(name, 3, 96, 128)
    assert all(known in str(refused.value) for known in model_names())
