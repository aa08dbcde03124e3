"""Garbage for tests: values that no box, feature or weight should have, and runs in a child.

RoIAlign on such a box may end the process with a signal, which no test can catch: what is tried
runs in a forked child.
"""

import math
import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

VALUES = [math.nan, math.inf, -math.inf, 1e30, -1e30, 3e38, -3e38, 1e9, -1e4, -1.0, 0.0]


def spoil_(tensor: Tensor, rng: np.random.Generator) -> Tensor:
    """Put one of the values at one place, in a row, at random places, or everywhere; in place."""
    flat = tensor.view(-1)
    if not len(flat):
        return tensor
    value = float(rng.choice(VALUES))
    if not tensor.is_floating_point():
        value = int(np.clip(np.nan_to_num(value), -(2**30), 2**30))
    how = rng.choice(["place", "row", "some", "all"])
    if how == "place":
        flat[int(rng.integers(len(flat)))] = value
    elif how == "row" and tensor.dim():
        tensor[int(rng.integers(len(tensor)))] = value
    elif how == "some":
        flat[torch.from_numpy(rng.random(len(flat)) < 0.1)] = value
    else:
        flat.fill_(value)
    return tensor


def in_a_fork(function: Callable[[], Any], patience: float = 300) -> Any:
    """What the function returns in a child, on one thread; a child that dies is an AssertionError.

    Args:
        patience: seconds, after which the child is ended.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work():
        torch.set_num_threads(1)  # the parent's other threads are not in the child
        sender.send(function())

    child = context.Process(target=work)
    child.start()
    sender.close()
    try:
        result = receiver.recv() if receiver.poll(patience) else None
    except EOFError:
        result = None
    finally:
        child.join(1)
        child.kill()
        child.join()
    assert child.exitcode == 0, f"the child ended with {child.exitcode}"
    return result


def outcome_of_video(run: Callable[[], list], image_size: tuple[int, int]) -> str:
    """ "results" where all boxes are finite and in the image, "error" where the frame is named."""
    try:
        results = run()
    except (FloatingPointError, ValueError) as error:  # a ValueError is the re-scorer's
        assert str(error).startswith("frame "), error
        return "error"
    height, width = image_size
    border = torch.tensor([width, height] * 2)
    for result in results:
        for boxes in (result.boxes, result.mapped_boxes):
            assert boxes.isfinite().all() and (boxes >= 0).all() and (boxes <= border).all()
    return "results"
