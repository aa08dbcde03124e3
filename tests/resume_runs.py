"""Training runs in processes that can be killed, for test_resume.py.

The processes are forked from one server that has imported everything: starting one takes
milliseconds. They are in a file of their own because that server must be able to import them.
"""

import logging
import multiprocessing
import os
import runpy
import sys
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm

from d2_plugtrack.checkpoint_file import read_checkpoint
from d2_plugtrack.checkpoint_folder import clear_unfinished, find_checkpoint
from d2_plugtrack.data.tiny_vid import write_tiny_vid
from d2_plugtrack.hosts.torchvision_models import build_torchvision_model
from d2_plugtrack.modeling.checkpoint import StrictCheckpointer
from d2_plugtrack.plugin import load_config
from d2_plugtrack.training import Trainer

CONFIGS = Path(__file__).resolve().parents[1] / "configs/TinyVID"
STAGES = {
    "images": (
        "detector_tiny.yaml",
        [
            *("SOLVER.OPTIMIZER", "AdamW", "MODEL.FPN.NORM", "BN"),
            *("MODEL.RPN.PRE_NMS_TOPK_TRAIN", 60, "MODEL.RPN.POST_NMS_TOPK_TRAIN", 20),
            *("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 12, "MODEL.RPN.BATCH_SIZE_PER_IMAGE", 16),
        ],
    ),
    "pairs": ("plugtrack_tiny.yaml", ["SOLVER.OPTIMIZER", "SGD", "MODEL.PLUGTRACK.CONV_DIM", 8]),
    # by the names of the other tool's stages
    "detector": ("torchvision_detector_tiny.yaml", []),
    "tracker": ("torchvision_tiny.yaml", ["MODEL.PLUGTRACK.CONV_DIM", 8]),
}
TORCHVISION_OPTIONS = [
    *("MODEL.DEVICE", "cpu", "SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", 8),
    *("SOLVER.CHECKPOINT_PERIOD", 2, "SOLVER.WARMUP_ITERS", 4, "SEED", 3),
    *("INPUT.MIN_SIZE_TEST", 48, "INPUT.MAX_SIZE_TEST", 80),
]
OPTIONS = [
    *("MODEL.DEVICE", "cpu", "SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", 8),
    *("SOLVER.CHECKPOINT_PERIOD", 2, "SOLVER.WARMUP_ITERS", 4, "SOLVER.BASE_LR", 0.002),
    *("DATASETS.TRAIN", "('mixed',)", "DATASETS.TEST", "()", "SEED", 3),
    *("INPUT.MIN_SIZE_TRAIN", "(32, 40)", "INPUT.RANDOM_FLIP", "horizontal"),
]


def start(function, *arguments) -> tuple[multiprocessing.Process, Connection]:
    """``function(*arguments, connection)`` in a process of its own, and the connection's end."""
    context = multiprocessing.get_context("forkserver")
    # found from the root of the repository, which is where the server looks
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe()
    process = context.Process(target=function, args=(*arguments, theirs))
    process.start()
    theirs.close()
    return process, ours


def write_videos(folder: Path) -> list[dict]:
    """Records of videos that are wide and high in turn, of noise with light objects."""
    rng, records = np.random.default_rng(0), []
    for video in range(7):
        height, width = ((32, 48), (48, 32), (40, 40))[video % 3]
        for t in range(3):
            image = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
            corners = rng.integers(0, 16, 2)
            x1, y1, x2, y2 = *corners, *(corners + 14)
            image[y1:y2, x1:x2] = 220
            path = folder / f"{video}_{t}.png"
            cv2.imwrite(str(path), image)
            box = {"bbox": [float(v) for v in (x1, y1, x2, y2)], "bbox_mode": 0}
            records.append(
                {
                    **{"file_name": str(path), "height": height, "width": width},
                    **{"image_id": f"{video}/{t}", "video_id": str(video), "frame_index": t},
                    **{"video_length": 3, "annotations": [{**box, **OBJECT}]},
                }
            )
    return records


OBJECT = {"category_id": 1, "track_id": 0, "iscrowd": 0}


class WithoutLogs(Trainer):
    def build_writers(self):
        return []


def train(folder: Path, data, stage: str, opts: list, connection=None) -> None:
    """Train in ``folder``, going on if there is something to go on from."""
    _be_quiet(folder)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as in a fresh process
    config, own = STAGES[stage]
    keys = [*own, "OUTPUT_DIR", folder, "MODEL.WEIGHTS", folder.parent / "start.pth", *opts]
    run = _train_torchvision if "torchvision" in config else _train_detectron2
    run(data, stage, str(CONFIGS / config), list(map(str, keys)), connection)
    connection.send("finished")


def _train_detectron2(records, stage, config, keys, connection) -> None:
    cfg = load_config(config, [*map(str, OPTIONS), *keys])
    _register(records)
    torch.manual_seed(cfg.SEED)
    trainer = WithoutLogs(cfg)
    trainer.resume_or_load(resume=True)
    connection.send(trainer.start_iter)
    trainer.train()


def train_twice(folder: Path, records: list[dict], stage: str) -> None:
    """On several processes: to the end in ``whole``, and again in ``rest`` from its middle."""
    torch.set_num_threads(1)
    _register(records)
    config, own = STAGES[stage]
    for name, workers in (("whole", 0), ("rest", 1)):
        output = folder / name
        if comm.is_main_process():
            output.mkdir()
            if name == "rest":
                middle = (folder / "whole/model_0000003.pth").read_bytes()
                (output / "model_0000003.pth").write_bytes(middle)
                (output / "last_checkpoint").write_text("model_0000003.pth")
        comm.synchronize()
        keys = [*OPTIONS, *own, "OUTPUT_DIR", output, "MODEL.WEIGHTS", folder / "start.pth"]
        keys += ["DATALOADER.NUM_WORKERS", workers, "SOLVER.IMS_PER_BATCH", 4]
        trainer = WithoutLogs(load_config(str(CONFIGS / config), list(map(str, keys))))
        trainer.resume_or_load(resume=True)
        trainer.train()


def _train_torchvision(root, stage, config, keys, connection) -> None:
    os.environ["DETECTRON2_DATASETS"] = str(root)
    output = Path(keys[keys.index("OUTPUT_DIR") + 1])
    logging.disable()  # the tool says itself what it finds
    found = find_checkpoint(output)
    logging.disable(logging.NOTSET)
    connection.send(read_checkpoint(found)["iteration"] + 1 if found else 0)
    tool = runpy.run_path(str(CONFIGS.parents[1] / "tools/train_torchvision.py"))
    flags = ["--resume", "--stage", stage, "--config-file", config]
    tool["main"]([*flags, *map(str, TORCHVISION_OPTIONS), *keys])


def write_start(folder: Path, data, stage: str, connection=None) -> None:
    """The detector that a stage starts from, in ``start.pth``."""
    _be_quiet(folder)
    torch.set_num_threads(1)
    config, own = STAGES[stage]
    torch.manual_seed(1)
    if "torchvision" in config:
        model = build_torchvision_model("tiny_fasterrcnn", 8, 96, 160)
    else:
        _register(data)
        model = Trainer.build_model(
            load_config(str(CONFIGS / config), list(map(str, [*OPTIONS, *own])))
        )
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("tracker.")}
    torch.save({"model": state}, folder / "start.pth")
    connection.send("finished")


def write_data(folder: Path, stage: str) -> list[dict] | Path:
    """What a stage trains on: records, or for torchvision the root of the datasets."""
    if "torchvision" not in STAGES[stage][0]:
        return write_videos(folder)
    write_tiny_vid(folder / "tiny_vid", seed=0, splits=["train"], num_videos=2)
    return folder


def write_checkpoints(folder: Path, connection=None) -> None:
    """Write checkpoints one after another, without end, keeping a few."""
    torch.set_num_threads(1)
    clear_unfinished(folder)
    left = len(list(folder.glob(".*.part")))
    found = find_checkpoint(folder)
    model = torch.nn.Linear(250, 1000)  # 1 MB
    checkpointer = StrictCheckpointer(model, str(folder))
    first = 0
    if found:
        first = checkpointer.load(str(found))["iteration"] + 1
        assert (model.weight == first - 1).all() and (model.bias == first - 1).all()
    connection.send((first, left))
    for iteration in count(first):
        with torch.no_grad():
            model.weight.fill_(iteration)
            model.bias.fill_(iteration)
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
        (folder / f"model_{iteration - 3:07d}.pth").unlink(missing_ok=True)


def _register(records: list[dict]) -> None:
    if "mixed" not in DatasetCatalog:
        DatasetCatalog.register("mixed", lambda: records)
        classes = [str(i) for i in range(8)]
        MetadataCatalog.get("mixed").set(thing_classes=classes, evaluator_type="vid")


def _be_quiet(folder: Path) -> None:
    """What is printed goes to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
