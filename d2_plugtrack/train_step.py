"""One step of training: detectron2's, with gradient accumulation and mixed precision.

A step takes one batch of this process and makes one step of the optimizer. The batch is worked on
in equal parts, one after another, whose gradients are averaged; with DistributedDataParallel
processes exchange gradients after the last part only. With mixed precision the model runs under
autocast: float16 and a gradient scaler on CUDA, bfloat16 without one elsewhere. With one part and
without mixed precision it is detectron2's SimpleTrainer.

A true box, a feature map, what the tracker says, a loss or a gradient that is not finite, on any
process, ends the training of all of them before the optimizer's step, with weights, optimizer and
statistics of batch norm as they were before it. The host waits for a GPU once a step for that. An
error inside of the model (detectron2's RPN raises one) is told between processes before the
backward pass, in which the others would wait for the one that has none.
"""

from .prerequisites import require_detectron2

require_detectron2()

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .batch_values import mend_batch
from .core.finite import (
    Snapshot,
    Watch,
    bad_gradients,
    gradient_norms,
    image_name,
    summarize,
    training_buffers,
    watch,
)
from .errors import UserError
from .processes import mean_over_processes


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and back however that ends.

    detectron2's ``inference_context`` leaves it there after an exception.
    """
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


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
        own = getattr(model, "module", model)
        self.trained = {name: p for name, p in own.named_parameters() if p.requires_grad}
        self.before = Snapshot(training_buffers(model))
        self.part: list = []  # of a batch, that the model is at
        backbone = getattr(own, "backbone", None)
        if backbone is not None and backbone.training:
            backbone.register_forward_hook(self._watch_features)
        logging.getLogger("detectron2.engine.train_loop").addFilter(_ONE_LINE)

    def run_step(self) -> None:
        """One step.

        Raises:
            FloatingPointError: on every process, if one of them meets something that is not finite;
                it is named, with the iteration. Weights, optimizer and batch norm are as before.
        """
        assert self.model.training, "the model was left in evaluation mode"
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        self.optimizer.zero_grad()
        self.before.save()
        try:
            losses = self._compute_gradients(batch)
        except BaseException:
            self.before.restore()
            raise
        self._write_metrics(losses, data_time)
        # unscales, then calls the optimizer's step, inside which detectron2 clips gradients
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _compute_gradients(self, batch: list) -> dict[str, Tensor]:
        """Gradients of all parts, found finite; the mean losses over all processes, on the CPU."""
        problems, seen = mend_batch(batch), Watch()
        losses = self._accumulate(batch, problems, seen)
        self.after_backward()
        return self._check(losses, problems, seen)

    def _accumulate(self, batch: list, problems: list[str], seen: Watch) -> dict[str, Tensor]:
        """Gradients of all parts; their mean losses."""
        assert len(batch) % self.parts == 0, f"{len(batch)} inputs in {self.parts} parts"
        size, means = len(batch) // self.parts, {}
        for start in range(0, len(batch), size):
            is_last = start + size == len(batch)
            with self._exchange(is_last):
                losses = self._losses(batch[start : start + size], problems, seen)
                self.scaler.scale(sum(losses.values()) / self.parts).backward()
            for name, loss in losses.items():
                means[name] = means.get(name, 0.0) + loss.detach() / self.parts
        return means

    def _losses(self, part: list, problems: list[str], seen: Watch) -> dict[str, Tensor]:
        self.part, losses, raised = part, {}, []
        try:
            with seen, torch.autocast(self.device_type, self.dtype, enabled=self.mixed_precision):
                losses = self.model(part)
        except FloatingPointError as error:
            raised = [str(error), *seen.names()]
        if any(comm.all_gather(bool(raised))):
            self._refuse([*problems, *raised])
        return losses

    def _exchange(self, is_last: bool) -> AbstractContextManager:
        if is_last or not isinstance(self.model, DistributedDataParallel):
            return nullcontext()
        return self.model.no_sync()

    def _watch_features(self, module: nn.Module, inputs: Any, maps: Mapping[str, Tensor]) -> None:
        """A hook of a backbone that trains: its losses are of some cells of its maps only."""
        part = self.part
        for name, feature_map in maps.items():
            watch(f"feature map {name}", feature_map, lambda i: image_name(part[i], i))

    def _check(
        self, losses: Mapping[str, Tensor], problems: list[str], seen: Watch
    ) -> dict[str, Tensor]:
        """The mean losses over all processes, read together with what is not finite anywhere."""
        own = torch.stack([loss.float() for loss in losses.values()])
        flags = [
            own.new_full((), bool(problems)),
            seen.flag(own.device),
            ~gradient_norms(self.trained.values()).isfinite().all().to(own.device),
        ]
        together = torch.cat([own, torch.stack([flag.float() for flag in flags])])
        *means, told, watched, overflown = mean_over_processes(together).tolist()
        if told or watched or not all(map(math.isfinite, means)):
            self._refuse([*problems, *seen.names(), *_not_finite(losses)])
        # scaled losses may overflow: then the scaler leaves the step out, and scales less
        if overflown and not (self.scaler.is_enabled() and self.scaler.get_scale() > 1):
            self._refuse(bad_gradients(self.trained.items()))
        return dict(zip(losses, torch.tensor(means), strict=True))

    def _refuse(self, problems: list[str]) -> NoReturn:
        """Called by all processes together: each names what it found, or who found something."""
        told = comm.all_gather(problems)
        process = next((i for i, found in enumerate(told) if found), comm.get_rank())
        text = summarize(problems or told[process]) or "the mean of the losses is not finite"
        who = "" if problems or process == comm.get_rank() else f"process {process} found: "
        raise FloatingPointError(f"iteration {self.iter}: {who}{text}")

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "grad_scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        scaler = state_dict.get("grad_scaler")
        if scaler:  # empty where the checkpoint's training did not scale
            self.scaler.load_state_dict(scaler)


def _not_finite(losses: Mapping[str, Tensor]) -> list[str]:
    values = {name: loss.item() for name, loss in losses.items()}
    return [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]


class _OneLine(logging.Filter):
    """detectron2 logs with a traceback what ends a training; these errors say all there is."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (FloatingPointError, UserError)):
            record.msg, record.args, record.exc_info = "Training stopped: %s", (error,), None
        return True


_ONE_LINE = _OneLine()
