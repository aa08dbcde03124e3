"""Configs and checkpoints of a stranger execute nothing, wherever in them the attempt is."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from d2_plugtrack.config_file import read_host
from d2_plugtrack.errors import UserError
from d2_plugtrack.host import load_torchvision_config, open_host
from d2_plugtrack.modeling.checkpoint import StrictCheckpointer, load_starting_weights, load_weights
from d2_plugtrack.modeling.imagenet_weights import is_imagenet_weights, load_imagenet_weights
from d2_plugtrack.plugin import build_model, load_config
from d2_plugtrack.weights import read_weights

CONFIGS = Path(__file__).resolve().parents[1] / "configs/TinyVID"
HOSTS = {"detectron2": "plugtrack_tiny.yaml", "torchvision": "torchvision_tiny.yaml"}


@pytest.fixture
def canary(tmp_path) -> Path:
    """What an attempt makes; absent afterwards unless the test takes it away."""
    path = tmp_path / "made"
    yield path
    assert not path.exists()


# ---- configs -------------------------------------------------------------------------------------

TAGS = {
    "apply": "!!python/object/apply:os.mkdir ['{}']",
    "new": "!!python/object/new:os.mkdir ['{}']",
    "eval": '!!python/object/apply:eval [\'__import__("os").mkdir("{}")\']',
}


def load_any(host: str, path: Path) -> None:
    read_host(str(path))
    {"detectron2": load_config, "torchvision": load_torchvision_config}[host](str(path))


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("place", ["file", "base", "base of the base", "one of several bases"])
@pytest.mark.parametrize("host", HOSTS)
def test_tags_of_python_in_a_config_are_refused(tmp_path, canary, host, place, tag):
    attempt = f"SOLVER:\n  MAX_ITER: {TAGS[tag].format(canary)}\n"
    good = f"_BASE_: {CONFIGS / HOSTS[host]}\n"
    chain = {
        "file": {"a.yaml": good + attempt},
        "base": {"a.yaml": "_BASE_: b.yaml\n", "b.yaml": good + attempt},
        "base of the base": {
            **{"a.yaml": "_BASE_: b.yaml\n", "b.yaml": "_BASE_: c.yaml\n"},
            "c.yaml": good + attempt,
        },
        "one of several bases": {
            "a.yaml": f"_BASE_: [{CONFIGS / HOSTS[host]}, b.yaml]\n",
            "b.yaml": attempt,
        },
    }[place]
    for name, text in chain.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="a.yaml: .*python/object"):
        load_any(host, tmp_path / "a.yaml")
    with pytest.raises(UserError, match="a.yaml: .*python/object"):
        open_host(str(tmp_path / "a.yaml"), [])
    assert not canary.exists()
    yaml.unsafe_load(attempt)
    canary.rmdir()  # it would have been made


@pytest.mark.parametrize("host", HOSTS)
def test_a_value_given_beside_the_config_is_no_expression(canary, host):
    attempt = f"__import__('os').mkdir('{canary}')"
    load = {"detectron2": load_config, "torchvision": load_torchvision_config}[host]
    with pytest.raises(UserError, match="SOLVER.MAX_ITER"):
        load(str(CONFIGS / HOSTS[host]), ["SOLVER.MAX_ITER", attempt])


def test_a_config_in_python_is_refused(tmp_path, canary):
    path = tmp_path / "config.py"
    path.write_text(f"import os\nos.mkdir({str(canary)!r})\ncfg = {{}}\n")
    for host in HOSTS:
        with pytest.raises(UserError, match="config.py"):
            load_any(host, path)


# ---- weights -------------------------------------------------------------------------------------


class Attempt:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture(scope="module")
def model():
    return build_model(load_config(str(CONFIGS / HOSTS["detectron2"]), ["MODEL.DEVICE", "cpu"]))


def write(path: Path, content: object) -> str:
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path)
    return str(path)


@pytest.mark.parametrize("ending", ["pth", "pkl", "pyth", "pickle", ""])
@pytest.mark.parametrize("place", ["beside the model", "in the model", "the whole file"])
def test_a_checkpoint_executes_nothing(model, tmp_path, canary, ending, place):
    content = {
        "beside the model": {"model": {}, "__author__": Attempt(canary)},
        "in the model": {"model": {"w": Attempt(canary)}, "__author__": "x"},
        "the whole file": Attempt(canary),
    }[place]
    path = write(tmp_path / f"w.{ending}", content)
    readers = {
        "load_weights": lambda: load_weights(model, path, tracker_required=False),
        "load_starting_weights": lambda: load_starting_weights(model, path),
        "load_imagenet_weights": lambda: load_imagenet_weights(model, path),
        "read_weights": lambda: read_weights(path),
    }
    for name, read in readers.items():
        if ending == "pkl" and name not in ("load_weights", "load_starting_weights"):
            continue
        with pytest.raises(UserError, match=rf"w.{ending}: .*asks for posix.mkdir") as error:
            read()
        assert "\n" not in str(error.value)
    assert not is_imagenet_weights(path)
    assert not canary.exists()
    if ending == "pkl":
        pickle.loads(Path(path).read_bytes())
    else:
        torch.load(path, weights_only=False)
    canary.rmdir()  # it would have been made


@pytest.fixture
def linear() -> nn.Linear:
    return nn.Linear(2, 3)


def load(model: nn.Module, path: str, **given) -> None:
    StrictCheckpointer(model, **given).load(path)


def test_the_model_zoos_pickles_load(linear, tmp_path):
    arrays = {"weight": np.arange(6, dtype=np.float32).reshape(3, 2), "bias": np.ones(3, "f4")}
    zoo = {"model": arrays, "__author__": "Detectron2 Model Zoo"}
    for heuristics in ({}, {"matching_heuristics": True}):
        nn.init.zeros_(linear.weight)
        load(linear, write(tmp_path / "zoo.pkl", {**zoo, **heuristics}))
        assert linear.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
        assert linear.bias.tolist() == [1, 1, 1]


@pytest.mark.parametrize("wrapped", [True, False])
def test_caffe2s_pickles_load_by_their_names(tmp_path, wrapped):
    model = nn.ModuleDict({"stem": nn.ModuleDict({"conv1": nn.Conv2d(1, 1, 1, bias=False)})})
    blobs = {"conv1_w": np.full((1, 1, 1, 1), 5, np.float32), "conv1_w_momentum": np.zeros(3)}
    path = write(tmp_path / "c2.pkl", {"blobs": blobs} if wrapped else blobs)
    load(model, path, is_required=lambda key: False)
    assert model["stem"]["conv1"].weight.item() == 5


def test_pycls_checkpoints_load_by_their_endings(linear, tmp_path):
    state = {"fc.weight": torch.ones(3, 2), "fc.bias": torch.ones(3), "x.num_batches_tracked": 3}
    load(nn.ModuleDict({"fc": linear}), write(tmp_path / "a.pyth", {"model_state": state}))
    assert linear.weight.tolist() == [[1, 1]] * 3
