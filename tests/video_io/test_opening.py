"""What a name means: a file or a folder first, then an address, a camera, a pattern."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from d2_plugtrack.errors import UserError
from d2_plugtrack.video_io import VideoWriter, is_live, open_frames, opening
from tests.video_io.clips import COLORS, moving_frames, save, solid


def save_images(folder, names):
    """An image each, whose red value is its place in the list."""
    for index, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), (index, 0, 0), np.uint8)).save(path)


def reds(source):
    return [int(frame[0, 0, 2]) for frame in source]


def test_a_pattern_gives_its_images_in_natural_order(tmp_path):
    save_images(tmp_path / "frames", ["f1.png", "f2.png", "f10.png", "g1.png"])
    (tmp_path / "frames" / "f3.txt").write_text("no image")
    source = open_frames(str(tmp_path / "frames" / "f*"))
    assert (source.name, source.num_frames, reds(source)) == ("frames", 3, [0, 1, 2])
    assert reds(open_frames(tmp_path / "frames" / "[fg]1.png")) == [0, 3]
    assert reds(open_frames(str(tmp_path / "frames" / "f?.png"))) == [0, 1]


def test_a_pattern_goes_through_folders(tmp_path):
    save_images(tmp_path / "clips", ["part2/5.png", "part2/40.png", "part10/1.png"])
    for pattern in ("clips/*/*.png", "clips/**/*.png", "clips/part*/*"):
        source = open_frames(str(tmp_path / pattern))
        assert (source.name, reds(source)) == ("clips", [0, 1, 2])


def test_a_pattern_without_a_folder_is_named_after_the_place(tmp_path, monkeypatch):
    save_images(tmp_path / "here", ["1.png"])
    monkeypatch.chdir(tmp_path / "here")
    assert open_frames("*.png").name == "here"


def test_a_pattern_without_images_says_so(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError, match=r"\*\.txt: expected images .*found none among 1 matches"):
        open_frames(str(tmp_path / "*.txt"))
    with pytest.raises(UserError, match=r"\*\.png: expected images .*found none among 0 matches"):
        open_frames(str(tmp_path / "*.png"))


def test_videos_in_a_folder_or_a_pattern_are_pointed_out(tmp_path):
    for name in ("a.mp4", "b.MKV", "c.txt"):
        (tmp_path / name).write_text("")
    hint = "found none among 3 entries; its 2 videos are opened one by one, by name"
    with pytest.raises(UserError, match=hint):
        open_frames(tmp_path)
    with pytest.raises(UserError, match="among 1 matches; its 1 videos are opened one by one"):
        open_frames(str(tmp_path / "*.mp4"))


def test_a_file_or_folder_comes_before_what_its_name_may_mean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_images(
        tmp_path, ["0/1.png", "frames[1]/1.png", "a*/1.png", "ab/1.png", "b?.png", "bc.png"]
    )
    for name in ("0", "frames[1]", "a*", "b?.png"):
        assert open_frames(name).num_frames == 1
        assert open_frames(Path(name)).name == name.removesuffix(".png")
    save(tmp_path / "clip.mp4", moving_frames(2))
    for name in ("1", "rtsp:clip.mp4", "concat:a|b.mp4", "file:x.mp4", "%03d.mp4", "-i.mp4"):
        (tmp_path / "clip.mp4").rename(tmp_path / name)
        assert len(list(open_frames(name))) == 2, name
        (tmp_path / name).rename(tmp_path / "clip.mp4")


def test_a_folder_named_like_an_address_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_images(tmp_path, ["http:/127.0.0.1/1.png"])
    assert open_frames("http://127.0.0.1").num_frames == 1


def test_cameras_and_addresses_are_live_unless_a_file_has_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all(map(is_live, (0, "0", "12", "rtsp://127.0.0.1/x", "http://127.0.0.1/a.mp4")))
    assert not any(map(is_live, ("nowhere.mp4", "99999", "*.png", Path("frames"))))
    save_images(tmp_path, ["0/1.png"])
    assert not is_live("0")


def test_the_device_of_a_camera_is_the_camera(tmp_path, monkeypatch):
    numbers = []

    def camera(number, *_):
        numbers.append(number)
        return SimpleNamespace(frame_rate=25)

    monkeypatch.setattr(opening, "CameraSource", camera)
    (tmp_path / "by-id").symlink_to("/dev/video12")
    for name in ("/dev/video0", Path("/dev/video3"), tmp_path / "by-id", str(tmp_path / "by-id")):
        open_frames(name)
        assert is_live(name)
    assert numbers == [0, 3, 12, 12]
    assert not is_live("/dev/null") and not is_live("/dev/video")


def test_a_rate_that_no_video_can_have_is_refused_before_it_is_written(tmp_path):
    save_images(tmp_path / "frames", [f"{i}.png" for i in range(3)])
    with pytest.raises(
        UserError, match=r"frames: expected default_frame_rate.* stride .*found 0.01 by 20"
    ):
        open_frames(tmp_path / "frames", default_frame_rate=0.01, stride=20)
    assert open_frames(tmp_path / "frames", default_frame_rate=0.01, stride=9).num_frames == 1


def test_a_camera_that_is_not_there_is_one_line(capfd):
    with pytest.raises(UserError, match="camera 99: expected a camera of this number, found none"):
        open_frames(99)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["nowhere.mp4", "no/such/folder", "99999", "C:clip.mp4", ""])
def test_nothing_there_is_named(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"{name}: expected a video file.*found nothing"):
        open_frames(name)


def test_a_link_to_nothing_and_a_pipe_are_refused(tmp_path):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nothing.mp4")
    with pytest.raises(
        UserError, match=r"link\.mp4: expected a video file .*, found something else"
    ):
        open_frames(tmp_path / "link.mp4")
    with pytest.raises(UserError, match="null: expected a video file .*, found something else"):
        open_frames("/dev/null")


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_impossible_frame_rate_is_refused(tmp_path, rate):
    for use in (open_frames, lambda path, rate: VideoWriter(path / "out.mp4", rate)):
        with pytest.raises(UserError, match=f"frames per second, found {rate}"):
            use(tmp_path, rate)


def test_a_file_says_its_own_rate_and_images_have_the_given_one(tmp_path):
    save(tmp_path / "clip.mp4", [solid(COLORS[0])] * 3, 10)
    save_images(tmp_path / "frames", ["1.png"])
    assert open_frames(tmp_path / "clip.mp4", 30).frame_rate == 10
    assert open_frames(tmp_path / "frames", 30).frame_rate == 30
