"""The paper's two detectors, whole but for narrower layers behind the backbone, on small images.

Both stages of training, a video, and what one stage hands on to the next.
"""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from d2_plugtrack.build import build_pipeline
from d2_plugtrack.plugin import load_config

FOLDER = Path(__file__).resolve().parents[1] / "configs/ImageNetVID"
SMALLER = [
    *("MODEL.DEVICE", "cpu", "MODEL.ROI_BOX_HEAD.FC_DIM", "16", "MODEL.PLUGTRACK.CONV_DIM", "4"),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", "100", "MODEL.RPN.POST_NMS_TOPK_TEST", "30"),
    *("TEST.TFD.SCORE_THRESH", "0.0", "TEST.TFD.MAX_BOXES", "10"),
]
SIZE = (64, 96)
TRUTH = [[4.0, 6.0, 40.0, 50.0], [50.0, 10.0, 90.0, 60.0]]
TRACKING_CHANNELS = {"hrnet_w32": 480, "resnext101_fpn_dcn": 768}  # Figs. 9 and 10; 3 x 256


class Models:
    """The model of each stage, stage two's with stage one's weights."""

    def __init__(self, name: str):
        self.name = name
        self.cfg = load_config(str(FOLDER / f"plugtrack_{name}.yaml"), SMALLER)
        torch.manual_seed(0)
        self.one = build_model(load_config(str(FOLDER / f"faster_rcnn_{name}.yaml"), SMALLER))
        for key, buffer in self.one.backbone.named_buffers():
            if key.startswith("net.") and key.endswith("weight"):
                buffer.mul_(0.5)  # frozen norms that norm nothing: keeps HRNet's sums within reason
        self.two = build_model(self.cfg)
        self.handed_on = self.two.load_state_dict(self.one.state_dict(), strict=False)


@pytest.fixture(scope="module", params=list(TRACKING_CHANNELS))
def models(request):
    return Models(request.param)


def frame() -> dict:
    instances = Instances(SIZE)
    instances.gt_boxes = Boxes(torch.tensor(TRUTH))
    instances.gt_classes = torch.tensor([3, 29])
    instances.gt_track_ids = torch.tensor([0, 1])
    image = torch.randint(0, 256, (3, *SIZE)).float()
    return {"image": image, "height": SIZE[0], "width": SIZE[1], "instances": instances}


def losses_and_gradients(model, batch) -> tuple[dict, dict]:
    model.train()
    model.zero_grad()
    with EventStorage():
        losses = model(batch)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    learning = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    # none is left out, which several processes would wait for
    assert not [name for name, gradient in learning.items() if gradient is None]
    assert all(gradient.isfinite().all() for gradient in learning.values())
    return losses, learning


def test_stage_one_trains_all_of_the_detector(models):
    losses, learning = losses_and_gradients(models.one, [frame()])
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"}
    learned = {name for name, gradient in learning.items() if gradient.any()}
    if models.name == "hrnet_w32":
        assert {"backbone.net.conv1.weight", "backbone.net.layer1.0.conv1.weight"} <= learned
    else:
        assert "backbone.bottom_up.res2.0.conv1.weight" not in learning  # FREEZE_AT 2
        offsets = {f"backbone.bottom_up.res{i}.0.conv2_offset.weight" for i in (3, 4, 5)}
        assert offsets <= learned
    ends = ("rpn_head.conv.weight", "box_head.fc1.weight", "box_predictor.cls_score.weight")
    assert all(any(name.endswith(end) for name in learned) for end in ends)


def test_stage_two_takes_all_of_the_detector_and_only_lacks_the_tracker(models):
    assert not models.handed_on.unexpected_keys
    assert models.handed_on.missing_keys
    assert all(key.startswith("tracker.") for key in models.handed_on.missing_keys)


def test_stage_two_trains_the_tracker_alone(models):
    pair = {"prev": frame(), "curr": frame(), "video_id": "v", "gap": 1}
    losses, learning = losses_and_gradients(models.two, [pair, pair])
    assert set(losses) == {"loss_track_box", "loss_track_iou"}
    assert learning and all(name.startswith("tracker.") for name in learning)


def test_two_frames_of_a_video(models):
    model = models.two.eval()
    pipeline = build_pipeline(models.cfg, model.tracker)
    pipeline.iou_score_threshold = 0.0  # an untrained tracker: everything is tracked on
    results = []
    for _ in range(2):
        with torch.no_grad():
            (output,) = model([frame()])
        stride = model.tracker.stride
        assert model.tracker.template_block[0].in_channels == TRACKING_CHANNELS[models.name]
        channels = 2 * model.tracker.template_block[0].out_channels  # reduced, for both branches
        assert output["frame"].tracking_map.shape == (channels, 64 // stride, 96 // stride)
        results.append(pipeline.step(output["frame"]))
    assert len(results[0].boxes) > 0 and (results[0].source == -1).all()
    assert (results[1].source >= 0).any()
    for result in results:
        assert result.scores.shape == (len(result.boxes), 30)
        assert result.boxes.isfinite().all() and result.scores.isfinite().all()
