"""What the boxes of a run depend on, as hashes: two runs of the same give the same boxes.

Re-scoring and the counting of mAP are not in it: they start from saved boxes. Nor are paths, and
how many processes there are. What is not seen: images that changed under their names, and modules
of other packages.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from .run_folder import VideoId

_CODE = ("core", "modeling", "hosts")  # of the package: where boxes are computed


def fingerprint_of(
    model: nn.Module, settings: str, dataset: str, frames: Mapping[VideoId, Sequence[int]]
) -> dict[str, str]:
    """A hash of every part.

    Args:
        model: with all its parameters and buffers.
        settings: the config's keys that decide boxes, as from ``build.box_settings``.
        frames: of every video, in the dataset's order.
    """
    videos = [[video, list(indices)] for video, indices in frames.items()]
    return {
        "weights": weights_hash(model),
        "settings": _hash_of(settings.encode()),
        "videos": _hash_of(json.dumps([dataset, videos]).encode()),
        "code": _code_hash(),
    }


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
def _code_hash() -> str:
    """Of the code that computes boxes, and the versions of what it stands on."""
    found = hashlib.sha256(f"{torch.__version__} {torchvision.__version__}".encode())
    package = Path(__file__).resolve().parents[1]
    for path in sorted(path for name in _CODE for path in (package / name).rglob("*.py")):
        found.update(f"{path.relative_to(package)} ".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
