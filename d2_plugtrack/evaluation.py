"""VIDEvaluator: drives a pipeline over whole videos as frames arrive, then calls ``core``."""

from .prerequisites import require_detectron2

require_detectron2()

import logging
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table

from .core.average_precisions import mean_average_precision
from .core.video_evaluation import VideoRun
from .outputs import os_errors_name


class VIDEvaluator(DatasetEvaluator):
    """mAP of one setting on a registered video dataset.

    Needs frames in order, whole videos to a process (``data.loaders.build_vid_test_loader``), and
    a model whose outputs carry ``"frame"`` (``PlugTrackRCNN``).

    Args:
        dataset_name: registered, with ``thing_classes``.
        run: the pipeline, re-scoring and limits, as from ``build.build_video_run``.
        protocol: how mAP is counted.
    """

    def __init__(self, dataset_name: str, run: VideoRun, protocol: str):
        self.dataset_name = dataset_name
        self.run = run
        self.protocol = protocol

    def reset(self) -> None:
        self.run.reset()

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        for frame_input, output in zip(inputs, outputs, strict=True):
            key = frame_input["video_id"], frame_input["frame_index"]
            spooling = self.run.rescorer.spooling
            with os_errors_name(spooling and spooling.folder):
                self.run.process(output["frame"], key, frame_input["last"])

    def evaluate(self) -> dict[str, Any] | None:
        """``{"vid": {"mAP": %, "AP-<class>": %, ...}}`` on the main process, None elsewhere."""
        gathered = comm.gather(self.run.detections, dst=0)
        if not comm.is_main_process():
            return None
        detections = {key: value for part in gathered for key, value in part.items()}
        result = mean_average_precision(
            DatasetCatalog.get(self.dataset_name),
            detections,
            MetadataCatalog.get(self.dataset_name).thing_classes,
            self.protocol,
        )
        logging.getLogger(__name__).info(
            "%s, protocol %s: mAP %.2f\n%s",
            self.dataset_name,
            self.protocol,
            result["mAP"],
            create_small_table(result["AP"]),
        )
        return {"vid": {"mAP": result["mAP"], **{f"AP-{k}": v for k, v in result["AP"].items()}}}
