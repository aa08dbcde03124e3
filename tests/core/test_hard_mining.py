"""Hard mining against a plain loop over many seeds, and by hand where it can have nothing."""

import pytest
import torch

from d2_plugtrack.core.hard_mining import hardest_regions

BACKGROUND = 3


def mined(losses, labels, limit=4, positive_fraction=0.5) -> list[int]:
    return hardest_regions(
        torch.tensor(losses, dtype=torch.float32),
        torch.tensor(labels, dtype=torch.int64),
        background=BACKGROUND,
        limit=limit,
        positive_fraction=positive_fraction,
    ).tolist()


def one_by_one(losses, labels, limit, positive_fraction) -> list[int]:
    """Take the hardest region that is left, again and again; of equal ones the first."""
    chosen = []
    room = {"positive": int(limit * positive_fraction)}
    for kind in ("positive", "negative"):
        room["negative"] = limit - len(chosen)
        left = [
            i
            for i, label in enumerate(labels)
            if label != -1 and (label == BACKGROUND) == (kind == "negative")
        ]
        for _ in range(min(room[kind], len(left))):
            best = left[0]
            for i in left:
                if losses[i] > losses[best]:
                    best = i
            left.remove(best)
            chosen.append(best)
    return chosen


@pytest.mark.parametrize("seed", range(200))
def test_as_a_plain_loop(seed):
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(0, 30, (), generator=generator))
    # few different losses, so that many are equal
    losses = (torch.randint(0, 6, (count,), generator=generator) / 4).tolist()
    labels = torch.randint(-1, BACKGROUND + 1, (count,), generator=generator).tolist()
    limit = int(torch.randint(0, 20, (), generator=generator))
    fraction = [0.0, 0.25, 0.3, 0.5, 1.0][seed % 5]
    assert mined(losses, labels, limit, fraction) == one_by_one(losses, labels, limit, fraction)


def test_by_hand():
    # positives 0, 2, 5 (losses 1, 3, 2): 4 * 0.5 = 2 of them, 2 and 5; negatives 1, 3, 6
    # (losses 9, 4, 9): 4 - 2 = 2 of them, 1 and 6, equally hard; 4 is ignored, hard as it is
    losses, labels = [1, 9, 3, 4, 99, 2, 9], [0, 3, 2, 3, -1, 1, 3]
    assert mined(losses, labels) == [2, 5, 1, 6]


def test_a_quarter_of_128():
    losses = torch.arange(400).tolist()
    labels = [0, BACKGROUND] * 200
    chosen = mined(losses, labels, limit=128, positive_fraction=0.25)
    assert chosen[:32] == list(range(398, 334, -2))  # 32 positives: even indices
    assert chosen[32:] == list(range(399, 207, -2))  # 96 negatives: odd ones


def test_equal_losses_take_the_lower_index():
    assert mined([1.0] * 8, [0, 0, 0, 3, 3, 3, 0, 3]) == [0, 1, 3, 4]


def test_negatives_fill_up_what_positives_leave_but_not_the_other_way():
    assert mined([1, 2, 3, 4, 5], [3, 3, 3, 3, 0]) == [4, 3, 2, 1]
    assert mined([1, 2, 3, 4, 5], [0, 0, 0, 0, 3]) == [3, 2, 4]


@pytest.mark.parametrize("labels", [[], [-1, -1]])
def test_nothing_labelled_gives_nothing(labels):
    chosen = hardest_regions(
        torch.zeros(len(labels)),
        torch.tensor(labels, dtype=torch.int64),
        background=BACKGROUND,
        limit=4,
        positive_fraction=0.5,
    )
    assert chosen.shape == (0,) and chosen.dtype == torch.int64


def test_one_kind_only():
    assert mined([1, 2], [3, 3]) == [1, 0]
    assert mined([1, 2, 3], [0, 0, 0]) == [2, 1]
