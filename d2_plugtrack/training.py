"""The trainer of both stages with detectron2, on any number of processes.

Stage one trains a stock detector on single frames, stage two the tracker of a PlugTrackRCNN on
pairs of frames. ``train_step.py`` makes the steps.
"""

from .prerequisites import require_detectron2

require_detectron2()

import logging
import os
import weakref
from collections.abc import Callable

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultTrainer, HookBase, create_ddp_model
from detectron2.engine.hooks import EvalHook
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.solver import build_optimizer as build_sgd
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from torch import nn

from .build import build_pipeline, build_scoring
from .checkpoint_folder import FINAL, clear_unfinished
from .core.detector import detect_frames
from .data.catalog import DATASETS
from .data.imagenet.motion_file import read_motion
from .data.loaders import (
    build_image_train_loader,
    build_pair_train_loader,
    build_vid_test_loader,
    build_video_loader,
    check_registered,
    is_video_dataset,
    load_test_videos,
)
from .errors import UserError
from .evaluation import VIDEvaluator, lock_run, open_run
from .modeling.checkpoint import (
    StrictCheckpointer,
    load_starting_weights,
    load_weights,
    unreadable_weights,
)
from .modeling.imagenet_weights import is_imagenet_weights, load_imagenet_weights
from .modeling.plugtrack_rcnn import PlugTrackRCNN
from .plugin import build_model
from .processes import share_buffers
from .replay import Replay, agreed_checkpoint, with_seed
from .train_step import StepTrainer, evaluation_mode
from .weights import ensure_weights


def is_plugtrack(cfg: CfgNode) -> bool:
    """Stage two and video inference, as against the stock detector of stage one."""
    return PlugTrackRCNN.__name__ == cfg.MODEL.META_ARCHITECTURE


class Trainer(DefaultTrainer):
    """DefaultTrainer with pairs for a PlugTrackRCNN, AdamW, VID evaluation, and our steps.

    Raises:
        UserError: what :func:`scale_to_processes` refuses.
    """

    def __init__(self, cfg: CfgNode):
        # Not DefaultTrainer's: it cannot put DistributedDataParallel on a CPU, and would make
        # steps of its own.
        super(DefaultTrainer, self).__init__()
        self.cfg = cfg = with_seed(scale_to_processes(cfg, comm.get_world_size()))
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        loader = self.build_train_loader(cfg)
        on_cuda = next(model.parameters()).is_cuda
        model = create_ddp_model(
            model,
            broadcast_buffers=False,
            device_ids=[comm.get_local_rank()] if on_cuda else None,
            # of an FPN, the last convolutions of levels that neither RPN nor R-CNN reads
            find_unused_parameters=not is_plugtrack(cfg),
        )
        self._trainer = StepTrainer(
            model,
            loader,
            optimizer,
            parts=cfg.SOLVER.ACCUMULATE,
            mixed_precision=cfg.SOLVER.AMP.ENABLED,
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = StrictCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.register_hooks(self.build_hooks())

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        model = build_model(cfg)
        logging.getLogger(__name__).info("Model:\n%s", model)
        return model

    @classmethod
    def build_train_loader(cls, cfg: CfgNode):
        if is_plugtrack(cfg):
            return build_pair_train_loader(cfg)
        return build_image_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str):
        return build_vid_test_loader(cfg, dataset_name)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        if cfg.SOLVER.OPTIMIZER == "SGD":
            return build_sgd(cfg, model)
        if cfg.SOLVER.OPTIMIZER != "AdamW":
            raise UserError(f"SOLVER.OPTIMIZER {cfg.SOLVER.OPTIMIZER}: expected SGD or AdamW")
        params = get_default_optimizer_params(
            model,
            base_lr=cfg.SOLVER.BASE_LR,
            weight_decay=cfg.SOLVER.WEIGHT_DECAY,
            weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        )
        return maybe_add_gradient_clipping(cfg, torch.optim.AdamW(params, lr=cfg.SOLVER.BASE_LR))

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer):
        try:
            return super().build_lr_scheduler(cfg, optimizer)
        except ValueError as error:  # such as a step at the very end
            solver = cfg.SOLVER
            raise UserError(
                f"SOLVER.LR_SCHEDULER_NAME {solver.LR_SCHEDULER_NAME}, STEPS {list(solver.STEPS)}, "
                f"MAX_ITER {solver.MAX_ITER}: {error}"
            ) from error

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module) -> dict:
        """Evaluate on ``DATASETS.TEST``: the result of the one dataset, or results by name."""
        check_evaluation(cfg)
        if not cfg.DATASETS.TEST:  # the end of stage one: a stock detector has no tracker to ask
            return {}
        share_buffers(model)  # every process evaluates what the main one saves
        results = {}
        for name in cfg.DATASETS.TEST:
            with lock_run(cfg, name):
                results[name] = cls._test_on(cfg, model, name)
        return results if len(results) > 1 else next(iter(results.values()))

    @classmethod
    def _test_on(cls, cfg: CfgNode, model: nn.Module, name: str) -> dict:
        detector = getattr(model, "module", model)
        scoring, pipeline = build_scoring(cfg), build_pipeline(cfg, detector.tracker)
        records = load_test_videos(cfg, name)
        motion = read_motion(cfg.TEST.VID.MOTION_FILE, records)
        run, finished = open_run(cfg, detector, name, records)
        loader = build_video_loader(cfg, records, finished=finished)
        class_names = MetadataCatalog.get(name).thing_classes
        evaluator = VIDEvaluator(run, records, class_names, pipeline, scoring, motion)

        def detect(inputs: list[dict]) -> list[dict]:  # without the stock detections, for speed
            return [{"frame": f} for f in detect_frames(detector, detector.tracker, inputs)]

        with evaluation_mode(detector):
            result = inference_on_dataset(detect, loader, evaluator)
        loader.bad_images.log_summary()
        if comm.is_main_process():
            print_csv_format(result)
        return result

    def build_hooks(self) -> list[HookBase]:
        # first: what fails in a later hook's end would leave it out
        summary = LogSummary(self.data_loader.bad_images.summary)
        replay = Replay(self.cfg.SEED, getattr(self.data_loader, "stream", None))
        return [summary, replay, *super().build_hooks()]

    def after_train(self) -> None:
        if self.iter < self.max_iter:  # EvalHook would evaluate after a failure of the last step
            self._hooks = [hook for hook in self._hooks if not isinstance(hook, EvalHook)]
        super().after_train()

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the newest whole checkpoint in ``OUTPUT_DIR``, or start from MODEL.WEIGHTS.

        Args:
            resume: start only where there is no checkpoint at all.

        Raises:
            UserError: checkpoints of which none is whole, or weights that cannot be started from.
        """
        if comm.is_main_process():
            clear_unfinished(self.cfg.OUTPUT_DIR)
        path = agreed_checkpoint(self.cfg.OUTPUT_DIR) if resume else ""
        if not path:
            self._load_starting_weights(self.cfg.MODEL.WEIGHTS)
            return
        with unreadable_weights(path):
            self.checkpointer.load(path)
        self.start_iter = self.iter + 1  # the iteration in it is the last that was finished
        if self.start_iter >= self.max_iter and os.path.basename(path) != FINAL:
            # stopped between the last checkpoint and the final one, which is only written by a step
            self.checkpointer.save(FINAL.removesuffix(".pth"), iteration=self.iter)

    def _load_starting_weights(self, weights: str) -> None:
        if is_plugtrack(self.cfg):
            load_weights(self.model, weights, tracker_required=False)
        elif is_imagenet_weights(weights):
            load_imagenet_weights(self.model, weights)
        elif weights:
            load_starting_weights(self.model, weights)
        else:
            logging.getLogger(__name__).warning(
                "MODEL.WEIGHTS is empty: the detector starts from random weights"
            )


class LogSummary(HookBase):
    """Logs, when training ends or is stopped by an error, what a callable then says.

    Every process logs its own. Register it before hooks that may fail at the end (evaluation).

    Args:
        summary: gives the text; nothing is logged where it is empty.
    """

    def __init__(self, summary: Callable[[], str]):
        self.summary = summary

    def after_train(self) -> None:
        text = self.summary()
        if text:
            logging.getLogger(__name__).warning("%s", text)


def scale_to_processes(cfg: CfgNode, num_processes: int) -> CfgNode:
    """``cfg`` for so many processes, as ``SOLVER.REFERENCE_WORLD_SIZE`` asks; the batch is checked.

    Raises:
        UserError: a batch that does not divide into the parts of all processes.
    """
    batch, reference = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.REFERENCE_WORLD_SIZE
    if reference and batch % reference:
        raise UserError(
            f"SOLVER.IMS_PER_BATCH {batch}: expected a multiple of "
            f"SOLVER.REFERENCE_WORLD_SIZE {reference}"
        )
    if num_processes < 1:
        raise UserError(f"--num-gpus {num_processes}: expected at least 1 (the CPU counts as one)")
    cfg = DefaultTrainer.auto_scale_workers(cfg, num_processes)
    batch, parts = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATE
    if parts < 1:
        raise UserError(f"SOLVER.ACCUMULATE {parts}: expected at least 1")
    if batch < 1 or batch % (num_processes * parts):
        raise UserError(
            f"SOLVER.IMS_PER_BATCH {batch}: expected a multiple of {num_processes} (processes) "
            f"times {parts} (SOLVER.ACCUMULATE)"
        )
    return cfg


def check_weights(cfg: CfgNode, resume: bool) -> None:
    """Refuse, before datasets are read, a MODEL.WEIGHTS to start from that is not there."""
    if cfg.MODEL.WEIGHTS and not resume:  # an empty one is for stage one: stage two says so itself
        ensure_weights(cfg.MODEL.WEIGHTS)


def check_evaluation(cfg: CfgNode) -> None:
    """Refuse an evaluation that cannot be; without DATASETS.TEST there is none."""
    check_registered(cfg.DATASETS.TEST)
    for name in cfg.DATASETS.TEST:
        if not (is_video_dataset(name) and is_plugtrack(cfg)):
            raise UserError(
                f"DATASETS.TEST {name} with {cfg.MODEL.META_ARCHITECTURE}: expected a video "
                "dataset and a PlugTrackRCNN (without tracking: TEST.TFD.ENABLED False)"
            )


def check_files(cfg: CfgNode, eval_only: bool) -> None:
    """Refuse, before a model is built, the project's datasets whose files are not there."""
    for name in cfg.DATASETS.TEST if eval_only else cfg.DATASETS.TRAIN:
        if name in DATASETS:
            DATASETS[name].ensure_there()


def check_datasets(cfg: CfgNode, eval_only: bool) -> None:
    """Refuse, before any work, datasets that are not there or cannot be evaluated on."""
    key, names = ("TEST", cfg.DATASETS.TEST) if eval_only else ("TRAIN", cfg.DATASETS.TRAIN)
    if not names:
        raise UserError(f"DATASETS.{key} is empty: expected names of datasets")
    check_registered(names)
    check_evaluation(cfg)
