"""Outputs that cannot be written, are inputs, or are there already are refused before any work."""

from pathlib import Path

import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.video_jobs.output_paths import (
    OutputPaths,
    check_outputs,
    is_video_name,
    make_folders,
    refuse_shared,
)


def test_a_name_is_an_mp4_or_a_folder(tmp_path):
    assert is_video_name(Path("a.mp4")) and is_video_name(Path("a.MP4"))
    assert not is_video_name(Path("a")) and not is_video_name(Path("run.v2"))
    for name in ("a.avi", "a.mov", "a.MKV", "a.ts", "a.jpg"):
        with pytest.raises(UserError, match=f"{name}: expected a name ending in .mp4 or a folder"):
            is_video_name(Path(name))
    (tmp_path / "a.avi").mkdir()
    assert not is_video_name(tmp_path / "a.avi")


def test_outputs_are_not_shared(tmp_path):
    first, second = OutputPaths(tmp_path / "a.mp4"), OutputPaths(csv=tmp_path / "a.csv")
    refuse_shared([("one", first), ("two", second)])
    refuse_shared([])
    with pytest.raises(UserError, match="one and two would share it"):
        refuse_shared([("one", first), ("two", OutputPaths(tmp_path / "b/../a.mp4"))])
    with pytest.raises(UserError, match="would share it"):
        refuse_shared([("one", OutputPaths(mot=tmp_path / "a", csv=tmp_path / "a"))])


def test_a_folder_of_images_holds_no_other_output(tmp_path):
    images = OutputPaths(images=tmp_path / "out/clip", csv=tmp_path / "out/clip.csv")
    refuse_shared([("one", images), ("two", OutputPaths(csv=tmp_path / "out/b/c.csv"))])
    for inside in (
        images._replace(coco_vid=tmp_path / "out/clip/a.json"),
        images._replace(mot=tmp_path / "out/b/../clip/b/a.txt"),
    ):
        with pytest.raises(UserError, match="expected a place outside of .*out/clip"):
            refuse_shared([("one", inside)])
    with pytest.raises(UserError, match="expected a place outside of .*out/clip"):
        refuse_shared([("one", images), ("two", OutputPaths(tmp_path / "out/clip/b.mp4"))])


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_there_may_be_made_and_is_not_yet(tmp_path, overwrite):
    paths = OutputPaths(tmp_path / "x/a.mp4", tmp_path / "x/y/images", csv=tmp_path / "a.csv")
    check_outputs(paths, [tmp_path / "in.mp4"], overwrite)
    assert list(tmp_path.iterdir()) == []
    make_folders(paths)
    assert (tmp_path / "x/y").is_dir() and not (tmp_path / "x/y/images").exists()


def test_what_is_there_is_replaced_only_if_asked_for(tmp_path):
    (tmp_path / "a.mp4").write_text("older")
    (tmp_path / "images").mkdir()
    for paths in (OutputPaths(tmp_path / "a.mp4"), OutputPaths(images=tmp_path / "images")):
        with pytest.raises(UserError, match="is there already; --overwrite replaces it"):
            check_outputs(paths, [], overwrite=False)
        check_outputs(paths, [], overwrite=True)
    both = OutputPaths(tmp_path / "a.mp4", tmp_path / "images")
    check_outputs(both, [], False, both.given)
    with pytest.raises(UserError, match="images: is there already"):
        check_outputs(both, [], False, [both.video])
    (tmp_path / "images/mine.txt").write_text("of the user")
    with pytest.raises(UserError, match=r"mine\.txt"):
        check_outputs(OutputPaths(images=tmp_path / "images"), [], overwrite=True)


def test_an_input_is_never_replaced(tmp_path):
    clip, folder = tmp_path / "in/clip.mp4", tmp_path / "in/frames"
    folder.mkdir(parents=True)
    clip.write_text("a video")
    (tmp_path / "link.mp4").symlink_to(clip)
    (tmp_path / "hard.mp4").hardlink_to(clip)
    for name in ("in/clip.mp4", "in/frames/../clip.mp4", "link.mp4", "hard.mp4"):
        with pytest.raises(UserError, match="is the input"):
            check_outputs(OutputPaths(tmp_path / name), [clip], overwrite=True)
    for name in ("in/frames", "in"):  # the folder that is read, and one that holds it
        with pytest.raises(UserError, match="is the input"):
            check_outputs(OutputPaths(images=tmp_path / name), [folder], overwrite=True)


def test_places_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for paths in (
        OutputPaths(tmp_path / "file/a.mp4"),
        OutputPaths(images=tmp_path / "file"),
        OutputPaths(csv=tmp_path / "file/x/a.csv"),
    ):
        with pytest.raises(UserError, match="file"):
            check_outputs(paths, [], overwrite=True)
