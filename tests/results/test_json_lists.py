"""Entries of lists as the standard library reads them whole, numbers to the last bit."""

import json
import random

import numpy as np
import pytest

from d2_plugtrack.results.json_lists import read_lists

STRINGS = ['a"b', "\\", "]", "}", "é", "日本", "\U0001f600", "", "a, b", "line\nbreak", "a.item"]


def value_of(rng: random.Random, depth: int = 0):
    kind = rng.randrange(6 if depth < 3 else 4)
    if kind == 0:
        return rng.choice([0, -1, 2**53 + 1, 2**63 - 1, 1.5, -2e-7, 1e300])
    if kind == 1:
        return rng.choice(STRINGS)
    if kind in (2, 3):
        return rng.choice([None, True, False])
    inner = [value_of(rng, depth + 1) for _ in range(rng.randrange(4))]
    return inner if kind == 4 else {f"{rng.choice(STRINGS)}{i}": v for i, v in enumerate(inner)}


def expected_of(data, names) -> list:
    """What the standard library's reading of the whole file says."""
    lists = {"": data} if isinstance(data, list) else {n: data[n] for n in data if n in names}
    rows = []
    for name, values in lists.items():
        rows += [(name, *row) for row in enumerate(values)] or [(name, -1, None)]
    return rows


@pytest.mark.parametrize("num_cases", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_entries_are_those_of_the_standard_library(tmp_path, num_cases):
    rng = random.Random(0)
    path = tmp_path / "data.json"
    for _ in range(num_cases):
        data = [value_of(rng) for _ in range(rng.randrange(6))]
        if rng.random() < 0.6:
            data = {"a.b": value_of(rng), "a": data, "b": {"a": data}, "c": [value_of(rng)]}
        text = json.dumps(data, indent=rng.choice([None, 0, 3]), ensure_ascii=rng.random() < 0.5)
        bom = rng.choice(["", "\ufeff"])
        # now and then so long that it is read in parts
        blank = " " * rng.choice([0, rng.randrange(4096)])
        path.write_bytes((bom + blank + text + rng.choice(["", "\n", " \r\n"])).encode())
        found = list(read_lists(path, ("a", "c")))
        assert repr(found) == repr(expected_of(data, ("a", "c")))  # 1, 1.0 and True are not alike


@pytest.mark.parametrize("count", [10_000, pytest.param(2_000_000, marks=pytest.mark.slow)])
def test_numbers_are_exact(tmp_path, count):
    """Floats of all exponents, whole numbers of up to 63 bits."""
    rng = np.random.default_rng(0)
    doubles = rng.integers(0, 2**64, count, np.uint64).view(np.float64)
    singles = rng.integers(0, 2**32, count, np.uint32).view(np.float32)
    singles = singles[np.isfinite(singles)].astype(np.float64)
    doubles = doubles[np.isfinite(doubles)]
    floats = np.concatenate([doubles, singles, rng.random(count), [5e-324, -0.0, 2.0**-1022]])
    path = tmp_path / "data.json"
    path.write_text(json.dumps(floats.tolist()))
    found = [value for _, _, value in read_lists(path, ())]
    assert {*map(type, found)} == {float}
    assert np.array_equal(np.array(found).view(np.uint64), floats.view(np.uint64))
    whole = rng.integers(-(2**63) + 1, 2**63 - 1, count).tolist()
    path.write_text(json.dumps(whole))
    found = [value for _, _, value in read_lists(path, ())]
    assert found == whole and {*map(type, found)} == {int}
