"""Entries of JSON lists as the standard library reads them whole, and what is no JSON."""

import json
import random

import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.results import json_stream
from d2_plugtrack.results.json_stream import read_lists

STRINGS = ['a"b', "\\", "]", "}", "é", "日本", "\U0001f600", "", "a, b", "line\nbreak"]


def value_of(rng: random.Random, depth: int = 0):
    kind = rng.randrange(6 if depth < 3 else 4)
    if kind == 0:
        return rng.choice([0, -1, 12345678901234567890, 1.5, -2e-7, 1e300])
    if kind == 1:
        return rng.choice(STRINGS)
    if kind in (2, 3):
        return rng.choice([None, True, False])
    inner = [value_of(rng, depth + 1) for _ in range(rng.randrange(4))]
    return inner if kind == 4 else {f"{rng.choice(STRINGS)}{i}": v for i, v in enumerate(inner)}


def expected_of(data, names) -> list:
    """What the standard library's reading of the whole file says."""
    lists = {"": data} if isinstance(data, list) else {k: v for k, v in data.items() if k in names}
    rows = [(name, *row) for name, values in lists.items() for row in enumerate(values)]
    return rows + [(name, -1, None) for name, values in lists.items() if not values]


@pytest.fixture
def small_chunks(monkeypatch):
    """A window so small that every value crosses its end somewhere."""
    monkeypatch.setattr(json_stream, "_CHUNK", 3)


@pytest.mark.parametrize("num_cases", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_entries_are_those_of_the_standard_library(tmp_path, small_chunks, num_cases):
    rng = random.Random(0)
    path = tmp_path / "data.json"
    for _ in range(num_cases):
        data = [value_of(rng) for _ in range(rng.randrange(6))]
        if rng.random() < 0.6:
            data = {"a": data, "b": value_of(rng), "c": [value_of(rng)]}
        text = json.dumps(data, indent=rng.choice([None, 0, 3]), ensure_ascii=rng.random() < 0.5)
        bom = rng.choice(["", "\ufeff"])
        path.write_bytes((bom + text + rng.choice(["", "\n", " \r\n"])).encode())
        found = list(read_lists(path, ("a", "c")))
        assert sorted(map(repr, found)) == sorted(map(repr, expected_of(data, ("a", "c"))))
        assert [row for row in found if row[0] in ("", "a")] == [
            row for row in expected_of(data, ("a", "c")) if row[0] in ("", "a")
        ]


def test_numbers_are_exact(tmp_path, small_chunks):
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 16777217.0, 2**70]
    path = tmp_path / "data.json"
    path.write_text(json.dumps(values))
    assert [value for _, _, value in read_lists(path, ())] == values


def test_not_a_number_is_read_so_that_it_can_be_refused(tmp_path):
    path = tmp_path / "data.json"
    path.write_text("[NaN, -Infinity]")
    assert repr([value for _, _, value in read_lists(path, ())]) == "[nan, -inf]"


@pytest.mark.parametrize("num_cases", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_file_cut_anywhere_is_refused(tmp_path, small_chunks, num_cases):
    rng = random.Random(0)
    whole = json.dumps({"info": {"x": "é"}, "a": [{"bbox": [1.5, 2, 3, 4], "s": "t"}, None]})
    path = tmp_path / "data.json"
    for _ in range(num_cases):
        path.write_bytes(whole.encode()[: rng.randrange(len(whole.encode()))])
        with pytest.raises(UserError, match=rf"\A{path}, line 1, column \d+: expected .*\Z"):
            list(read_lists(path, ("a",)))


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1, column 1: expected a list, or an object with lists, found the end"),
        ("12", "line 1, column 1: expected a list, or an object with lists, found '1'"),
        ("[1, 2", "line 1, column 6: expected ',' or ']', found the end of the file"),
        ('[1,\n  {"a": 1 "b"}]', "line 2, column 11: expected JSON, found Expecting ','"),
        ("[1]\n[2]", "line 2, column 1: expected the end of the file, found '['"),
        ("[1, ]", "line 1, column 5: expected JSON, found Expecting value"),
        ("[1 2]", "line 1, column 4: expected ',' or ']', found '2'"),
        ('{"a": {}}', "line 1, column 7: expected a list a, found '{'"),
        ('{"a": null}', "line 1, column 7: expected a list a, found 'n'"),
        ('{"a" 1}', "line 1, column 6: expected ':', found '1'"),
        ("{1: 2}", "line 1, column 2: expected a key, found '1'"),
        ('{"b": 1,}', "line 1, column 9: expected a key, found '}'"),
        ('["abc', "line 1, column 6: expected more JSON, found the end of the file"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2**20])
def test_what_is_no_json_is_named_with_its_place(tmp_path, monkeypatch, text, message, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        list(read_lists(path, ("a",)))
    assert str(caught.value).startswith(f"{path}, {message}")


def test_a_key_twice_is_refused(tmp_path):
    path = tmp_path / "data.json"
    path.write_text('{"a": [1], "b": 0, "b": 1, "a": [2]}')
    with pytest.raises(UserError, match="data.json: expected a once, found it again"):
        list(read_lists(path, ("a",)))


def test_what_cannot_be_read_is_refused(tmp_path):
    for path, reason in ((tmp_path / "none.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=f"{path}: expected a JSON file, found {reason}"):
            list(read_lists(path, ()))
    path = tmp_path / "latin.json"
    path.write_bytes(b'["\xe9"]')
    with pytest.raises(UserError, match="latin.json: expected JSON in UTF-8"):
        list(read_lists(path, ()))
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="latin.json, line 1, column 2: expected JSON"):
        list(read_lists(path, ()))


def test_the_end_of_a_damaged_entry_is_looked_for_so_far_and_no_further(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK", 16)
    monkeypatch.setattr(json_stream, "_LONGEST", 64)
    path = tmp_path / "data.json"
    path.write_text('[1, "' + "x" * 500 + '"]')
    with pytest.raises(UserError, match="line 1, column 5: expected JSON, found Unterminated"):
        list(read_lists(path, ()))
