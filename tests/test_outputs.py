"""Files are whole or not there, and on the disk before they have their name; JSON item by item."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.outputs import (
    atomic_folder,
    atomic_output,
    clear_leftovers,
    ensure_writable,
    ensure_writable_folder,
    write_json,
    write_json_list,
    write_text,
)


@pytest.mark.parametrize("items", [[], [1], [{"a": [1.5]}, [], "x]}"]])
@pytest.mark.parametrize("about", [{}, {"name": "ü", "sizes": np.arange(2)}])
def test_item_by_item_is_the_same_as_at_once(tmp_path, about, items):
    write_json(tmp_path / "once.json", {**about, "items": items})
    write_json_list(tmp_path / "list.json", about, "items", iter(items))
    assert (tmp_path / "list.json").read_bytes() == (tmp_path / "once.json").read_bytes()


def test_what_goes_wrong_leaves_the_older_file(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("older")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_list(path, {}, "items", [1, float("nan")])
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError, match="existing folder"):
        write_json_list(tmp_path / "no/list.json", {}, "items", [])


def test_content_is_on_the_disk_before_its_name_and_the_name_before_it_returns(
    tmp_path, monkeypatch
):
    done, (fsync, replace) = [], (os.fsync, os.replace)

    def spy_fsync(descriptor):
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append(("synced", "folder" if name == tmp_path.name else "file"))
        fsync(descriptor)

    def spy_replace(source, target):
        assert source.read_text() == "text"
        done.append(("named", target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    write_text(tmp_path / "a.txt", "text")
    assert done == [("synced", "file"), ("named", "a.txt"), ("synced", "folder")]


def test_a_file_system_that_cannot_sync_folders_is_no_error_and_a_bad_disk_is(
    tmp_path, monkeypatch
):
    for number, refused in ((22, False), (5, True)):

        def fail(descriptor, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        path = tmp_path / f"{number}.txt"
        if refused:
            with pytest.raises(UserError, match=f"{path}: cannot be written: Input/output error"):
                write_text(path, "text")
            assert not path.exists()
        else:
            write_text(path, "text")
            assert path.read_text() == "text"
    assert len(list(tmp_path.iterdir())) == 1


def test_leftovers_are_those_that_a_killed_writer_leaves(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_output(tmp_path / "kept.pth") as temporary:
        temporary.write_text("half")
        (tmp_path / "copy").write_text("")
        os.link(temporary, tmp_path / f"{temporary.name}.linked")
        left = temporary.name
        raise ZeroDivisionError
    os.rename(tmp_path / f"{left}.linked", tmp_path / left)  # as if it had been killed
    assert clear_leftovers(tmp_path, "other") == []
    assert clear_leftovers(tmp_path, "k.*") == [tmp_path / left]
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]
    assert clear_leftovers(tmp_path / "absent", ".*") == []


def test_output_folder_is_refused_before_any_work(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for place in (tmp_path / "none" / "out.mp4", file / "out.mp4", file / "deep" / "out.mp4"):
        for refuse in (ensure_writable, lambda p: write_json(p, 1)):
            with pytest.raises(UserError, match=r"out\.mp4: (expected an existing|cannot be)"):
                refuse(place)


def test_folder_device_and_overlong_name_are_refused(tmp_path):
    for place in (tmp_path, Path("/dev/null"), tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match="expected a file to write|cannot be written"):
            ensure_writable(place)


def test_json_round_trip_with_numpy_values(tmp_path):
    data = {"boxes": np.eye(2), "score": np.float32(0.5), "id": np.int64(3), "name": "façade"}
    write_json(tmp_path / "out.json", data)
    read = json.loads((tmp_path / "out.json").read_text())
    assert read == {"boxes": [[1, 0], [0, 1]], "score": 0.5, "id": 3, "name": "façade"}
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("data", [float("nan"), np.array([np.inf]), {"a": object()}])
def test_json_that_would_not_be_json_leaves_the_old_file(tmp_path, data):
    write_json(tmp_path / "out.json", "old")
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "out.json", data)
    assert [path.read_text() for path in tmp_path.iterdir()] == ['"old"\n']


def test_output_follows_a_link_and_has_ordinary_rights(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "elsewhere" / "real.json")
    write_json(tmp_path / "link.json", 1)
    assert (tmp_path / "link.json").is_symlink()
    (tmp_path / "plain").write_text("")
    written = (tmp_path / "elsewhere" / "real.json").stat().st_mode
    assert written == (tmp_path / "plain").stat().st_mode


def test_atomic_output_without_a_file_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_the_users_error_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UserError, match=r"out\.json: cannot be written: File too large"):
            write_json(tmp_path / "out.json", list(range(10_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


# Folders


def test_a_folder_appears_whole_in_place_of_an_older_one(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "out") as folder:
            (folder / content).write_text(content)
            before = sorted(path.name for path in tmp_path.glob("out/*"))
            assert before == ([] if content == "old" else ["old"])
        assert [path.name for path in tmp_path.rglob("*")] == ["out", content]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_folder_that_fails_leaves_the_older_one(tmp_path, error):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(error), atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
        raise error
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_a_folder_that_cannot_be_renamed_leaves_the_older_one(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    rename = Path.rename

    def fail(self, target):
        if not self.name.endswith((".old", "out")):
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space"), atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_a_place_that_cannot_become_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for place, found in (("file", "a file or a device"), ("no/out", "none"), ("file/out", "none")):
        with pytest.raises(UserError, match=f"expected .*folder.*, found {found}"):
            ensure_writable_folder(tmp_path / place)
    assert ensure_writable_folder(tmp_path / "out") == tmp_path / "out"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
