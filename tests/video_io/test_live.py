"""Cameras and addresses: read once, ended by silence, and refused where nothing answers."""

import socket
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.video_io import (
    addresses,
    camera_source,
    open_frames,
    shown_address,
    stream_source,
)
from tests.video_io.clips import COLORS, encode, noise_frames, solid, warnings_of

FAST_START = {"container_options": {"movflags": "faststart"}}


class Handler(BaseHTTPRequestHandler):
    """Sends a share of a file, then closes the connection or says nothing more."""

    def __init__(self, *args, path, share, released, **kwargs):
        self.file, self.share, self.released = path, share, released
        super().__init__(*args, **kwargs)

    def do_GET(self):
        if not self.path.endswith(self.file.name):
            self.send_error(404)
            return
        data = self.file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: int(len(data) * self.share)])
        self.released.wait(20)

    def log_message(self, *args):
        pass


@contextmanager
def served(path, share=1.0, stalls=False):
    """The address of a file; what comes after its share comes never."""
    released = threading.Event()
    if not stalls:
        released.set()
    handler = partial(Handler, path=path, share=share, released=released)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{path.name}"
        finally:
            released.set()
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setattr(stream_source, "OPEN_TIMEOUT", 1.0)
    monkeypatch.setattr(stream_source, "READ_TIMEOUT", 0.3)


@pytest.mark.parametrize(
    "name, options",
    [
        ("clip.mp4", FAST_START),
        ("clip.ts", {"g": "5"}),
        ("clip.mjpeg", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
    ],
)
def test_an_address_gives_the_frames_of_the_file(tmp_path, name, options):
    path = encode(tmp_path / name, noise_frames(20, 48, 64), **options)
    with served(path) as address:
        source = open_frames(address, start=0.2, end=0.6, stride=2)
        assert (source.name, source.is_live, source.num_frames) == ("clip", True, None)
        frames = list(source.timed())
        assert not source.losses
    expected = list(open_frames(path, start=0.2, end=0.6, stride=2).timed())
    assert [frame[1:] for frame in frames] == [frame[1:] for frame in expected]
    np.testing.assert_array_equal([f.image for f in frames], [f.image for f in expected])
    with pytest.raises(RuntimeError, match="can be read once, and was"):
        list(source)


@pytest.mark.parametrize("stalls", [False, True])
def test_an_address_that_stalls_or_breaks_ends_with_what_came(tmp_path, stalls, caplog):
    path = encode(tmp_path / "clip.mp4", noise_frames(20, 48, 64), g="5", **FAST_START)
    with served(path, 0.5, stalls) as address:
        source = open_frames(address)
        (count,), (message,) = warnings_of(source, caplog)
    assert 5 <= count < 20
    assert source.losses.frames == count and source.losses.undecodable >= 1
    assert message.startswith(f"{address} broke off") and str(source.losses) in message


def test_a_stream_is_met_in_the_middle_without_a_loss(tmp_path):
    path = encode(tmp_path / "clip.ts", noise_frames(20, 48, 64), g="5")
    data = path.read_bytes()
    path.write_bytes(data[len(data) * 3 // 10 // 188 * 188 :])
    with served(path) as address:
        source = open_frames(address)
        frames = list(source.timed())
    assert 5 <= len(frames) < 20 and not source.losses
    assert frames[0].time == frames[0].index == 0
    recorded = open_frames(path)  # as a file too: nobody says that it ever began
    assert len(list(recorded)) == len(frames) and not recorded.losses


def test_a_stream_that_ends_before_the_start_is_an_error(tmp_path):
    path = encode(tmp_path / "clip.ts", noise_frames(5, 48, 64))
    with served(path) as address, pytest.raises(UserError, match="from 1 to 2 s, found none"):
        list(open_frames(address, start=1, end=2))


def test_an_address_that_gives_no_video_is_named(tmp_path):
    (tmp_path / "page.html").write_text("<p>no video</p>" * 100)
    with served(tmp_path / "page.html") as address:
        with pytest.raises(UserError, match=rf"{address}: expected a video, found one that fails"):
            open_frames(address)
        with pytest.raises(UserError, match=r"/no\.mp4: expected a video, .*404 Not Found"):
            open_frames(address.replace("page.html", "no.mp4"))


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_silence_is_waited_for_and_named_without_the_password(scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}/live/1"
        began = time.monotonic()
        with pytest.raises(UserError, match=rf"^{scheme}://{place}: .* no answer in 1 s$"):
            open_frames(f"{scheme}://me:secret@{place}")
        assert time.monotonic() - began >= 1.0


def test_nobody_there_and_unknown_protocols_are_named():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(UserError, match=rf"http://127.0.0.1:{port}: .*Connection refused"):
        open_frames(f"http://127.0.0.1:{port}")
    with pytest.raises(UserError, match="nonsense://x: .*Protocol not found"):
        open_frames("nonsense://x")


@pytest.mark.parametrize(
    "address, name",
    [
        ("rtsp://me:pw@cam.local:554/live/stream1?token=a/b", "stream1"),
        ("http://cam.local/", "cam.local"),
        ("http://cam.local/a b/video.feed.mjpg", "video.feed"),
        ("udp://@239.0.0.1:1234", "239.0.0.1"),
        ("rtmp://host/..", "stream"),
    ],
)
def test_names_for_outputs_are_short_and_harmless(address, name):
    assert addresses.short_name(address) == name


@pytest.mark.parametrize(
    "address, shown",
    [
        ("rtsp://cam/live", "rtsp://cam/live"),
        ("rtsp://me:pw@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://me:p/w@cam/live", "rtsp://cam/live"),
        ("rtsp://me:p@w?#:/[x]@cam/live", "rtsp://cam/live"),
        ("rtsp://m/e:pw@cam/live", "rtsp://cam/live"),
        ("rtsp://me:1/2@cam/live", "rtsp://cam/live"),
        ("RTSP://token@cam/live", "RTSP://cam/live"),
        ("https://host/@channel/live", "https://host/@channel/live"),
        ("http://cam/v?user=me&PWD=p/w&fps=5", "http://cam/v?user=me&PWD=***&fps=5"),
        (
            "http://cam/v?password=1&pass=2&pwd=3&token=4&api_key=5&key=6&auth=7#8",
            "http://cam/v?password=***&pass=***&pwd=***&token=***&api_key=***&key=***&auth=***",
        ),
        ("rtsp://cam/user=me_password=pw_channel=1", "rtsp://cam/user=me_password=***"),
        ("clips/a:b@c?key=5.mp4", "clips/a:b@c?key=5.mp4"),
    ],
)
def test_addresses_are_shown_without_what_is_secret(address, shown):
    assert shown_address(address) == shown


def test_no_secret_is_in_an_error_or_a_name(tmp_path):
    with pytest.raises(UserError) as error:
        open_frames("http://me:se/cret@127.0.0.1:9/v?token=secret")
    assert "cret" not in str(error.value)
    path = encode(tmp_path / "clip.ts", noise_frames(3, 48, 64))
    with served(path) as address:
        assert open_frames(f"{address}?token=secret/clip.ts").name == "clip"


# Cameras


class FakeCamera:
    """Gives the frames it has (None: fails once), then fails, as a camera that is pulled out."""

    def __init__(self, frames, rate=0.0):
        self.frames, self.rate, self.released = list(frames), rate, False

    def __call__(self, number):
        self.number = number
        return self

    def isOpened(self):
        return bool(self.frames) or self.rate > 0

    def get(self, key):
        assert key == cv2.CAP_PROP_FPS
        return self.rate

    def read(self):
        frame = self.frames.pop(0) if self.frames else None
        return frame is not None, frame

    def release(self):
        self.released = True


class Clock:
    """In nanoseconds; goes on by 40 ms whenever it is looked at, and once stands still.

    When these ticks are used up, it goes on while one sleeps.
    """

    def __init__(self):
        self.now, self.slept = 0, 0
        self.ticks = [1000, 41_000_000, 81_000_000, 81_000_000, 161_000_000, 201_000_000]

    def monotonic_ns(self):
        self.now = self.ticks.pop(0) if self.ticks else self.now
        return self.now

    def sleep(self, seconds):
        self.now += round(seconds * 1e9)
        self.slept += round(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(camera_source, "time", clock)
    return clock


def test_a_camera_is_opened_by_its_number(monkeypatch, clock, caplog):
    camera = FakeCamera(map(solid, COLORS), rate=30.0)
    monkeypatch.setattr(cv2, "VideoCapture", camera)
    source = open_frames("3")
    assert camera.number == 3 and (source.name, source.frame_rate) == ("camera3", 30)
    assert source.is_live and source.num_frames is None
    frames = list(source.timed())
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    # the first look at the clock is at 1 us; between the third and the fourth it stands still
    microseconds = [0, 40_999, 80_999, 81_000, 160_999]
    assert [frame.time for frame in frames] == [Fraction(t, 10**6) for t in microseconds]
    np.testing.assert_array_equal([frame.image for frame in frames], list(map(solid, COLORS)))
    assert camera.released and source.losses == (5, 0, 1, 0)
    assert "camera3 broke off: read 5 frames" in caplog.text
    assert source.end_time == frames[-1].time + Fraction(1, 30)
    with pytest.raises(RuntimeError, match="can be read once"):
        next(source.timed())


def test_a_camera_that_fails_for_a_moment_goes_on(monkeypatch, clock):
    clock.ticks.clear()
    pictures = [solid(color) for color in COLORS]
    camera = FakeCamera([None, *pictures[:2], *[None] * 40, *pictures[2:], *[None] * 60, solid(0)])
    monkeypatch.setattr(cv2, "VideoCapture", camera)
    source = open_frames(0)
    np.testing.assert_array_equal(list(source), pictures)
    # sleeps of 20 ms: 1 and 40 that helped, and 50, a second, that did not
    assert clock.slept == (1 + 40 + 50) * 20_000_000
    assert source.losses == (5, 0, 1, 0)


def test_a_camera_that_is_left_early_is_released_and_lost_nothing(monkeypatch):
    camera = FakeCamera(map(solid, COLORS))
    monkeypatch.setattr(cv2, "VideoCapture", camera)
    source = open_frames(0, default_frame_rate=12)
    assert source.frame_rate == 12
    frames = iter(source)
    next(frames), next(frames)
    frames.close()
    assert camera.released and source.losses == (2, 0, 0, 0)


def test_a_camera_that_does_not_open_is_the_users_error(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera([]))
    with pytest.raises(UserError, match="camera 7: expected a camera of this number, found none"):
        open_frames("7")


def test_a_camera_without_a_frame_is_the_users_error(monkeypatch, clock):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera([], rate=25.0))
    with pytest.raises(UserError, match="camera0: expected frames from 0 s on, found none"):
        list(open_frames(0))
