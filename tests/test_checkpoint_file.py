"""Checkpoint files: any torch.load reads them, and no damage to one goes unseen."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from d2_plugtrack.checkpoint_file import (
    DamagedFile,
    check_checksum,
    read_checkpoint,
    write_checkpoint,
)
from d2_plugtrack.errors import UserError

CONTENT = {"model": {"w": torch.arange(3000.0)}, "iteration": 7, "optimizer": {"lr": [0.1]}}


@pytest.fixture
def path(tmp_path) -> Path:
    write_checkpoint(tmp_path / "a.pth", CONTENT)
    return tmp_path / "a.pth"


def assert_is_content(found: dict) -> None:
    assert found.keys() == CONTENT.keys() and found["iteration"] == 7
    assert torch.equal(found["model"]["w"], CONTENT["model"]["w"])


@pytest.mark.parametrize("mmap", [False, True])
def test_any_torch_load_reads_it(path, mmap):
    assert check_checksum(path)
    assert_is_content(read_checkpoint(path, mmap=mmap))
    assert_is_content(torch.load(path, weights_only=True, mmap=mmap))
    assert_is_content(torch.load(io.BytesIO(path.read_bytes()), weights_only=True))
    assert list(path.parent.iterdir()) == [path]


def test_the_checksum_is_that_of_the_file_as_torch_writes_it(path):
    plain = io.BytesIO()
    torch.save(CONTENT, plain)
    whole, comment = path.read_bytes(), zipfile.ZipFile(path).comment
    without = whole[: -len(comment) - 2] + b"\0\0"
    assert comment == b"sha256:" + hashlib.sha256(without).hexdigest().encode()
    assert_is_content(torch.load(io.BytesIO(without), weights_only=True))
    assert len(without) == len(plain.getvalue())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_another_program_is_read_without_a_check(path, zipped):
    torch.save(CONTENT, path, _use_new_zipfile_serialization=zipped)
    assert not check_checksum(path)
    for mmap in (False, True):
        assert_is_content(read_checkpoint(path, mmap=mmap))


# Every bit of the last bytes, where the checksum is, and bits all over the file.
def test_no_flipped_bit_goes_unseen(path):
    whole = path.read_bytes()
    places = [*range(len(whole) - 120, len(whole)), *range(0, len(whole), 211)]
    for place in places:
        for bit in range(8) if place > len(whole) - 120 else (place % 8,):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(DamagedFile):
                read_checkpoint(path)
    path.write_bytes(whole)
    assert_is_content(read_checkpoint(path))


def test_no_truncation_goes_unseen(path):
    whole = path.read_bytes()
    for length in [
        0,
        1,
        21,
        22,
        93,
        *range(100, len(whole), 997),
        *range(len(whole) - 95, len(whole)),
    ]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFile):
            read_checkpoint(path)


def test_two_files_behind_one_another_are_no_file(path):
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(DamagedFile, match="checksum is not that of its content"):
        read_checkpoint(path)


class Code:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("mmap", [False, True])
def test_nothing_is_executed_and_the_name_is_said(path, mmap):
    write_checkpoint(path, {**CONTENT, "extra": Code(path.parent / "made")})
    with pytest.raises(DamagedFile, match="asks for posix.mkdir, .*: not executed"):
        read_checkpoint(path, mmap=mmap)
    assert not (path.parent / "made").exists()
    torch.load(path, weights_only=False)
    assert (path.parent / "made").is_dir()  # it would have been


def test_no_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "none.pth")


def test_a_full_disk_is_named_and_leaves_the_older_file(path):
    code = """if True:
        import resource, sys, torch
        from d2_plugtrack.checkpoint_file import write_checkpoint
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        write_checkpoint(sys.argv[1], {"model": torch.zeros(100_000)})
    """
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert result.stderr.splitlines()[-1].endswith(
        f"UserError: {path}: cannot be written: File too large"
    )
    assert_is_content(read_checkpoint(path))
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match="no/a.pth: cannot be written: No such file"):
        write_checkpoint(tmp_path / "no/a.pth", CONTENT)
