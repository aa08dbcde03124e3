"""Which frames words and numbers stand for."""

from argparse import ArgumentTypeError

import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.pictures.frame_choice import (
    MOST,
    check_frames,
    index_list,
    middle_frames,
    spread_frames,
)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("7", [7]),
        ("0,20,40", [0, 20, 40]),
        ("10-13", [10, 11, 12, 13]),
        ("3-3", [3]),
        ("8, 1 - 3,2", [1, 2, 3, 8]),
    ],
)
def test_index_list(text, expected):
    assert index_list(text) == expected


@pytest.mark.parametrize("text", ["", "a", "1,", "-1", "3-1", "1-2-3", "0:5", "1.5", "9" * 10, "²"])
def test_other_words_are_refused(text):
    with pytest.raises(ArgumentTypeError, match="expected numbers from 0 on, such as 0,20,40 or"):
        index_list(text)


def test_too_many_are_refused():
    assert len(index_list(f"0-{MOST - 1}")) == MOST
    with pytest.raises(ArgumentTypeError, match=f"expected at most {MOST} numbers, found '0-"):
        index_list(f"0-{MOST}")
    with pytest.raises(ArgumentTypeError, match="expected at most"):
        index_list(f"0-{MOST - 1},{2 * MOST}")


def test_frames_beyond_the_end_are_refused():
    check_frames([0, 9], 10, "clip")
    check_frames([], 0, "clip")
    with pytest.raises(UserError, match="--frames 10: expected at most 9, clip has 10 frames"):
        check_frames([3, 10, 12], 10, "clip")


def test_spread_frames_begin_and_end_with_the_video():
    assert spread_frames(100, 5) == [0, 25, 50, 74, 99]  # 24.75, 49.5 (to even: 50), 74.25
    assert spread_frames(3, 5) == [0, 1, 2]
    assert spread_frames(9, 1) == [4] and spread_frames(1, 5) == [0]
    for count in range(2, 12):
        frames = spread_frames(30, count)
        assert len(set(frames)) == count and frames[0] == 0 and frames[-1] == 29


def test_middle_frames_are_consecutive():
    assert middle_frames(30, 8) == list(range(11, 19))  # 11 before, 11 after
    assert middle_frames(5, 8) == [0, 1, 2, 3, 4]
    assert middle_frames(1, 1) == [0]
