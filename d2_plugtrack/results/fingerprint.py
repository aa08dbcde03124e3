"""What the boxes of a run depend on, as hashes: two runs of the same give the same boxes.

Re-scoring and the counting of mAP are not in it: they start from saved boxes. Nor are paths, and
how many processes there are. Images are known by their size and time of change, other packages by
their version.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .run_folder import VideoId

# Of the package: where images are read and boxes are computed ...
_CODE = (
    *("core/*", "modeling/*", "hosts/*", "build"),
    *("data/bad_images", "data/image_mapper", "data/loaders"),
)
# ... but not what is done with boxes that are saved.
_AFTERWARDS = {
    *("average_precisions", "class_evaluator", "frame_columns", "matching", "motion", "protocols"),
    *("ranges", "vid_metrics", "video_evaluation", "video_rescorer", "rescoring", "tracked_video"),
    *("seq_nms", "box_graph", "graph_parts", "node_groups", "open_part", "paths", "spool"),
}
_PACKAGES = ("torch", "torchvision", "detectron2", "timm", "opencv-python", "pillow")
_PACKAGE = Path(__file__).resolve().parents[1]


def fingerprint_of(
    model: nn.Module,
    settings: str,
    dataset: str,
    frames: Mapping[VideoId, Sequence[int]],
    images: Iterable[str] = (),
) -> dict[str, str]:
    """A hash of every part.

    Args:
        model: with all its parameters and buffers.
        settings: the config's keys that decide boxes, as from ``build.box_settings``.
        frames: of every video, in the dataset's order.
        images: the file of every frame.
    """
    videos = [[video, list(indices)] for video, indices in frames.items()]
    return {
        "weights": weights_hash(model),
        "settings": _hash_of(settings.encode()),
        "videos": _hash_of(json.dumps([dataset, videos]).encode()),
        "images": images_hash(images),
        "code": code_hash(_PACKAGE),
    }


def images_hash(paths: Iterable[str]) -> str:
    """Of the sizes and times of change of files; one that is not there counts as well."""
    found = hashlib.sha256()
    for path in paths:
        try:
            state = os.stat(path)
            found.update(f"{state.st_size} {state.st_mtime_ns};".encode())
        except OSError:
            found.update(b"missing;")
    return found.hexdigest()


def weights_hash(model: nn.Module) -> str:
    """Of all parameters and buffers, those that checkpoints leave out as well, by name."""
    found = hashlib.sha256()
    for name, tensor in sorted([*model.named_parameters(), *model.named_buffers()]):
        found.update(f"{name} {tensor.dtype} {[*tensor.shape]};".encode())
        found.update(_bytes_of(tensor))
    return found.hexdigest()


def _bytes_of(tensor: Tensor) -> np.ndarray:
    # numpy has no bfloat16; a number has no bytes of its own
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


@cache
def code_hash(package: Path) -> str:
    """Of the code in a package's folder that computes boxes, and the versions it stands on."""
    found = hashlib.sha256(" ".join(map(_version, _PACKAGES)).encode())
    for path in sorted(path for name in _CODE for path in package.glob(f"{name}.py")):
        if path.stem not in _AFTERWARDS:
            found.update(f"{path.relative_to(package)} ".encode())
            found.update(path.read_bytes())
    return found.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
