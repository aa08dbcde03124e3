"""The hook that replays: what it seeds, where it lets data begin, and what it says."""

import logging
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg

from d2_plugtrack.data.training_stream import TrainingStream
from d2_plugtrack.replay import Replay, with_seed


def stream(size: int = 5, batch_size: int = 2) -> TrainingStream:
    return TrainingStream(lambda seed: range(size), bytes(size), batch_size=batch_size, seed=9)


def draw() -> tuple:
    return random.random(), np.random.rand(), torch.rand(1).item()


def numbers_at(hook: Replay, iteration: int) -> tuple:
    hook.trainer = SimpleNamespace(iter=iteration, start_iter=0)
    draw()
    hook.before_step()
    return draw()


def test_an_iteration_has_its_own_numbers_whatever_was_drawn_before():
    first, second = Replay(3, None), Replay(3, None)
    expected = [numbers_at(first, i) for i in range(5)]
    assert [numbers_at(second, i) for i in reversed(range(5))] == expected[::-1]
    assert len(set(expected)) == 5
    assert numbers_at(Replay(4, None), 0) not in expected


def test_processes_draw_different_numbers(monkeypatch):
    found = set()
    for rank in range(3):
        monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda rank=rank: rank)
        found.add(numbers_at(Replay(3, None), 0))
    assert len(found) == 3


@pytest.mark.parametrize("start", [0, 7])
def test_data_begins_where_the_training_does(start, caplog):
    data = stream()
    hook = Replay(3, data)
    if start:
        hook.load_state_dict(Replay(5, stream()).state_dict())
    hook.trainer = SimpleNamespace(start_iter=start, iter=start)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        hook.before_train()
    assert (data.seed, data.start) == ((5, 7) if start else (3, 0))
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("seed", "data", "said"),
    [
        (5, stream(), ""),
        (6, stream(), "SEED 6: the training that is resumed has 5, and goes on with that"),
        (5, stream(6), "resumed with other data: records 5 then, 6 now"),
        (5, stream(batch_size=4), "items in a batch 2 then, 4 now"),
        (5, None, "records 5 then, None now"),
    ],
)
def test_what_differs_is_said_once_and_the_seed_is_the_checkpoints(caplog, seed, data, said):
    hook = Replay(seed, data)
    with caplog.at_level(logging.WARNING):
        hook.load_state_dict(Replay(5, stream()).state_dict())
    assert len(caplog.messages) == bool(said)
    assert said in "".join(caplog.messages)
    assert numbers_at(hook, 2) == numbers_at(Replay(5, None), 2)


def test_a_checkpoint_without_a_place_in_the_data_is_gone_on_from_aloud(caplog):
    hook = Replay(3, stream())
    hook.trainer = SimpleNamespace(start_iter=4, iter=4)
    with caplog.at_level(logging.WARNING):
        hook.before_train()
    assert "no seed and no place in the data" in caplog.text and hook.stream.start == 4


def test_a_config_without_a_seed_gets_one():
    cfg = get_cfg()
    assert cfg.SEED == -1
    seeds = {with_seed(cfg).SEED for _ in range(10)}
    assert len(seeds) > 5 and min(seeds) >= 0 and cfg.SEED == -1
    cfg.SEED = 0
    assert with_seed(cfg) is cfg
