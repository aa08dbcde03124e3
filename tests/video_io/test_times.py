"""Times of frames: those of the file, from the first frame on, and growing."""

from fractions import Fraction

import av
import pytest

from d2_plugtrack.video_io import VideoWriter, open_frames
from d2_plugtrack.video_io.decoding import Timeline
from tests.video_io.clips import encode, moving_frames, truncate, warnings_of

MILLISECOND = Fraction(1, 1000)
STAMPS = [0, 7, 40, 41, 500, 540, 1200, 1233, 1266, 3000]  # milliseconds


def times_of(path):
    return [frame.time for frame in open_frames(path).timed()]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("offset", [0, 7000])
def test_times_are_counted_from_the_first_frame(tmp_path, name, offset):
    stamps = [stamp + offset for stamp in STAMPS]
    path = encode(
        tmp_path / name, moving_frames(10), stamps=stamps, time_base=MILLISECOND, g="4", bf="2"
    )
    assert times_of(path) == [stamp * MILLISECOND for stamp in STAMPS]


def test_negative_stamps_are_times_too(tmp_path):
    stamps = [stamp - 600 for stamp in STAMPS]
    path = encode(tmp_path / "clip.mkv", moving_frames(10), stamps=stamps, time_base=MILLISECOND)
    assert times_of(path) == [stamp * MILLISECOND for stamp in STAMPS]


def test_what_an_edit_list_hides_is_neither_a_frame_nor_lost(tmp_path):
    stamps = [stamp - 500 for stamp in STAMPS]  # the video begins at 0
    path = encode(tmp_path / "clip.mp4", moving_frames(10), stamps=stamps, time_base=MILLISECOND)
    source = open_frames(path)
    found = [frame.time for frame in source.timed()]
    assert found == [(stamp - 500) * MILLISECOND for stamp in STAMPS[4:]]
    assert not source.losses


@pytest.mark.parametrize("name", ["clip.h264", "clip.avi"])
def test_what_has_no_times_of_display_comes_at_its_rate(tmp_path, name):
    path = encode(tmp_path / name, moving_frames(12), g="6", bf="3")
    assert times_of(path) == [Fraction(index, 25) for index in range(12)]


@pytest.mark.parametrize(
    "codec, pixel_format", [("mjpeg", "yuvj420p"), ("mpeg4", "yuv420p"), ("libx264", "yuv420p")]
)
def test_frames_that_an_avi_leaves_out_are_not_lost(tmp_path, codec, pixel_format):
    """Where time goes on without a frame, AVI counts one, and shows the frame before for longer."""
    stamps = [0, 1, 2, 5, 6, 9, 10, 11]
    path = encode(tmp_path / "clip.avi", moving_frames(8), codec, pixel_format, stamps=stamps)
    source = open_frames(path)
    assert [frame.time for frame in source.timed()] == [Fraction(stamp, 25) for stamp in stamps]
    assert not source.losses


def test_an_avi_that_ends_with_the_last_frame_shown_for_longer_lost_nothing(tmp_path, caplog):
    """Frames of 2/50 s at 50 frames a second: AVI counts 16, every second of which is empty."""
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=50)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index, image in enumerate(moving_frames(8)):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = 2 * index, Fraction(1, 50)
            for packet in stream.encode(frame):
                packet.duration = 2
                container.mux(packet)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 16
    assert times_of(path) == [Fraction(index, 25) for index in range(8)]
    assert warnings_of(open_frames(path), caplog) == ({8}, [])
    caplog.clear()
    _, (message,) = warnings_of(open_frames(truncate(path, 0.7)), caplog)
    assert "clip.avi may be damaged: read" in message and "1 did not decode" in message


def test_a_video_that_is_read_and_written_keeps_its_times(tmp_path):
    path = encode(
        tmp_path / "in.mkv", moving_frames(10), stamps=STAMPS, time_base=MILLISECOND, g="4", bf="2"
    )
    source = open_frames(path)
    with VideoWriter(tmp_path / "out.mp4", source.frame_rate) as writer:
        for image, time, _ in source.timed():
            writer.write(image, time)
        writer.end_time = source.end_time
    copy = open_frames(tmp_path / "out.mp4")
    assert [frame.time for frame in copy.timed()] == [stamp * MILLISECOND for stamp in STAMPS]
    assert copy.end_time == source.end_time > STAMPS[-1] * MILLISECOND


@pytest.mark.parametrize(
    "stamps, times",
    [
        ([], []),
        ([5, 6, 9], [0, 1, 4]),
        ([-3, 0, 2], [0, 3, 5]),
        ([None, None, None], [0, 2, 4]),  # a step is 2
        ([5, None, 9], [0, 2, 4]),
        ([5, 6, 6, 7, 12], [0, 1, 3, 5, 7]),  # time goes on by steps until it is caught up with
        ([5, 9, 0, 1, 2], [0, 4, 6, 8, 10]),
        ([None, 8, 9], [0, 2, 3]),  # the first stamp says when 0 was
    ],
)
def test_times_grow_whatever_the_stamps(stamps, times):
    timeline = Timeline(Fraction(1), Fraction(1, 2))
    assert [timeline.time_of(stamp) for stamp in stamps] == times


def test_an_origin_may_be_given():
    timeline = Timeline(Fraction(1, 10), Fraction(5), origin=30)
    assert [timeline.time_of(stamp) for stamp in (50, 51)] == [2, Fraction(21, 10)]


@pytest.mark.parametrize(
    "last, end, cut, expected",
    [
        (None, 40, None, None),  # no frame, no end
        (Fraction(3), 50, None, 4),  # 50 is 4 times 10 after the origin
        (Fraction(3), 40, None, 5),  # not after the last: a step of 2
        (Fraction(3), None, None, 5),
        (Fraction(3), 50, Fraction(7, 2), Fraction(7, 2)),
    ],
)
def test_the_end_of_the_last_frame(last, end, cut, expected):
    timeline = Timeline(Fraction(1, 10), Fraction(1, 2), origin=10)
    assert timeline.end_after(last, end, cut) == expected
