"""What was found in a video as files that other programs read, written frame by frame.

Each writer is used in ``with`` and takes ``write(index, time, image_size, objects)``: the frame's
place in its source, its time in seconds, (height, width), and ``TrackedObjects`` in pixels of the
frame. A frame without objects is an ordinary one. Memory does not grow with the video. A file has
its name when the ``with`` block ends well; on an exception nothing is left, and an older file stays
as it was. A place that cannot be written is a UserError, at construction where that can be seen.
"""

from .coco_vid import CocoVidWriter
from .csv_table import CsvWriter
from .export import Export
from .mot import MotWriter

__all__ = ["CocoVidWriter", "CsvWriter", "Export", "MotWriter"]
