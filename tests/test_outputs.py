"""Files are whole or not there, and on the disk before they have their name; JSON item by item."""

import os

import numpy as np
import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.outputs import (
    atomic_output,
    clear_leftovers,
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
