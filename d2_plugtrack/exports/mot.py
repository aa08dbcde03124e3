"""MOTChallenge's text format: one line an object, ten columns, separated by commas.

1. frame: its place in the source, from 1
2. id: of the track, from 1; -1 is none
3. left, 4. top, 5. width, 6. height: of the box in pixels of the frame; the first pixel's edge is 0
7. score
8. class: its number in label order, from 1
9. and 10.: -1; visibility, and nothing

Lines come frame by frame. Frames without objects have no lines.
"""

from typing import TextIO

from ..core.rescoring import TrackedObjects
from .export import Export, boxes_xywh


class MotWriter(Export):
    """Writes such a file."""

    suffix = ".txt"

    def _write(
        self,
        file: TextIO,
        index: int,
        time: float,
        image_size: tuple[int, int],
        objects: TrackedObjects,
    ) -> None:
        scores, labels, tracks = (field.tolist() for field in objects[1:4])
        file.writelines(
            f"{index + 1},{track + 1 if track >= 0 else -1},"
            f"{x:.2f},{y:.2f},{width:.2f},{height:.2f},{score:.4f},{label + 1},-1,-1\n"
            for (x, y, width, height), score, label, track in zip(
                boxes_xywh(objects), scores, labels, tracks, strict=True
            )
        )
