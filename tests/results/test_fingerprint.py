"""What boxes depend on changes the fingerprint, and its own part only; the rest does not."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from d2_plugtrack.results import fingerprint as fingerprint_module
from d2_plugtrack.results.fingerprint import code_hash, fingerprint_of, weights_hash

FRAMES = {"a": range(3), "b": [0, 2], 3: [0]}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def fingerprint(**changes) -> dict[str, str]:
    given = {"model": model(), "settings": "A: 1", "dataset": "set", "frames": FRAMES, **changes}
    return fingerprint_of(**given)


def parts_that_differ(**changes) -> list[str]:
    before, after = fingerprint(), fingerprint(**changes)
    assert list(before) == list(after) == ["weights", "settings", "videos", "images", "code"]
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


def test_images_that_change_under_their_names(tmp_path):
    path = tmp_path / "000000.JPEG"
    path.write_bytes(b"half")
    images, before = [str(path)], path.stat()
    first = fingerprint(images=images)
    assert fingerprint(images=images) == first
    path.write_bytes(b"whole")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    larger = fingerprint(images=images)
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    later = fingerprint(images=images)
    path.unlink()
    missing = fingerprint(images=images)
    hashes = [found.pop("images") for found in (first, larger, later, missing)]
    assert len(set(hashes)) == 4 and first == larger == later == missing


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("core/tfd.py", True),
        ("modeling/new.py", True),
        ("hosts/torchvision.py", True),
        ("data/image_mapper.py", True),
        ("build.py", True),
        ("core/seq_nms.py", False),
        ("core/average_precisions.py", False),
        ("training.py", False),
        ("core/tfd.pyc", False),
    ],
)
def test_code_that_computes_boxes_counts(tmp_path, name, counts):
    code_hash.cache_clear()
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("a = 1")
    before = code_hash(tmp_path)
    code_hash.cache_clear()
    path.write_text("a = 2")
    assert (code_hash(tmp_path) != before) == counts


def test_what_comes_after_boxes_is_there():
    package = Path(fingerprint_module.__file__).parents[1]
    assert all((package / f"core/{name}.py").is_file() for name in fingerprint_module._AFTERWARDS)


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
