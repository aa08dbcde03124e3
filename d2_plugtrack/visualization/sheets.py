"""Many images as one.

Images are BGR uint8 arrays ``(H, W, 3)`` of any sizes. A sheet of no images is refused.
"""

from collections.abc import Sequence

import numpy as np


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
