"""Arrays come back as they went in, from memory and from disk, and nothing is left on the disk."""

import errno
import os
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from d2_plugtrack.core.spool import Spool, Spooling


def arrays(seed):
    """Of several types and sizes, some without anything in them."""
    rng = np.random.default_rng(seed)
    shapes = [(3, 4), (0, 4), (5,), (4, 0), (2, 3, 2), (1, 1)]
    types = [np.float32, np.float64, np.int32, np.float16, np.int64, np.uint8]
    return [(100 * rng.random(s)).astype(t) for s, t in zip(shapes, types, strict=True)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [None, 0, 60, 10_000])
def test_arrays_come_back(tmp_path, seed, limit):
    spool = Spool(None if limit is None else Spooling(limit, tmp_path))
    given = arrays(seed)
    numbers = [spool.append(array) for array in given]
    for number, array in zip(numbers, given, strict=True):
        for rows in ((0, None), (0, 1), (1, 3), (2, 2)):
            found = spool.read(number, *rows)
            np.testing.assert_array_equal(found, array[slice(*rows)])
            assert found.dtype == array.dtype
    on_disk = limit in (0, 60)
    assert spool.bytes_on_disk == (sum(a.nbytes for a in given) if on_disk else 0)


@pytest.mark.parametrize("limit", [0, 100, 10_000])
def test_rows_are_written_in_their_place(tmp_path, limit):
    spool = Spool(Spooling(limit, tmp_path))
    first, second = spool.append(np.zeros((3, 4))), spool.reserve((2, 2), np.int32)
    spool.append(np.full(3, 7.0))
    spool.write(first, 1, np.ones((1, 4), np.float32))
    spool.write(second, 0, np.array([[1, 2], [3, 4]]))
    assert spool.read(first).tolist() == [[0] * 4, [1] * 4, [0] * 4]
    assert spool.read(second).tolist() == [[1, 2], [3, 4]]
    assert spool.read(second).dtype == np.int32


def test_what_was_in_memory_goes_to_disk_with_the_rest(tmp_path):
    spool = Spool(Spooling(memory_limit=80, folder=tmp_path))
    spool.append(np.arange(10.0))  # 80 bytes: just as many as may be
    assert spool.bytes_on_disk == 0
    spool.append(np.zeros(1, np.uint8))
    assert spool.bytes_on_disk == 81
    assert spool.read(0).tolist() == list(range(10))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [None, 700, 10**6])
def test_arrays_of_several_chunks(tmp_path, monkeypatch, seed, limit):
    monkeypatch.setattr("d2_plugtrack.core.spool._CHUNK", 200)
    rng = np.random.default_rng(seed)
    spool = Spool(None if limit is None else Spooling(limit, tmp_path))
    given = [rng.random(rng.integers(0, 40)).astype("fd"[i % 2]) for i in range(20)]
    for array in given:  # up to 312 bytes, more than a chunk
        spool.append(array)
    for number, array in enumerate(given):
        np.testing.assert_array_equal(spool.read(number), array)
        spool.write(number, 0, -array)
    for number, array in enumerate(given):
        np.testing.assert_array_equal(spool.read(number), -array)
    assert spool.bytes_on_disk == (sum(a.nbytes for a in given) if limit == 700 else 0)


def test_a_change_of_what_was_given_changes_nothing(tmp_path):
    for limit in (0, 1000):
        spool, array = Spool(Spooling(limit, tmp_path)), np.zeros(3)
        number = spool.append(array)
        array += 1
        assert spool.read(number).tolist() == [0, 0, 0]


def test_the_folder_is_made_when_it_is_needed_and_no_file_has_a_name(tmp_path):
    folder = tmp_path / "a" / "b"
    spool = Spool(Spooling(100, folder))
    spool.append(np.zeros(10))
    assert not folder.exists()
    spool.append(np.zeros(10))
    assert list(folder.iterdir()) == []


def test_the_file_is_closed_with_the_spool(tmp_path):
    spool = Spool(Spooling(0, tmp_path))
    spool.append(np.zeros(10))
    descriptor = spool._file.fileno()
    os.fstat(descriptor)
    del spool
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_kill_leaves_nothing(tmp_path):
    code = (
        "import os, sys, numpy as np\n"
        "from d2_plugtrack.core.spool import Spool, Spooling\n"
        "spool = Spool(Spooling(0, sys.argv[1]))\n"
        "spool.append(np.zeros(1000))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "f"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list((tmp_path / "f").iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("limit", [0, 100])
def test_a_full_disk_names_the_folder(tmp_path, monkeypatch, limit):
    def full(dir, buffering):
        return open("/dev/full", "r+b", buffering=buffering)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    spool = Spool(Spooling(limit, tmp_path))
    with pytest.raises(OSError, match="No space left on device") as caught:
        for _ in range(2):
            spool.append(np.zeros(10))
    assert caught.value.filename == str(tmp_path) and caught.value.errno == errno.ENOSPC


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:
        Spool(Spooling(0, tmp_path / "file" / "out")).append(np.zeros(1))
    assert caught.value.filename == str(tmp_path / "file" / "out")


def test_files_that_take_and_give_a_part_at_a_time(tmp_path, monkeypatch):
    class Halting:
        """A file of which a call moves at most five bytes."""

        def __init__(self, dir, buffering):
            self.file = (dir / "file").open("w+b", buffering)  # noqa: SIM115
            self.seek, self.close = self.file.seek, self.file.close

        def write(self, rest):
            return self.file.write(rest[:5])

        def readinto(self, rest):
            return self.file.readinto(rest[:5])

    monkeypatch.setattr(tempfile, "TemporaryFile", Halting)
    spool = Spool(Spooling(0, tmp_path))
    numbers = [spool.append(np.arange(7.0) + i) for i in range(2)]
    assert spool.read(numbers[0]).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert spool.read(numbers[1], 2, 4).tolist() == [3, 4]
