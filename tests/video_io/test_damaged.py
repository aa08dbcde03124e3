"""Damaged input gives what decodes, one warning, and counts; what is no video is named."""

import av
import numpy as np
import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.video_io import Losses, open_frames
from tests.video_io.clips import encode, noise_frames, save, truncate, warnings_of


@pytest.mark.parametrize(
    "name, content",
    [
        ("empty.mp4", b""),
        ("text.mp4", b"not a video\n" * 200),
        ("text.txt", b"not a video\n" * 200),
        ("text.jpg", b"not an image\n" * 200),
    ],
)
def test_file_that_is_no_video_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: expected .*found"):
        list(open_frames(tmp_path / name))


def test_sound_without_pictures_is_named(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = np.zeros((1, 1024), np.int16)
        sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(UserError, match=r"sound.wav: expected a video stream, found none \(WAV"):
        open_frames(path)


def test_headers_without_frames_are_named(tmp_path):
    path = save(tmp_path / "clip.mp4", noise_frames(5))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])
    with pytest.raises(UserError, match=r"clip.mp4: expected a video, found no frame"):
        open_frames(path)


def test_whole_video_gives_no_warning(tmp_path, caplog):
    path = save(tmp_path / "clip.mp4", noise_frames(10))
    assert warnings_of(open_frames(path), caplog) == ({10}, [])


def test_truncated_mp4_gives_its_beginning_and_one_warning(tmp_path, caplog):
    path = truncate(save(tmp_path / "clip.mp4", noise_frames(20)))
    source = open_frames(path)
    (count,), messages = warnings_of(source, caplog, passes=2)
    assert 5 <= count < 20
    assert len(messages) == 1
    assert f"clip.mp4 may be damaged: read {count} frames of 20" in messages[0]
    assert source.losses[:2] == (count, 20 - count) and str(source.losses) in messages[0]


def test_an_index_that_was_at_the_end_leaves_nothing(tmp_path):
    path = truncate(encode(tmp_path / "clip.mp4", noise_frames(20)), 0.8)
    with pytest.raises(UserError, match=r"clip\.mp4: expected a video, found one that fails"):
        open_frames(path)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.webm", "clip.ts", "clip.avi", "clip.flv"])
@pytest.mark.parametrize("share", [0.3, 0.77])
def test_a_cut_off_file_gives_its_beginning_and_a_warning(tmp_path, name, share, caplog):
    codec = "libvpx" if name.endswith("webm") else "libx264"
    frames = noise_frames(20, 48, 64)
    path = truncate(encode(tmp_path / name, frames, codec, g="4"), share)
    source = open_frames(path)
    (count,), (message,) = warnings_of(source, caplog)
    assert 2 <= count < 20
    assert source.losses.frames == count and source.losses and str(source.losses) in message
    if name.endswith(("mkv", "webm", "avi")):  # they say how long they were
        assert source.losses.missing == 20 - count


def test_damaged_pictures_are_counted(tmp_path, caplog):
    """H.264 hides broken parts of a picture; the decoder must be set up to tell."""
    slices = {"slices": "2", "preset": "veryfast", "bf": "0"}
    path = encode(tmp_path / "clip.mp4", noise_frames(20), **slices)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 50_000  # with two threads, one a slice, this goes unnoticed
    data[start : start + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(data)
    (count,), messages = warnings_of(open_frames(path), caplog)
    assert count == 20
    assert len(messages) == 1 and "1 decoded with errors" in messages[0]


@pytest.mark.parametrize("name", ["clip.ts", "clip.mp4"])
def test_truncated_streams_without_an_index_give_their_beginning(tmp_path, name):
    fragments = {"movflags": "frag_keyframe+empty_moov"} if name.endswith("mp4") else {}
    path = encode(tmp_path / name, noise_frames(20), "libx264", "yuv420p", fragments, g="4")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 5 <= len(list(open_frames(path))) < 20


def test_hole_in_the_middle_loses_little_and_is_counted(tmp_path, caplog):
    path = encode(tmp_path / "clip.ts", noise_frames(20), "libx264", "yuv420p", g="4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1880] = np.random.default_rng(0).bytes(1880)
    path.write_bytes(data)
    (count,), messages = warnings_of(open_frames(path), caplog)
    assert 18 <= count <= 20
    assert len(messages) == 1 and "0 did not decode, 1 decoded with errors" in messages[0]


def test_damage_outside_of_the_excerpt_is_not_told(tmp_path):
    path = encode(tmp_path / "clip.ts", noise_frames(40), "libx264", "yuv420p", g="4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1880] = np.random.default_rng(0).bytes(1880)
    path.write_bytes(data)
    assert open_and_read(path).losses
    assert not open_and_read(path, end=0.6).losses
    assert not open_and_read(path, start=1.0).losses
    assert open_and_read(path, start=0.4).losses


def open_and_read(path, **excerpt):
    source = open_frames(path, **excerpt)
    list(source)
    return source


def test_losses_are_true_where_something_was_lost_and_say_so():
    assert not Losses(5) and not Losses()
    assert all((Losses(5, 1), Losses(5, 0, 1), Losses(5, 0, 0, 1)))
    assert str(Losses(5)) == "read 5 frames; 0 did not decode, 0 decoded with errors"
    assert str(Losses(5, 2, 1)) == "read 5 frames of 7; 1 did not decode, 0 decoded with errors"
