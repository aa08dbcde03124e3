"""The published motion values of ImageNet VID's validation set, from their MATLAB file.

The file (``imagenet_vid_groundtruth_motion_iou.mat`` of Flow-Guided Feature Aggregation) holds
``motion_iou``, a cell array of as many rows as there are frames, in the order of
``VID_val_videos.txt``: 176,126. A row is a column of one value for each object of the frame, in the
order of its XML file; a frame without objects has an empty row. Values are from 0 to 1.

``core.motion`` computes such values from track ids, for any dataset.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from ...errors import UserError

VARIABLE = "motion_iou"


def read_motion(path: str, records: Sequence[Mapping[str, Any]]) -> list[np.ndarray] | None:
    """What ``TEST.VID.MOTION_FILE`` says: the file's values, or None, to be computed, for ""."""
    return read_motion_file(path, records) if path else None


def read_motion_file(
    path: str | PathLike[str], records: Sequence[Mapping[str, Any]]
) -> list[np.ndarray]:
    """Motion values of the objects of every record, (G,) float64 each.

    Args:
        path: the MATLAB file.
        records: the frames that it is about, in its order; crowds are no objects.

    Raises:
        UserError: a file that cannot be read or holds something else, another number of rows than
            of records, another number of values than of objects in a frame, a value that is not
            from 0 to 1; the file, and the frame, are named.
    """
    rows = _read_rows(path)
    if len(rows) != len(records):
        raise UserError(
            f"{path}: expected a row for each of {len(records)} frames of the dataset, "
            f"found {len(rows)} rows"
        )
    return [_values(path, row, record) for row, record in zip(rows, records, strict=True)]


def _read_rows(path: str | PathLike[str]) -> np.ndarray:
    """(F,) object array, the row of every frame."""
    from scipy.io import loadmat  # takes a while to import

    try:
        contents = loadmat(path, variable_names=[VARIABLE])
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: expected a MATLAB file, found {reason}") from None
    except Exception as error:  # of what a damaged file makes scipy do
        raise UserError(f"{path}: expected a MATLAB file (version 5), found {error}") from None
    rows = contents.get(VARIABLE)
    if rows is None or rows.dtype != object or rows.ndim != 2 or rows.shape[1] != 1:
        found = "none" if rows is None else f"an array of {rows.dtype}, {rows.shape}"
        raise UserError(f"{path}: expected {VARIABLE}, a cell array of one column, found {found}")
    return rows[:, 0]


def _values(path: str | PathLike[str], row: Any, record: Mapping[str, Any]) -> np.ndarray:
    where = f"{path}: video {record['video_id']}, frame {record['frame_index']}"
    if not isinstance(row, np.ndarray) or row.dtype.kind not in "fiu":
        raise UserError(f"{where}: expected numbers, found {row!r:.80}")
    values = row.astype(np.float64).ravel()  # a row of nothing but ones is of integers
    count = sum(not annotation.get("iscrowd") for annotation in record["annotations"])
    if len(values) != count:
        raise UserError(f"{where}: expected values of {count} objects, found {len(values)}")
    if not ((values >= 0) & (values <= 1)).all():
        raise UserError(f"{where}: expected values from 0 to 1, found {values.tolist()!r:.80}")
    return values
