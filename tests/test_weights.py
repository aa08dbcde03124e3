"""Weights files: written and read whole, or refused with everything left as it was."""

import copy
import pickle
import resource
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from d2_plugtrack.errors import UserError
from d2_plugtrack.weights import (
    joined_state,
    load_joined,
    read_weights,
    without_tracker,
    write_weights,
)


def new_detector() -> nn.Module:
    """With a buffer that is a number and one that is not saved."""
    detector = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    detector.register_buffer("scratch", torch.zeros(2), persistent=False)
    return detector


@pytest.fixture
def detector():
    return new_detector()


@pytest.fixture
def tracker():
    return nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2))


@pytest.fixture
def state():
    """A file's content for the two, with other numbers in it; tests take things away."""
    modules = new_detector(), nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2))
    state = joined_state(*modules)
    return {key: value.clone().add_(i + 1) for i, (key, value) in enumerate(state.items())}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "weights.pth"


def same(found: dict, expected: dict) -> bool:
    return found.keys() == expected.keys() and all(
        value.dtype == expected[key].dtype and torch.equal(value, expected[key])
        for key, value in found.items()
    )


def refusal(path: str | Path, *modules: nn.Module, tracker_required: bool = True) -> str:
    """The message; both modules must be as they were."""
    before = copy.deepcopy(joined_state(*modules))
    with pytest.raises(UserError) as error:
        load_joined(path, *modules, tracker_required=tracker_required)
    assert same(joined_state(*modules), before)
    message = str(error.value)
    assert str(path) in message and "\n" not in message and len(message) < 500
    return message


# ---- names ---------------------------------------------------------------------------------------


def test_a_file_has_the_detectors_own_names_and_the_trackers_after_a_prefix(detector, tracker):
    detectors = [
        *("0.weight", "0.bias", "1.weight", "1.bias"),
        *("1.running_mean", "1.running_var", "1.num_batches_tracked"),
    ]
    state = joined_state(detector, tracker)
    assert [k for k in state if not k.startswith("tracker.")] == detectors
    assert [k for k in state if k.startswith("tracker.")][:2] == [
        "tracker.0.weight",
        "tracker.0.bias",
    ]
    assert len(state) == len(detectors) + len(tracker.state_dict())
    assert state["0.weight"] is not state["tracker.0.weight"]
    assert list(joined_state(detector, None)) == detectors
    assert list(without_tracker(state)) == detectors
    assert without_tracker({}) == {}


# ---- writing and reading -------------------------------------------------------------------------


@pytest.mark.parametrize("as_path", [Path, str])
def test_what_is_written_is_read(state, path, as_path):
    write_weights(as_path(path), state)
    assert same(read_weights(as_path(path)), state)
    assert torch.load(path, weights_only=True).keys() == {"model"}


def test_no_tensors_at_all(path):
    write_weights(path, {})
    assert read_weights(path) == {}


def test_other_things_beside_the_tensors_are_left_aside(state, path):
    torch.save({"model": state, "iteration": 3, "optimizer": {"lr": [0.1]}}, path)
    assert same(read_weights(path), state)


def test_a_view_is_written_as_it_is(path):
    whole = torch.arange(12.0).reshape(3, 4)
    write_weights(path, {"column": whole[:, 1], "turned": whole.T})
    assert read_weights(path)["column"].tolist() == [1, 5, 9]
    assert torch.equal(read_weights(path)["turned"], whole.T)


def test_writing_leaves_nothing_but_the_file(state, path):
    write_weights(path, state)
    write_weights(path, without_tracker(state))  # over the first
    assert list(path.parent.iterdir()) == [path]
    assert same(read_weights(path), without_tracker(state))


@pytest.mark.parametrize("room", [0, 100, 2000])
def test_writing_that_fails_leaves_the_file_that_was_there(state, path, room):
    write_weights(path, without_tracker(state))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # as a full disk, at another errno
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(UserError, match=f"{path}: cannot be written: File too large"):
            write_weights(path, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(path.parent.iterdir()) == [path]
    assert same(read_weights(path), without_tracker(state))


def test_what_cannot_be_saved_leaves_nothing(path):
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_weights(path, {"a": lambda: None})
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["absent/weights.pth", "."])
def test_a_place_that_cannot_be_written_is_named(state, tmp_path, name):
    path = tmp_path / name
    with pytest.raises(UserError, match=f"{path}: cannot be written"):
        write_weights(path, state)
    assert list(tmp_path.iterdir()) == []


# ---- loading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tracker_required", [True, False])
def test_a_round_trip(detector, tracker, state, path, tracker_required):
    write_weights(path, state)
    assert not same(joined_state(detector, tracker), state)
    load_joined(path, detector, tracker, tracker_required=tracker_required)
    assert same(joined_state(detector, tracker), state)


def test_a_detector_alone_loads_where_the_tracker_may_be_missing(detector, tracker, state, path):
    before = copy.deepcopy(tracker.state_dict())
    write_weights(path, without_tracker(state))
    load_joined(path, detector, tracker, tracker_required=False)
    assert same(joined_state(detector, None), without_tracker(state))
    assert same(tracker.state_dict(), before)


def test_a_detector_alone_is_refused_where_the_tracker_is_required(detector, tracker, state, path):
    write_weights(path, without_tracker(state))
    message = refusal(path, detector, tracker)
    assert "7 keys missing, the first is tracker.0.weight. A tracker is trained" in message


def test_the_advice_on_trackers_is_for_detectors_without_one_only(detector, tracker, state, path):
    write_weights(path, {**without_tracker(state), "x": torch.zeros(1)})
    assert "A tracker is trained" not in refusal(path, detector, tracker)
    write_weights(path, {key: value for key, value in state.items() if key != "0.bias"})
    assert "A tracker is trained" not in refusal(path, detector, tracker)


def test_weights_of_frozen_batch_norms_fit_ordinary_ones(detector, tracker, state, path):
    """torchvision's frozen one (all pre-trained detectors) has every tensor but the count."""
    frozen = FrozenBatchNorm2d(detector[1].num_features)
    assert {f"1.{name}" for name in frozen.state_dict()} == {
        key for key in state if key.startswith("1.") and not key.endswith("num_batches_tracked")
    }
    write_weights(path, {k: v for k, v in state.items() if k != "1.num_batches_tracked"})
    load_joined(path, detector, tracker, tracker_required=True)
    assert torch.equal(detector.state_dict()["1.running_mean"], state["1.running_mean"])
    write_weights(path, {k: v for k, v in state.items() if k != "tracker.1.num_batches_tracked"})
    assert "1 keys missing, the first is tracker.1.num" in refusal(path, detector, tracker)


@pytest.mark.parametrize("tracker_required", [True, False])
@pytest.mark.parametrize("keys", [["0.bias"], ["tracker.1.running_var"], ["1.bias", "1.weight"]])
def test_missing_keys_are_refused(detector, tracker, state, path, keys, tracker_required):
    write_weights(path, {k: v for k, v in state.items() if k not in keys})
    message = refusal(path, detector, tracker, tracker_required=tracker_required)
    assert f"not weights of this architecture: {len(keys)} keys missing" in message
    assert f"the first is {sorted(keys, reverse=True)[0]}" in message  # in the order of the model


@pytest.mark.parametrize("key", ["2.weight", "tracker.2.weight", "scratch", "", "tracker."])
@pytest.mark.parametrize("tracker_required", [True, False])
def test_keys_too_many_are_refused(detector, tracker, state, path, key, tracker_required):
    write_weights(path, {**state, key: torch.zeros(1), "z": torch.zeros(1)})
    message = refusal(path, detector, tracker, tracker_required=tracker_required)
    assert f"2 keys too many, the first is {key}" in message
    assert "missing" not in message and "shape" not in message


@pytest.mark.parametrize("key", ["0.weight", "1.num_batches_tracked", "tracker.0.bias"])
@pytest.mark.parametrize("shape", [(), (1,), (4, 3, 3, 1)])
def test_another_shape_is_refused(detector, tracker, state, path, key, shape):
    if state[key].shape == shape:
        shape = (2,)
    write_weights(path, {**state, key: torch.zeros(shape)})
    message = refusal(path, detector, tracker)
    assert f"1 keys of another shape, the first is {key}" in message
    assert "missing" not in message and "too many" not in message


def test_everything_that_is_wrong_is_said_at_once(detector, tracker, state, path):
    del state["0.weight"]
    write_weights(path, {**state, "x": torch.zeros(1), "1.bias": torch.zeros(5)})
    assert refusal(path, detector, tracker).endswith(
        "not weights of this architecture: 1 keys missing, the first is 0.weight; "
        "1 keys too many, the first is x; "
        f"1 keys of another shape, the first is 1.bias (5,) for {tuple(state['1.bias'].shape)}"
    )


# ---- files that are no weights -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["absent.pth", "absent/weights.pth", "."])
def test_what_is_no_file_is_named(detector, tracker, tmp_path, name):
    assert refusal(tmp_path / name, detector, tracker).endswith("no such file")


def test_an_empty_path_is_named(detector, tracker):
    assert "MODEL.WEIGHTS is empty" in refusal("", detector, tracker)


@pytest.mark.parametrize(
    "content", [b"", b"hello, I am no weights\n", b"\x80\x02]q\x00.", b"PK\x03\x04" + bytes(60)]
)
def test_garbage_is_refused(detector, tracker, path, content):
    path.write_bytes(content)
    assert "not a checkpoint that can be loaded" in refusal(path, detector, tracker)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_refused(detector, tracker, state, path, zipped):
    torch.save({"model": state}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for share in (0.01, 0.3, 0.6, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        assert "not a checkpoint that can be loaded" in refusal(path, detector, tracker)


def test_damage_of_what_was_written_here_never_goes_unseen(state, path):
    write_weights(path, state)
    whole = path.read_bytes()
    for place in torch.randint(len(whole), (300,)).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(UserError, match=f"{path}: not a checkpoint that can be loaded"):
            read_weights(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_damage_is_a_mistake_of_the_user_or_goes_unseen(state, path, zipped):
    torch.save({"model": state}, path, _use_new_zipfile_serialization=zipped)
    whole, refused = path.read_bytes(), 0
    for place in torch.randint(len(whole), (300,)).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_weights(path)
        except UserError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 20


class Code:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("zipped", [True, False, None])
def test_code_in_a_file_is_not_run(detector, tracker, state, path, zipped):
    content = {"model": state, "extra": Code(path.parent / "made")}
    if zipped is None:
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert "not a checkpoint that can be loaded" in refusal(path, detector, tracker)
    assert list(path.parent.iterdir()) == [path]
    torch.load(path, weights_only=False) if zipped is not None else pickle.loads(path.read_bytes())
    assert (path.parent / "made").is_dir()  # it would have been


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize(
    "content",
    [
        *(None, 3, "weights", [1, 2], torch.zeros(3), {}, {"weights": {}}),
        *({"model": None}, {"model": torch.zeros(2)}, {"model": [torch.zeros(2)]}),
        *({"model": {"0.weight": 3.0}}, {"model": {"0": {"weight": torch.zeros(2)}}}),
        {"model": {3: torch.zeros(2)}},
    ],
    ids=repr,
)
def test_content_that_is_not_tensors_by_name_is_refused(detector, tracker, path, content):
    torch.save(content, path)
    assert "not a checkpoint that can be loaded" in refusal(path, detector, tracker)


def test_a_plain_state_dict_is_read(state, path):
    torch.save(state, path)  # without {"model": ...}
    assert same(read_weights(path), state)


@pytest.mark.parametrize("content", [{"state_dict": {"a": 1}}, {"epoch": 3, "net": torch.zeros(1)}])
def test_keys_that_hold_no_tensors_are_named(path, content):
    torch.save(content, path)
    with pytest.raises(UserError, match=f"plain or under 'model', found '{next(iter(content))}'"):
        read_weights(path)


def test_nothing_is_loaded_when_the_last_key_is_wrong(detector, tracker, state, path):
    state[list(state)[-1]] = torch.zeros(9)
    write_weights(path, state)
    assert "of another shape, the first is tracker.1.num_batches_tracked" in refusal(
        path, detector, tracker
    )
