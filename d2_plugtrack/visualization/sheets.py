"""Many images as one.

Images are BGR uint8 arrays ``(H, W, 3)`` of any sizes. A sheet of no images is refused.
"""

from collections.abc import Sequence

import numpy as np

TITLE_HEIGHT = 36  # pixels


def contact_sheet(images: Sequence[np.ndarray], columns: int, gap: int = 4) -> np.ndarray:
    """Lay images out row by row, each at the top left of a cell as large as the largest image."""
    if not images or columns < 1:
        raise ValueError(f"expected images and columns, found {len(images)} and {columns}")
    height = max(image.shape[0] for image in images) + gap
    width = max(image.shape[1] for image in images) + gap
    rows = -(-len(images) // columns)
    sheet = np.full((rows * height - gap, columns * width - gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def fit_width(image: np.ndarray, width: int) -> tuple[np.ndarray, float]:
    """The image ``width`` pixels wide, and by how much it was enlarged."""
    import cv2

    zoom = width / image.shape[1]
    height = max(1, round(image.shape[0] * zoom))
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=how), zoom


def titled_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    gap: int = 6,
) -> np.ndarray:
    """Rows of images with a title at the left of each row and one above each column.

    Titles are cut where they are longer than their row or column.

    Raises:
        ValueError: no images, or not as many titles as rows and columns.
    """
    if not rows or any(len(row) != len(column_titles) for row in rows):
        raise ValueError(
            f"expected rows of {len(column_titles)} images, found {[len(row) for row in rows]}"
        )
    if len(row_titles) != len(rows):
        raise ValueError(f"expected {len(rows)} row titles, found {len(row_titles)}")
    cells = [image for row in rows for image in row]
    height, width = (max(image.shape[axis] for image in cells) for axis in (0, 1))
    above = [_title(text, width) for text in column_titles]
    beside = [np.rot90(_title(text, height)) for text in row_titles]
    body = contact_sheet(cells, len(column_titles), gap)
    top = contact_sheet(above, len(column_titles), gap)
    left = contact_sheet(beside, 1, gap)
    corner = np.full((TITLE_HEIGHT, TITLE_HEIGHT, 3), 255, np.uint8)
    return np.vstack([np.hstack([corner, top]), np.hstack([left, body])])


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """The image with a title above it."""
    return np.vstack([_title(text, image.shape[1]), image])


def _title(text: str, width: int) -> np.ndarray:
    """(TITLE_HEIGHT, width, 3): dark letters in the middle of white."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, TITLE_HEIGHT), "white")
    font = ImageFont.load_default(TITLE_HEIGHT * 0.6)  # comes with Pillow; OpenCV has only strokes
    ImageDraw.Draw(image).text(
        (width / 2, TITLE_HEIGHT / 2), text, fill="#202020", font=font, anchor="mm"
    )
    return np.asarray(image)
