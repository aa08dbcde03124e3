"""A window is opened only where there is a screen that answers."""

import sys

import numpy as np
import pytest

from d2_plugtrack.video_jobs import window as module
from d2_plugtrack.video_jobs.window import NoScreen, Window

IMAGE = np.zeros((900, 2560, 3), np.uint8)


@pytest.fixture
def no_screen(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_display_there_is_none_and_opencv_is_not_asked(no_screen, monkeypatch):
    monkeypatch.setattr(module, "_try_in_another_process", lambda: pytest.fail("asked"))
    with pytest.raises(NoScreen, match="neither DISPLAY nor WAYLAND_DISPLAY is set"):
        Window("title")


def test_a_display_that_does_not_answer_is_none(no_screen, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":98765")
    with pytest.raises(NoScreen, match="."):  # what OpenCV says differs by its build
        Window("title")


def test_what_opencv_raises_is_the_last_that_it_says(no_screen, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(module, "_TRY", "raise RuntimeError('no windows in this build')")
    with pytest.raises(NoScreen, match="^RuntimeError: no windows in this build$"):
        Window("title")


class Screen:
    """OpenCV's functions of windows, which note what is asked of them."""

    WINDOW_KEEPRATIO = WINDOW_GUI_NORMAL = WND_PROP_VISIBLE = 0

    def __init__(self, keys):
        self.keys, self.visible, self.asked = list(keys), 1, []

    def waitKey(self, milliseconds):
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, *given):
        return self.visible

    def __getattr__(self, name):
        return lambda *given: self.asked.append((name, *given[:3]))


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(module, "_try_in_another_process", lambda: None)

    def screen(keys):
        monkeypatch.setitem(sys.modules, "cv2", Screen(keys))
        return sys.modules["cv2"]

    return screen


@pytest.mark.parametrize("key", ["q", "\x1b"])
def test_q_and_escape_end_a_video_and_held_down_they_end_one_only(screen, key):
    screen([-1, ord("x"), ord(key), ord(key), ord(key)])
    with Window("title") as window:
        assert [window.show(IMAGE) for _ in range(4)] == [True, True, False, True]


def test_a_closed_window_ends_a_video_and_is_opened_for_the_next(screen):
    cv2 = screen([])
    with Window("title") as window:
        assert window.show(IMAGE)
        cv2.visible = 0
        assert not window.show(IMAGE)
        cv2.visible = 1
        assert window.show(IMAGE)
    names = [name for name, *_ in cv2.asked]
    assert names.count("namedWindow") == 2 and names[-1] == "destroyWindow"


def test_a_large_frame_does_not_fill_the_screen(screen):
    cv2 = screen([])
    with Window("title") as window:
        window.show(IMAGE)
    assert ("resizeWindow", "title", 1280, 450) in cv2.asked  # half as large


def test_a_window_that_is_not_used_is_not_closed(screen):
    cv2 = screen([])
    with Window("title"):
        pass
    assert cv2.asked == []
