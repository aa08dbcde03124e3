"""The losses of pairs of frames against a loop over regions, and pairs in which objects are not."""

import math
from collections import Counter

import pytest
import torch

from d2_plugtrack.core.pair_losses import Objects, pair_losses
from d2_plugtrack.core.sampling import sample_regions

SIZE = (160, 240)  # of the frames; their maps at stride 8 have 20 x 30 cells
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def random_maps(count):
    return torch.randn(count, 3, 20, 30)


def random_objects(track_ids):
    """Objects with boxes of 20 to 60 pixels anywhere in the frame, whole numbers of pixels."""
    sizes = torch.randint(20, 61, (len(track_ids), 2))
    corners = (torch.rand(len(track_ids), 2) * (torch.tensor(SIZE[::-1]) - sizes)).floor()
    boxes = torch.cat([corners, corners + sizes], dim=1)
    return Objects(boxes, torch.tensor(track_ids, dtype=torch.int64))


def random_pair(moved_by=3.0):
    """Objects of a pair: some stay and move, some leave, some come; in another order each."""
    ids = (torch.randperm(50)[: int(torch.randint(1, 8, ()))] + 100).tolist()
    stay = [i for i in ids if torch.rand(()) < 0.6]
    prev = random_objects([i for i in ids if i in stay or torch.rand(()) < 0.5])
    curr = random_objects([i for i in ids if i in stay or i not in prev.track_ids.tolist()])
    for j, track_id in enumerate(curr.track_ids):
        for box in prev.boxes[prev.track_ids == track_id]:
            curr.boxes[j] = box + moved_by * torch.randn(4)
    order = torch.randperm(len(curr.boxes))
    return prev, Objects(curr.boxes[order], curr.track_ids[order])


def sampling(seed=0, per_object=12, limit=10, reading="at_least"):
    """Keyword arguments of ``sample_regions`` that draw the same every time."""
    generator = torch.Generator().manual_seed(seed)
    settings = {"iou_threshold": 0.3, "reading": reading, "generator": generator}
    return {"per_object": per_object, "limit": limit, **settings}


def only_true_boxes():
    return sampling(per_object=0, limit=99)


# ---- plain oracle ---------------------------------------------------------------------------


def smooth_l1(difference):
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def center_and_size(box):
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def plain_iou(a, b):
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


def plain_losses(tracker, prev_maps, curr_maps, prev_objects, curr_objects, region_sampling):
    """Each region by itself through the tracker, and everything after it in plain numbers."""
    box_loss = iou_loss = count = 0
    for i, (prev, curr) in enumerate(zip(prev_objects, curr_objects, strict=True)):
        regions = sample_regions(prev.boxes, **region_sampling)
        for region, index in zip(regions.boxes, regions.objects.tolist(), strict=True):
            maps = prev_maps[i : i + 1], curr_maps[i : i + 1]
            deltas, scores = tracker(*maps, [region[None]])
            count += 1
            dx, dy, dw, dh = deltas[0].tolist()
            x, y, w, h = center_and_size(region.tolist())
            x, y, width, height = x + dx / 10 * w, y + dy / 10 * h, w, h
            width, height = width * math.exp(dw / 5), height * math.exp(dh / 5)
            predicted = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            iou = 0.0
            for target, track_id in zip(curr.boxes.tolist(), curr.track_ids, strict=True):
                if track_id == prev.track_ids[index]:
                    iou = plain_iou(predicted, target)
                    old, new = center_and_size(region.tolist()), center_and_size(target)
                    wanted = [(new[0] - old[0]) / w, (new[1] - old[1]) / h]
                    wanted += [math.log(new[2] / w), math.log(new[3] / h)]
                    for delta, want, weight in zip((dx, dy, dw, dh), wanted, WEIGHTS, strict=True):
                        box_loss += smooth_l1(delta - weight * want)
            iou_loss += smooth_l1(scores.item() - iou)
    return box_loss / max(count, 1), 2 * iou_loss / max(count, 1)


@pytest.fixture
def tracker(build_tracker):
    """In evaluation mode, so that regions do not know one another; answers that differ widely."""
    tracker = build_tracker(iou_loss_weight=2.0).eval()
    torch.nn.init.normal_(tracker.box_branch.weight, std=0.03)
    torch.nn.init.normal_(tracker.iou_branch.weight, std=0.03)
    return tracker


@pytest.mark.parametrize("reading", ["at_least", "below"])
@pytest.mark.parametrize("num_pairs", [1, 2, 5])
@pytest.mark.parametrize("seed", range(8))
def test_losses_are_those_of_a_plain_oracle(tracker, seed, num_pairs, reading):
    torch.manual_seed(seed)
    pairs = [random_pair() for _ in range(num_pairs)]
    prev, curr = ([pair[i] for pair in pairs] for i in (0, 1))
    inputs = random_maps(num_pairs), random_maps(num_pairs), prev, curr
    with torch.no_grad():
        losses = pair_losses(tracker, *inputs, sampling(seed, limit=4, reading=reading))
        expected = plain_losses(tracker, *inputs, sampling(seed, limit=4, reading=reading))
    found = losses["loss_track_box"].item(), losses["loss_track_iou"].item()
    assert losses.keys() == {"loss_track_box", "loss_track_iou"}
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_random_pairs_have_every_kind_of_object():
    counts = Counter()
    for _ in range(100):
        prev, curr = (set(objects.track_ids.tolist()) for objects in random_pair())
        counts.update(stayed=len(prev & curr), left=len(prev - curr), came=len(curr - prev))
        counts.update(without_prev=not prev, without_curr=not curr)
    assert min(counts["stayed"], counts["left"], counts["came"]) > 50
    assert min(counts["without_prev"], counts["without_curr"]) > 0


# ---- by hand --------------------------------------------------------------------------------


@pytest.fixture
def still(build_tracker):
    """A tracker that leaves boxes where they are and says 0.5 of each."""
    tracker = build_tracker()
    for branch in (tracker.box_branch, tracker.iou_branch):
        torch.nn.init.zeros_(branch.weight)
    return tracker


def objects_at(*lefts, ids):
    """Boxes of 40 x 40."""
    boxes = torch.tensor([[left, 20.0, left + 40, 60] for left in lefts]).reshape(-1, 4)
    return Objects(boxes, torch.tensor(ids, dtype=torch.int64))


def losses_of(tracker, *pairs, region_sampling=None):
    prev, curr = ([pair[i] for pair in pairs] for i in (0, 1))
    maps = random_maps(len(pairs)), random_maps(len(pairs))
    losses = pair_losses(tracker, *maps, prev, curr, region_sampling or only_true_boxes())
    return losses["loss_track_box"].item(), losses["loss_track_iou"].item()


MOVED = 0.5, 0.5 * (0.5 - 36 / 44) ** 2  # by a tenth: dx 10/10, and the IoU that is left
GONE = 0.0, 0.5 * 0.5**2


def test_one_moves_and_one_leaves(still):
    pair = objects_at(10, 70, ids=[7, 8]), objects_at(14, ids=[7])
    expected = [(a + b) / 2 for a, b in zip(MOVED, GONE, strict=True)]
    assert losses_of(still, pair) == pytest.approx(expected)


def test_objects_are_matched_by_track_id_in_any_order(still):
    prev = objects_at(10, 100, ids=[7, 8])
    assert losses_of(still, (prev, objects_at(104, 14, ids=[8, 7]))) == pytest.approx(MOVED)
    assert losses_of(still, (prev, objects_at(14, 104, ids=[7, 8]))) == pytest.approx(MOVED)


def test_objects_that_are_only_in_curr_do_not_matter(still):
    prev = objects_at(10, ids=[7])
    assert losses_of(still, (prev, objects_at(10, 14, 10, ids=[3, 7, 9]))) == pytest.approx(MOVED)


def test_track_ids_of_one_pair_mean_nothing_in_another(still):
    moved = objects_at(10, ids=[7]), objects_at(14, ids=[7])
    gone = objects_at(10, ids=[5]), objects_at(14, ids=[6])
    expected = [(a + b) / 2 for a, b in zip(MOVED, GONE, strict=True)]
    assert losses_of(still, moved, gone) == pytest.approx(expected)
    assert losses_of(still, gone, moved) == pytest.approx(expected)


@pytest.mark.parametrize("curr", [objects_at(ids=[]), objects_at(10, 70, ids=[3, 4])])
def test_every_object_left(still, curr):
    assert losses_of(still, (objects_at(10, 70, ids=[7, 8]), curr)) == pytest.approx(GONE)


def test_a_pair_without_objects_beside_one_with(still):
    nothing = objects_at(ids=[]), objects_at(10, ids=[3])
    moved = objects_at(10, ids=[7]), objects_at(14, ids=[7])
    assert losses_of(still, nothing, moved, nothing) == pytest.approx(MOVED)


def test_regions_are_sampled_as_asked(still, monkeypatch):
    seen = []
    forward = type(still).forward
    monkeypatch.setattr(
        type(still), "forward", lambda self, *args: (seen.append(args[2]), forward(self, *args))[1]
    )
    prev = [random_objects([1, 2]), random_objects([]), random_objects([3])]
    losses_of(still, *((p, p) for p in prev), region_sampling=sampling(3))
    settings = sampling(3)  # one generator for all pairs
    expected = [sample_regions(p.boxes, **settings).boxes for p in prev]
    ((found),) = seen
    assert [f.tolist() for f in found] == [e.tolist() for e in expected]
    assert [len(f) > 0 for f in found] == [True, False, True]


def test_the_sums_are_divided_by_what_becomes_of_their_count(still):
    prev = objects_at(0, 80, ids=[7, 9])
    pair = prev, objects_at(0, 80, ids=[1, 2])
    seen = []

    def half(count):
        seen.append(float(count))
        return count / 2

    def losses(prev, curr, **count):
        maps = random_maps(1), random_maps(1)
        return pair_losses(still, *maps, [prev], [curr], only_true_boxes(), **count)

    assert losses(*pair)["loss_track_iou"].item() == pytest.approx(GONE[1])
    shared = losses(*pair, mean_count=half)
    assert shared["loss_track_iou"].item() == pytest.approx(2 * GONE[1])
    nothing = objects_at(ids=[])
    assert losses(nothing, nothing, mean_count=half)["loss_track_iou"].item() == 0
    assert seen == [2.0, 0.0]  # also a process without regions tells its number


# ---- nothing --------------------------------------------------------------------------------


@pytest.mark.parametrize("curr_ids", [[], [3, 4]])
@pytest.mark.parametrize("num_pairs", [1, 3])
@pytest.mark.parametrize("reading", ["at_least", "below"])
def test_no_objects_in_any_first_frame(build_tracker, num_pairs, curr_ids, reading):
    tracker = build_tracker().train()
    losses = pair_losses(
        tracker,
        *(random_maps(num_pairs), random_maps(num_pairs)),
        *([random_objects([])] * num_pairs, [random_objects(curr_ids)] * num_pairs),
        sampling(reading=reading),
    )
    assert {k: v.item() for k, v in losses.items()} == {"loss_track_box": 0, "loss_track_iou": 0}
    sum(losses.values()).backward()
    for name, parameter in tracker.named_parameters():
        assert parameter.grad is not None and (parameter.grad == 0).all(), name


@pytest.mark.parametrize("num_pairs", [1, 2])
def test_every_parameter_learns(build_tracker, num_pairs):
    tracker = build_tracker().train()
    pair = random_objects([1, 2]), random_objects([2, 1])
    prev, curr = ([p] * num_pairs for p in pair)
    losses = pair_losses(
        tracker, random_maps(num_pairs), random_maps(num_pairs), prev, curr, sampling()
    )
    sum(losses.values()).backward()
    for name, parameter in tracker.named_parameters():
        assert (parameter.grad != 0).any(), name
