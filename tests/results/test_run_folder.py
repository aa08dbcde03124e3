"""A run's folder: what it says it is of, what is kept of it, and what is told about it."""

import json
import logging
import os
import signal

import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.results.run_folder import RunDescription, RunFolder, begin_run, folder_of, locked
from tests.results.saved_runs import bits_of, describe, save_run, tracked_video, write_video

VIDEOS = {
    "val/ILSVRC2015_val_00000000": tracked_video(0, 5),
    "/data/my set.json:3": tracked_video(1, 1),
    7: tracked_video(2, 70),
    "../../..": tracked_video(3, 2),
    "Ü" * 300: tracked_video(4, 2),
}


def names_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- names --------------------------------------------------------------------------------------


def test_a_dataset_has_a_folder_of_its_own(tmp_path):
    assert folder_of(tmp_path, "imagenet_vid_val") == tmp_path / "inference/imagenet_vid_val"
    names = [
        "a.json",
        "x/a.json",
        "y/a.json",
        "/x/a.json",
        "a json",
        "a_json",
        "..",
        ".",
        ".a",
        "ü",
    ]
    names += ["x" * 200, "x" * 201]
    folders = [folder_of(tmp_path, name) for name in names]
    assert len(set(folders)) == len(names)
    for folder in folders:
        assert folder.parent == tmp_path / "inference"
        assert folder.name.isascii() and len(folder.name) < 100 and not folder.name.startswith(".")
        folder.mkdir(parents=True)
    assert folder_of(tmp_path, "x/a.json").name.startswith("a.json-")


def test_a_video_has_a_file_of_its_own(tmp_path):
    run = save_run(tmp_path, VIDEOS)
    files = [run.path(video) for video in VIDEOS]
    assert files[0].name == "00000_val_ILSVRC2015_val_00000000.npz"
    assert files[2].name == "00002_7.npz"
    assert all(f.parent == tmp_path and f.name.isascii() and len(f.name) < 100 for f in files)
    assert names_in(tmp_path) == sorted([*(f.name for f in files), "run.json"])


def test_ids_that_look_alike_have_files_of_their_own(tmp_path):
    alike = {"a b": [], "a/b": [], "a_b": [], "1": [], 1: []}
    run, _ = begin_run(tmp_path, describe(alike))
    assert len({run.path(video) for video in alike}) == len(alike)


# ---- what it is of ------------------------------------------------------------------------------


def test_a_folder_says_what_it_is_of(tmp_path):
    save_run(tmp_path, VIDEOS)
    run = RunFolder(tmp_path)
    assert run.dataset == "set" and run.config == "A: 1\n"
    assert run.description.fingerprint == {"weights": "w", "settings": "s"}
    assert {v: list(f) for v, f in run.frames.items()} == {
        v: [*range(len(results))] for v, results in VIDEOS.items()
    }
    assert list(run.frames) == list(VIDEOS) == run.finished()  # ints stay ints
    assert run.results_file == tmp_path / "results.json"


@pytest.mark.parametrize("frames", [[], [0], [5, 6, 7], [0, 2, 4], [3, 9, 10, 11, 40]])
def test_frame_numbers_with_gaps(tmp_path, frames):
    begin_run(tmp_path, RunDescription("set", {}, "", {"a": frames}))
    assert list(RunFolder(tmp_path).frames["a"]) == frames


def test_no_videos(tmp_path):
    assert begin_run(tmp_path, describe({}))[1] == []
    assert RunFolder(tmp_path).finished() == []


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(UserError, match="run.json: expected the description of a run, found no f"):
        RunFolder(tmp_path)
    texts = {
        "{": "expected JSON",
        "[]": "expected the description",
        '{"format": 1}': "found KeyError",
        '{"format": 99}': "expected format 1, found 99",
        '{"format": 1, "dataset": "", "fingerprint": {}, "config": "", "videos": [3]}': "TypeError",
    }
    for text, said in texts.items():
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(UserError, match=f"{tmp_path}/run.json: .*{said}"):
            RunFolder(tmp_path)


# ---- reading ------------------------------------------------------------------------------------


def test_a_video_is_read_as_it_was_written(tmp_path):
    run = save_run(tmp_path, VIDEOS)
    for video, results in VIDEOS.items():
        found = list(run.read(video))
        assert [index for index, _ in found] == list(range(len(results)))
        assert [bits_of(r) for _, r in found] == [bits_of(r) for r in results]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([0, 1, 3], "frame 2 of video a/b is missing"),
        ([1, 2, 3], "frame 0 of video a/b is missing"),
        ([0, 1, 2], "frame 3 of video a/b is missing"),
        ([], "frame 0 of video a/b is missing"),
        ([0, 1, 2, 3, 4], "frame 4 of video a/b is not of it"),
    ],
)
def test_missing_and_strange_frames_are_named(tmp_path, written, said):
    run, _ = begin_run(tmp_path, describe({"a/b": [None] * 4}))
    write_video(run.writer("a/b"), tracked_video(0, len(written)), written)
    with pytest.raises(UserError, match=f"^{tmp_path}/00000_a_b.npz: {said}$"):
        list(run.read("a/b"))


def test_results_of_another_run_are_not_read(tmp_path, caplog):
    """Two runs that write to one folder at the same time, the first without knowing it."""
    first = save_run(tmp_path, VIDEOS)
    other = describe(VIDEOS, fingerprint={"weights": "other", "settings": "s"})
    second, _ = begin_run(tmp_path, other)
    write_video(first.writer(7), VIDEOS[7], range(70))
    with pytest.raises(UserError, match="00002_7.npz: expected results of this folder's run"):
        list(second.read(7))
    assert begin_run(tmp_path, other)[1] == []
    assert "found another's; the video is done again" in caplog.text


# ---- going on -----------------------------------------------------------------------------------


def test_a_run_of_the_same_goes_on(tmp_path, caplog):
    save_run(tmp_path, VIDEOS)
    for video in ("val/ILSVRC2015_val_00000000", 7):
        RunFolder(tmp_path).path(video).unlink()
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*.npz")}
    with caplog.at_level(logging.INFO, "d2_plugtrack"):
        _, finished = begin_run(tmp_path, describe(VIDEOS, config="another text"))
    assert finished == [v for v in VIDEOS if v not in ("val/ILSVRC2015_val_00000000", 7)]
    assert "results of 3 of 5 videos (5 of 80 frames) are there" in caplog.text
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.npz")} == kept
    assert RunFolder(tmp_path).config == "another text"


def test_a_run_of_something_else_is_removed(tmp_path, caplog):
    save_run(tmp_path, VIDEOS)
    for name in ("results.json", "notes.txt", "mine.npz"):
        (tmp_path / name).write_text("{}")
    changed = {"weights": "other", "settings": "s", "code": "new"}
    _, finished = begin_run(tmp_path, describe(VIDEOS, fingerprint=changed))
    assert finished == []
    assert "results of 5 videos were of another run (other weights, code)" in caplog.text
    assert names_in(tmp_path) == ["mine.npz", "notes.txt", "run.json"]  # nothing but our own files


@pytest.mark.parametrize("text", [None, "{", '{"format": 0}'])
def test_videos_without_a_description_are_removed(tmp_path, caplog, text):
    save_run(tmp_path, VIDEOS)
    (tmp_path / "run.json").unlink()
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    assert begin_run(tmp_path, describe(VIDEOS))[1] == []
    assert "results of 5 videos were of another run" in caplog.text
    assert names_in(tmp_path) == ["run.json"]


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    run = save_run(tmp_path, VIDEOS)
    writer = run.writer(7)  # never finished
    writer.append(tracked_video(0, 1)[0], 0)
    assert len(list(tmp_path.glob(".*.part"))) == 1
    begin_run(tmp_path, describe(VIDEOS))
    assert list(tmp_path.glob(".*.part")) == []


def test_figures_of_the_evaluation_before_are_removed(tmp_path):
    run = save_run(tmp_path, VIDEOS)
    run.results_file.write_text("{}")
    begin_run(tmp_path, describe(VIDEOS))
    assert not run.results_file.exists()


@pytest.mark.parametrize("place", [0, 100, -1])
def test_damaged_videos_are_done_again(tmp_path, caplog, place):
    run = save_run(tmp_path, VIDEOS)
    data = bytearray(run.path(7).read_bytes())
    data[place] ^= 1
    run.path(7).write_bytes(data[:place] if place == -1 else data)
    _, finished = begin_run(tmp_path, describe(VIDEOS))
    assert finished == [video for video in VIDEOS if video != 7]
    assert not run.path(7).exists()
    assert f"{run.path(7)}: expected results of a video, found damage" in caplog.text
    assert "the video is done again" in caplog.text


def test_videos_with_too_few_frames_are_done_again(tmp_path, caplog):
    run = save_run(tmp_path, VIDEOS)
    write_video(run.writer(7), VIDEOS[7][:-1], range(69))
    assert 7 not in begin_run(tmp_path, describe(VIDEOS))[1]
    assert "frame 69 of video 7 is missing; the video is done again" in caplog.text


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"{tmp_path}/file/run: cannot be written: Not a directory"):
        begin_run(tmp_path / "file/run", describe(VIDEOS))


def test_run_json_is_strict_json(tmp_path):
    save_run(tmp_path, VIDEOS)
    assert json.loads((tmp_path / "run.json").read_text())["videos"][2] == {
        "id": 7,
        "frames": [[0, 70]],
    }


# ---- one evaluation at a time --------------------------------------------------------------------


def test_a_second_evaluation_in_a_folder_is_refused_while_the_first_is_at_work(tmp_path):
    folder = tmp_path / "inference" / "set"
    refused = pytest.raises(UserError, match=f"{folder}: expected to be the only evaluation")
    with locked(folder), refused, locked(folder):
        pass
    with locked(folder), locked(tmp_path / "inference" / "other"):
        assert list(folder.iterdir()) == []


def test_a_folder_is_free_again_after_an_error_and_for_those_that_forked_meanwhile(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        child = os.fork()
        if child == 0:
            signal.pause()
        raise ZeroDivisionError
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
