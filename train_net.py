#!/usr/bin/env python3
"""Train either stage and evaluate, from yacs configs.

Stage one trains a stock detector on single frames, stage two the tracker of a PlugTrackRCNN on
pairs of frames; MODEL.META_ARCHITECTURE says which. Examples:

    train_net.py --config-file configs/TinyVID/detector_tiny.yaml
    train_net.py --config-file configs/TinyVID/plugtrack_tiny.yaml MODEL.WEIGHTS DETECTOR.pth
    train_net.py --config-file configs/TinyVID/plugtrack_tiny.yaml --eval-only MODEL.WEIGHTS W.pth
"""

import argparse

from d2_plugtrack.prerequisites import require_detectron2

require_detectron2()

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup, launch
from detectron2.evaluation import DatasetEvaluator, verify_results
from detectron2.solver import build_optimizer as build_sgd
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from torch import nn

from d2_plugtrack.build import build_video_run
from d2_plugtrack.data.loaders import build_pair_train_loader, build_vid_test_loader
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.evaluation import VIDEvaluator
from d2_plugtrack.modeling.checkpoint import load_weights
from d2_plugtrack.modeling.plugtrack_rcnn import PlugTrackRCNN
from d2_plugtrack.plugin import load_config, load_model


def is_plugtrack(cfg: CfgNode) -> bool:
    """Stage two and video inference, as against the stock detector of stage one."""
    return cfg.MODEL.META_ARCHITECTURE == PlugTrackRCNN.__name__


class Trainer(DefaultTrainer):
    """DefaultTrainer with pairs for a PlugTrackRCNN, AdamW, and VID evaluation."""

    @classmethod
    def build_train_loader(cls, cfg: CfgNode):
        if is_plugtrack(cfg):
            return build_pair_train_loader(cfg)
        return super().build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str):
        if MetadataCatalog.get(dataset_name).get("evaluator_type") == "vid":
            return build_vid_test_loader(cfg, dataset_name)
        return super().build_test_loader(cfg, dataset_name)

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
        tracker = getattr(model, "module", model).tracker
        evaluators = [
            VIDEvaluator(name, build_video_run(cfg, tracker), cfg.TEST.VID.PROTOCOL)
            for name in cfg.DATASETS.TEST
        ]
        return super().test(cfg, model, evaluators)

    def resume_or_load(self, resume: bool = True) -> None:
        if is_plugtrack(self.cfg) and not (resume and self.checkpointer.has_checkpoint()):
            load_weights(self.model, self.cfg.MODEL.WEIGHTS, tracker_required=False)
        else:
            super().resume_or_load(resume)


def check_evaluation(cfg: CfgNode) -> None:
    """Refuse an evaluation that cannot be, before any work."""
    for name in cfg.DATASETS.TEST:
        kind = MetadataCatalog.get(name).get("evaluator_type")
        if kind != "vid" or not is_plugtrack(cfg):
            raise UserError(
                f"DATASETS.TEST {name} with {cfg.MODEL.META_ARCHITECTURE}: expected a video "
                "dataset and a PlugTrackRCNN (without tracking: TEST.TFD.ENABLED False)"
            )


def main(args: argparse.Namespace) -> dict | None:
    cfg = load_config(args.config_file, args.opts)
    cfg.freeze()
    check_evaluation(cfg)
    default_setup(cfg, args)
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
    launch(
        main,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )


if __name__ == "__main__":
    run()
