"""Small training runs, on one process or on several, for test_training.py.

They are in a file of their own because the processes that detectron2 starts must be able to import
what they run.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from detectron2.engine import HookBase, create_ddp_model
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm
from torch import nn

from d2_plugtrack.data.bad_images import BadImages
from d2_plugtrack.plugin import load_config
from d2_plugtrack.processes import mean_over_processes
from d2_plugtrack.train_step import StepTrainer
from d2_plugtrack.training import Trainer

CONFIGS = Path(__file__).resolve().parents[1] / "configs/TinyVID"
SIZE = (64, 96)  # height and width of images
COMMON = [
    *("MODEL.DEVICE", "cpu", "SOLVER.OPTIMIZER", "SGD", "SOLVER.IMS_PER_BATCH", 4),
    *("SOLVER.WARMUP_ITERS", 0, "SOLVER.BASE_LR", 0.01, "SOLVER.CLIP_GRADIENTS.ENABLED", False),
    *("DATASETS.TEST", ()),
]
TRACKER = [
    *("MODEL.PLUGTRACK.CONV_DIM", 8, "MODEL.PLUGTRACK.NORM", "SyncBN"),
    *("MODEL.PLUGTRACK.REGION_IOU_THRESH", 1.0),  # the true boxes alone: nothing is random
]
# Every anchor and every proposal trains, 20 proposals an image: R-CNN's losses are means over
# the proposals of a process, which must have as many as the others.
DETECTOR = [
    *("MODEL.RESNETS.NORM", "naiveSyncBN", "MODEL.FPN.NORM", "naiveSyncBN"),
    *("MODEL.RPN.BATCH_SIZE_PER_IMAGE", 2000, "MODEL.RPN.POST_NMS_TOPK_TRAIN", 20),
    *("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 20, "MODEL.ROI_HEADS.POSITIVE_FRACTION", 1.0),
    *("MODEL.ROI_HEADS.PROPOSAL_APPEND_GT", False),
]
# Objects of the four pairs of each step: process 1 has fewer, then more, then no regions; then
# nobody has any, and then process 0 has none.
PAIRS = [[3, 2, 1, 0], [1, 0, 2, 4], [2, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 2]]
IMAGES = [[1, 2, 0, 3], [4, 1, 2, 2], [0, 1, 1, 0]]


def image_with(count: int, generator: torch.Generator) -> dict:
    """A random image with ``count`` random objects."""
    corners = torch.rand((count, 2), generator=generator) * torch.tensor([50.0, 30.0])
    sizes = 14 + 20 * torch.rand((count, 2), generator=generator)
    image = torch.rand((3, *SIZE), generator=generator) * 255
    instances = Instances(SIZE)
    instances.gt_boxes = Boxes(torch.cat([corners, corners + sizes], dim=1))
    instances.gt_classes = torch.arange(count) % 8
    instances.gt_track_ids = torch.arange(count)
    return {"image": image, "instances": instances, "height": SIZE[0], "width": SIZE[1]}


def pair_with(count: int, generator: torch.Generator) -> dict:
    """A pair whose last object leaves and whose other objects go somewhere else."""
    frames = (image_with(count, generator), image_with(max(count - 1, 0), generator))
    return dict(zip(("prev", "curr"), frames, strict=True))


def share(batch: list) -> list:
    """This process's part of a batch."""
    size = len(batch) // comm.get_world_size()
    return batch[size * comm.get_rank() :][:size]


class Batches(list):
    """What a loader is to a trainer."""

    bad_images = BadImages()


class GivenBatches(Trainer):
    """Trains on each process's share of ``batches``; writes no logs."""

    batches: list = []

    @classmethod
    def build_train_loader(cls, cfg):
        return Batches(share(batch) for batch in cls.batches)

    def build_writers(self):
        return []


class RememberState(HookBase):
    """The state of the model at first, and before the last step with the optimizer's."""

    def before_train(self):
        self.initial = copy.deepcopy(self.trainer.checkpointer.model.state_dict())

    def before_step(self):
        self.state = {k: v.clone() for k, v in self.trainer.checkpointer.model.state_dict().items()}
        self.optimizer = copy.deepcopy(self.trainer.optimizer.state_dict())


def build_trainer(folder: Path, config: str, batches: list, *opts) -> GivenBatches:
    GivenBatches.batches = batches
    steps = ["SOLVER.MAX_ITER", len(batches), "OUTPUT_DIR", folder]
    cfg = load_config(str(CONFIGS / config), list(map(str, [*COMMON, *steps, *opts])))
    torch.manual_seed(7)
    return GivenBatches(cfg)


def train(trainer: GivenBatches) -> dict:
    """Weights, what was logged (on the main process) and the error of a run."""
    memory, error = RememberState(), ""
    trainer.register_hooks([memory])
    try:
        trainer.train()
    except FloatingPointError as raised:
        error = str(raised)
    histories = trainer.storage.histories().items()
    logged = {k: [v for v, _ in h.values()] for k, h in histories if "loss" in k or k == "lr"}
    state = trainer.checkpointer.model.state_dict()
    optimizer = {"before": memory.optimizer, "after": trainer.optimizer.state_dict()}
    outcome = {"weights": state, "before": memory.state, "optimizer": optimizer}
    outcome["initial"] = memory.initial
    return {**outcome, "logged": logged, "error": error}


def run_tracker(folder: Path) -> dict:
    generator = torch.Generator().manual_seed(1)
    batches = [[pair_with(count, generator) for count in counts] for counts in PAIRS]
    norms = ["MODEL.RESNETS.NORM", "naiveSyncBN", "MODEL.FPN.NORM", "naiveSyncBN"]
    return train(build_trainer(folder, "plugtrack_tiny.yaml", batches, *TRACKER, *norms))


def run_detector(folder: Path) -> dict:
    generator = torch.Generator().manual_seed(2)
    batches = [[image_with(count, generator) for count in counts] for counts in IMAGES]
    return train(build_trainer(folder, "detector_tiny.yaml", batches, *DETECTOR))


OWN_NORM = {  # statistics of each process's own, of which others do not learn
    "tracker": ["MODEL.PLUGTRACK.NORM", "BN"],
    "detector": ["MODEL.RESNETS.NORM", "BN", "MODEL.FPN.NORM", "BN"],
}


def is_last() -> bool:
    return comm.get_rank() == comm.get_world_size() - 1


def run_bad_tracker(folder: Path, damage: Callable) -> dict:
    """Three steps; ``damage`` is done to the trainer and the batches."""
    generator = torch.Generator().manual_seed(3)
    batches = [[pair_with(count, generator) for count in (2, 1, 0, 1)] for _ in range(3)]
    trainer = build_trainer(folder, "plugtrack_tiny.yaml", batches, *TRACKER, *OWN_NORM["tracker"])
    damage(trainer, batches)
    return train(trainer)


def run_not_finite(folder: Path) -> dict:
    """One cell of the last process's second image is NaN in the second step."""

    def damage(trainer, batches):
        def spoil(module, inputs, maps):
            if trainer.iter == 1 and is_last():
                maps["p2"][1, 0, 0, 0] = torch.nan

        trainer.checkpointer.model.backbone.register_forward_hook(spoil)

    return run_bad_tracker(folder, damage)


def run_bad_box(folder: Path) -> dict:
    """The last process's last true box of the second step is infinite."""

    def damage(trainer, batches):
        batches[1][3]["prev"]["instances"].gt_boxes.tensor[0, 2] = torch.inf

    return run_bad_tracker(folder, damage)


def run_bad_gradient(folder: Path) -> dict:
    """The last process's gradient of a bias is infinite in the second step."""

    def damage(trainer, batches):
        bias = trainer.checkpointer.model.tracker.shared.bias
        bias.register_hook(lambda g: g / 0 if trainer.iter == 1 and is_last() else g)

    return run_bad_tracker(folder, damage)


def run_bad_proposals(folder: Path) -> dict:
    """The last process's last image of the second step of stage one is NaN: its RPN raises."""
    generator = torch.Generator().manual_seed(2)
    batches = [[image_with(count, generator) for count in counts] for counts in IMAGES]
    batches[1][3]["image"][:] = torch.nan
    keys = [*DETECTOR, *OWN_NORM["detector"]]
    return train(build_trainer(folder, "detector_tiny.yaml", batches, *keys))


class Squares(nn.Module):
    """The mean square of what a linear layer makes of a batch of vectors."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, batch: list) -> dict:
        return {"loss_square": self.linear(torch.stack(batch)).square().mean()}


def run_accumulation(folder: Path) -> dict:
    """Weights after steps in one part, and in two."""
    batches = list(torch.randn((5, 12, 3), generator=torch.Generator().manual_seed(4)).unbind())
    return {parts: accumulate(batches, parts) for parts in (1, 2)}


def accumulate(batches: list, parts: int) -> dict:
    torch.manual_seed(8)
    model = create_ddp_model(Squares(), device_ids=None)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    loader = [share(list(batch)) for batch in batches]
    trainer = StepTrainer(model, loader, optimizer, parts=parts, mixed_precision=False)
    trainer.train(0, len(batches))
    return getattr(model, "module", model).state_dict()


def run_evaluation(folder: Path) -> dict:
    """What every process evaluates, where each comes with a buffer of its own."""
    model = nn.BatchNorm2d(2)
    model.running_mean += comm.get_rank() + 1
    model.tracker = object()
    cfg = load_config(str(CONFIGS / "plugtrack_tiny.yaml"))
    with mock.patch.object(Trainer, "_test_on", lambda cfg, model, name: model.running_mean):
        shared = Trainer.test(cfg, model)
    mean = mean_over_processes(torch.tensor([1.0, comm.get_rank()]))
    return {"shared": shared, "mean": mean}


RUNS = {
    "tracker": run_tracker,
    "detector": run_detector,
    "not finite": run_not_finite,
    "bad box": run_bad_box,
    "bad gradient": run_bad_gradient,
    "bad proposals": run_bad_proposals,
    "accumulation": run_accumulation,
    "evaluation": run_evaluation,
}


def run_all(folder: Path) -> None:
    """Leave in ``folder``/{number of processes}_{process}.pth what every run ended with."""
    results = {name: run(folder) for name, run in RUNS.items()}
    torch.save(results, folder / f"{comm.get_world_size()}_{comm.get_rank()}.pth")
