"""Random numbers of a place do not depend on what was drawn before, nor draw for anybody else."""

import random

import numpy as np
import pytest
import torch

from d2_plugtrack.random_state import (
    EPOCH,
    ITEM,
    ITERATION,
    chosen_seed,
    random_numbers,
    seed_everything,
    seeded,
)


def draw() -> tuple:
    """A number of each kind of state that there is."""
    return random.random(), np.random.rand(), torch.rand(1).item(), torch.randperm(50).tolist()


def draw_at(*place: int) -> tuple:
    seed_everything(*place)
    return draw()


PLACES = [
    (0, ITEM, 0),
    (1, ITEM, 0),
    (0, ITEM, 1),
    (0, EPOCH, 0),
    (0, ITERATION, 0),
    (0, ITEM, 0, 0),
]


def test_a_place_has_its_numbers_whatever_was_drawn_before():
    expected = [draw_at(*place) for place in PLACES]
    for place, numbers in reversed(list(zip(PLACES, expected, strict=True))):
        draw()
        assert draw_at(*place) == numbers
        with seeded(*place):
            assert draw() == numbers
        first, second = random_numbers(*place), random_numbers(*place)
        assert first.random() == second.random()


def test_places_and_seeds_differ_in_everything_that_is_drawn():
    for numbers in zip(*(draw_at(0, ITEM, i) for i in range(200)), strict=True):
        assert len({str(n) for n in numbers}) == 200
    for numbers in zip(*(draw_at(*place) for place in PLACES), strict=True):
        assert len({str(n) for n in numbers}) == len(PLACES)
    assert len({random_numbers(*place).random() for place in PLACES}) == len(PLACES)


@pytest.mark.parametrize("fails", [False, True])
def test_what_comes_after_goes_on_as_if_nothing_had_been_drawn(fails):
    seed_everything(5)
    expected = draw(), draw()
    seed_everything(5)
    first = draw()
    try:
        with seeded(0, ITEM, 3):
            draw()
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert (first, draw()) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_gpus_are_seeded_with_everything_and_left_alone_by_an_item():
    numbers = []
    for _ in range(2):
        seed_everything(0, ITERATION, 3)
        with seeded(0, ITEM, 1):
            draw()
        numbers.append(torch.rand(3, device="cuda").tolist())
    assert numbers[0] == numbers[1]


def test_a_seed_that_is_asked_for_is_kept_and_another_drawn():
    assert [chosen_seed(s) for s in (0, 7)] == [0, 7]
    drawn = {chosen_seed(-1) for _ in range(20)}
    assert len(drawn) > 15 and all(0 <= seed < 2**31 for seed in drawn)
