"""The folder of an evaluation: what it is of, and the results of every video that is finished.

``run.json`` has the dataset, what the boxes depend on (``fingerprint.py``), the config's text, and
the videos with their frames, in the dataset's order. Beside it are a file for every finished video
(``video_file.py``) and, at the end, ``results.json`` (``figures.py``). All of them appear whole or
not at all, so that a run that was killed can go on where it stopped.

A dataset without videos is a run like any other. Nothing is detected here, and nothing evaluated.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..core.tfd import FrameResult
from ..errors import UserError
from ..outputs import os_errors_name, write_json
from .video_file import VideoWriter, read_run, read_video

logger = logging.getLogger(__name__)

VideoId = str | int

RUN_FILE = "run.json"
RESULTS_FILE = "results.json"
_FORMAT = 1  # of run.json and of the videos' files
_VIDEO_FILE = re.compile(r"\d{5,}_.*\.npz")
_PARTIAL_FILE = re.compile(r"\..*\.part")  # as ``outputs.atomic_output`` names them


class RunDescription(NamedTuple):
    """What a run is of."""

    dataset: str
    fingerprint: Mapping[str, str]  # what boxes depend on: name of a part to its hash
    config: str  # the whole config, to be read by people
    frames: Mapping[VideoId, Sequence[int]]  # of every video, rising; videos in the dataset's order


def folder_of(output_dir: str | Path, dataset: str) -> Path:
    """``output_dir/inference/<dataset>``, for a dataset of any name, a path among others."""
    name = dataset
    if _slug(name) != name:  # a hash keeps datasets apart whose names look alike then
        name = f"{_slug(Path(dataset).name)}-{hashlib.sha256(dataset.encode()).hexdigest()[:8]}"
    return Path(output_dir) / "inference" / name


def _slug(text: str) -> str:
    """What is safe in a file's name; the end of a long text."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[-80:].lstrip(".")


class RunFolder:
    """A run's folder as it is on disk.

    Args:
        folder: with a ``run.json``.

    Raises:
        UserError: there is none, or it is not one of ours; it is named.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.description = _read_description(self.folder / RUN_FILE)
        self._numbers = {video: n for n, video in enumerate(self.description.frames)}
        parts = sorted(self.description.fingerprint.items())
        self._stamp = hashlib.sha256(json.dumps(parts).encode()).hexdigest()  # in every file

    @property
    def dataset(self) -> str:
        return self.description.dataset

    @property
    def config(self) -> str:
        return self.description.config

    @property
    def frames(self) -> Mapping[VideoId, Sequence[int]]:
        """Frame numbers of every video, in the dataset's order."""
        return self.description.frames

    @property
    def results_file(self) -> Path:
        """Where the figures of the last evaluation that came to its end are."""
        return self.folder / RESULTS_FILE

    def path(self, video_id: VideoId) -> Path:
        """The file of a video of the run: its number in the dataset, and what reads like its id."""
        return self.folder / f"{self._numbers[video_id]:05d}_{_slug(str(video_id))}.npz"

    def finished(self) -> list[VideoId]:
        """Videos that have a file."""
        return [video for video in self.frames if self.path(video).is_file()]

    def writer(self, video_id: VideoId) -> VideoWriter:
        """To write a video's file with."""
        return VideoWriter(self.path(video_id), self._stamp)

    def read(self, video_id: VideoId) -> Iterator[tuple[int, FrameResult]]:
        """Every frame's number and result, in order, as ``read_video`` gives them.

        Raises:
            UserError: naming the file that is not there, damaged, or written by another run at the
                same time, and the frame that is missing, comes twice or is none of the video's. It
                shows when the iteration gets there.
        """
        path, expected = self.path(video_id), iter(self.frames[video_id])
        if read_run(path) != self._stamp:
            raise UserError(f"{path}: expected results of this folder's run, found another's")
        for frame_index, result in read_video(path):
            wanted = next(expected, None)
            if frame_index != wanted:
                missing = wanted is not None and wanted < frame_index
                wrong, what = (wanted, "is missing") if missing else (frame_index, "is not of it")
                raise UserError(f"{path}: frame {wrong} of video {video_id} {what}")
            yield frame_index, result
        wanted = next(expected, None)
        if wanted is not None:
            raise UserError(f"{path}: frame {wanted} of video {video_id} is missing")


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep a run's folder, made where it is not there, to one evaluation at a time.

    Raises:
        UserError: the folder cannot be written, or another evaluation is at work in it.
    """
    with os_errors_name(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, too
        except BlockingIOError:
            raise UserError(
                f"{folder}: expected to be the only evaluation there, found another one at work; "
                "give this one its own OUTPUT_DIR"
            ) from None
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # forked workers have the descriptor as well
    finally:
        os.close(descriptor)


def begin_run(folder: str | Path, description: RunDescription) -> tuple[RunFolder, list[VideoId]]:
    """Make a run's folder, or go on with the run of the same fingerprint that is there.

    Files of another run are removed, and so are those of videos that are damaged; both are said
    aloud. Only one process may call this, and no other may write there meanwhile (:func:`locked`).

    Returns:
        the folder, and the videos whose results are there, whole.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    with os_errors_name(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_partial_files(folder)
        (folder / RESULTS_FILE).unlink(missing_ok=True)  # figures of an evaluation before this one
        _remove_other_run(folder, description)
    write_json(folder / RUN_FILE, _as_json(description))
    run = RunFolder(folder)
    return run, _whole_videos(run)


def _whole_videos(run: RunFolder) -> list[VideoId]:
    """Those whose files can be read to the end; the other files are removed."""
    whole = []
    for video in run.finished():
        try:
            for _ in run.read(video):
                pass
        except UserError as error:
            logger.warning("%s; the video is done again", error)
            with os_errors_name(run.path(video)):
                run.path(video).unlink()
        else:
            whole.append(video)
    if whole:
        count = sum(len(run.frames[video]) for video in whole)
        logger.info(
            "%s: results of %d of %d videos (%d of %d frames) are there, of the same weights and "
            "settings; they are kept and not detected again",
            *(run.folder, len(whole), len(run.frames), count),
            sum(map(len, run.frames.values())),
        )
    return whole


def _remove_partial_files(folder: Path) -> None:
    """What a run that was killed was writing."""
    for path in folder.iterdir():
        if _PARTIAL_FILE.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _remove_other_run(folder: Path, description: RunDescription) -> None:
    """Videos of anything but ``description``, and what says what they are of: that first."""
    changed = _changes(folder / RUN_FILE, description)
    if not changed:
        return
    (folder / RUN_FILE).unlink(missing_ok=True)
    videos = [path for path in folder.iterdir() if _VIDEO_FILE.fullmatch(path.name)]
    for path in videos:
        path.unlink()
    if videos:
        logger.warning(
            "%s: results of %d videos were of another run (%s); they are removed, and all videos "
            "are detected anew",
            *(folder, len(videos), changed),
        )


def _changes(path: Path, description: RunDescription) -> str:
    """How ``run.json`` tells of another run; empty where it is of the same."""
    try:
        before = _read_description(path)
    except UserError as error:
        return str(error)
    names = {**before.fingerprint, **description.fingerprint}
    changed = [n for n in names if before.fingerprint.get(n) != description.fingerprint.get(n)]
    return f"other {', '.join(changed)}" if changed else ""


def _as_json(description: RunDescription) -> dict[str, Any]:
    videos = [{"id": v, "frames": _runs(indices)} for v, indices in description.frames.items()]
    return {
        "format": _FORMAT,
        "dataset": description.dataset,
        "fingerprint": dict(description.fingerprint),
        "config": description.config,
        "videos": videos,
    }


def _runs(indices: Sequence[int]) -> list[list[int]]:
    """``[first, end]`` of every run of frame numbers without a gap: of most videos there is one."""
    runs: list[list[int]] = []
    for index in indices:
        if not runs or index != runs[-1][1]:
            runs.append([index, index])
        runs[-1][1] = index + 1
    return runs


def _read_description(path: Path) -> RunDescription:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: expected the description of a run, found no file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: expected JSON: {error}") from error
    try:
        if data["format"] != _FORMAT:
            raise UserError(f"{path}: expected format {_FORMAT}, found {data['format']}")
        frames = {
            video["id"]: [i for first, end in video["frames"] for i in range(first, end)]
            for video in data["videos"]
        }
        texts = data["dataset"], dict(data["fingerprint"]), data["config"]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: expected the description of a run, found {error!r}") from error
    return RunDescription(*texts, frames)
