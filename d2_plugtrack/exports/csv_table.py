"""A table with one row an object, for spreadsheets and pandas.

Columns, which the first row names: ``index`` (the frame's place in its source, from 0), ``time``
(seconds), ``track_id`` (from 0; -1 is none), ``class`` (its name), ``score``, and ``x1 y1 x2 y2``,
the box in pixels of the frame. Frames without objects have no rows.
"""

import csv
from contextlib import ExitStack
from typing import TextIO

from ..core.rescoring import TrackedObjects
from .export import Export

COLUMNS = ("index", "time", "track_id", "class", "score", "x1", "y1", "x2", "y2")


class CsvWriter(Export):
    """Writes such a table."""

    suffix = ".csv"

    def _begin(self, file: TextIO, stack: ExitStack) -> None:
        csv.writer(file, lineterminator="\n").writerow(COLUMNS)

    def _write(
        self,
        file: TextIO,
        index: int,
        time: float,
        image_size: tuple[int, int],
        objects: TrackedObjects,
    ) -> None:
        boxes, scores, labels, tracks = (field.tolist() for field in objects[:4])
        csv.writer(file, lineterminator="\n").writerows(
            [
                *(index, f"{time:.6f}", track, self.class_names[label], f"{score:.4f}"),
                *(f"{value:.2f}" for value in box),
            ]
            for box, score, label, track in zip(boxes, scores, labels, tracks, strict=True)
        )
