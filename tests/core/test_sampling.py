"""Regions lie where Eq. 3 puts them, pass the IoU test of their reading and follow an object."""

import pytest
import torch

from d2_plugtrack.core.sampling import jitter_boxes, sample_regions


def random_objects(count):
    centers, sizes = 50 + 300 * torch.rand(count, 2), 20 + 60 * torch.rand(count, 2)
    return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=1)


def plain_iou(a, b):
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


def sample(gt_boxes, reading="at_least", *, per_object=256, limit=128, iou_threshold=0.5, seed=0):
    return sample_regions(
        gt_boxes,
        per_object=per_object,
        limit=limit,
        iou_threshold=iou_threshold,
        reading=reading,
        generator=torch.Generator().manual_seed(seed),
    )


def as_set(boxes):
    return {tuple(box) for box in boxes.tolist()}


# ---- Eq. 3 ----------------------------------------------------------------------------------


def test_jitter_covers_the_ranges_of_eq_3():
    objects = torch.tensor([[100.0, 200, 140, 220], [10, 10, 20, 90]])
    boxes = jitter_boxes(objects, 5000, torch.Generator().manual_seed(0))
    assert boxes.shape == (2, 5000, 4)
    sizes = (objects[:, 2:] - objects[:, :2])[:, None]
    centers = (objects[:, :2] + objects[:, 2:])[:, None] / 2
    shifts = ((boxes[..., :2] + boxes[..., 2:]) / 2 - centers) / sizes  # dx, dy
    factors = (boxes[..., 2:] - boxes[..., :2]) / sizes  # dw, dh
    for draws, low, high in ((shifts, -1, 1), (factors, 0.5, 1.5)):
        assert draws.min() >= low - 1e-4 and draws.max() <= high + 1e-4
        # uniform: a tenth of the draws in each tenth of the range, for each object and axis
        places = ((draws - low) / (high - low) * 10).long().clamp(0, 9)
        shares = torch.nn.functional.one_hot(places, 10).float().mean(dim=1)
        assert (shares - 0.1).abs().max() < 0.03
    draws = torch.cat([*shifts, *factors], dim=-1)  # independent of one another
    assert (torch.corrcoef(draws.T) - torch.eye(8)).abs().max() < 0.06


def test_about_eleven_of_256_regions_pass():
    objects = random_objects(40)
    counts = [len(sample(box[None], limit=300, seed=i).boxes) for i, box in enumerate(objects)]
    assert 8 < sum(counts) / 40 - 1 < 14  # the true box itself is one more


# ---- both readings --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_at_least_is_that_of_a_plain_oracle(seed):
    torch.manual_seed(seed)
    objects = random_objects(int(torch.randint(1, 6, ())))
    threshold = (0.3, 0.5, 0.6)[seed % 3]
    regions = sample(objects, per_object=64, limit=10**6, iou_threshold=threshold, seed=seed)
    candidates = jitter_boxes(objects, 64, torch.Generator().manual_seed(seed)).flatten(0, 1)
    expected = {}
    for box in [*objects.tolist(), *candidates.tolist()]:
        ious = [plain_iou(box, other) for other in objects.tolist()]
        if max(ious) >= threshold:
            expected[tuple(box)] = ious.index(max(ious))
    found = dict(zip(map(tuple, regions.boxes.tolist()), regions.objects.tolist(), strict=True))
    assert found == expected
    assert as_set(objects) <= as_set(regions.boxes)


@pytest.mark.parametrize("seed", range(30))
def test_below_is_that_of_a_plain_oracle(seed):
    torch.manual_seed(seed)
    objects = random_objects(int(torch.randint(1, 6, ())))
    threshold = (0.3, 0.5, 0.1)[seed % 3]
    regions = sample(
        objects, "below", per_object=64, limit=10**6, iou_threshold=threshold, seed=seed
    )
    candidates = jitter_boxes(objects, 64, torch.Generator().manual_seed(seed))
    expected = {
        tuple(box): index
        for index, own in enumerate(candidates.tolist())
        for box in own
        if plain_iou(box, objects[index].tolist()) < threshold
    }
    found = dict(zip(map(tuple, regions.boxes.tolist()), regions.objects.tolist(), strict=True))
    assert found == expected


def test_the_threshold_itself_is_at_least():
    # two objects at an IoU of exactly 0.5, without candidates: both are regions of their own,
    # and a third one on the second's place follows itself
    objects = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 5]])
    for threshold in (0.5, 1.0):
        regions = sample(objects, per_object=0, iou_threshold=threshold)
        assert sorted(regions.objects.tolist()) == [0, 1, 2]
        assert regions.boxes.equal(objects[regions.objects])


def test_region_follows_the_best_object_not_its_own():
    # a small object in a large one's corner: what is drawn around it and grown over the large
    # one's half follows the large one
    objects = torch.tensor([[0.0, 0, 30, 30], [0, 0, 26, 26]])
    regions = sample(objects, limit=10**6, seed=1)
    candidates = jitter_boxes(objects, 256, torch.Generator().manual_seed(1))
    drawn_around_small = as_set(candidates[1])
    for box, index in zip(regions.boxes.tolist(), regions.objects.tolist(), strict=True):
        ious = [plain_iou(box, other) for other in objects.tolist()]
        assert ious[index] == max(ious)
    strays = [
        box
        for box, index in zip(regions.boxes.tolist(), regions.objects.tolist(), strict=True)
        if index == 0 and tuple(box) in drawn_around_small
    ]
    assert strays


@pytest.mark.parametrize("limit", [1, 5, 128])
def test_cap_is_per_image_or_per_object(limit):
    objects = random_objects(4)
    assert len(sample(objects, limit=limit, iou_threshold=0.05).boxes) == limit
    regions = sample(objects, "below", limit=limit)
    assert torch.bincount(regions.objects).tolist() == [limit] * 4


def test_draw_is_random_among_what_passes():
    objects = random_objects(6)  # without candidates the six true boxes are what passes
    draws = [
        sample(objects, per_object=0, limit=2, iou_threshold=1.0, seed=seed) for seed in range(60)
    ]
    pairs = {tuple(sorted(regions.objects.tolist())) for regions in draws}
    assert len(pairs) == 15  # every two of six, and never one twice
    assert all(first < second for first, second in pairs)
    for regions in draws:
        assert regions.boxes.equal(objects[regions.objects])


# ---- nothing, and mistakes ------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["at_least", "below"])
def test_no_objects_give_no_regions(reading):
    boxes, objects = sample(torch.zeros(0, 4), reading)
    assert boxes.shape == (0, 4) and objects.shape == (0,) and objects.dtype == torch.int64


@pytest.mark.parametrize("reading", ["at_least", "below"])
def test_types_and_that_nothing_may_pass(reading):
    threshold = {"at_least": 1.1, "below": 0.0}[reading]
    boxes, objects = sample(random_objects(2), reading, iou_threshold=threshold)
    assert boxes.shape == (0, 4) and objects.shape == (0,)
    boxes, objects = sample(random_objects(2).double(), reading)
    assert boxes.dtype == torch.float64 and objects.dtype == torch.int64


def test_true_box_without_area_is_no_region():
    objects = torch.tensor([[5.0, 5, 5, 9], [20, 20, 40, 40]])
    regions = sample(objects)
    assert (regions.objects == 1).all() and tuple(objects[1].tolist()) in as_set(regions.boxes)


@pytest.mark.parametrize("reading", ["at_least", "below"])
def test_generator_decides_everything(reading):
    objects = random_objects(3)
    first, again, other = (sample(objects, reading, limit=9, seed=s) for s in (1, 1, 2))
    assert first.boxes.equal(again.boxes) and first.objects.equal(again.objects)
    assert not first.boxes.equal(other.boxes)


def test_without_generator_the_global_one_decides():
    objects = random_objects(3)
    keys = {"per_object": 50, "limit": 20, "iou_threshold": 0.5, "reading": "at_least"}
    torch.manual_seed(7)
    first = sample_regions(objects, **keys)
    torch.manual_seed(7)
    assert sample_regions(objects, **keys).boxes.equal(first.boxes)


@pytest.mark.parametrize("objects", [0, 2])
def test_unknown_reading_is_named(objects):
    with pytest.raises(ValueError, match="'at_least' or 'below', got 'above'"):
        sample(random_objects(objects), "above")
