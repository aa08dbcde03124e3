"""Videos come as upright BGR frames of their own size, whatever they are stored as."""

import os
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from d2_plugtrack.prefetch import prefetch
from d2_plugtrack.video_io import open_frames
from tests.video_io.clips import (
    COLORS,
    assert_close,
    encode,
    moving_frames,
    noise_frames,
    save,
    solid,
)


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


@pytest.mark.parametrize(
    "codec, pixel_format, suffix",
    [
        ("ffv1", "gray", "mkv"),
        ("ffv1", "gray16le", "mkv"),
        ("ffv1", "bgra", "mkv"),
        ("ffv1", "yuv420p10le", "mkv"),
        ("png", "rgba", "mov"),
        ("libx265", "yuv420p10le", "mp4"),
        ("libvpx-vp9", "yuva420p", "webm"),
        ("gif", "rgb8", "gif"),
    ],
)
def test_pixel_formats_become_bgr(tmp_path, codec, pixel_format, suffix):
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV comes without {codec}")
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    frames = [solid((90, 90, 90))] * 3
    clip = encode(tmp_path / f"clip.{suffix}", frames, codec, pixel_format, **options)
    source = open_frames(clip)
    frames = list(source)
    assert len(frames) == 3 and frames[0].shape == (48, 64, 3) and not source.losses
    if codec != "gif":  # 8 colours of red, 8 of green and 4 of blue
        assert_close(frames, [(90, 90, 90)] * 3)


def test_rotation_is_applied_to_every_quarter(tmp_path):
    """A picture stored turned by `turns` quarters, with the matrix that turns it back."""
    upright = solid((0, 0, 0))
    upright[:24, :32] = 255  # top left
    for turns in range(4):
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


def test_sizes_may_change_in_a_transport_stream(tmp_path):
    sizes = [(48, 64), (96, 32)]
    parts = [[solid(COLORS[i], *size)] * 6 for i, size in enumerate(sizes)]
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(encode(tmp_path / "part.ts", p).read_bytes() for p in parts))
    check_two_sizes(whole, sizes, 6)


def test_sizes_may_change_in_webm(tmp_path):
    sizes = [(48, 64), (96, 32)]
    parts = [
        encode(tmp_path / f"{i}.webm", [solid(COLORS[i], *size)] * 6, "libvpx-vp9")
        for i, size in enumerate(sizes)
    ]
    with av.open(str(tmp_path / "whole.webm"), "w") as output:
        stream = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as container:
                (video,) = container.streams.video
                stream = stream or output.add_stream_from_template(video)
                for packet in container.demux(video):
                    if packet.size:
                        shift = round(number * 6 / 25 / packet.time_base)
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = stream
                        output.mux(packet)
    check_two_sizes(tmp_path / "whole.webm", sizes, 6)


def check_two_sizes(path, sizes, count):
    source = open_frames(path)
    frames = list(source.timed())
    expected = [(*size, 3) for size in sizes for _ in range(count)]
    assert [frame.image.shape for frame in frames] == expected
    assert_close(
        [frame.image for frame in frames], [COLORS[i] for i in (0, 1) for _ in range(count)]
    )
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in range(2 * count)]
    # two transport streams in one are a gap in the counts of packets, which is told
    assert source.losses[:3] == (2 * count, 0, 0)
    copy = save(path.with_name("copy.mp4"), [frame.image for frame in frames])
    assert {frame.shape for frame in open_frames(copy)} == {(*sizes[0], 3)}


def test_another_thread_may_read(tmp_path):
    source = open_frames(save(tmp_path / "clip.mp4", noise_frames(5)))
    np.testing.assert_array_equal(list(prefetch(source, 2)), list(source))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_a_file_is_open_only_while_it_is_read(tmp_path):
    path = encode(tmp_path / "clip.mp4", moving_frames(10))

    def open_handles():
        links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        return sum(os.path.realpath(link) == str(path) for link in links if os.path.islink(link))

    source = open_frames(path, start=0.2)
    assert open_handles() == 0
    for read in (source, source.timed()):
        frames = iter(read)
        next(frames)
        assert open_handles() == 1
        frames.close()
        assert open_handles() == 0
        assert source.losses == (1, 0, 0, 0)
    frames = prefetch(source, 2)
    next(frames)
    frames.close()
    assert open_handles() == 0
