"""What training reads: a function of seed and position, from any batch on, on any process."""

from collections import Counter
from itertools import chain, count, islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from d2_plugtrack.data.training_stream import (
    MAX_ATTEMPTS,
    ConsecutiveBatches,
    MappedRecords,
    Place,
    TrainingStream,
)
from d2_plugtrack.errors import UserError


def shuffled(size: int, rank: int = 0, world_size: int = 1):
    """Of a seed: epochs of ``size`` records in random order, and of that a process's share."""

    def indices(seed: int):
        rng = np.random.default_rng(seed)
        epochs = chain.from_iterable(rng.permutation(size).tolist() for _ in count())
        return islice(epochs, rank, None, world_size)

    return indices


def stream(groups: bytes, batch_size: int = 2, rank: int = 0, world_size: int = 1, seed: int = 0):
    return TrainingStream(
        shuffled(len(groups), rank, world_size),
        groups,
        **{"batch_size": batch_size, "seed": seed, "rank": rank, "world_size": world_size},
    )


def take(batches, number: int) -> list:
    return list(islice(batches, number))


def test_positions_count_what_is_read_and_the_seed_is_said():
    places = [place for batch in take(stream(bytes(5)), 5) for place in batch]
    assert [place.position for place in places] == list(range(10))
    assert {place.seed for place in places} == {0}
    for epoch in (places[:5], places[5:]):
        assert sorted(place.index for place in epoch) == list(range(5))


@pytest.mark.parametrize("groups", [bytes(7), bytes([0, 1, 1, 0, 1, 1, 1]), bytes([2, 0, 1] * 4)])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_are_of_one_group_and_in_the_order_in_which_they_fill(groups, batch_size):
    batches = take(stream(groups, batch_size), 40)
    for batch in batches:
        assert len(batch) == batch_size and len({groups[p.index] for p in batch}) == 1
    last = [batch[-1].position for batch in batches]
    assert last == sorted(last)
    # nothing is read twice, and what is left waits in batches that are not full
    positions = [p.position for batch in batches for p in batch]
    assert len(set(positions)) == len(positions)
    assert max(positions) + 1 - len(positions) <= len(set(groups)) * (batch_size - 1)


@pytest.mark.parametrize("groups", [bytes(7), bytes([0, 1, 1, 0, 1, 1, 1])])
def test_beginning_at_a_batch_is_leaving_out_those_before_it(groups):
    whole = take(stream(groups), 30)
    for start in (1, 2, 7, 29):
        rest = stream(groups)
        rest.start = start
        assert take(rest, 30 - start) == whole[start:]
        assert take(rest, 1) == whole[start : start + 1]  # again


def test_processes_share_the_records_of_one():
    one = [p for batch in take(stream(bytes(9), batch_size=6), 4) for p in batch]
    shares = [
        [p for batch in take(stream(bytes(9), 2, rank, 3), 4) for p in batch] for rank in range(3)
    ]
    assert sorted(p for share in shares for p in share) == sorted(one)
    assert all(p.position % 3 == rank for rank, share in enumerate(shares) for p in share)


def test_settings_tell_streams_apart():
    same = {"items in a batch": 6, "processes": 3, "records": 9, "groups of records": 1}
    assert [stream(bytes(9), 2, rank, 3, seed=rank).settings() for rank in range(3)] == [same] * 3
    others = (
        stream(bytes(9), 6),
        stream(bytes(8), 2, 0, 3),
        stream(bytes(8) + b"\1", 2, 0, 3),
        stream(bytes(9), 1, 0, 3),
    )
    assert all(other.settings() != same for other in others)


# ---- items ---------------------------------------------------------------------------------------


def draw_with(record: int) -> tuple:
    return record, np.random.rand(), torch.rand(1).item()


@pytest.mark.parametrize("start", [0, 4])
def test_items_do_not_depend_on_workers_nor_on_where_one_begins(start):
    groups = bytes([0, 1, 1, 0, 1, 1, 1])
    expected = None
    for workers in (0, 2):
        batches = stream(groups)
        batches.start = start
        loader = DataLoader(
            MappedRecords(range(7), draw_with),
            **{"batch_sampler": batches, "num_workers": workers, "collate_fn": list},
        )
        found = take(loader, 8)
        whole = [
            [MappedRecords(range(7), draw_with)[place] for place in batch]
            for batch in take(stream(groups), 12)
        ]
        assert found == whole[start : start + 8]
        assert expected in (None, found)
        expected = found
    assert len({item for batch in expected for item in batch}) == 16


def test_an_item_that_cannot_be_used_is_another_and_always_the_same_one():
    tried = []

    def only_odd(record: int) -> tuple | None:
        tried.append(record)
        return draw_with(record) if record % 2 else None

    items = MappedRecords(range(10), only_odd)
    found = [items[Place(0, position, 4)] for position in range(100)]
    assert [items[Place(0, position, 4)] for position in range(100)] == found
    numbers = Counter(item[0] for item in found)
    assert sorted(numbers) == [1, 3, 5, 7, 9] and min(numbers.values()) > 5
    assert len(set(found)) == 100
    assert tried[0] == 4 and len(tried) > 400  # half of the draws are bad


def test_where_nothing_can_be_used_it_gives_up():
    tried = []
    items = MappedRecords(range(3), tried.append)  # always None
    with pytest.raises(UserError, match=f"{MAX_ATTEMPTS} items, one after another"):
        items[Place(0, 0, 2)]
    assert len(tried) == MAX_ATTEMPTS and set(tried) == {0, 1, 2}


@pytest.mark.parametrize("start", [0, 3])
def test_consecutive_batches(start):
    batches = ConsecutiveBatches(3, start)
    first = 3 * start
    expected = [[first, first + 1, first + 2], [first + 3, first + 4, first + 5]]
    assert take(batches, 2) == take(batches, 2) == expected
