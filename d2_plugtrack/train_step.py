"""One step of training: detectron2's, with gradient accumulation and mixed precision.

A step takes one batch of this process and makes one step of the optimizer. The batch is worked on
in equal parts, one after another, whose gradients are averaged; with DistributedDataParallel
processes exchange gradients after the last part only. With mixed precision the model runs under
autocast: float16 and a gradient scaler on CUDA, bfloat16 without one elsewhere. With one part and
without mixed precision it is detectron2's SimpleTrainer.
"""

from .prerequisites import require_detectron2

require_detectron2()

import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .processes import mean_over_processes


class StepTrainer(SimpleTrainer):
    """Makes the steps of a detectron2 trainer.

    Args:
        model: a list of inputs to losses by name, whose sum is minimised.
        data_loader: lists of inputs, of a multiple of ``parts`` each.
        parts: how many parts of a batch are worked on one after another. Losses that are means
            over a part are averaged over parts; batch norm sees a part at a time.
        mixed_precision: run the model under autocast.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[list],
        optimizer: torch.optim.Optimizer,
        *,
        parts: int,
        mixed_precision: bool,
    ):
        super().__init__(model, data_loader, optimizer)
        self.parts = parts
        self.mixed_precision = mixed_precision
        self.device_type = next(model.parameters()).device.type
        on_cuda = self.device_type == "cuda"
        # float16 on a CPU is slow, and bfloat16 has the range of float32: nothing to scale
        self.dtype = torch.float16 if on_cuda else torch.bfloat16
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=mixed_precision and on_cuda)

    def run_step(self) -> None:
        """One step.

        Raises:
            FloatingPointError: on every process, if a loss of any of them is not finite; weights
                and optimizer are as before the step.
        """
        assert self.model.training, "the model was left in evaluation mode"
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        self.optimizer.zero_grad()
        losses = self._accumulate(batch)
        self.after_backward()
        losses = _mean_losses(losses)
        self._check_finite(losses)
        self._write_metrics(losses, data_time)
        # unscales, then calls the optimizer's step, inside which detectron2 clips gradients
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _accumulate(self, batch: list) -> dict[str, Tensor]:
        """Gradients of all parts; their mean losses."""
        assert len(batch) % self.parts == 0, f"{len(batch)} inputs in {self.parts} parts"
        size, means = len(batch) // self.parts, {}
        for start in range(0, len(batch), size):
            is_last = start + size == len(batch)
            with self._exchange(is_last):
                with torch.autocast(self.device_type, self.dtype, enabled=self.mixed_precision):
                    losses = self.model(batch[start : start + size])
                self.scaler.scale(sum(losses.values()) / self.parts).backward()
            for name, loss in losses.items():
                means[name] = means.get(name, 0.0) + loss.detach() / self.parts
        return means

    def _exchange(self, is_last: bool) -> AbstractContextManager:
        if is_last or not isinstance(self.model, DistributedDataParallel):
            return nullcontext()
        return self.model.no_sync()

    def _check_finite(self, losses: Mapping[str, Tensor]) -> None:
        bad = {name: loss.item() for name, loss in losses.items() if not loss.isfinite()}
        if bad:
            values = ", ".join(f"{name} is {value}" for name, value in bad.items())
            raise FloatingPointError(f"iteration {self.iter}: {values}")

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "grad_scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        scaler = state_dict.get("grad_scaler")
        if scaler:  # empty where the checkpoint's training did not scale
            self.scaler.load_state_dict(scaler)


def _mean_losses(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    values = mean_over_processes(torch.stack([loss.float() for loss in losses.values()]))
    return dict(zip(losses, values, strict=True))
