"""The published motion values: the layout of the real file, and what it must not be."""

import numpy as np
import pytest
from scipy.io import savemat

from d2_plugtrack.data.imagenet.motion_file import read_motion, read_motion_file
from d2_plugtrack.errors import UserError

# two objects, none (1 x 0), one of which the value 1 is stored as an integer
ROWS = [np.array([[0.5], [0.25]]), np.zeros((1, 0)), np.ones((1, 1), np.uint8)]


def records(*counts):
    return [
        {"video_id": "val/a", "frame_index": t, "annotations": [{"iscrowd": 0}] * count}
        for t, count in enumerate(counts)
    ]


@pytest.fixture
def write(tmp_path):
    """A function that writes rows as the published file has them and returns its path."""

    def write(rows, name="motion_iou"):
        cells = np.empty((len(rows), 1), dtype=object)
        cells[:, 0] = [None] * len(rows)
        for index, row in enumerate(rows):
            cells[index, 0] = row
        savemat(tmp_path / "motion.mat", {name: cells}, do_compression=True)
        return str(tmp_path / "motion.mat")

    return write


def test_values(write):
    frames = records(2, 0, 1)
    frames[1]["annotations"] = [{"iscrowd": 1}]  # is no object
    for read in (read_motion, read_motion_file):
        values = read(write(ROWS), frames)
        assert [row.tolist() for row in values] == [[0.5, 0.25], [], [1.0]]
        assert all(row.dtype == np.float64 for row in values)


def test_no_file_is_to_be_computed():
    assert read_motion("", records(1)) is None


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((2, 0), "expected a row for each of 2 frames of the dataset, found 3 rows"),
        ((2, 0, 1, 0), "expected a row for each of 4 frames of the dataset, found 3 rows"),
        ((2, 1, 1), "video val/a, frame 1: expected values of 1 objects, found 0"),
        ((2, 0, 2), "video val/a, frame 2: expected values of 2 objects, found 1"),
    ],
)
def test_counts_that_differ(write, counts, message):
    path = write(ROWS)
    with pytest.raises(UserError) as error:
        read_motion_file(path, records(*counts))
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf])
def test_values_that_cannot_be(write, value):
    path = write([*ROWS[:2], np.array([[value]])])
    with pytest.raises(UserError, match="frame 2: expected values from 0 to 1, found"):
        read_motion_file(path, records(2, 0, 1))


def test_a_row_of_something_else(write):
    with pytest.raises(UserError, match="frame 2: expected numbers, found"):
        read_motion_file(write([*ROWS[:2], "fast"]), records(2, 0, 1))


def test_another_variable_or_shape(tmp_path, write):
    with pytest.raises(UserError, match="expected motion_iou, a cell array of one column, .*none"):
        read_motion_file(write(ROWS, "ious"), records(2, 0, 1))
    savemat(tmp_path / "motion.mat", {"motion_iou": np.zeros((3, 1))})
    with pytest.raises(UserError, match=r"found an array of float64, \(3, 1\)"):
        read_motion_file(str(tmp_path / "motion.mat"), records(2, 0, 1))


def test_files_that_cannot_be_read(tmp_path, write):
    with pytest.raises(UserError, match=r"none.mat: expected a MATLAB file, found No such file"):
        read_motion_file(str(tmp_path / "none.mat"), records(1))
    with pytest.raises(UserError, match=f"{tmp_path}: expected a MATLAB file"):
        read_motion_file(str(tmp_path), records(1))
    whole = write(ROWS)
    data = (tmp_path / "motion.mat").read_bytes()
    for damaged in (b"", b"nothing of that kind", data[:-20], data[: len(data) // 2], data[:140]):
        (tmp_path / "motion.mat").write_bytes(damaged)
        with pytest.raises(UserError, match="motion.mat: expected a MATLAB file|motion_iou"):
            read_motion_file(whole, records(2, 0, 1))
