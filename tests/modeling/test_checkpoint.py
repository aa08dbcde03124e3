"""Weights are loaded whole or refused with the model left as it was, and the message says why."""

import copy
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from d2_plugtrack.errors import UserError
from d2_plugtrack.modeling.checkpoint import (
    load_starting_weights,
    load_weights,
    unreadable_weights,
)
from d2_plugtrack.plugin import load_config

CONFIG = Path(__file__).resolve().parents[2] / "configs/TinyVID/plugtrack_tiny.yaml"
STEM = "backbone.bottom_up.stem.conv1.weight"


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    return build_model(load_config(str(CONFIG), ["MODEL.DEVICE", "cpu"]))


@pytest.fixture
def model(original):
    """A model of the same architecture with other weights, batch norm's counters included."""
    model = copy.deepcopy(original)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(1)
    return model


@pytest.fixture
def state(original):
    """What the checkpoint holds; tests take things away."""
    return {key: value.clone() for key, value in original.state_dict().items()}


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "weights.pth")


def without_tracker(state: dict) -> dict:
    return {key: value for key, value in state.items() if not key.startswith("tracker.")}


def equal(model, state: dict) -> bool:
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def refusal(model, path: str, tracker_required: bool = False) -> str:
    """The message; the model must be as it was."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(model, path, tracker_required=tracker_required)
    assert equal(model, before)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("tracker_required", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_good_file_loads(model, state, path, tracker_required, wrapped):
    torch.save({"model": state, "iteration": 3} if wrapped else state, path)
    load_weights(model, path, tracker_required=tracker_required)
    assert equal(model, state)


def test_a_stock_detector_loads_where_the_tracker_may_be_missing(model, state, path):
    tracker_before = copy.deepcopy(model.tracker.state_dict())
    torch.save({"model": without_tracker(state)}, path)
    load_weights(model, path, tracker_required=False)
    assert equal(model, {**state, **{f"tracker.{k}": v for k, v in tracker_before.items()}})


def test_a_stock_detector_is_refused_where_the_tracker_is_required(model, state, path):
    torch.save({"model": without_tracker(state)}, path)
    message = refusal(model, path, tracker_required=True)
    assert path in message and "missing" in message and "tracker." in message


def test_an_address_with_a_query_loads(model, state, path):
    torch.save({"model": state}, path)
    load_weights(model, f"{path}?matching_heuristics=True", tracker_required=True)
    assert equal(model, state)


@pytest.mark.parametrize("tracker_required", [True, False])
def test_a_detector_key_missing_is_refused(model, state, path, tracker_required):
    key = "roi_heads.box_predictor.cls_score.weight"
    torch.save({"model": {k: v for k, v in state.items() if k != key}}, path)
    message = refusal(model, path, tracker_required)
    assert path in message and f"1 keys missing, the first is {key}" in message


@pytest.mark.parametrize("key", ["proposal_generator.rpn_head.conv.bias", "tracker.shared.bias"])
def test_another_shape_is_refused(model, state, path, key):
    state[key] = torch.zeros(len(state[key]) + 1)
    torch.save({"model": state}, path)
    message = refusal(model, path)
    assert path in message and f"1 keys of another shape, the first is {key}" in message
    assert "missing" not in message


def test_another_architecture_is_refused(model, path):
    torch.save({"model": torch.nn.Linear(3, 4).state_dict()}, path)
    message = refusal(model, path)
    assert path in message and "missing, the first is backbone." in message


def test_nothing_is_altered_by_a_file_that_fails_half_way(model, state, path):
    state["tracker.shared.bias"] = "not a tensor"  # the last keys; the others load well
    torch.save({"model": state}, path)
    assert path in refusal(model, path)


@pytest.mark.parametrize("name", ["weights.pth", "weights.pkl", "weights.pyth"])
@pytest.mark.parametrize("content", [b"", b"hello, I am no checkpoint\n", b"\x80\x02]q\x00."])
def test_a_file_that_is_no_checkpoint_is_refused(model, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert str(path) in refusal(model, str(path))


def test_a_truncated_checkpoint_is_refused(model, state, path):
    torch.save({"model": state}, path)
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[: len(whole) // 2])
    assert path in refusal(model, path)


@pytest.mark.parametrize("kind", ["absent", "folder"])
def test_what_is_no_file_is_named(model, tmp_path, kind):
    path = str(tmp_path / "absent.pth") if kind == "absent" else str(tmp_path)
    message = refusal(model, path)
    assert path in message and "MODEL.WEIGHTS" in message and "no such file" in message


def test_an_empty_path_is_named(model):
    assert "MODEL.WEIGHTS is empty" in refusal(model, "")


def test_any_failure_to_load_becomes_one_line():
    with pytest.raises(UserError, match="^w.pth: .*first second"), unreadable_weights("w.pth"):
        raise RuntimeError("first\n  second")


# ---- the start of stage one -------------------------------------------------------------------


def refusal_to_start(model, path: str) -> str:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_starting_weights(model, path)
    assert equal(model, before)
    return str(error.value)


@pytest.mark.parametrize("wrapped", [True, False])
def test_stage_one_starts_with_a_backbone_alone(model, state, path, wrapped):
    before = copy.deepcopy(model.state_dict())
    body = {k: v for k, v in state.items() if k.startswith("backbone.bottom_up.")}
    assert 0 < len(body) < len(state)
    torch.save({"model": body, "iteration": 3} if wrapped else body, path)
    load_starting_weights(model, path)
    assert equal(model, {**before, **body})


def test_stage_one_starts_from_a_detector_of_other_classes(model, state, path):
    before = copy.deepcopy(model.state_dict())
    predictor = [k for k in state if k.startswith("roi_heads.box_predictor.")]
    others = {k: torch.zeros(len(state[k]) + 3, *state[k].shape[1:]) for k in predictor}
    torch.save({"model": {**state, **others}}, path)
    load_starting_weights(model, path)
    assert predictor and equal(model, {**state, **{k: before[k] for k in predictor}})


@pytest.mark.parametrize(
    "key", ["backbone.bottom_up.res3.0.conv1.weight", "backbone.bottom_up.stem.conv1.norm.bias"]
)
def test_stage_one_needs_all_of_the_body(model, state, path, key):
    torch.save({"model": {k: v for k, v in state.items() if k != key}}, path)
    message = refusal_to_start(model, path)
    assert path in message and f"1 keys missing, the first is {key}" in message
    torch.save({"model": {**state, key: torch.zeros(2)}}, path)
    assert f"1 keys of another shape, the first is {key}" in refusal_to_start(model, path)


def test_stage_one_does_without_counters_and_the_neck(model, state, path):
    kept = {k: v for k, v in state.items() if "fpn_" not in k and not k.endswith("batches_tracked")}
    assert len(kept) < len(state)
    torch.save({"model": kept}, path)
    load_starting_weights(model, path)
    assert torch.equal(model.backbone.bottom_up.stem.conv1.weight, kept[STEM])


def test_stage_one_refuses_what_is_no_file_or_no_checkpoint(model, path):
    assert "no such file" in refusal_to_start(model, path)
    assert "MODEL.WEIGHTS is empty" in refusal_to_start(model, "")
    Path(path).write_bytes(b"hello")
    assert "not a checkpoint" in refusal_to_start(model, path)
    torch.save({"model": torch.nn.Linear(3, 4).state_dict()}, path)
    assert "missing, the first is backbone.bottom_up." in refusal_to_start(model, path)
