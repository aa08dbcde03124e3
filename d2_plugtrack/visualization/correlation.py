"""What the tracker sees of a box, where it looks for it, and how alike both are (Fig. 6).

Shape letters: D channels inside the tracker, C channels shown. Boxes are xyxy in pixels of the
frame; images BGR uint8 ``(H, W, 3)``; maps are the tracker's own numbers ``(D, h, w)``, computed
elsewhere. Each map is coloured from its own smallest to its own largest value.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from .drawing import draw_boxes
from .sheets import fit_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOUND_COLOR, WINDOW_COLOR = "#00C853", "#FFD600"
PATCH_SIDE = 320  # pixels of the longer side of a patch of an image, shown at about half of it
LINE = 4  # pixels of a line on it
CELL = 1.15  # inches of a map's side, with the gap beside it
LEFT, ABOVE = 0.55, 0.8  # inches, for titles
DOTS_PER_INCH = 160


class Match(NamedTuple):
    """A box of a frame and its object in the next one, as the tracker saw both."""

    index: int  # of the frame that the box is in
    prev_image: np.ndarray  # (H, W, 3) that frame
    curr_image: np.ndarray  # (H, W, 3) the next one
    label: str  # of the box
    box: np.ndarray  # (4,) in that frame
    window: np.ndarray  # (4,) where the tracker looked in the next frame; may leave the image
    found: np.ndarray  # (4,) where it found the object
    iou: float  # that it predicts of this
    template: np.ndarray  # (D, 7, 7) features inside the box
    search: np.ndarray  # (D, 21, 21) features inside the window
    response: np.ndarray  # (D, 15, 15) their correlation


def strongest_channels(response: np.ndarray, count: int) -> list[int]:
    """The ``count`` channels whose (D, h, w) correlation rises highest, in ascending order."""
    peaks = response.reshape(len(response), -1).max(axis=1)
    return sorted(np.argsort(-peaks, kind="stable")[:count].tolist())


def draw_matches(
    matches: Sequence[Match], channels: Sequence[int] | None, num_channels: int
) -> np.ndarray:
    """Three rows a match: template, search window and their correlation, patches before maps.

    Args:
        matches: at least one.
        channels: to show; the ``num_channels`` strongest of each match where None.
    """
    pictures = [
        _draw_match(match, channels or strongest_channels(match.response, num_channels))
        for match in matches
    ]
    return np.vstack(pictures)


def _draw_match(match: Match, channels: Sequence[int]) -> np.ndarray:
    from matplotlib.figure import Figure

    width, height = (len(channels) + 1.4) * CELL + LEFT, 3 * CELL + ABOVE
    figure = Figure((width, height), dpi=DOTS_PER_INCH)
    title = (
        f"frame {match.index}: {match.label}\n"
        f"frame {match.index + 1}: predicted IoU {match.iou:.2f}"
    )
    figure.text(LEFT / width, 1 - 0.1 / height, title, verticalalignment="top")
    place = {"left": LEFT / width, "right": 0.995, "bottom": 0.01, "top": 1 - ABOVE / height}
    ratios = [1.4] + [1] * len(channels)
    grid = {"width_ratios": ratios, **place, "wspace": 0.07, "hspace": 0.07}
    cells = figure.subplots(3, len(channels) + 1, gridspec_kw=grid)
    _draw_patches(match, cells[:, 0])
    rows = ((match.template, "viridis"), (match.search, "viridis"), (match.response, "magma"))
    for row, (maps, colors) in zip(cells[:, 1:], rows, strict=True):
        for cell, channel in zip(row, channels, strict=True):
            _draw_map(cell, maps[channel], colors)
    for cell, channel in zip(cells[0, 1:], channels, strict=True):
        cell.set_title(f"channel {channel}", fontsize="small")
    return _pixels(figure)


def _draw_patches(match: Match, cells: Sequence["Axes"]) -> None:
    """The box, the window with the box found in it, and the whole frame with both."""
    patch, _ = cut_out(match.prev_image, match.box)
    _show(cells[0], patch, f"template\nframe {match.index}")
    patch, zoom = cut_out(match.curr_image, match.window)
    found = (match.found - np.tile(match.window[:2], 2)) * zoom
    patch = draw_boxes(patch, found, [""], [FOUND_COLOR], thickness=LINE)
    _show(cells[1], patch, f"search window\nframe {match.index + 1}")
    frame, zoom = fit_width(match.curr_image, PATCH_SIDE)
    boxes = np.stack([match.window, match.found]) * zoom
    colors = [WINDOW_COLOR, FOUND_COLOR]
    _show(cells[2], draw_boxes(frame, boxes, ["", ""], colors, thickness=LINE), "correlation")


def cut_out(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, float]:
    """A box of an image, its longer side ``PATCH_SIDE``, and by how much it was enlarged.

    Gray where the box leaves the image.
    """
    x1, y1, x2, y2 = box.astype(float)
    zoom = PATCH_SIDE / max(x2 - x1, y2 - y1, 1.0)
    size = (max(1, round((x2 - x1) * zoom)), max(1, round((y2 - y1) * zoom)))
    # from the corners of pixels: the middle of the first is 0.5, OpenCV's is 0
    shift = [0.5 * zoom - 0.5 - corner * zoom for corner in (x1, y1)]
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    return cv2.warpAffine(image, matrix, size, borderValue=(127, 127, 127)), zoom


def _draw_map(cell: "Axes", values: np.ndarray, colors: str) -> None:
    """One channel; a red dot in its middle."""
    cell.imshow(values, cmap=colors)
    middle = [(side - 1) / 2 for side in values.shape[::-1]]
    cell.plot(*middle, "o", color="red", markeredgecolor="white", markersize=5)
    cell.set(xticks=[], yticks=[])


def _show(cell: "Axes", image: np.ndarray, title: str) -> None:
    """An image, and the title of its row before it."""
    cell.imshow(image[:, :, ::-1])
    cell.set(xticks=[], yticks=[])
    cell.spines[:].set_visible(False)
    slot = cell.get_subplotspec().get_position(cell.figure)  # not where the image leaves it
    middle = (slot.y0 + slot.y1) / 2
    around = {
        "rotation": "vertical",
        "horizontalalignment": "center",
        "verticalalignment": "center",
    }
    cell.figure.text(slot.x0 / 2, middle, title, fontsize="small", **around)


def _pixels(figure: "Figure") -> np.ndarray:
    """A figure as a BGR image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, 2::-1].copy()
