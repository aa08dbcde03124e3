"""Frames of any size made frames of one even size."""

import numpy as np


def letterboxed(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image ``(H, W, 3)``, scaled into ``size`` (width, height), centred on black."""
    if image.shape[1::-1] == size:
        return image
    from supervision import letterbox_image

    return letterbox_image(image, resolution_wh=size)


def padded_to_even(image: np.ndarray) -> np.ndarray:
    """The image with its last row or column repeated where its height or width is odd."""
    height, width = image.shape[:2]
    if height % 2 == width % 2 == 0:  # np.pad would copy it
        return image
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def check_image(image: np.ndarray) -> None:
    """A ValueError for what is no BGR frame."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"expected uint8 (H, W, 3), found {image.dtype} {image.shape}")
