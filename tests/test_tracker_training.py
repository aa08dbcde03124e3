"""The tracker's losses on a detector of another input size, and the optimizer's steps by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from d2_plugtrack.core.detector import FrameFeatures
from d2_plugtrack.core.pair_losses import Objects, pair_losses
from d2_plugtrack.core.tracker import TrackerHead
from d2_plugtrack.data.labeled_frames import LabeledFrame
from d2_plugtrack.tracker_training import load_batches, optimize, tracker_losses

INPUT = (96, 160)  # height and width of every network input, whatever the frames


class ToyDetector(nn.Module):
    """Takes BGR frames of any size and resizes them to ``INPUT``; one map of stride 8."""

    num_classes = 1

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))  # asks for gradients, and must get none
        self.given = []

    def extract(self, frames):
        self.given += frames
        images = [torch.from_numpy(f.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for f in frames]
        sizes = [f.shape[:2] for f in frames]
        batch = torch.cat([nn.functional.interpolate(i, INPUT, mode="bilinear") for i in images])
        maps = {"a": self.scale * nn.functional.avg_pool2d(batch, 8)}
        return FrameFeatures(maps, [INPUT] * len(frames), sizes)


@pytest.fixture
def detector():
    return ToyDetector()


@pytest.fixture
def tracker():
    return TrackerHead(
        **{"in_features": ["a"], "in_channels": [3], "target": 0, "stride": 8, "channels": 8},
        **{"template_size": 7, "search_factor": 3, "box_weights": (10.0, 10.0, 5.0, 5.0)},
        **{"smooth_l1_beta": 1.0, "iou_loss_weight": 1.0},
    )


def labeled(boxes, track_ids, size=(48, 80)):
    """A frame of noise in which the objects are light."""
    image = np.random.randint(0, 60, (*size, 3), dtype=np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[max(int(y1), 0) : int(y2), max(int(x1), 0) : int(x2)] = 230
    ids = torch.tensor(track_ids, dtype=torch.int64)
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return LabeledFrame(image, boxes, torch.zeros_like(ids), ids)


def sampling(per_object=0):
    generator = torch.Generator().manual_seed(5)
    settings = {"iou_threshold": 0.5, "reading": "at_least", "generator": generator}
    return {"per_object": per_object, "limit": 8, **settings}


# ---- losses of pairs of frames -------------------------------------------------------------------


@pytest.fixture
def seen(monkeypatch):
    """What the tracker was called with, a call each."""
    calls = []
    forward = TrackerHead.forward

    def spy(self, *args):
        calls.append(args)
        return forward(self, *args)

    monkeypatch.setattr(TrackerHead, "forward", spy)
    return calls


def sorted_rows(boxes):
    return sorted(boxes.tolist())


def test_boxes_are_scaled_to_the_networks_input(detector, tracker, seen):
    # 48 x 80 goes in twice as large; 32 x 160 three times as high, as wide
    first = labeled([[10, 5, 30, 25], [40, 20, 60, 40]], [1, 2])
    second = labeled([[10, 5, 30, 25]], [1], size=(32, 160))
    pairs = [(first, first), (second, second)]
    losses = tracker_losses(detector, tracker, pairs, sampling())
    ((_, _, boxes),) = seen
    assert sorted_rows(boxes[0]) == [[20, 10, 60, 50], [80, 40, 120, 80]]
    assert sorted_rows(boxes[1]) == [[10, 15, 30, 75]]
    # nothing moved, and an untrained tracker moves nothing much
    assert losses["loss_track_box"].item() < 0.01


def test_targets_are_scaled_by_the_size_of_their_own_frame(detector, tracker):
    for branch in (tracker.box_branch, tracker.iou_branch):
        nn.init.zeros_(branch.weight)
    prev = labeled([[10, 5, 30, 25]], [1])  # in the network's pixels 20, 10, 60, 50
    curr = labeled([[24, 15 / 9, 64, 75 / 9]], [1], size=(16, 160))  # there 24, 10, 64, 50
    losses = tracker_losses(detector, tracker, [(prev, curr)], sampling())
    # a tenth to the right: dx is 10/10, and the IoU of the box that stays is 36/44; 0.5 is said
    expected = 0.5, 0.5 * (0.5 - 36 / 44) ** 2
    assert [loss.item() for loss in losses.values()] == pytest.approx(expected, rel=1e-4)


def test_boxes_are_cut_at_the_border(detector, tracker, seen):
    frame = labeled([[-10, 5, 30, 60]], [1])
    tracker_losses(detector, tracker, [(frame, frame)], sampling())
    ((_, _, (boxes,)),) = seen
    assert boxes.tolist() == [[0, 10, 60, 96]]


@pytest.mark.parametrize("num_pairs", [1, 3])
def test_losses_are_those_of_the_maps_and_the_objects_of_the_pairs(detector, tracker, num_pairs):
    tracker.eval()
    pairs = [
        (labeled([[10, 5, 30, 25]], [1]), labeled([[12 + i, 8, 35, 25], [50, 9, 70, 29]], [1, 2]))
        for i in range(num_pairs)
    ]
    losses = tracker_losses(detector, tracker, pairs, sampling(per_object=20))
    maps, objects = [], []
    for frames in zip(*pairs, strict=True):
        features = detector.extract([f.image for f in frames])
        maps.append(tracker.tracking_map(features.maps, features.image_sizes))
        objects.append([Objects(2 * f.boxes, f.track_ids) for f in frames])
    expected = pair_losses(tracker, *maps, *objects, sampling(per_object=20))
    assert losses.keys() == expected.keys() == {"loss_track_box", "loss_track_iou"}
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])
        assert loss > 0


def test_the_tracker_gets_gradients_and_the_detector_none(detector, tracker):
    prev, curr = labeled([[10, 5, 30, 25]], [1]), labeled([[14, 5, 34, 25]], [1])
    losses = tracker_losses(detector, tracker, [(prev, curr)] * 2, sampling(per_object=20))
    sum(losses.values()).backward()
    assert detector.scale.grad is None
    assert all((p.grad != 0).any() for p in tracker.parameters())


def test_frames_are_prepared_for_the_detector(detector, tracker):
    prev, curr = labeled([[10, 5, 30, 25]], [1]), labeled([[14, 5, 34, 25]], [1])
    pairs = [(prev, curr), (curr, prev)]
    tracker_losses(detector, tracker, pairs, sampling())
    order = [prev, curr, curr, prev]  # the first frames, then the second ones
    for given, frame in zip(detector.given, order, strict=True):
        assert given is frame.image
    tracker_losses(detector, tracker, pairs, sampling(), prepare=lambda image: image[:, ::-1])
    for given, frame in zip(detector.given[4:], order, strict=True):
        assert np.array_equal(given, frame.image[:, ::-1])


def test_no_objects_in_the_first_frames(detector, tracker):
    pair = labeled([], []), labeled([[14, 5, 34, 25]], [1])
    losses = tracker_losses(detector, tracker, [pair] * 2, sampling(per_object=20))
    assert [loss.item() for loss in losses.values()] == [0, 0]
    sum(losses.values()).backward()
    assert all((p.grad == 0).all() for p in tracker.parameters())


# ---- batches -------------------------------------------------------------------------------------


class Positions(Dataset):
    def __getitem__(self, position):
        return position


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_lists_of_the_items(num_workers, start):
    state = torch.get_rng_state()
    batches = load_batches(Positions(), 3, num_workers, start)
    expected = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, 14]]
    assert list(itertools.islice(batches, 3)) == expected[start : start + 3]
    assert torch.equal(torch.get_rng_state(), state)


# ---- the optimizer's steps -----------------------------------------------------------------------
# Where the gradient is always the same, AdamW moves a parameter by the learning rate, against the
# gradient's sign: the movement shows the schedule.


def train(compute_losses, parameters, batches=None, **changes):
    trained = nn.ParameterList(parameters)
    settings = {"max_iter": 8, "base_lr": 0.1, "weight_decay": 0.0, "warmup_iters": 0}
    batches = itertools.count() if batches is None else batches
    return optimize(compute_losses, trained, batches, **{**settings, **changes})


def movements(gradient=1.0, start=0.0, **changes):
    parameter = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    places = [start]
    for _ in train(lambda batch: {"loss": gradient * parameter}, [parameter], **changes):
        places.append(parameter.item())
    return np.diff(places).tolist()


def test_warm_up_and_cosine_by_hand():
    # (1, 2, 3, 4, 4 ...) / 4 of the rate, times (1 + cos(180 degrees * step / 8)) / 2
    root = 0.5**0.5
    cosines = [1, math.cos(math.pi / 8), root, math.cos(3 * math.pi / 8), 0]
    cosines += [-cosines[3], -root, -cosines[1]]
    rises = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    expected = [-0.1 * r * (1 + c) / 2 for r, c in zip(rises, cosines, strict=True)]
    assert movements(warmup_iters=4) == pytest.approx(expected, rel=1e-4)
    assert movements(warmup_iters=4)[4] == pytest.approx(-0.05, rel=1e-4)  # half-way
    assert movements(-3.0, warmup_iters=4) == pytest.approx([-e for e in expected], rel=1e-4)


@pytest.mark.parametrize("warmup_iters", [0, 1])
def test_without_warm_up_it_begins_at_the_full_rate(warmup_iters):
    moved = movements(max_iter=2, warmup_iters=warmup_iters)
    assert moved == pytest.approx([-0.1, -0.05], rel=1e-4)


def test_a_warm_up_longer_than_the_training():
    expected = [-0.1 * (i + 1) / 100 * (1 + math.cos(math.pi * i / 3)) / 2 for i in range(3)]
    assert movements(max_iter=3, warmup_iters=100) == pytest.approx(expected, rel=1e-4)


def test_weights_decay_by_hand():
    # no gradient: each step takes rate * decay of the weight, whatever Adam says
    moved = movements(gradient=0.0, start=2.0, max_iter=2, weight_decay=0.5)
    assert moved == pytest.approx([-2 * 0.05, -1.9 * 0.025])


@pytest.mark.parametrize("max_iter", [0, 1, 5])
def test_number_of_steps_and_of_batches(max_iter):
    parameter, batches, used = nn.Parameter(torch.zeros(1)), itertools.count(), []

    def compute_losses(batch):
        used.append(batch)
        return {"a": parameter.sum() + batch, "b": parameter.sum() * 0 + 1}

    steps = train(compute_losses, (p for p in [parameter]), batches, max_iter=max_iter)
    assert used == []  # nothing is done before it is asked for
    values = list(steps)
    assert used == list(range(max_iter)) and next(batches) == max_iter
    assert [sorted(v) for v in values] == [["a", "b"]] * max_iter
    assert all(isinstance(v, float) for value in values for v in value.values())
    assert [v["b"] for v in values] == [1.0] * max_iter
    assert (parameter.item() == 0) == (max_iter == 0)


def test_a_step_is_made_before_its_losses_are_told():
    parameter = nn.Parameter(torch.zeros(1))
    steps = train(lambda batch: {"loss": parameter.sum()}, [parameter])
    assert next(steps) == {"loss": 0.0}
    assert parameter.item() == pytest.approx(-0.1)
    assert next(steps)["loss"] == pytest.approx(-0.1)


def test_the_sum_of_the_losses_is_minimised():
    first, second = (nn.Parameter(torch.zeros(1)) for _ in range(2))
    losses = {"a": lambda: 2 * first.sum(), "b": lambda: first.sum() - second.sum()}
    for _ in train(lambda batch: {k: f() for k, f in losses.items()}, [first, second], max_iter=1):
        assert first.grad.item() == 3 and second.grad.item() == -1
    assert (first.item(), second.item()) == pytest.approx((-0.1, 0.1))


def test_gradients_do_not_add_up_over_steps():
    parameter = nn.Parameter(torch.zeros(1))
    grads = []
    for _ in train(lambda batch: {"loss": 3 * parameter.sum()}, [parameter], max_iter=4):
        grads.append(parameter.grad.item())
    assert grads == [3.0] * 4


@pytest.mark.parametrize(("clip_value", "kept"), [(2.5, 0.5), (5.0, 1), (50.0, 1), (math.inf, 1)])
def test_gradients_are_clipped_by_their_norm_over_all_parameters(clip_value, kept):
    # gradients 3 and (0, 4): the norm is 5
    parameters = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(2))]

    def compute_losses(batch):
        return {"loss": 3 * parameters[0].sum() + 4 * parameters[1][1]}

    given = iter(parameters)  # as Module.parameters gives them: once
    for _ in train(compute_losses, given, max_iter=3, clip_value=clip_value):
        assert parameters[0].grad.item() == pytest.approx(3 * kept, rel=1e-4)
        assert parameters[1].grad.tolist() == pytest.approx([0, 4 * kept], rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [0, 2])
def test_a_loss_that_is_not_finite_stops_it_and_is_named(bad, step):
    parameter = nn.Parameter(torch.zeros(1))

    def compute_losses(batch):
        return {"good": parameter.sum(), "bad": parameter.sum() * (bad if batch == step else 1)}

    places = [0.0]
    with pytest.raises(FloatingPointError, match=rf"stage two, step {step}: bad is -?(nan|inf)"):
        for _ in train(compute_losses, [parameter], description="stage two"):
            places.append(parameter.item())
            parameter.data += 1  # so that infinity times it is no NaN
    assert len(places) == step + 1
    assert parameter.isfinite().all()


def test_a_small_problem_is_solved():
    weights = nn.Parameter(torch.zeros(3))
    truth = torch.tensor([1.0, -2.0, 0.5])

    def batches():
        while True:
            inputs = torch.randn(16, 3)
            yield inputs, inputs @ truth

    def compute_losses(batch):
        inputs, targets = batch
        return {"square": (inputs @ weights - targets).square().mean()}

    losses = list(train(compute_losses, [weights], batches(), max_iter=200, warmup_iters=10))
    assert losses[0]["square"] > 1 and losses[-1]["square"] < 1e-3
    torch.testing.assert_close(weights.detach(), truth, atol=0.02, rtol=0)


def test_the_tracker_learns_where_an_object_goes(detector, tracker):
    pairs = []
    for _ in range(6):
        x, y = np.random.randint(5, 40), np.random.randint(5, 20)
        dx, dy = np.random.randint(-5, 6, 2)
        prev = labeled([[x, y, x + 20, y + 16]], [1])
        pairs.append((prev, labeled([[x + dx, y + dy, x + dx + 20, y + dy + 16]], [1])))
    losses = list(
        train(
            lambda batch: tracker_losses(detector, tracker.train(), batch, sampling()),
            tracker.parameters(),
            itertools.repeat(pairs),
            **{"max_iter": 60, "base_lr": 0.005, "warmup_iters": 5, "clip_value": 5.0},
        )
    )
    for name in ("loss_track_box", "loss_track_iou"):
        assert losses[-1][name] < 0.1 * losses[0][name]
