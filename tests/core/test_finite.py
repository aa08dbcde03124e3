"""What is watched, what gradients are called, and what a snapshot puts back."""

import math

import pytest
import torch
from torch import nn

from d2_plugtrack.core.finite import (
    Snapshot,
    Watch,
    bad_gradients,
    gradient_norms,
    image_name,
    refuse_bad_true_boxes,
    summarize,
    training_buffers,
    watch,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_and_wholes_are_named(value, dtype):
    maps = torch.full((3, 4, 5), 6e4, dtype=dtype)  # whose sum float16 does not hold
    maps[2, 3, 4] = value
    with Watch() as seen:
        watch("map", maps, lambda i: f"image {i}")
        watch("map of another", maps[:2], lambda i: f"image {i}")
        watch("boxes", torch.zeros(0, 4))
        watch("scores", maps[2])
    assert seen.flag(CPU) and seen.names() == [
        *("NaN or infinity in map of image 2", "NaN or infinity in scores")
    ]


def test_opposite_infinities_do_not_cancel():
    with Watch() as seen:
        watch("both", torch.tensor([math.inf, -math.inf]))
    assert seen.names() == ["NaN or infinity in both"]


def test_outside_of_a_watch_nothing_is_kept_and_nothing_watched_is_well():
    watch("before", torch.tensor(math.nan))
    with Watch() as seen:
        pass
    watch("after", torch.tensor(math.nan))
    assert not seen.flag(CPU) and seen.names() == []


def test_a_watch_may_be_entered_again_and_an_error_leaves_it():
    with Watch() as seen:
        watch("first", torch.ones(2))
    with pytest.raises(KeyError), seen:
        watch("second", torch.tensor([math.nan]))
        raise KeyError
    watch("third", torch.tensor(math.nan))
    assert seen.names() == ["NaN or infinity in second"]


def test_watching_builds_no_graph_and_changes_nothing():
    values = torch.ones(2, requires_grad=True)
    with Watch() as seen:
        watch("values", values)
    assert values.grad is None and not seen.flag(CPU).requires_grad


def test_gradients_are_named():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1), nn.Linear(1, 1))
    assert gradient_norms([]).shape == (0,) and bad_gradients(model.named_parameters()) == []
    model[1](model[0](torch.ones(1, 2))).sum().backward()
    assert bad_gradients(model.named_parameters()) == []
    model[0].bias.grad[1] = math.nan
    model[1].weight.grad[0, 0] = 1e30  # its square is infinite, and so is AdamW's mean of squares
    assert bad_gradients(model.named_parameters()) == [
        f"NaN or infinity in the gradient of {name}" for name in ("0.bias", "1.weight")
    ]


def test_a_snapshot_puts_back_what_was_kept_last():
    norm = nn.BatchNorm1d(2)
    kept = Snapshot(training_buffers(norm))
    norm(torch.randn(4, 2))
    kept.save()
    expected = {name: value.clone() for name, value in norm.state_dict().items()}
    norm(torch.full((4, 2), math.nan))
    kept.restore()
    torch.testing.assert_close(norm.state_dict(), expected, rtol=0, atol=0)
    assert norm.num_batches_tracked == 1
    Snapshot([]).save()


def test_buffers_in_training_are_those_that_change():
    model = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.BatchNorm1d(2), nn.Linear(2, 2))
    names = {id(b): n for n, b in model.named_buffers()}
    assert {names[id(b)] for b in training_buffers(model)} == {
        *("1.running_mean", "1.running_var", "1.num_batches_tracked")
    }


def test_names_of_images():
    assert image_name({"video_id": "v", "frame_index": 3, "file_name": "f"}, 1) == (
        "image 1 (video v, frame 3)"
    )
    assert image_name({"file_name": "f"}, 1) == "image 1 (f)" and image_name({}, 2) == "image 2"


def test_a_long_list_is_cut():
    assert summarize([]) == "" and summarize(["a", "b"]) == "a; b"
    assert summarize(list("abcdef")) == "a; b; c; d; 2 more"


def test_true_boxes_that_are_not_finite_are_refused():
    good = torch.tensor([[1.0, 2, 3, 4]])
    refuse_bad_true_boxes([good, good[:0]])
    with pytest.raises(FloatingPointError, match=r"^true box \[1.0, nan, 3.0, 4.0\] of image 1$"):
        refuse_bad_true_boxes([good, torch.tensor([[1.0, 2, 3, 4], [1, math.nan, 3, 4]])])
