#!/usr/bin/env python3
"""Train either stage and evaluate, from yacs configs.

Stage one trains a stock detector on single frames, stage two the tracker of a PlugTrackRCNN on
pairs of frames; MODEL.META_ARCHITECTURE says which. Examples:

    train_net.py --config-file configs/TinyVID/detector_tiny.yaml
    train_net.py --config-file configs/TinyVID/plugtrack_tiny.yaml MODEL.WEIGHTS DETECTOR.pth
    train_net.py --config-file configs/TinyVID/plugtrack_tiny.yaml --eval-only MODEL.WEIGHTS W.pth
"""

import argparse
import sys

from d2_plugtrack.prerequisites import require_detectron2

require_detectron2()

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup, launch
from detectron2.evaluation import DatasetEvaluator, verify_results
from detectron2.solver import build_optimizer as build_sgd
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import nn
from torch.multiprocessing import ProcessExitedException

from d2_plugtrack.build import build_video_run
from d2_plugtrack.data.loaders import (
    build_pair_train_loader,
    build_vid_test_loader,
    check_registered,
    is_video_dataset,
)
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.evaluation import VIDEvaluator
from d2_plugtrack.modeling.checkpoint import load_weights, unreadable_weights
from d2_plugtrack.modeling.plugtrack_rcnn import PlugTrackRCNN
from d2_plugtrack.plugin import load_config, load_model


def is_plugtrack(cfg: CfgNode) -> bool:
    """Stage two and video inference, as against the stock detector of stage one."""
    return PlugTrackRCNN.__name__ == cfg.MODEL.META_ARCHITECTURE


class Trainer(DefaultTrainer):
    """DefaultTrainer with pairs for a PlugTrackRCNN, AdamW, and VID evaluation."""

    @classmethod
    def build_train_loader(cls, cfg: CfgNode):
        if is_plugtrack(cfg):
            return build_pair_train_loader(cfg)
        return super().build_train_loader(cfg)

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
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        raise NotImplementedError  # test() makes them: an evaluator needs the model's tracker

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators=None) -> dict:
        check_evaluation(cfg)
        if not cfg.DATASETS.TEST:  # the end of stage one: a stock detector has no tracker to ask
            return {}
        tracker = getattr(model, "module", model).tracker
        evaluators = [
            VIDEvaluator(name, build_video_run(cfg, tracker), cfg.TEST.VID.PROTOCOL)
            for name in cfg.DATASETS.TEST
        ]
        return super().test(cfg, model, evaluators)

    def resume_or_load(self, resume: bool = True) -> None:
        weights = self.cfg.MODEL.WEIGHTS
        if resume and self.checkpointer.has_checkpoint():
            with unreadable_weights(self.checkpointer.get_checkpoint_file()):
                super().resume_or_load(resume)
        elif is_plugtrack(self.cfg):
            load_weights(self.model, weights, tracker_required=False)
        else:
            with unreadable_weights(f"MODEL.WEIGHTS {weights}"):
                super().resume_or_load(resume)


def check_evaluation(cfg: CfgNode) -> None:
    """Refuse an evaluation that cannot be; without DATASETS.TEST there is none."""
    check_registered(cfg.DATASETS.TEST)
    for name in cfg.DATASETS.TEST:
        if not (is_video_dataset(name) and is_plugtrack(cfg)):
            raise UserError(
                f"DATASETS.TEST {name} with {cfg.MODEL.META_ARCHITECTURE}: expected a video "
                "dataset and a PlugTrackRCNN (without tracking: TEST.TFD.ENABLED False)"
            )


def check_datasets(cfg: CfgNode, eval_only: bool) -> None:
    """Refuse, before any work, datasets that are not there or cannot be evaluated on."""
    key, names = ("TEST", cfg.DATASETS.TEST) if eval_only else ("TRAIN", cfg.DATASETS.TRAIN)
    if not names:
        raise UserError(f"DATASETS.{key} is empty: expected names of datasets")
    check_registered(names)
    check_evaluation(cfg)


@exit_on_user_error  # in a process of its own where there are several GPUs
def main(args: argparse.Namespace) -> dict | None:
    cfg = load_config(args.config_file, args.opts)
    cfg.freeze()
    check_datasets(cfg, args.eval_only)
    try:
        default_setup(cfg, args)
    except OSError as error:
        raise UserError(f"OUTPUT_DIR {cfg.OUTPUT_DIR}: cannot be written: {error}") from error
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="d2_plugtrack")
    if not args.eval_only:
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        return trainer.train()
    results = Trainer.test(cfg, load_model(cfg))
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


@exit_on_user_error
def run(argv: list[str] | None = None) -> None:
    """The command line."""
    args = default_argument_parser(__doc__).parse_args(argv)
    load_config(args.config_file, args.opts)  # a mistake in it is reported once, not per process
    try:
        launch(
            main,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except ProcessExitedException as error:  # one of several processes has said why
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run()
