"""Random numbers as a function of a seed and a place in a training, whatever was drawn before.

A place is a few whole numbers: what is drawn (``ITEM``, ...) and where. Training that is stopped
and goes on draws what it would have drawn, in whichever process: nothing is carried along.
"""

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# What is drawn at a place: an item of the data, the order of an epoch, an iteration's own draws.
ITEM, EPOCH, ITERATION = range(3)


def chosen_seed(seed: int) -> int:
    """The seed that is asked for; a random one where that is negative."""
    return seed if seed >= 0 else secrets.randbits(31)


def random_numbers(seed: int, *place: int) -> np.random.Generator:
    """numpy's generator of a place.

    Args:
        seed: from 0 on.
        place: whole numbers from 0 on.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def seed_everything(seed: int, *place: int) -> None:
    """Put torch (the CPU and all GPUs), numpy's global state and Python's into those of a place."""
    torch.manual_seed(_seed_python_and_numpy(seed, place))


@contextmanager
def seeded(seed: int, *place: int) -> Iterator[None]:
    """Draws on the CPU are those of a place; afterwards they go on as if nothing had been drawn."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(_seed_python_and_numpy(seed, place))  # not the GPUs
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _seed_python_and_numpy(seed: int, place: tuple[int, ...]) -> int:
    """Seed Python and numpy; the seed for torch."""
    words = np.random.SeedSequence(seed, spawn_key=place).generate_state(8)
    random.seed(words[:2].tobytes())
    np.random.seed(words[2:6])
    return int(words[6:].view(np.uint64)[0])
