"""What boxes depend on changes the fingerprint, and its own part only; the rest does not."""

import pytest
import torch
from torch import nn

from d2_plugtrack.results.fingerprint import fingerprint_of, weights_hash

FRAMES = {"a": range(3), "b": [0, 2], 3: [0]}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def fingerprint(**changes) -> dict[str, str]:
    given = {"model": model(), "settings": "A: 1", "dataset": "set", "frames": FRAMES, **changes}
    return fingerprint_of(**given)


def parts_that_differ(**changes) -> list[str]:
    before, after = fingerprint(), fingerprint(**changes)
    assert list(before) == list(after) == ["weights", "settings", "videos", "code"]
    return [name for name in before if before[name] != after[name]]


def test_the_same_is_the_same():
    assert parts_that_differ() == []
    lists = {video: [*indices] for video, indices in FRAMES.items()}
    assert parts_that_differ(frames=lists) == []


def test_settings_and_videos():
    assert parts_that_differ(settings="A: 2") == ["settings"]
    assert parts_that_differ(dataset="other") == ["videos"]
    others = [
        {"a": range(3), "b": [0, 1], 3: [0]},
        {"a": range(4), "b": [0, 2], 3: [0]},
        {"b": [0, 2], "a": range(3), 3: [0]},
        {"a": range(3), "b": [0, 2], "3": [0]},
        {"a": range(3), "b": [0, 2]},
        {},
    ]
    for frames in others:
        assert parts_that_differ(frames=frames) == ["videos"]


NAMES = [*model().state_dict()]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_buffer(name):
    changed = model()
    tensor = changed.state_dict()[name].reshape(-1)
    tensor[-1] = tensor[-1] + 1 if "num" in name else torch.nextafter(tensor[-1], tensor[-1] + 1)
    assert parts_that_differ(model=changed) == ["weights"]


def test_what_is_not_saved_with_the_weights_counts_too():
    changed = model()
    changed.register_buffer("pixel_mean", torch.zeros(3), persistent=False)
    assert weights_hash(changed) != weights_hash(model())
    with_mean = weights_hash(changed)
    changed.pixel_mean += 1
    assert weights_hash(changed) != with_mean


def test_names_shapes_and_types_count():
    def holding(name: str, tensor: torch.Tensor) -> str:
        module = nn.Module()
        module.register_buffer(name, tensor)
        return weights_hash(module)

    zeros = torch.zeros(4)
    tensors = [zeros, zeros.reshape(2, 2), zeros.int(), zeros.bfloat16(), zeros[:3], zeros[0]]
    hashes = [holding("a", tensor) for tensor in tensors] + [holding("b", zeros)]
    assert len({*hashes}) == len(hashes)


def test_how_weights_lie_in_memory_does_not_count():
    other = model().eval().to(memory_format=torch.channels_last)
    assert parts_that_differ(model=other) == []


def test_a_model_without_weights():
    assert parts_that_differ(model=nn.Module()) == ["weights"]
