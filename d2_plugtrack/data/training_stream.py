"""What a training reads, batch after batch and without end, from any batch on.

An item's place is its position among all that all processes read, from 0. Which record it is, and
every random number that its reading draws, is a function of the seed and the place: batches do not
depend on workers, and a training that goes on at batch B gets what it would have got. No framework.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from ..errors import UserError
from ..random_state import ITEM, seeded

MAX_ATTEMPTS = 1000  # at one item, before training gives up


class Place(NamedTuple):
    """An item to be read: the seed, its position and the number of its record."""

    seed: int
    position: int
    index: int


class TrainingStream(Sampler[list[Place]]):
    """The batches of one process, for a DataLoader's ``batch_sampler``.

    Items of a batch are of the same group; those of another group wait until they are enough. Where
    ``start`` is not 0, the batches before it are passed over without reading an item.

    Args:
        indices: of a seed: this process's record numbers, without end.
        groups: of every record, its group.
        batch_size: of this process.
        seed: of everything that is random.
        rank, world_size: this process, of how many.
    """

    def __init__(
        self,
        indices: Callable[[int], Iterable[int]],
        groups: Sequence[int],
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.indices, self.groups, self.batch_size = indices, groups, batch_size
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.start = 0

    def __iter__(self) -> Iterator[list[Place]]:
        return islice(self._batches(), self.start, None)

    def _batches(self) -> Iterator[list[Place]]:
        waiting: dict[int, list[Place]] = {}
        for number, index in enumerate(self.indices(self.seed)):
            batch = waiting.setdefault(self.groups[index], [])
            batch.append(Place(self.seed, self.rank + number * self.world_size, index))
            if len(batch) == self.batch_size:
                yield waiting.pop(self.groups[index])

    def settings(self) -> dict[str, int]:
        """What another stream must have in common to give the same batches, but for the seed."""
        return {
            "items in a batch": self.batch_size * self.world_size,
            "processes": self.world_size,
            "records": len(self.groups),
            "groups of records": len(set(self.groups)),
        }


class MappedRecords(Dataset):
    """Items by their :class:`Place`.

    Args:
        records: of which a place has the number.
        mapper: a record to an item; None where it cannot be used, and another is drawn.
    """

    def __init__(self, records: Sequence[Any], mapper: Callable[[Any], Any | None]):
        self.records, self.mapper = records, mapper

    def __getitem__(self, place: Place) -> Any:
        for attempt in range(MAX_ATTEMPTS):
            with seeded(place.seed, ITEM, place.position, attempt):
                number = np.random.randint(len(self.records)) if attempt else place.index
                item = self.mapper(self.records[number])
            if item is not None:
                return item
        raise UserError(f"DATASETS.TRAIN: {MAX_ATTEMPTS} items, one after another, cannot be used")


class ConsecutiveBatches(Sampler[list[int]]):
    """Positions 0, 1, 2, ... in batches without end, for a DataLoader's ``batch_sampler``.

    Args:
        start: the first batch.
    """

    def __init__(self, batch_size: int, start: int = 0):
        self.batch_size, self.start = batch_size, start

    def __iter__(self) -> Iterator[list[int]]:
        for batch in count(self.start):
            yield list(range(batch * self.batch_size, (batch + 1) * self.batch_size))
