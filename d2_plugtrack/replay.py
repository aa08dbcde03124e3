"""What makes a detectron2 training that was stopped and resumed the one that was not.

Weights, optimizer, schedule and hooks are in detectron2's checkpoints already. Here are the random
numbers and the place in the data: with the same seed on the same machine, with as many processes
and threads, a resumed training ends with the same bits. The number of loader workers is free.
"""

from .prerequisites import require_detectron2

require_detectron2()

import logging
from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils import comm

from .checkpoint_folder import find_checkpoint
from .data.training_stream import TrainingStream
from .errors import UserError
from .progress import warn_of_differences
from .random_state import ITERATION, chosen_seed, seed_everything

logger = logging.getLogger(__name__)


def with_seed(cfg: CfgNode) -> CfgNode:
    """``cfg``, with a random seed that all processes share where it has none."""
    if cfg.SEED >= 0:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEED = comm.all_gather(chosen_seed(cfg.SEED))[0]
    cfg.freeze()
    logger.info("SEED is negative: this training's is %d, and is in its checkpoints", cfg.SEED)
    return cfg


def agreed_checkpoint(folder: str) -> str:
    """What the main process finds to go on from, for all of them; empty if there is none.

    Raises:
        UserError: on every process, there are checkpoints and none of them is whole.
    """
    path, error = "", ""
    if comm.is_main_process():
        try:
            path = str(find_checkpoint(folder) or "")
        except UserError as problem:
            error = str(problem)  # raised by all: they would wait for one that is gone
    path, error = comm.all_gather((path, error))[0]
    if error:
        raise UserError(error)
    return path


class Replay(HookBase):
    """Seeds every iteration, and begins with the data where a resumed training left off.

    Register it before every other hook that draws random numbers. A checkpoint's seed is used
    whatever the config says; what differs and cannot be replayed is said in a warning.

    Args:
        seed: of the training.
        stream: of the loader; None where it has none, and its data begins anew.
    """

    def __init__(self, seed: int, stream: TrainingStream | None):
        self.seed, self.stream = seed, stream
        self.is_resumed = False

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "stream": self._settings()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.is_resumed = True
        warn_of_differences(state["seed"], self.seed, state["stream"], self._settings())
        self.seed = state["seed"]

    def before_train(self) -> None:
        start = self.trainer.start_iter
        if start and not self.is_resumed:
            logger.warning(
                "the checkpoint has no seed and no place in the data: the training goes on, but "
                "not as it would have, bit for bit"
            )
        if self.stream is not None:
            self.stream.seed, self.stream.start = self.seed, start

    def before_step(self) -> None:
        seed_everything(self.seed, ITERATION, self.trainer.iter, comm.get_rank())

    def _settings(self) -> dict[str, int]:
        return {} if self.stream is None else self.stream.settings()
