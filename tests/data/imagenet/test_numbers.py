"""Numbers in XML and lists are those of ASCII that can be kept."""

import math

import pytest

from d2_plugtrack.data.imagenet.numbers import parse_decimal, parse_whole


def test_numbers():
    assert [parse_whole(t) for t in ("7", " 7\n", "-7", "+7", "007", "9" * 18)] == [
        *(7, 7, -7, 7, 7),
        10**18 - 1,
    ]
    assert [parse_decimal(t) for t in ("7", " 7.5\n", "-1e3", "-inf")] == [7, 7.5, -1000, -math.inf]
    assert math.isnan(parse_decimal("nan"))


@pytest.mark.parametrize("parse", [parse_whole, parse_decimal])
@pytest.mark.parametrize("text", [None, "", "x", "1_0", "\u0663", "\uff11", "1 2", "0x1"])
def test_no_numbers(parse, text):
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize("text", ["1.0", "1e3", "nan", str(2**63), str(-(2**63)), "9" * 5000])
def test_no_whole_numbers_of_64_bits(text):
    with pytest.raises(ValueError):
        parse_whole(text)
