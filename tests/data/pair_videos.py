"""Tiny videos whose images say which frame they are, and what a pair of their frames must be.

A frame is 20x16 pixels: grey that rises with the frame's number, darker to the right, with a
rectangle an object. Object 0 stands still, object 1 moves and leaves, object 2 is a crowd.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from d2_plugtrack.data.labeled_frames import PairDrawing

WIDTH, HEIGHT = 20, 16
#: of the videos: a character a frame; "s" the one that stands, "m" the one that moves, "b" both,
#: "c" a crowd alone, "." nothing
VIDEOS = ["b", "s", ".", "c", "bb", "s.", ".m", "bbb", "b.b", "sss", "mmmm...", "b" * 12, ".....s"]
VIDEOS += ["c" * 5 + "b" * 5, "bm" * 6, "." * 6 + "b" + "." * 6, "s" * 11, "cbcbcbcbcbcbc"]


def box_of(track_id: int, t: int) -> list[float]:
    """Where an object is in frame ``t``: whole pixels, apart from one another."""
    if track_id == 1:
        return [1.0 + t % 6, 9.0, 5.0 + t % 6, 14.0]
    return [3.0, 2.0, 9.0, 7.0] if track_id == 0 else [12.0, 2.0, 18.0, 15.0]


def _frame(folder: Path, video: int, t: int, what: str) -> dict[str, Any]:
    shades = np.linspace(0, 60, WIDTH)[None, :, None]
    image = np.broadcast_to(100 + 8 * t - shades, (HEIGHT, WIDTH, 3)).astype(np.uint8).copy()
    annotations = []
    for track_id in {"s": [0], "m": [1], "b": [1, 0], "c": [2], ".": []}[what]:
        x1, y1, x2, y2 = map(int, box_of(track_id, t))
        image[y1:y2, x1:x2, track_id] = 250
        crowd = int(track_id == 2)
        box = {"bbox": box_of(track_id, t), "bbox_mode": 0, "category_id": 0, "iscrowd": crowd}
        annotations.append({**box, "track_id": track_id})
    path = folder / f"{video}_{t:02d}.png"
    cv2.imwrite(str(path), image)
    return {
        **{"file_name": str(path), "height": HEIGHT, "width": WIDTH, "image_id": path.stem},
        **{"video_id": str(video), "frame_index": t, "annotations": annotations},
    }


def write_videos(folder: Path) -> list[dict[str, Any]]:
    """``{"video_id", "frames", "images"}`` of each, whose images are written."""
    videos = []
    for number, kinds in enumerate(VIDEOS):
        frames = [_frame(folder, number, t, what) for t, what in enumerate(kinds)]
        images = [cv2.imread(frame["file_name"]) for frame in frames]
        videos.append({"video_id": str(number), "frames": frames, "images": images})
    return videos


class FramesSeen:
    """The two frames of a pair, compared with every frame of the video, flipped and not.

    Args:
        video: that they are of.
        drawing: that they were drawn by.
    """

    def __init__(self, video: dict[str, Any], drawing: PairDrawing):
        self.video, self.drawing = video, drawing
        self.numbers: list[int] = []
        self.flips: list[bool] = []
        self.shapes: list[tuple[int, ...]] = []
        self.stands: list[list[float]] = []  # the box of object 0, where it is

    def add(self, image: np.ndarray, boxes: Tensor, track_ids: Tensor) -> None:
        """Find which frame an image is, and hold its boxes against those of that frame.

        Args:
            image: (H, W, 3) BGR.
            boxes: (G, 4).
            track_ids: (G,).
        """
        number, flip = self._find(image)
        scale = torch.tensor([image.shape[1] / WIDTH, image.shape[0] / HEIGHT] * 2)
        expected = {}
        for annotation in self.video["frames"][number]["annotations"]:
            box = torch.tensor(annotation["bbox"]) * scale
            if flip:
                box[[0, 2]] = image.shape[1] - box[[2, 0]]
            if not annotation["iscrowd"]:
                expected[annotation["track_id"]] = box
        found = dict(zip(track_ids.tolist(), boxes, strict=True))
        assert set(found) == set(expected) and len(found) == len(track_ids)
        for track_id, box in found.items():
            torch.testing.assert_close(box, expected[track_id], atol=1e-4, rtol=0)
        self.numbers.append(number)
        self.flips.append(flip)
        self.shapes.append(image.shape)
        if 0 in found:
            self.stands.append(found[0].tolist())

    def _find(self, image: np.ndarray) -> tuple[int, bool]:
        size = image.shape[1], image.shape[0]
        for number, source in enumerate(self.video["images"]):
            resized = source
            if size != (WIDTH, HEIGHT):
                resized = np.asarray(Image.fromarray(source).resize(size, Image.BILINEAR))
            for flip in (False, True):
                if np.array_equal(image, resized[:, ::-1] if flip else resized):
                    return number, flip
        raise AssertionError("an image is no frame of the video")

    def check(self) -> None:
        """One transform for both frames, the first with an object, the gap in its range."""
        assert self.flips[0] == self.flips[1] and self.shapes[0] == self.shapes[1]
        assert len(self.stands) < 2 or self.stands[0] == self.stands[1]
        prev, curr = self.numbers
        longest = len(self.video["frames"]) - 1
        assert min(self.drawing.min_gap, longest) <= abs(curr - prev)
        assert abs(curr - prev) <= min(self.drawing.max_gap, longest)
        objects = [a for a in self.video["frames"][prev]["annotations"] if not a["iscrowd"]]
        assert objects
