"""VIDEvaluator: drives a pipeline over whole videos as frames arrive, saves what it finds, and
evaluates what is saved.

Every process writes the results of its videos to the run's folder (``results/``); the main one
reads all of them, a video at a time. Nothing else goes from process to process.
"""

from .prerequisites import require_detectron2

require_detectron2()

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import numpy as np
import torch.distributed as dist
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table
from torch import nn

from .build import box_settings
from .core.average_precisions import FrameKey, mean_average_precision
from .core.detector import DetectedFrame
from .core.tfd import VideoPipeline
from .core.video_evaluation import FrameOrder, Scoring, non_finite_errors_name
from .results.figures import figures_of, write_figures
from .results.fingerprint import fingerprint_of
from .results.rescored import rescore_run
from .results.run_folder import (
    RunDescription,
    RunFolder,
    VideoId,
    begin_run,
    folder_of,
    locked,
)
from .results.video_file import VideoWriter

logger = logging.getLogger(__name__)

Records = Sequence[Mapping[str, Any]]

PATIENCE = timedelta(days=30)  # a process with one long video more keeps the others waiting


def open_run(
    cfg: CfgNode, model: nn.Module, dataset_name: str, records: Records
) -> tuple[RunFolder, list[VideoId]]:
    """The folder of an evaluation below ``OUTPUT_DIR``, and the videos that are finished there.

    All processes call it, and see the same folder: the main one makes it or finds what a run of
    the same model and settings has left.

    Raises:
        UserError: the folder cannot be written, or is not there for another process.
    """
    folder, finished = folder_of(cfg.OUTPUT_DIR, dataset_name), None
    if comm.is_main_process():
        frames = _frames_of(records)
        images = [record["file_name"] for record in records if "file_name" in record]
        fingerprint = fingerprint_of(model, box_settings(cfg), dataset_name, frames, images)
        description = RunDescription(dataset_name, fingerprint, cfg.dump(), frames)
        _, finished = begin_run(folder, description)
    finished = comm.all_gather(finished)[0]  # looked for once: others are being written by now
    return RunFolder(folder), finished


def lock_run(cfg: CfgNode, dataset_name: str) -> AbstractContextManager:
    """Keep an evaluation's folder to its processes; see ``results.run_folder.locked``."""
    if comm.is_main_process():
        return locked(folder_of(cfg.OUTPUT_DIR, dataset_name))
    return nullcontext()


def _frames_of(records: Records) -> dict[VideoId, list[int]]:
    frames: dict[VideoId, list[int]] = {}
    for record in records:
        frames.setdefault(record["video_id"], []).append(record["frame_index"])
    return frames


class VIDEvaluator(DatasetEvaluator):
    """mAP of one setting on a dataset of videos.

    Needs frames in order, whole videos to a process (``data.loaders.build_video_loader``), and
    outputs with ``"frame"``, a ``DetectedFrame``. All processes make one, at the same time.

    Args:
        run: where the results go; those that are there already are not asked for again.
        records: ground truth of all frames of the run, in its order.
        class_names: in the order of the labels.
        scoring: how the saved boxes become figures.
        motion: motion values of each record's objects; None computes them from track ids.
    """

    def __init__(
        self,
        run: RunFolder,
        records: Records,
        class_names: Sequence[str],
        pipeline: VideoPipeline,
        scoring: Scoring,
        motion: Sequence[np.ndarray] | None = None,
    ):
        self.run, self.records, self.class_names = run, records, class_names
        self.pipeline, self.scoring, self.motion = pipeline, scoring, motion
        self._waiting_room = _open_waiting_room()
        self._writer: VideoWriter | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the video that is not finished; those that are stay in the folder."""
        self._order = FrameOrder()
        self._start_video()

    def _start_video(self) -> None:
        if self._writer is not None:
            self._writer.discard()
        self._writer = None
        self._order.start_video()
        self.pipeline.reset()

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Take the next frames; the last one of a video puts its file in its place.

        Raises:
            ValueError: a frame is of another video than the unfinished one, or was seen before.
            FloatingPointError: as of ``VideoPipeline.step``; video and frame are named.
            UserError: the video's file cannot be written; it is named.
        """
        for frame_input, output in zip(inputs, outputs, strict=True):
            key = frame_input["video_id"], frame_input["frame_index"]
            self._process(output["frame"], key, frame_input["last"])

    def _process(self, frame: DetectedFrame, key: FrameKey, last: bool) -> None:
        self._order.check(key)
        with non_finite_errors_name(key):
            result = self.pipeline.step(frame)
        try:
            if self._writer is None:
                self._writer = self.run.writer(key[0])
            self._writer.append(result, key[1])
            if last:
                self._writer.finish()
        except BaseException:
            self._start_video()
            raise
        self._order.add(key, last)
        if last:
            self._start_video()

    def evaluate(self) -> dict[str, Any] | None:
        """``{"vid": {"mAP": %, ..., "AP-<class>": %}}`` on the main process, None elsewhere.

        Waits for all processes, and lets them go when the figures are there and in the folder.

        Raises:
            UserError: a video's file that is not there, damaged or incomplete; it is named.
        """
        _wait(self._waiting_room)
        result = self._evaluate() if comm.is_main_process() else None
        _wait(self._waiting_room)
        self._close_waiting_room()
        return result

    def _close_waiting_room(self) -> None:
        if self._waiting_room is not None:  # one for every evaluation would add up in a training
            dist.destroy_process_group(self._waiting_room)
        self._waiting_room = None

    def _evaluate(self) -> dict[str, Any]:
        scoring = self.scoring
        detections = rescore_run(self.run, scoring.rescoring, scoring.limits, scoring.spooling)
        result = mean_average_precision(
            self.records, detections, self.class_names, scoring.protocol, self.motion
        )
        figures = figures_of(result)
        write_figures(self.run.results_file, self.run.dataset, scoring, figures)
        ranges = {name: value for name, value in figures.items() if name.startswith("mAP-")}
        logger.info(
            "%s, protocol %s: mAP %.2f; results are in %s\n%s",
            self.run.dataset,
            scoring.protocol,
            result["mAP"],
            self.run.folder,
            "\n\n".join(create_small_table(t) for t in (ranges, result["AP"]) if t),
        )
        return {"vid": figures}


def _open_waiting_room() -> dist.ProcessGroup | None:
    """A group to wait in for longer than training ever should; one that dies is noticed there."""
    if comm.get_world_size() == 1:
        return None
    return dist.new_group(backend="gloo", timeout=PATIENCE)


def _wait(waiting_room: dist.ProcessGroup | None) -> None:
    if waiting_room is not None:
        dist.barrier(group=waiting_room)
