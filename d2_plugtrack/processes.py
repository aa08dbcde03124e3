"""What several training processes share. With one process, or without any group, nothing is sent.

All processes must make the same calls in the same order.
"""

import torch.distributed as dist
from torch import Tensor, nn


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean over all processes of each element, the same everywhere; without gradient."""
    values = values.detach().clone()
    if _several():
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values


def share_buffers(model: nn.Module) -> None:
    """Give every process the main one's buffers, such as statistics of batch norm."""
    if _several():
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
