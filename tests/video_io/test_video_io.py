"""Videos and images round trip, damaged input is named or survived, and outputs are all or nothing.

The videos are made here, a few solid-coloured frames each, so that colours can be compared after
lossy coding: a mean within 4 of 255.
"""

import json
import logging
import struct
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from d2_plugtrack.errors import UserError
from d2_plugtrack.outputs import atomic_output, ensure_writable, write_json
from d2_plugtrack.video_io import VideoWriter, open_frames

COLORS = [(200, 30, 40), (30, 200, 40), (30, 40, 200), (128, 128, 128), (250, 240, 10)]


def solid(color, height=48, width=64):
    return np.full((height, width, 3), color, np.uint8)


def noise_frames(count, height=96, width=128):
    """Frames too rich to be coded in a few bytes, so that damage hits pixels."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def save(path, frames, rate=25):
    with VideoWriter(path, rate) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def encode(path, frames, codec, pixel_format, container_options=None, **stream_options):
    """Write what VideoWriter does not: other containers, codecs and pixel formats."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=stream_options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
            container.mux(stream.encode(picture.reformat(format=pixel_format)))
        container.mux(stream.encode(None))
    return path


def assert_close(frames, colors):
    found = [frame.reshape(-1, 3).mean(0) for frame in frames]
    np.testing.assert_allclose(found, colors, atol=4)


# Reading what was written


def test_round_trip_keeps_count_size_rate_and_colors(tmp_path):
    path = save(tmp_path / "clip.mp4", map(solid, COLORS), Fraction(30000, 1001))
    source = open_frames(path)
    frames = list(source)
    assert source.name == "clip" and source.num_frames == len(frames) == len(COLORS)
    assert source.frame_rate == Fraction(30000, 1001)
    for frame in frames:
        assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
        assert frame.flags.c_contiguous and frame.flags.writeable
    assert_close(frames, COLORS)


def test_two_passes_give_the_same_frames(tmp_path):
    source = open_frames(save(tmp_path / "clip.mp4", noise_frames(5)))
    next(iter(source))  # an abandoned pass changes nothing
    first, second = list(source), list(source)
    assert len(first) == 5
    np.testing.assert_array_equal(first, second)


def test_written_video_is_what_browsers_play(tmp_path):
    path = save(tmp_path / "clip.MP4", map(solid, COLORS))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 1)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (33, 31), (1, 1)])
def test_odd_sizes_are_padded_with_the_edge(tmp_path, size):
    path = save(tmp_path / "clip.mp4", [solid(color, *size) for color in COLORS])
    frames = list(open_frames(path))
    assert frames[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    assert_close(frames, COLORS)


def test_later_frame_of_another_size_is_letterboxed(tmp_path):
    path = save(tmp_path / "clip.mp4", [solid(COLORS[0]), solid((255, 255, 255), 48, 16)])
    frame = list(open_frames(path))[1]
    assert frame.shape == (48, 64, 3)
    assert frame[:, 28:36].mean() > 250 and frame[:, :16].mean() < 8


@pytest.mark.parametrize(
    "codec, pixel_format, suffix",
    [("ffv1", "gray", "mkv"), ("ffv1", "bgra", "mkv"), ("ffv1", "yuv420p10le", "mkv")],
)
def test_pixel_formats_become_bgr(tmp_path, codec, pixel_format, suffix):
    clip = encode(tmp_path / f"clip.{suffix}", [solid((90, 90, 90))] * 3, codec, pixel_format)
    frames = list(open_frames(clip))
    assert len(frames) == 3 and frames[0].shape == (48, 64, 3)
    assert_close(frames, [(90, 90, 90)] * 3)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation_is_applied(tmp_path, turns):
    """A picture stored turned by `turns` quarters, with the matrix that turns it back."""
    upright = solid((0, 0, 0))
    upright[:24, :32] = 255  # top left
    path = save(tmp_path / "clip.mp4", [np.rot90(upright, turns)] * 2)
    path.write_bytes(with_clockwise_turns(path.read_bytes(), turns))
    frame = next(iter(open_frames(path)))
    assert frame.shape == upright.shape
    assert np.abs(frame.astype(int) - upright).mean() < 4


def with_clockwise_turns(data, turns):
    """Set the display matrix of an mp4's track header, as a phone held upright does."""
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    one = 1 << 16
    matrix = struct.pack(">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    start = data.index(b"tkhd") + 4 + 40  # version 0: the matrix is 40 bytes into the box
    return data[:start] + matrix + data[start + 36 :]


# Folders of images


def test_folder_is_read_in_natural_order(tmp_path):
    folder = tmp_path / "frames.v2"
    folder.mkdir()
    names = ["f1.png", "f2.bmp", "f10.PNG", "f11.JPEG", "f100.jpg"]
    for name, color in zip(names, COLORS, strict=True):
        Image.fromarray(solid(color)[:, :, ::-1]).save(folder / name)
    (folder / "._f1.png").write_bytes(b"left by another system")
    (folder / "notes.txt").write_text("not an image")
    source = open_frames(folder, default_frame_rate=12.5)
    assert (source.name, source.num_frames) == ("frames.v2", 5)
    assert source.frame_rate == Fraction(25, 2)
    assert_close(source, COLORS)
    assert_close(source, COLORS)
    assert all(frame.flags.c_contiguous for frame in source)


def test_one_image_is_a_source_of_one_frame(tmp_path):
    Image.fromarray(solid(COLORS[0])[:, :, ::-1]).save(tmp_path / "one.png")
    source = open_frames(tmp_path / "one.png")
    assert (source.name, source.num_frames) == ("one", 1)
    assert_close(source, COLORS[:1])


@pytest.mark.parametrize(
    "pixels, expected",
    [
        (np.full((4, 6), 90, np.uint8), 90),
        (np.full((4, 6), 90 * 256 + 7, np.uint16), 90),
        (np.full((4, 6, 4), (90, 90, 90, 128), np.uint8), 90),
    ],
    ids=["gray", "16 bits", "alpha"],
)
def test_image_modes_become_bgr(tmp_path, pixels, expected):
    Image.fromarray(pixels).save(tmp_path / "one.png")
    (frame,) = open_frames(tmp_path / "one.png")
    np.testing.assert_array_equal(frame, np.full((4, 6, 3), expected, np.uint8))


def test_exif_rotation_is_applied_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned counterclockwise by a quarter
    Image.fromarray(solid(COLORS[0], 48, 64)).save(tmp_path / "one.jpg", exif=exif)
    (frame,) = open_frames(tmp_path / "one.jpg")
    assert frame.shape == (64, 48, 3)


# Input that is not what it should be


def test_empty_folder_says_what_was_expected(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"")
    with pytest.raises(UserError, match=r"expected images \(.bmp.* none among 1 entries"):
        open_frames(tmp_path)


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_broken_image_in_a_folder_is_left_out_and_named(tmp_path, caplog):
    for name in ("0.jpg", "1.jpg", "2.jpg"):
        Image.fromarray(noise_frames(1)[0]).save(tmp_path / name)
    truncate(tmp_path / "1.jpg")
    source = open_frames(tmp_path)
    frames = list(source.timed())
    assert [(frame.index, frame.time) for frame in frames] == [(0, 0), (2, Fraction(2, 25))]
    assert source.losses == (2, 1, 1, 0)
    _, (message,) = warnings_of(source, caplog, passes=2)
    assert "read 2 frames of 3" in message and "1.jpg: expected an image" in message


def test_folder_of_broken_images_is_an_error(tmp_path):
    for name in ("0.jpg", "1.jpg"):
        Image.fromarray(noise_frames(1)[0]).save(tmp_path / name)
        truncate(tmp_path / name)
    with pytest.raises(UserError, match=r"0\.jpg: expected an image.*truncated.*and so do 1 other"):
        open_frames(tmp_path)


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


def test_nothing_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.mp4: expected a video file.*found nothing"):
        open_frames(tmp_path / "nowhere.mp4")


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


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_impossible_frame_rate_is_refused(tmp_path, rate):
    for use in (open_frames, lambda path, rate: VideoWriter(path / "out.mp4", rate)):
        with pytest.raises(UserError, match=f"frames per second, found {rate}"):
            use(tmp_path, rate)


# Damaged videos


def warnings_of(source, caplog, passes=1):
    with caplog.at_level(logging.WARNING):
        counts = {len(list(source)) for _ in range(passes)}
    return counts, [record.getMessage() for record in caplog.records]


def test_whole_video_gives_no_warning(tmp_path, caplog):
    path = save(tmp_path / "clip.mp4", noise_frames(10))
    assert warnings_of(open_frames(path), caplog) == ({10}, [])


def test_truncated_mp4_gives_its_beginning_and_one_warning(tmp_path, caplog):
    path = save(tmp_path / "clip.mp4", noise_frames(20))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    (count,), messages = warnings_of(open_frames(path), caplog, passes=2)
    assert 5 <= count < 20
    assert len(messages) == 1
    assert f"clip.mp4 may be damaged: read {count} frames of 20" in messages[0]


def test_damaged_pictures_are_counted(tmp_path, caplog):
    """H.264 hides broken parts of a picture; the decoder must be set up to tell."""
    path = save(tmp_path / "clip.mp4", noise_frames(20))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 60_000  # with slice threads this one goes unnoticed
    data[start : start + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(data)
    (count,), messages = warnings_of(open_frames(path), caplog)
    assert count >= 19
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


# Outputs


def test_output_folder_is_refused_before_any_work(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for place in (tmp_path / "none" / "out.mp4", file / "out.mp4", file / "deep" / "out.mp4"):
        for refuse in (ensure_writable, lambda p: VideoWriter(p, 25), lambda p: write_json(p, 1)):
            with pytest.raises(UserError, match=r"out\.mp4: (expected an existing|cannot be)"):
                refuse(place)


def test_folder_device_and_overlong_name_are_refused(tmp_path):
    for place in (tmp_path, Path("/dev/null"), tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match="expected a file to write|cannot be written"):
            ensure_writable(place)


@pytest.mark.parametrize("name", ["out.avi", "out", "mp4"])
def test_writer_refuses_other_suffixes(tmp_path, name):
    with pytest.raises(UserError, match=r"expected a name ending in \.mp4, found"):
        VideoWriter(tmp_path / name, 25)


def test_checks_leave_nothing_and_keep_an_old_file(tmp_path):
    (tmp_path / "out.mp4").write_text("old")
    ensure_writable(tmp_path / "out.mp4", ".mp4")
    VideoWriter(tmp_path / "out.mp4", 25)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_text() == "old"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, FileNotFoundError])
@pytest.mark.parametrize("frames_before", [0, 1, 3])
def test_exception_inside_the_writer_leaves_nothing(tmp_path, error, frames_before):
    with pytest.raises(error), VideoWriter(tmp_path / "out.mp4", 25) as writer:
        for frame in noise_frames(frames_before):
            writer.write(frame)
        raise error("from the caller")
    assert list(tmp_path.iterdir()) == []


def test_failed_video_keeps_the_old_one(tmp_path):
    (tmp_path / "out.mp4").write_text("old")
    with suppress(RuntimeError), VideoWriter(tmp_path / "out.mp4", 25) as writer:
        writer.write(solid(COLORS[0]))
        raise RuntimeError
    assert (tmp_path / "out.mp4").read_text() == "old"
    save(tmp_path / "out.mp4", map(solid, COLORS))
    assert len(list(open_frames(tmp_path / "out.mp4"))) == len(COLORS)


def test_full_disk_is_the_users_error_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UserError, match=r"out\.mp4: cannot be written: File too large"):
            save(tmp_path / "out.mp4", noise_frames(20))
        with pytest.raises(UserError, match=r"out\.json: cannot be written: File too large"):
            write_json(tmp_path / "out.json", list(range(10_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_writer_needs_frames_of_the_right_kind_inside_its_block(tmp_path):
    with pytest.raises(ValueError, match="expected at least one frame"):
        save(tmp_path / "out.mp4", [])
    for wrong in (solid(COLORS[0]).astype(float), np.zeros((4, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\), found"):
            save(tmp_path / "out.mp4", [wrong])
    writer = VideoWriter(tmp_path / "out.mp4", 25)
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        writer.write(solid(COLORS[0]))
    with writer:
        writer.write(solid(COLORS[0]))
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        writer.write(solid(COLORS[0]))


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
