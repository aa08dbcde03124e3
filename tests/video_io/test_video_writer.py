"""Videos are written as browsers play them, and all or nothing."""

import sys
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest

from d2_plugtrack import outputs
from d2_plugtrack.errors import UserError
from d2_plugtrack.outputs import ensure_writable
from d2_plugtrack.video_io import VideoWriter, letterbox, open_frames, video_writer
from tests.video_io.clips import COLORS, assert_close, noise_frames, save, solid


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


def test_even_frames_are_not_copied():
    image = solid(COLORS[0])
    assert letterbox.padded_to_even(letterbox.letterboxed(image, (64, 48))) is image


def test_later_frame_of_another_size_is_letterboxed(tmp_path):
    path = save(tmp_path / "clip.mp4", [solid(COLORS[0]), solid((255, 255, 255), 48, 16)])
    frame = list(open_frames(path))[1]
    assert frame.shape == (48, 64, 3)
    assert frame[:, 28:36].mean() > 250 and frame[:, :16].mean() < 8


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


def test_an_interrupt_at_any_line_leaves_nothing_or_the_whole_video(tmp_path):
    """The line is one of the writer's; an interrupt of the user's may come at each."""
    line, outcomes = 0, set()
    interrupted = True
    while interrupted:
        line += 1
        writer = VideoWriter(tmp_path / "out.mp4", 25)
        interrupted = interrupt(writer, [solid(COLORS[0]), solid(COLORS[1], 20, 20)], line)
        del writer  # where not even its __exit__ could begin, this cleans up
        left = list(tmp_path.iterdir())
        outcomes.add(len(left))
        assert left in ([], [tmp_path / "out.mp4"])
        for path in left:
            assert len(list(open_frames(path))) == 2
            path.unlink()
    assert line > 80 and outcomes == {0, 1}


def interrupt(writer, frames, line):
    """Write frames, and be interrupted before the writer's so manieth line; whether it was."""
    files = {module.__file__ for module in (video_writer, letterbox, outputs)}
    lines_to_go = line

    def at_line(frame, event, _):
        nonlocal lines_to_go
        lines_to_go -= event == "line"
        if lines_to_go == 0:
            raise KeyboardInterrupt
        return at_line

    tracer = sys.gettrace()
    sys.settrace(lambda frame, *_: at_line if frame.f_code.co_filename in files else None)
    try:
        with writer:
            for frame in frames:
                writer.write(frame)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(tracer)
    return False


def test_fewer_frames_than_were_meant_are_a_whole_video(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", 25) as writer, suppress(KeyboardInterrupt):
        for frame in map(solid, COLORS):
            writer.write(frame)
            if frame[0, 0, 0] == COLORS[2][0]:
                raise KeyboardInterrupt
    assert_close(open_frames(tmp_path / "out.mp4"), COLORS[:2])


@pytest.mark.parametrize("limit", [0, 20_000, 300_000])
def test_full_disk_is_the_users_error_and_leaves_nothing(tmp_path, limit):
    """At once, while frames are written, and while the index is moved to the front."""
    resource = pytest.importorskip("resource")
    size = save(tmp_path / "out.mp4", noise_frames(8)).stat().st_size
    (tmp_path / "out.mp4").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(limit, size - 1), hard))
    try:
        writer = VideoWriter(tmp_path / "out.mp4", 25)  # kept: nothing is left to its end
        with pytest.raises(UserError, match=r"out\.mp4: cannot be written: File too large"):
            write_all(writer, noise_frames(8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def write_all(writer, frames):
    with writer:
        for frame in frames:
            writer.write(frame)


def test_a_size_that_cannot_be_encoded_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match=r"out\.mp4: cannot be written: .*\(20000x2 pixels\)"):
        save(tmp_path / "out.mp4", [np.zeros((2, 20_000, 3), np.uint8)])
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


# Times


def write_timed(path, times, end=None, rate=25, **options):
    with VideoWriter(path, rate, **options) as writer:
        for index, time in enumerate(times):
            writer.write(solid(COLORS[index % 5]), time)
        writer.end_time = end
    source = open_frames(path)
    return source, [frame.time for frame in source.timed()]


def test_varying_times_are_kept_and_the_last_frames_end(tmp_path):
    """Milliseconds are whole ticks of 1/360,000 s, so they come back exactly."""
    steps = np.random.default_rng(0).integers(1, 300, 20)
    times = [Fraction(int(step), 1000) for step in np.cumsum(steps)]
    source, found = write_timed(tmp_path / "out.mp4", times, times[-1] + Fraction(7, 10))
    assert found == [time - times[0] for time in times]
    assert source.end_time == found[-1] + Fraction(7, 10)
    _, found = write_timed(tmp_path / "out.mp4", times)
    assert open_end(tmp_path / "out.mp4") == found[-1] + Fraction(1, 25)


def open_end(path):
    with av.open(str(path)) as container:
        (video,) = container.streams.video
        return video.duration * video.time_base


def test_any_times_are_kept_within_half_a_tick(tmp_path):
    times = [Fraction(index**2, 7 * 9973) for index in range(20)]
    _, found = write_timed(tmp_path / "out.mp4", times)
    assert max(abs(a - b) for a, b in zip(found, times, strict=True)) <= Fraction(1, 720_000)


@pytest.mark.parametrize("rate", [24, 25, 50, 60, Fraction(24000, 1001), Fraction(60000, 1001)])
def test_times_of_usual_rates_are_exact(tmp_path, rate):
    times = [index / Fraction(rate) for index in range(30)]
    source, found = write_timed(tmp_path / "out.mp4", times, rate=rate)
    assert found == times and source.frame_rate == rate
    assert write_timed(tmp_path / "out.mp4", [None] * 30, rate=rate)[1] == times


def test_times_that_fall_together_stay_apart(tmp_path):
    times = [Fraction(index, 10**9) for index in range(4)]
    _, found = write_timed(tmp_path / "out.mp4", times)
    assert found == [Fraction(index, 360_000) for index in range(4)]


def test_a_gap_that_no_mp4_holds_is_shortened_with_one_warning(tmp_path, caplog):
    """At 5,900 s; what follows keeps its distances, and the last frame's end is no exception."""
    hours = [Fraction(0), Fraction(1), Fraction(13 * 3600), Fraction(13 * 3600 + 1)]
    times = [*hours, hours[-1] + 5900, Fraction(10**6), Fraction(10**6 + 2)]
    source, found = write_timed(tmp_path / "out.mp4", times, times[-1] + 10**5)
    assert found == [0, 1, 5901, 5902, 11802, 17702, 17704]
    assert source.end_time == 17704 + 5900
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.endswith("out.mp4: 3 gaps above 5900 s, written as such")


@pytest.mark.parametrize("times", [[Fraction(0), None], [None, Fraction(1)]])
def test_times_are_for_all_frames_or_for_none(tmp_path, times):
    with pytest.raises(ValueError, match="one for every frame or for none"):
        write_timed(tmp_path / "out.mp4", times)
    assert list(tmp_path.iterdir()) == []


# Fragments


@pytest.mark.parametrize("with_times", [False, True])
def test_fragments_hold_the_same_frames_times_and_end(tmp_path, with_times):
    steps = np.random.default_rng(0).integers(1, 300, 300)  # more than one fragment
    times = [Fraction(int(t), 1000) for t in np.cumsum(steps)] if with_times else [None] * 300
    end = times[-1] + Fraction(7, 10) if with_times else None
    usual, expected = write_timed(tmp_path / "usual.mp4", times, end)
    source, found = write_timed(tmp_path / "fragments.mp4", times, end, fragmented=True)
    assert found == expected and source.end_time == usual.end_time
    assert (source.num_frames, source.frame_rate) == (300, usual.frame_rate)
    assert source.losses == usual.losses == (300, 0, 0, 0)
    for ours, theirs in zip(source, usual, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    later = list(open_frames(tmp_path / "fragments.mp4", start=11).timed())
    assert [frame.index for frame in later] == [i for i, time in enumerate(found) if time >= 11]


def test_fragments_of_a_killed_process_play(tmp_path):
    """What is on the disk while frames are still written, under another name."""
    writer = VideoWriter(tmp_path / "out.mp4", 25, fragmented=True)
    with writer:
        for index in range(600):
            writer.write(solid(COLORS[index % 5], 16, 16))
        (part,) = tmp_path.glob(".*.part")
        (tmp_path / "killed.mp4").write_bytes(part.read_bytes())
    assert 250 <= len(list(open_frames(tmp_path / "killed.mp4"))) <= 600
