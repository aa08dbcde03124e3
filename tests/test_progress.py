"""A training by ``optimize`` that goes on from any step is the one that was not stopped."""

import copy
import logging
import re

import pytest
import torch
from torch import nn

from d2_plugtrack.progress import Progress
from d2_plugtrack.tracker_training import optimize

STEPS = 7


def train(model: nn.Linear, progress: Progress | None, stop: int = STEPS) -> list[dict]:
    """The losses of the steps up to ``stop``; they draw random numbers."""

    def compute_losses(batch: int) -> dict:
        noise = torch.rand(4, 3) + batch
        return {"loss": (nn.functional.dropout(model(noise)) - 1).square().mean()}

    made = progress.step if progress else 0
    steps = optimize(
        compute_losses,
        model,
        range(made, STEPS),
        **{"max_iter": STEPS, "base_lr": 0.1, "weight_decay": 0.1, "warmup_iters": 3},
        progress=progress,
    )
    return list(steps) if stop == STEPS else [next(steps) for _ in range(stop - made)]


@pytest.fixture
def model() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(3, 2)


@pytest.mark.parametrize("stop", range(STEPS + 1))
def test_going_on_is_not_having_stopped(model, stop):
    other, whole = copy.deepcopy(model), Progress(seed=5)
    expected = train(model, whole)
    begun = Progress(seed=5)
    losses = train(other, begun, stop)
    assert begun.step == stop
    torch.rand(17)  # in another process, anything may have been drawn
    rest = Progress(seed=5)
    if stop:  # before the first step there is nothing to go on from
        rest.load_state_dict(copy.deepcopy(begun.state_dict()))
    losses += train(other, rest)
    assert losses == expected
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )
    assert str(rest.state_dict()) == str(whole.state_dict())
    assert list(train(other, rest)) == []  # all steps are made


def test_seeds_differ_and_none_is_whatever_was_drawn_before(model):
    losses = []
    for seed in (1, 2, None, None):
        torch.manual_seed(0)
        progress = None if seed is None else Progress(seed)
        losses.append(train(copy.deepcopy(model), progress))
    assert losses[0] != losses[1] and losses[2] == losses[3]
    torch.manual_seed(1)
    assert train(copy.deepcopy(model), None) != losses[2]


def test_the_seed_is_the_checkpoints_and_what_differs_is_said(caplog):
    saved = Progress(seed=5, settings={"records": 3, "items in a batch": 2}).state_dict()
    for seed, settings, said in (
        (5, {"records": 3, "items in a batch": 2}, []),
        (6, {"records": 3, "items in a batch": 2}, ["SEED 6: .* has 5, and goes on with that"]),
        (5, {"records": 4, "items in a batch": 2}, ["records 3 then, 4 now; it will not"]),
        (5, {"records": 3}, ["items in a batch 2 then, None now"]),
    ):
        caplog.clear()
        progress = Progress(seed, settings)
        with caplog.at_level(logging.WARNING):
            progress.load_state_dict(saved)
        assert progress.seed == 5
        assert len(caplog.messages) == len(said)
        for message, pattern in zip(caplog.messages, said, strict=True):
            assert re.search(pattern, message)
