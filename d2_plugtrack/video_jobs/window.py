"""A window in which frames are seen while they are worked on, where there is a screen."""

import os
import subprocess
import sys
from typing import Self

import numpy as np

QUIT_KEYS = (ord("q"), 27)  # 27: Esc
RELEASED = 200  # milliseconds without a key, after which none is held down
LARGEST = (1280, 800)  # pixels of the window at first; it can be made larger
_TRY = "import cv2; cv2.namedWindow('try'); cv2.waitKey(1); cv2.destroyAllWindows()"


class NoScreen(Exception):
    """There is no window to be had; the message says why."""


class Window:
    """Shows BGR uint8 images ``(H, W, 3)``, in ``with``, which closes it.

    Args:
        title: of the window.

    Raises:
        NoScreen: no ``DISPLAY`` and no ``WAYLAND_DISPLAY``, or none that lets a window be opened.
    """

    def __init__(self, title: str):
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise NoScreen("neither DISPLAY nor WAYLAND_DISPLAY is set")
        # OpenCV's Qt has no fonts and says so, line by line, where nobody needs any.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        _try_in_another_process()
        self.title, self._is_open = title, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        import cv2

        if self._is_open:
            cv2.destroyWindow(self.title)
            cv2.waitKey(1)
            self._is_open = False

    def show(self, image: np.ndarray) -> bool:
        """Show an image; False where ``q`` or Esc was pressed, or the window was closed."""
        import cv2

        if not self._is_open:
            height, width = image.shape[:2]
            scale = min(1.0, LARGEST[0] / width, LARGEST[1] / height)
            cv2.namedWindow(self.title, cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(self.title, max(1, int(width * scale)), max(1, int(height * scale)))
            self._is_open = True
        cv2.imshow(self.title, image)
        pressed = cv2.waitKey(1) & 0xFF
        if cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1:
            self._is_open = False
            return False
        if pressed in QUIT_KEYS:
            while cv2.waitKey(RELEASED) >= 0:  # a key held down would end the next video too
                pass
            return False
        return True


def _try_in_another_process() -> None:
    """OpenCV's windows end the process where the display does not answer, or raise."""
    command = [sys.executable, "-c", _TRY]
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NoScreen("the display does not answer") from error
    if tried.returncode:
        lines = [line.strip() for line in tried.stderr.splitlines() if line.strip()]
        raise NoScreen(lines[-1] if lines else "OpenCV cannot open a window")
