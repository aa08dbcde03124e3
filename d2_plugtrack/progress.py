"""Where a training stands, so that it can be stopped and go on: kept in its checkpoints.

For trainings by ``tracker_training.optimize``; ``replay.py`` does it for detectron2's trainer.
"""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from .random_state import ITERATION, seed_everything

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """An optimizer, a schedule."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Progress:
    """The seed, the number of steps made, and the state of what makes them.

    Args:
        seed: of every step; None leaves the random numbers as they are.
        settings: of the data, which a training that goes on must have in common with its beginning.
    """

    def __init__(self, seed: int | None = None, settings: Mapping[str, int] | None = None):
        self.seed, self.settings, self.step = seed, dict(settings or {}), 0
        self._parts: dict[str, Stateful] = {}
        self._saved: Mapping[str, Any] = {}

    def begin(self, **parts: Stateful) -> None:
        """Take note of what makes the steps, and put it where a checkpoint left it."""
        self._parts = parts
        for name, part in parts.items():
            if name in self._saved:
                part.load_state_dict(self._saved[name])

    def seed_step(self) -> None:
        """Seed everything that the next step draws."""
        if self.seed is not None:
            seed_everything(self.seed, ITERATION, self.step, 0)

    def state_dict(self) -> dict[str, Any]:
        own = {"seed": self.seed, "settings": self.settings, "step": self.step}
        return {**own, "parts": {name: part.state_dict() for name, part in self._parts.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, before :meth:`begin`; the seed is the state's."""
        warn_of_differences(state["seed"], self.seed, state["settings"], self.settings)
        self.seed, self.step, self._saved = state["seed"], state["step"], state["parts"]


def warn_of_differences(
    saved_seed: int | None, seed: int | None, saved: Mapping[str, int], own: Mapping[str, int]
) -> None:
    """Say what a resumed training does not have in common with its beginning."""
    if saved_seed != seed:
        logger.warning(
            "SEED %s: the training that is resumed has %s, and goes on with that", seed, saved_seed
        )
    differences = [
        f"{key} {saved.get(key)} then, {own.get(key)} now"
        for key in {**saved, **own}
        if saved.get(key) != own.get(key)
    ]
    if differences:
        logger.warning(
            "resumed with other data: %s; it will not end as it would have, bit for bit",
            ", ".join(differences),
        )
