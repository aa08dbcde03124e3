"""Words that mean inputs: a folder or a pattern of videos is its videos, and nobody waits twice."""

import os

import pytest

from d2_plugtrack.commands.video_inputs import expand_inputs, places_of
from d2_plugtrack.errors import UserError


def make(folder, *names) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "clips/b10.mp4", "clips/b2.MOV", "clips/notes.txt", "clips/.hidden.mp4")
    make(tmp_path, "clips/x.mp4/inner.mp4", "frames/0.jpg", "frames/preview.mp4", "texts/a.txt")
    (tmp_path / "empty").mkdir()


@pytest.mark.parametrize("name", ["clips", "clips/", "clips/b*"])
def test_a_folder_or_a_pattern_of_videos_is_its_videos_in_natural_order(name):
    assert expand_inputs(["one.mp4", name, "7"]) == [
        "one.mp4",
        "clips/b2.MOV",
        "clips/b10.mp4",
        "7",
    ]


def test_what_means_images_or_nothing_stays_as_it_is():
    names = ["frames", "frames/*.*", "frames/*.jpg", "texts", "empty", "no*.mp4", "no", "r://a/*b"]
    assert expand_inputs(names) == names
    assert expand_inputs([]) == []


def test_a_file_of_a_patterns_name_is_that_file(tmp_path):
    make(tmp_path, "clips/b[2].mp4")
    assert expand_inputs(["clips/b[2].mp4"]) == ["clips/b[2].mp4"]


def test_one_camera_or_stream_at_most():
    assert expand_inputs(["7", "clips/b10.mp4"]) == ["7", "clips/b10.mp4"]
    with pytest.raises(UserError, match="--input: expected one camera .*, found 2: 7, rtsp://a/b"):
        expand_inputs(["7", "clips/b10.mp4", "rtsp://me:secret@a/b"])


def test_places_are_there_whether_they_can_be_opened_or_not(tmp_path):
    os.symlink("gone", tmp_path / "broken.mp4")
    found = {name: [str(place) for place in places_of(name)] for name in ("clips", "broken.mp4")}
    assert found == {"clips": ["clips"], "broken.mp4": ["broken.mp4"]}
    assert [str(place) for place in places_of("texts/*")] == ["texts/a.txt"]
    for name in ("no", "no*", "7", "rtsp://a/" + 300 * "b"):
        assert places_of(name) == []
