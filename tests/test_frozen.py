"""Frozen means frozen: tracker training changes no bit of the detector, whatever happens meanwhile.

A hash is over names, types, shapes and bytes of every parameter and buffer. Evaluations are those
of training: of a video of the tiny set, one of them broken off by an error. Two processes are in
test_training.py.
"""

import hashlib
import importlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.engine import HookBase
from torch import nn

from d2_plugtrack.core.detector import detect_frames
from d2_plugtrack.core.tracker import TrackerHead
from d2_plugtrack.data.labeled_frames import LabeledFrame
from d2_plugtrack.data.tiny_vid import write_tiny_vid
from d2_plugtrack.errors import UserError
from d2_plugtrack.evaluation import VIDEvaluator
from d2_plugtrack.hosts.tiny_fasterrcnn import build_tiny_fasterrcnn
from d2_plugtrack.hosts.torchvision import TorchvisionDetector, detector_losses
from d2_plugtrack.plugin import load_model
from d2_plugtrack.tracker_training import optimize, tracker_losses
from d2_plugtrack.weights import joined_state, load_joined, write_weights

PLUGTRACK = "plugtrack_tiny.yaml"
NOT_FINITE = "NaN or infinity in"
STEPS = [6, pytest.param(100, marks=pytest.mark.slow)]
HARSH = [  # what would move a detector that is not frozen
    *("SOLVER.WEIGHT_DECAY", 0.1, "SOLVER.WEIGHT_DECAY_NORM", 0.1, "SOLVER.BASE_LR", 1e-3),
    *("MODEL.PLUGTRACK.NORM", "BN", "MODEL.ROI_BOX_HEAD.NORM", "BN"),
    *("MODEL.ROI_BOX_HEAD.NUM_CONV", 1, "MODEL.ROI_BOX_HEAD.CONV_DIM", 8),
]
SETTINGS = {
    "BN": ["BN"],
    "FrozenBN": ["FrozenBN"],
    "SyncBN": ["SyncBN"],  # torch's
    "naiveSyncBN": ["naiveSyncBN"],  # detectron2's
    "in parts": ["BN", "SOLVER.ACCUMULATE", 2],
    "bf16": ["BN", "SOLVER.AMP.ENABLED", True],
    "AdamW": ["BN", "SOLVER.OPTIMIZER", "AdamW"],
}


def keys_of(norm: str, *more) -> list:
    return ["MODEL.RESNETS.NORM", norm, "MODEL.FPN.NORM", norm, *HARSH, *more]


@pytest.fixture(scope="module")
def script():
    """two_processes.py, which trains on given batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("two_processes")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    write_tiny_vid(root / "tiny_vid", seed=0, splits=["test"], num_videos=1)
    return root


def detector_hash(model: nn.Module, prefix: str = "tracker.") -> str:
    """Of all parameters and buffers, those that are not saved included, but of the tracker's."""
    digest = hashlib.sha256()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not name.startswith(prefix):
            header = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
            content = tensor.detach().contiguous().view(-1).view(torch.uint8)
            digest.update(header.encode() + content.numpy().tobytes())
    return digest.hexdigest()


def is_frozen(model: nn.Module) -> bool:
    """Every part of the detector is in evaluation mode and asks for no gradient."""
    parts = [m for name, m in model.named_modules() if name and name.partition(".")[0] != "tracker"]
    parameters = [p for name, p in model.named_parameters() if not name.startswith("tracker.")]
    return not any(m.training for m in parts) and not any(p.requires_grad for p in parameters)


class Broken(Exception):
    """An error in an evaluation."""


class Watchful(HookBase):
    """Looks after every step, and has an evaluation broken off after the second one."""

    def __init__(self, patch):
        self.patch, self.steps = patch, 0

    def before_train(self):
        self.model = self.trainer.checkpointer.model
        self.hash = detector_hash(self.model)

    def after_step(self):
        self.steps += 1
        if self.steps == 2:
            with self.patch.context() as patch, pytest.raises(Broken):
                patch.setattr(VIDEvaluator, "process", self.fail)
                self.trainer.test(self.trainer.cfg, self.model)
        if self.steps == 3:
            self.model.train()
        assert self.model.training and self.model.tracker.training and is_frozen(self.model)
        assert detector_hash(self.model) == self.hash

    @staticmethod
    def fail(*args):
        raise Broken


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", SETTINGS)
def test_training_and_evaluation_change_no_bit(script, data, tmp_path, monkeypatch, name, steps):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(data))
    generator = torch.Generator().manual_seed(1)
    few = [[script.pair_with(n, generator) for n in (2, 1, 0, 1)] for _ in range(3)]
    batches = [few[i % 3] for i in range(steps)]
    own = ["DATASETS.TEST", ("tiny_vid_test",), "TEST.EVAL_PERIOD", steps // 2]
    few_boxes = ["MODEL.RPN.POST_NMS_TOPK_TEST", 5, "MODEL.PLUGTRACK.CONV_DIM", 8]
    trainer = script.build_trainer(
        tmp_path, PLUGTRACK, batches, *keys_of(*SETTINGS[name]), *own, *few_boxes
    )
    model = trainer.checkpointer.model
    norms = [n for n, m in model.named_modules() if "BatchNorm" in type(m).__name__]
    assert len([n for n in norms if not n.startswith("tracker.")]) > 5
    held = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    assert set(map(id, held)) == set(map(id, model.tracker.parameters()))
    before, tracker = detector_hash(model), model.tracker.shared.weight.clone()
    watchful = Watchful(monkeypatch)
    trainer.register_hooks([watchful])
    trainer.train()
    assert watchful.steps == steps and detector_hash(model) == before
    assert (model.tracker.shared.weight - tracker).abs().max() > 1e-5
    assert trainer.storage.histories()["vid/mAP"].values()  # there were evaluations


def test_a_hash_sees_one_bit_of_a_buffer():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before = detector_hash(model)
    model[1].num_batches_tracked += 1
    assert detector_hash(model) != before


# ---- on torchvision's detectors ------------------------------------------------------------------


def labeled_pair() -> tuple[LabeledFrame, LabeledFrame]:
    box, ids = torch.tensor([[20.0, 20, 80, 70]]), torch.tensor([1])
    images = np.random.randint(0, 256, (2, 96, 128, 3), dtype=np.uint8)
    return tuple(LabeledFrame(image, box + 4 * i, 0 * ids, ids) for i, image in enumerate(images))


@pytest.fixture
def torchvision_parts() -> tuple[TorchvisionDetector, TrackerHead]:
    model = build_tiny_fasterrcnn(3, min_size=64, max_size=96)
    detector = TorchvisionDetector(model)
    shape = detector.map_shapes["0"]
    settings = {"in_channels": [shape.channels], "stride": shape.stride, "channels": 8}
    places = {"in_features": ["0"], "target": 0, "template_size": 7, "search_factor": 3}
    losses = {"box_weights": (10.0, 10, 5, 5), "smooth_l1_beta": 1.0, "iou_loss_weight": 1.0}
    return detector, TrackerHead(**settings, **places, **losses)


@pytest.mark.parametrize("steps", STEPS)
def test_a_torchvision_detector_stays_to_the_bit(torchvision_parts, steps):
    detector, tracker = torchvision_parts
    before, first = detector_hash(detector.model), tracker.shared.weight.clone()
    sampling = {"per_object": 8, "limit": 8, "iou_threshold": 0.5, "reading": "at_least"}
    pairs = [[labeled_pair(), labeled_pair()] for _ in range(steps)]
    losses = optimize(
        lambda batch: tracker_losses(detector, tracker.train(), batch, sampling),
        tracker,
        pairs,
        **{"max_iter": steps, "base_lr": 1e-3, "weight_decay": 0.1, "warmup_iters": 0},
    )
    for number, _ in enumerate(losses):
        if number == steps // 2:
            detect_frames(detector, tracker.eval(), [pairs[0][0][0].image])
        assert detector_hash(detector.model) == before
        assert not any(m.training for m in detector.model.modules())
    assert (tracker.shared.weight - first).abs().max() > 1e-4


# ---- a checkpoint without all of the detector ----------------------------------------------------
# One whose detector has no norms in its FPN lacks them; one of another width has another shape.

OTHER = {
    "missing": (["MODEL.FPN.NORM", ""], "missing, the first is backbone.fpn_lateral2.norm"),
    "misshapen": (["MODEL.ROI_BOX_HEAD.FC_DIM", 16], "shape, the first is roi_heads.box_head.fc"),
}


@pytest.mark.parametrize("kind", OTHER)
@pytest.mark.parametrize("way", ["start", "resume", "eval-only"])
def test_a_checkpoint_that_does_not_hold_the_detector_is_refused(script, tmp_path, kind, way):
    keys, said = OTHER[kind]
    script.build_trainer(tmp_path, PLUGTRACK, [[]], *keys).checkpointer.save("model", iteration=0)
    weights = ["MODEL.WEIGHTS", tmp_path / "model.pth"]
    trainer = script.build_trainer(tmp_path, PLUGTRACK, [[]], *weights)
    before = detector_hash(trainer.model, prefix="none")
    with pytest.raises(UserError, match=said):
        if way == "eval-only":
            load_model(trainer.cfg)
        else:
            trainer.resume_or_load(resume=way == "resume")
    assert detector_hash(trainer.model, prefix="none") == before


@pytest.mark.parametrize("kind", OTHER)
def test_torchvision_weights_that_do_not_hold_the_detector_are_refused(
    torchvision_parts, tmp_path, kind
):
    detector, tracker = torchvision_parts
    state = joined_state(detector.model, tracker)
    name = "backbone.stem.0.0.weight"
    value = state.pop(name)
    if kind == "misshapen":
        state[name] = value[:1]
    write_weights(tmp_path / "weights.pth", state)
    before = detector_hash(detector.model)
    for required in (True, False):
        with pytest.raises(UserError, match=f"the first is {name}"):
            load_joined(
                tmp_path / "weights.pth", detector.model, tracker, tracker_required=required
            )
    assert detector_hash(detector.model) == before


# ---- what is not finite, on torchvision's detectors ----------------------------------------------


class Spoilt(nn.Module):
    """A linear layer behind batch norm; what is spoilt in step 2 is said."""

    def __init__(self, what: str):
        super().__init__()
        self.norm, self.linear, self.what, self.step = nn.BatchNorm1d(3), nn.Linear(3, 2), what, -1
        self.linear.bias.register_hook(lambda g: g * self.bad("gradient"))

    def bad(self, what: str) -> float:
        return math.nan if self.what == what and self.step == 2 else 1.0

    def losses(self, batch: torch.Tensor) -> dict:
        self.step += 1
        return {"loss": self.linear(self.norm(batch)).square().mean() * self.bad("loss")}


@pytest.mark.parametrize(
    ("what", "named"),
    [("loss", "loss is nan"), ("gradient", "NaN or infinity in the gradient of linear.bias$")],
)
def test_a_refused_step_of_optimize_leaves_all_as_it_was(what, named):
    model = Spoilt(what)
    settings = {"max_iter": 4, "base_lr": 0.1, "weight_decay": 0.1, "warmup_iters": 0}
    batches = [torch.randn(8, 3)] * 4
    steps = optimize(model.losses, model, batches, **settings, clip_value=1.0)
    next(steps), next(steps)
    before = detector_hash(model)
    with pytest.raises(FloatingPointError, match=f"step 2: {named}"):
        next(steps)
    assert detector_hash(model) == before and model.norm.num_batches_tracked == 2


@pytest.mark.parametrize("stage", ["detector", "tracker"])
@pytest.mark.parametrize("what", ["feature", "box"])
def test_features_and_boxes_of_torchvision_are_named(torchvision_parts, stage, what):
    detector, tracker = torchvision_parts
    sampling = {"per_object": 8, "limit": 8, "iou_threshold": 0.5, "reading": "at_least"}
    trained, pair, named = tracker, labeled_pair(), f"{NOT_FINITE} tracking map"
    if stage == "detector":
        trained, named = detector.model.train().requires_grad_(True), f"{NOT_FINITE} feature map 0"
        pair = [pair[0]._replace(labels=torch.zeros(1, dtype=torch.int64))] * 2

    def compute(batch):
        if stage == "detector":
            return detector_losses(trained, batch[0])
        return tracker_losses(detector, tracker, batch, sampling)

    if what == "feature":
        detector.model.backbone.register_forward_hook(spoil_last)
    else:
        pair = [pair[0], pair[1]._replace(boxes=pair[1].boxes * math.nan)]
        named = r"true box \[nan.*\]"
    before = detector_hash(trained), detector_hash(detector.model)
    settings = {"max_iter": 1, "base_lr": 0.1, "weight_decay": 0.1, "warmup_iters": 0}
    steps = optimize(compute, trained, [[pair]], **settings)
    with pytest.raises(FloatingPointError, match=f"training, step 0: {named} of image 1(; .*)?$"):
        next(steps)
    assert (detector_hash(trained), detector_hash(detector.model)) == before


def spoil_last(module: nn.Module, inputs, maps: dict) -> dict:
    """One cell of the last image that hardly any region looks at."""
    changed = maps["0"].clone()
    changed[-1, 0, 0, 0] = math.nan
    return {**maps, "0": changed}
