"""Reading from some time on gives what reading from the beginning gives, frame by frame."""

from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import av
import numpy as np
import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.video_io import entry, open_frames, video_source
from tests.video_io.clips import encode, moving_frames, truncate

COUNT = 50
VARYING = [int(stamp) for stamp in np.random.default_rng(1).integers(1, 90, COUNT).cumsum()]
MILLISECONDS = {"stamps": VARYING, "time_base": Fraction(1, 1000)}
OPEN = {"x264-params": "open-gop=1:scenecut=0"}
FRAGMENTS = {"container_options": {"movflags": "frag_keyframe+empty_moov"}}
X265 = {"codec": "libx265", "x265-params": "keyint=12:log-level=none"}
VP9 = {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"}

CLIPS = {
    "b_frames.mp4": {"g": "12", "bf": "3"},
    "b_frames.ts": {"g": "12", "bf": "3"},
    "b_frames.avi": {"g": "12", "bf": "3"},
    "b_frames.mov": {"g": "5", "bf": "2"},
    "key_frames_alone.mkv": {"g": "1"},
    "one_key_frame.mp4": {"g": "250", "sc_threshold": "0"},
    "open_groups.mp4": {"g": "12", "bf": "3", **OPEN},
    "open_groups.ts": {"g": "12", "bf": "3", **OPEN},
    "open_groups.hevc.mkv": X265,
    "gradual_refresh.mkv": {"g": "12", "x264-params": "intra-refresh=1"},
    "varying.mp4": {"g": "12", "bf": "3", **MILLISECONDS},
    "varying.mkv": {"g": "12", "bf": "3", **MILLISECONDS},
    "late.mp4": {"g": "12", "bf": "3", **MILLISECONDS, "stamps": [s + 5000 for s in VARYING]},
    "edit_list.mp4": {"g": "12", "bf": "3", **MILLISECONDS, "stamps": [s - 700 for s in VARYING]},
    "fragments.mp4": {"g": "12", "bf": "3", **FRAGMENTS},
    "hidden_frames.webm": {"g": "20", **VP9, "auto-alt-ref": "1", "lag-in-frames": "8"},
    "mpeg2.mpg": {"codec": "mpeg2video", "g": "12", "bf": "2"},
    "mpeg4.avi": {"codec": "mpeg4", "g": "12", "bf": "2"},
    "no_times.h264": {"g": "12", "bf": "3"},
}
FROM_THE_BEGINNING = {
    *("one_key_frame.mp4", "no_times.h264", "mpeg2.mpg", "b_frames.avi", "mpeg4.avi")
}


def read(path, **excerpt):
    source = open_frames(path, **excerpt)
    frames = list(source.timed())
    assert not source.losses, source.losses
    return source, [(frame.index, frame.time, frame.image.tobytes()) for frame in frames]


@pytest.mark.parametrize("name", CLIPS)
def test_any_start_gives_what_the_beginning_gives(tmp_path, name, caplog):
    if CLIPS[name].get("codec", "libx264") not in av.codecs_available:
        pytest.skip("PyAV comes without the codec")
    path = encode(tmp_path / name, moving_frames(COUNT), **CLIPS[name])
    _, whole = read(path)
    assert [index for index, _, _ in whole] == list(range(len(whole)))
    assert len(whole) == COUNT or name == "edit_list.mp4"
    times = [time for _, time, _ in whole]
    assert times[0] == 0 and times == sorted(set(times))
    for start in [times[1], times[12], times[13], times[23], Fraction(13, 10), times[-1]]:
        _, found = read(path, start=start)
        assert found == [frame for frame in whole if frame[1] >= start], start
    _, found = read(path, start=times[21], end=times[30], stride=4)
    assert found == whole[21:30:4]
    _, found = read(path, end=times[30] + Fraction(1, 10**6))
    assert found == whole[:31]
    assert not caplog.records
    assert begins_at_the_beginning(path, times[-1]) == (name in FROM_THE_BEGINNING)


def begins_at_the_beginning(path, start):
    """Whether nothing before the start can be left undecoded."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        origin = next(container.decode(video)).pts
    if origin is None or path.suffix == ".avi":
        return True
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        first = origin + round(start / video.time_base)
        return entry.find_entry(container, video, origin, first).pts is None


def packets(*changed):
    """Ten packets, every other one a key frame, with the given changes to the sixth."""
    found = [
        SimpleNamespace(size=1, pts=10 * i, dts=10 * i, pos=i, is_keyframe=i % 2 == 0)
        for i in range(10)
    ]
    for packet in found:
        packet.is_discard = packet.is_corrupt = False
    for name, value in changed:
        setattr(found[5], name, value)
    return SimpleNamespace(demux=lambda stream: iter(found))


def test_the_entry_is_two_key_frames_before():
    find = partial(entry.find_entry, packets(), None, 0)
    assert find(70) == (40, 4, 70, 7, 0)
    assert find(60) == (40, 4, 60, 6, 0)
    assert find(90) == (60, 6, 90, 9, 0)
    assert find(15) == entry.Entry()  # one key frame before is too few
    assert find(91) is None


@pytest.mark.parametrize(
    "changed", [("pts", None), ("pts", 30), ("dts", 39), ("is_corrupt", True)], ids=str
)
def test_where_packets_do_not_tell_everything_it_is_the_beginning(changed):
    assert entry.find_entry(packets(changed), None, 0, 70) == entry.Entry()
    assert entry.find_entry(packets(changed), None, 0, 500) == entry.Entry()


def test_where_seeking_fails_decoding_begins_at_the_beginning(tmp_path, monkeypatch):
    path = encode(tmp_path / "clip.mp4", moving_frames(COUNT), g="5")
    _, expected = read(path, start=1.5)
    monkeypatch.setattr(video_source, "can_seek", lambda *_: False)
    _, found = read(path, start=1.5)
    assert found == expected and found[0][0] == 38  # 1.5 * 25 = 37.5


@pytest.mark.parametrize("earlier", [0, 100])
@pytest.mark.parametrize("name, codec", [("clip.ts", "libx264"), ("clip.mpg", "mpeg2video")])
def test_times_that_come_twice_or_go_back_do_not_confuse(tmp_path, name, codec, earlier):
    """Two videos in one file; the second begins at the same time, or 4 s earlier."""
    options = {"codec": codec, "g": "5"}
    path, stamps = tmp_path / name, range(100 - earlier, 160 - earlier)
    forth = encode(path, moving_frames(60), stamps=range(100, 160), **options).read_bytes()
    back = encode(path, moving_frames(60)[::-1], stamps=stamps, **options).read_bytes()
    path.write_bytes(forth + back)
    whole = list(open_frames(path).timed())
    assert [frame.time for frame in whole] == [Fraction(i, 25) for i in range(120)]
    for start in [*range(1, 60, 7), 70, 110]:
        found = list(open_frames(path, start=start / 25).timed())
        assert [frame.index for frame in found] == list(range(start, 120))
        for frame in (found[0], found[1], found[-1]):
            np.testing.assert_array_equal(frame.image, whole[frame.index].image)


@pytest.mark.parametrize(
    "excerpt, message",
    [
        ({"start": -1}, "start: expected seconds from 0 on, found -1"),
        ({"start": float("nan")}, "start: expected seconds from 0 on, found nan"),
        ({"start": 2, "end": 2}, "end: expected seconds after the start at 2, found 2"),
        ({"end": 0}, "end: expected seconds after the start at 0.0, found 0"),
        ({"end": float("nan")}, "end: expected seconds .*, found nan"),
        ({"stride": 0}, "stride: expected a whole number from 1 on, found 0"),
        ({"stride": -2}, "stride: expected a whole number from 1 on, found -2"),
        ({"stride": 1.5}, "stride: expected a whole number from 1 on, found 1.5"),
    ],
)
def test_nonsense_is_refused_before_anything_is_opened(tmp_path, excerpt, message):
    with pytest.raises(UserError, match=message):
        open_frames(tmp_path / "nothing.mp4", **excerpt)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi"])
def test_a_start_after_the_end_is_refused_when_it_is_opened(tmp_path, name):
    path = encode(tmp_path / name, moving_frames(20), g="5")
    assert len(read(path, start=0.76)[1]) == 1  # the last of 20 is at 19 / 25
    with pytest.raises(UserError, match=rf"{name}: expected frames from 0.8 s on, .*ends before"):
        open_frames(path, start=0.8)


def test_a_start_in_the_lost_part_is_refused(tmp_path):
    path = truncate(encode(tmp_path / "clip.mkv", moving_frames(20), g="5"))
    with pytest.raises(
        UserError, match="expected frames from 0.76 s on, found that it ends before"
    ):
        list(open_frames(path, start=0.76))


def test_an_excerpt_between_two_frames_is_an_error(tmp_path):
    path = encode(tmp_path / "clip.mp4", moving_frames(20), g="5")
    with pytest.raises(UserError, match="expected frames from 0.41 to 0.43 s, found none"):
        list(open_frames(path, start=0.41, end=0.43))


def test_numbers_of_frames_and_rates_of_excerpts(tmp_path):
    path = encode(tmp_path / "clip.mp4", moving_frames(COUNT), g="5")
    for excerpt in ({}, {"stride": 3}, {"start": 0.3}, {"start": 0.3, "end": 1.7, "stride": 4}):
        source, found = read(path, **excerpt)
        assert source.num_frames == len(found)
        assert source.frame_rate == Fraction(25, excerpt.get("stride", 1))


def test_end_time_is_where_the_last_frame_read_ends(tmp_path):
    path = encode(tmp_path / "clip.mp4", moving_frames(20))
    ends = partial(_end_time, path)
    assert open_frames(path).end_time is None
    assert ends() == Fraction(20, 25)
    assert ends(stride=7) == Fraction(20, 25)  # the frame at 14 / 25 stands for six more
    assert ends(end=0.5) == Fraction(13, 25)  # the last is at 12 / 25


def _end_time(path, **excerpt):
    return read(path, **excerpt)[0].end_time
