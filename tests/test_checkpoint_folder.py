"""Which checkpoint of a folder is gone on from: the newest whole one, and what is said about it."""

import logging
from pathlib import Path

import pytest
import torch

from d2_plugtrack.checkpoint_file import write_checkpoint
from d2_plugtrack.checkpoint_folder import clear_unfinished, find_checkpoint
from d2_plugtrack.errors import UserError


def write(folder: Path, *iterations: int, last: str | None = None) -> None:
    for iteration in iterations:
        content = {"model": {"w": torch.full((50,), float(iteration))}, "iteration": iteration}
        write_checkpoint(folder / f"model_{iteration:07d}.pth", content)
    if last is not None:
        (folder / "last_checkpoint").write_text(last)


def final(folder: Path, iteration: int) -> None:
    write_checkpoint(folder / "model_final.pth", {"model": {}, "iteration": iteration})


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@pytest.fixture
def found(tmp_path, caplog):
    """The name of what is found in the folder, and the one warning, or none."""

    def found() -> tuple[str, str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            path = find_checkpoint(tmp_path)
        assert len(caplog.messages) <= 1
        return path and path.name, "".join(caplog.messages)

    return found


def test_nothing_is_found_in_nothing(tmp_path, found):
    assert found() == (None, "")
    assert find_checkpoint(tmp_path / "absent") is None
    (tmp_path / "metrics.json").write_text("{}")
    write_checkpoint(tmp_path / "model_final.pth", {"model": {}})  # weights, and no checkpoint
    assert found() == (None, "")


def test_what_the_last_one_names_is_taken_without_a_word(tmp_path, found):
    write(tmp_path, 9, 19, 29, last="model_0000019.pth\n")
    assert found() == ("model_0000019.pth", "")
    final(tmp_path, 39)
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    assert found() == ("model_final.pth", "")


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink])
def test_a_damaged_one_gives_way_to_the_one_before_it(tmp_path, found, damage):
    write(tmp_path, 9, 100, 19, 29, last="model_0000029.pth")  # 100 is of an earlier training
    damage(tmp_path / "model_0000029.pth")
    name, warning = found()
    assert name == "model_0000019.pth"
    reason = {flip_a_bit: "checksum", truncate: "", Path.unlink: "no such file"}[damage]
    assert warning.startswith(f"{tmp_path}/model_0000029.pth: ") and reason in warning
    assert warning.endswith(f"; going on from {tmp_path}/model_0000019.pth")
    damage(tmp_path / "model_0000019.pth")
    assert found()[0] == "model_0000009.pth"
    damage(tmp_path / "model_0000009.pth")
    with pytest.raises(UserError, match="29.pth: .*no checkpoint is left to go on from$"):
        found()


@pytest.mark.parametrize(("last", "said"), [(None, "no such file"), ("", "it is empty")])
def test_without_a_last_one_the_newest_is_taken(tmp_path, found, last, said):
    write(tmp_path, 9, 29, 19, last=last)
    assert found() == (
        "model_0000029.pth",
        f"{tmp_path}/last_checkpoint: {said}; going on from {tmp_path}/model_0000029.pth",
    )
    final(tmp_path, 25)  # of fewer iterations, and then it was trained further
    assert found()[0] == "model_0000029.pth"
    final(tmp_path, 39)
    assert found()[0] == "model_final.pth"
    truncate(tmp_path / "model_final.pth")
    name, warning = found()
    assert name == "model_0000029.pth" and "model_final.pth: " in warning


def test_a_last_one_and_nothing_whole_is_an_error(tmp_path, found):
    for last in ("", "model_0000009.pth"):
        write(tmp_path, last=last)
        with pytest.raises(UserError, match="last_checkpoint|model_0000009.pth: no such file"):
            found()
    (tmp_path / "last_checkpoint").unlink()
    (tmp_path / "model_0000009.pth").write_bytes(b"hello")
    with pytest.raises(UserError, match="last_checkpoint: no such file; .*09.pth: .*no checkpoint"):
        found()


def test_weights_alone_are_not_gone_on_from(tmp_path, found):
    write(tmp_path, 9, last="model_final.pth")
    write_checkpoint(tmp_path / "model_final.pth", {"model": {}})
    name, warning = found()
    assert name == "model_0000009.pth" and "model_final.pth: it is no checkpoint" in warning


def test_leftovers_of_killed_writers_are_cleared_and_nothing_else(tmp_path):
    kept = ["model_final.pth", ".other.0123abcd.part", ".model_final.part", "a.part", ".hidden"]
    gone = [
        ".model_0000009.0123abcd.part",
        ".model_final.00000000.part",
        ".last_checkpoint.0123abcd.part",
    ]
    for name in (*kept, *gone):
        (tmp_path / name).write_text("x")
    clear_unfinished(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
    clear_unfinished(tmp_path / "absent")
