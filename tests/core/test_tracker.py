"""Where the tracker looks, what comes out for any boxes, its losses by hand, and that it learns."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from d2_plugtrack.core.boxes import aligned_iou, decode_boxes, encode_boxes

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
SIZE = (160, 240)  # of the image; its map at stride 8 has 20 x 30 cells


def random_maps(count, size=(20, 30)):
    return torch.randn(count, 3, *size)


def random_boxes(count, size=SIZE):
    height, width = size
    sizes = 10 + 60 * torch.rand(count, 2)
    corners = torch.rand(count, 2) * (torch.tensor([width, height]) - sizes)
    return torch.cat([corners, corners + sizes], dim=1)


def pooled(tracker, prev_maps, curr_maps, boxes):
    """What went into the blocks: templates, search windows and responses."""
    seen = {}

    def keep(name):
        return lambda module, inputs: seen.update({name: inputs[0].detach()})

    names = ("template_block", "search_block", "response_block")
    hooks = [getattr(tracker, name).register_forward_pre_hook(keep(name)) for name in names]
    tracker(prev_maps, curr_maps, boxes)
    for hook in hooks:
        hook.remove()
    return [seen[name] for name in names]


def ramps():
    """Maps whose first two channels are the x and y of the cells' centres in pixels."""
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    return torch.stack([8 * x + 4, 8 * y + 4, torch.ones(20, 30)])[None]


# ---- shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[0], [1], [7], [3, 0, 2], [0, 2], [0, 0]])
@pytest.mark.parametrize("training", [True, False])
def test_shapes_of_none_one_and_many(build_tracker, counts, training):
    tracker = build_tracker().train(training)
    maps = random_maps(len(counts))
    deltas, scores = tracker(maps, maps, [random_boxes(n) for n in counts])
    assert deltas.shape == (sum(counts), 4) and scores.shape == (sum(counts),)
    assert deltas.isfinite().all() and ((scores > 0) & (scores < 1)).all()


def test_sizes_inside_are_those_of_the_paper(build_tracker):
    maps = random_maps(2)
    template, search, response = pooled(
        build_tracker(), maps, maps, [random_boxes(3), random_boxes(1)]
    )
    assert template.shape == (4, 3, 7, 7) and search.shape == (4, 3, 21, 21)
    assert response.shape == (4, 6, 15, 15)


def test_other_sizes(build_tracker):
    tracker, maps = build_tracker(template_size=5, search_factor=2), random_maps(1)
    template, search, response = pooled(tracker, maps, maps, [random_boxes(2)])
    assert [t.shape[2:] for t in (template, search, response)] == [(5, 5), (10, 10), (6, 6)]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_tracked_boxes_are_in_the_image(build_tracker, count):
    tracker, maps = build_tracker().eval(), random_maps(2)
    nn.init.normal_(tracker.box_branch.bias, std=20)
    with torch.no_grad():
        boxes, scores = tracker.track(*maps, random_boxes(count), SIZE)
    assert boxes.shape == (count, 4) and scores.shape == (count,)
    assert (boxes >= 0).all() and (boxes <= torch.tensor([240.0, 160, 240, 160])).all()


def test_tracking_decodes_and_clips(build_tracker):
    # the branches say dx = 2 sizes, dy = 0, twice as wide, as high, and ln(3): sigmoid is 3/4
    tracker, maps = build_tracker().eval(), random_maps(2)
    for branch in (tracker.box_branch, tracker.iou_branch):
        nn.init.zeros_(branch.weight)
    tracker.box_branch.bias.data = torch.tensor([20, 0, 5 * math.log(2), 0])
    tracker.iou_branch.bias.data.fill_(math.log(3))
    boxes = torch.tensor([[10.0, 20, 30, 60], [170, 20, 210, 60]])
    # centre (20, 40) to (60, 40), 20 x 40 to 40 x 40; centre (190, 40) to (270, 40), 80 wide
    expected = torch.tensor([[40.0, 20, 80, 60], [230, 20, 240, 60]])
    moved, scores = tracker.track(*maps, boxes, SIZE)
    torch.testing.assert_close(moved, expected)
    torch.testing.assert_close(scores, torch.tensor([0.75, 0.75]))


# ---- where it looks -------------------------------------------------------------------------


def test_template_and_window_have_one_scale_and_one_centre(build_tracker):
    # box (80, 60) to (115, 88): bins of 5 x 4 pixels; the window begins one box before it
    boxes = torch.tensor([[80.0, 60, 115, 88]])
    template, search, _ = pooled(build_tracker(), ramps(), ramps(), [boxes])
    steps = torch.arange(21) + 0.5
    torch.testing.assert_close(template[0, 0], (80 + 5 * steps[:7]).expand(7, 7))
    torch.testing.assert_close(template[0, 1], (60 + 4 * steps[:7])[:, None].expand(7, 7))
    torch.testing.assert_close(search[0, 0], (45 + 5 * steps).expand(21, 21))
    torch.testing.assert_close(search[0, 1], (32 + 4 * steps)[:, None].expand(21, 21))


def test_template_is_of_the_previous_frame_and_window_of_the_current(build_tracker):
    boxes = [random_boxes(2)]
    prev, curr = torch.full((1, 3, 20, 30), 2.0), torch.full((1, 3, 20, 30), 5.0)
    template, search, _ = pooled(build_tracker(), prev, curr, boxes)
    torch.testing.assert_close(template.max(), torch.tensor(2.0))
    torch.testing.assert_close(search.max(), torch.tensor(5.0))


def test_bins_average_all_their_samples(build_tracker):
    # 35 x 14 cells: bins of 5 x 2 cells, each the mean of its 10; 2 x 2 samples would miss some
    maps = torch.randn(1, 3, 20, 40)
    boxes = torch.tensor([[16.0, 24, 16 + 35 * 8, 24 + 14 * 8]])
    template, _, _ = pooled(build_tracker(), maps, maps, [boxes])
    expected = F.avg_pool2d(maps[:, :, 3:17, 2:37], (2, 5))
    torch.testing.assert_close(template, expected, rtol=1e-4, atol=1e-4)


def test_window_is_zero_beyond_the_map(build_tracker):
    # a box of 56 pixels in the corner: the window's first 7 bins are beyond, in both directions
    maps, boxes = torch.ones(1, 3, 20, 30), torch.tensor([[0.0, 0, 56, 56]])
    template, search, _ = pooled(build_tracker(), maps, maps, [boxes])
    torch.testing.assert_close(template, torch.ones(1, 3, 7, 7))
    torch.testing.assert_close(search[:, :, 7:, 7:], torch.ones(1, 3, 14, 14))
    # the map's border cells reach half a cell, half a bin, beyond
    assert (search[:, :, :6] == 0).all() and (search[:, :, :, :6] == 0).all()


def test_window_is_zero_beyond_the_image_in_a_padded_batch(build_tracker):
    # 112 x 128 and 160 x 240 pixels in one batch, boxes of 56 pixels in the lower right corners
    tracker, sizes = build_tracker(), [(112, 128), SIZE]
    maps = tracker.tracking_map({"a": torch.ones(2, 3, 20, 30)}, sizes)
    boxes = [torch.tensor([[w - 56.0, h - 56, w, h]]) for h, w in sizes]
    _, search, _ = pooled(tracker, maps, maps, boxes)
    torch.testing.assert_close(search[:, :, :13, :13], torch.ones(2, 3, 13, 13))
    assert (search[:, :, 15:] == 0).all() and (search[:, :, :, 15:] == 0).all()


def test_tracking_map_takes_the_chosen_stages_in_order(build_tracker):
    features = {"c": torch.randn(2, 3, 4, 6), "a": torch.randn(2, 1, 8, 12), "b": random_maps(2)}
    tracker = build_tracker(in_features=["a", "c"], in_channels=[1, 3], target=0, stride=8)
    merged = tracker.tracking_map(features, [(64, 96), (64, 40)])
    torch.testing.assert_close(merged[0, :1], features["a"][0])
    torch.testing.assert_close(merged[0, 1:, ::2, ::2], features["c"][0])
    assert (merged[1, :, :, :5] != 0).all() and (merged[1, :, :, 5:] == 0).all()
    boxes = [random_boxes(1, (64, 96)), random_boxes(2, (64, 40))]
    assert tracker(merged, merged, boxes)[0].shape == (3, 4)


def test_each_box_is_seen_in_its_own_frame(build_tracker):
    tracker = build_tracker().eval()
    prev, curr = random_maps(3), random_maps(3)
    boxes = [random_boxes(n) for n in (2, 0, 3)]
    deltas, scores = tracker(prev, curr, boxes)
    alone = [tracker(prev[i, None], curr[i, None], [box[None]]) for i in (0, 2) for box in boxes[i]]
    torch.testing.assert_close(deltas, torch.cat([d for d, _ in alone]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores, torch.cat([s for _, s in alone]), rtol=1e-4, atol=1e-5)


# ---- odd boxes ------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
ODD_BOXES = {
    "nan": [NAN, NAN, NAN, NAN],
    "nan at one corner": [200.0, 10, NAN, 150],
    "infinite": [-INF, -INF, INF, INF],
    "half infinite": [5.0, 5, INF, INF],
    "half a million pixels": [-4e5, -4e5, 4e5, 4e5],
    "huge": [-1e30, -1e30, 1e30, 1e30],
    "largest float": [-3e38, -3e38, 3e38, 3e38],
    "far away": [1e6, 1e6, 1e6 + 50, 1e6 + 50],
    "wrong way round": [230.0, 20, 10, 140],
    "outside": [-100.0, -90, -20, -10],
    "over the border": [-30.0, 100, 40, 200],
    "the image": [0.0, 0, 240, 160],
    "a point": [50.0, 50, 50, 50],
    "a line": [50.0, 50, 150, 50],
    "under a pixel": [50.0, 50, 50.2, 50.3],
    "a millionth": [50.0, 50, 50.000004, 50.000004],
}


@pytest.mark.parametrize("box", ODD_BOXES.values(), ids=ODD_BOXES.keys())
@pytest.mark.parametrize("training", [True, False])
def test_odd_boxes_give_finite_boxes_in_the_image(build_tracker, box, training):
    tracker, maps = build_tracker().train(training), random_maps(2)
    boxes = torch.cat([torch.tensor([box]), random_boxes(1)])
    deltas, scores = tracker(maps[:1], maps[1:], [boxes])
    assert deltas.isfinite().all() and scores.isfinite().all()
    boxes, scores = tracker.track(*maps, boxes, SIZE)
    assert boxes.isfinite().all() and scores.isfinite().all()
    assert (boxes >= 0).all() and (boxes <= torch.tensor([240.0, 160, 240, 160])).all()


def test_odd_boxes_do_not_disturb_others(build_tracker):
    tracker, maps, boxes = build_tracker().eval(), random_maps(2), random_boxes(4)
    alone, _ = tracker.track(*maps, boxes, SIZE)
    odd = torch.cat([torch.tensor(list(ODD_BOXES.values())), boxes])
    together, _ = tracker.track(*maps, odd, SIZE)
    torch.testing.assert_close(together[len(ODD_BOXES) :], alone, rtol=1e-4, atol=1e-3)


def test_boxes_of_training_are_seen_where_they_are(build_tracker):
    # Eq. 3 reaches beyond the image: what is bounded must lie further out than that
    boxes = torch.tensor([[-100.0, 40, 20, 120], [200, 100, 350, 260]])
    template, _, _ = pooled(build_tracker(), ramps(), ramps(), [boxes])
    # bins of 120/7 pixels: (20 - 120/7/2) is the last column's centre; of 160/7 rows
    assert template[0, 2, :, :5].abs().max() == 0  # beyond the left border
    torch.testing.assert_close(template[0, 1, 3, 6], torch.tensor(80.0))
    assert template[1, 2, 3:].abs().max() == 0
    # bins of 150/7 columns
    expected = torch.tensor([200 + 75 / 7, 100 + 80 / 7, 1])
    torch.testing.assert_close(template[1, :, 0, 0], expected)


def test_boxes_in_double_precision_are_taken(build_tracker):
    tracker, maps, boxes = build_tracker().eval(), random_maps(2), random_boxes(2)
    expected, _ = tracker(maps[:1], maps[1:], [boxes])
    deltas, _ = tracker(maps[:1], maps[1:], [boxes.double()])
    torch.testing.assert_close(deltas, expected)


# ---- on maps that are reduced once ----------------------------------------------------------


def trained_norms(tracker):
    """Statistics and weights of batch norm that are not those of the beginning."""
    for norm in (m for m in tracker.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.2, 3)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return tracker.eval()


def edge_boxes(size):
    """Boxes inside, on every border and corner, beyond them, and of no sense at all."""
    height, width = size
    y, x = torch.meshgrid(torch.tensor([0.0, 0.5, 1]), torch.tensor([0.0, 0.5, 1]), indexing="ij")
    centers = torch.stack([x.flatten() * width, y.flatten() * height], dim=1)
    on_borders = torch.cat([centers - 20, centers + 20], dim=1)
    odd = torch.tensor(list(ODD_BOXES.values()))
    return torch.cat([random_boxes(4, size), on_borders, odd])


def build_staged(build_tracker):
    tracker = build_tracker(
        in_features=["fine", "a", "coarse"], in_channels=[2, 3, 4], target=1, stride=8
    )
    for branch in (tracker.box_branch, tracker.iou_branch):
        nn.init.normal_(branch.weight, std=0.01)
    return trained_norms(tracker)


def random_stages(count, size=(20, 30)):
    h, w = size
    shapes = {"fine": (2, 2 * h, 2 * w), "a": (3, h, w), "coarse": (4, h // 2, w // 2)}
    return {name: torch.randn(count, *shape) for name, shape in shapes.items()}


@torch.no_grad()
@pytest.mark.parametrize("seed", range(5))
def test_following_on_reduced_maps_is_tracking(build_tracker, seed):
    torch.manual_seed(seed)
    tracker, features = build_staged(build_tracker), random_stages(2)
    sizes = [SIZE, [SIZE, (101, 130)][seed % 2]]  # the second one may be padded
    boxes = edge_boxes(SIZE)
    prev, curr = tracker.tracking_map(features, sizes)
    expected = tracker.track(prev, curr, boxes, sizes[1])
    deltas, _ = tracker(prev[None], curr[None], [boxes])
    assert deltas.abs().max() > 0.1
    prev, curr = tracker.reduced_maps(features, sizes)
    found = tracker.follow(tracker.remember(prev, boxes), curr, sizes[1])
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.boxes, expected.boxes, rtol=0, atol=1e-2)  # pixels


@torch.no_grad()
def test_following_gives_the_same_deltas(build_tracker):
    tracker, features = build_staged(build_tracker), random_stages(2)
    boxes, seen = edge_boxes(SIZE), []
    tracker.box_branch.register_forward_hook(lambda module, inputs, output: seen.append(output))
    tracker.track(*tracker.tracking_map(features, [SIZE] * 2), boxes, SIZE)
    prev, curr = tracker.reduced_maps(features, [SIZE] * 2)
    tracker.follow(tracker.remember(prev, boxes), curr, SIZE)
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=1e-4)


@torch.no_grad()
def test_what_is_compared_is_what_is_followed(build_tracker):
    tracker, boxes, seen = build_staged(build_tracker), edge_boxes(SIZE), []
    prev, curr = tracker.reduced_maps(random_stages(2), [SIZE] * 2)
    templates = tracker.remember(prev, boxes)
    tracker.response_block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tracker.follow(templates, curr, SIZE)
    compared = tracker.compare(templates, curr)
    assert len(seen) == 1 and torch.equal(compared.response, seen[0])
    assert torch.equal(compared.template, templates.features)
    # one place by hand: the template over rows 3 to 9 and columns 14 to 20 of the window
    place = (compared.template * compared.search[:, :, 3:10, 14:21]).sum(dim=(2, 3))
    torch.testing.assert_close(compared.response[:, :, 3, 14], place, rtol=1e-4, atol=1e-4)
    nothing = tracker.compare(tracker.remember(prev, boxes[:0]), curr)
    assert [maps.shape[0] for maps in nothing] == [0, 0, 0]


@torch.no_grad()
def test_nothing_is_remembered_and_followed(build_tracker):
    tracker, nothing = build_staged(build_tracker), torch.zeros(0, 4)
    prev, curr = tracker.reduced_maps(random_stages(2), [SIZE] * 2)
    templates = tracker.remember(prev, nothing)
    assert templates.features.shape == (0, 6, 7, 7)
    boxes, scores = tracker.follow(templates, curr, SIZE)
    assert boxes.shape == (0, 4) and scores.shape == (0,)


@torch.no_grad()
def test_templates_hold_nothing_of_their_frame(build_tracker):
    tracker, boxes = build_staged(build_tracker), random_boxes(3)
    (reduced,) = tracker.reduced_maps(random_stages(1), [SIZE])
    templates = tracker.remember(reduced, boxes)
    assert templates.features.untyped_storage().nbytes() == 4 * 3 * 6 * 7 * 7
    before = templates.features.clone()
    reduced.zero_()
    assert templates.features.equal(before)


def test_reduced_maps_are_zero_beyond_the_images_and_build_no_graph(build_tracker):
    tracker = build_staged(build_tracker)
    reduced = tracker.reduced_maps(random_stages(2), [(64, 96), SIZE])
    assert reduced.shape == (2, 12, 20, 30) and not reduced.requires_grad
    assert (reduced[0, :, 8:] == 0).all() and (reduced[0, :, :, 12:] == 0).all()
    assert (reduced[0, :, :8, :12] != 0).all() and (reduced[1] != 0).all()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_following_is_in_float32_even_under_autocast(build_tracker, dtype):
    tracker, boxes = build_staged(build_tracker), random_boxes(3)
    features = {name: 20 * m.to(dtype) for name, m in random_stages(2).items()}
    outcomes = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            prev, curr = tracker.reduced_maps(features, [SIZE] * 2)
            outcomes.append(tracker.follow(tracker.remember(prev, boxes), curr, SIZE))
    torch.testing.assert_close(outcomes[1], outcomes[0], rtol=0, atol=0)
    assert outcomes[1].scores.dtype == torch.float32


# ---- precision ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_neither_overflows_nor_rounds(build_tracker, dtype):
    # responses of features around 40 overflow float16; bfloat16 has no 401
    tracker, boxes = build_tracker().eval(), [torch.tensor([[33.0, 57, 401, 131]])]
    prev, curr = (100 * random_maps(1, (20, 60)).to(dtype) for _ in range(2))
    expected = tracker(prev.float(), curr.float(), boxes)
    with torch.autocast("cpu", dtype=dtype):
        deltas, scores = tracker(prev, curr, boxes)
        nothing = tracker(prev, curr, [boxes[0][:0]])
    assert {t.dtype for t in (deltas, scores, *nothing)} == {torch.float32}
    torch.testing.assert_close((deltas, scores), expected)


# ---- losses ---------------------------------------------------------------------------------


def test_losses_by_hand(build_tracker):
    # centre (5, 10), 10 x 20, to centre (15, 10), 20 x 20: dx = 10 * 10/10, dw = 5 ln 2, and
    # nothing was predicted: (10 - 0.5) + (5 ln 2 - 0.5). The box stays where it is: its IoU with
    # the truth is 5 * 20 / (200 + 400 - 100) = 0.2, 0.7 was said: 0.5^2 / 2. The second object
    # has left: 0.4 was said: 0.4^2 / 2, and no box loss. Two regions.
    boxes = torch.tensor([[0.0, 0, 10, 20], [50, 50, 60, 60]])
    targets = torch.tensor([[5.0, 0, 25, 20], [NAN, NAN, NAN, NAN]])
    present = torch.tensor([True, False])
    deltas = torch.tensor([[0.0, 0, 0, 0], [9, 9, 9, 9]])
    scores = torch.tensor([0.7, 0.4])
    losses = build_tracker().losses(deltas, scores, boxes, targets, present)
    assert losses.keys() == {"loss_track_box", "loss_track_iou"}
    expected = (10 - 0.5 + 5 * math.log(2) - 0.5) / 2
    torch.testing.assert_close(losses["loss_track_box"], torch.tensor(expected))
    torch.testing.assert_close(losses["loss_track_iou"], torch.tensor((0.125 + 0.08) / 2))


def test_beta_and_weight_by_hand(build_tracker):
    # the same with beta 0.1, |d| - 0.05 beyond it, and three times the IoU loss
    tracker = build_tracker(smooth_l1_beta=0.1, iou_loss_weight=3.0)
    boxes, targets = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 20]])
    losses = tracker.losses(
        torch.zeros(1, 4), torch.tensor([0.7]), boxes, targets, torch.tensor([True])
    )
    expected = 10 - 0.05 + 5 * math.log(2) - 0.05
    torch.testing.assert_close(losses["loss_track_box"], torch.tensor(expected))
    torch.testing.assert_close(losses["loss_track_iou"], torch.tensor(3 * (0.5 - 0.05)))


def test_the_sums_are_divided_by_the_count_that_is_given(build_tracker):
    boxes, targets, present = random_boxes(6), random_boxes(6), torch.arange(6) < 4
    given = torch.randn(6, 4), torch.rand(6), boxes, targets, present
    own, shared = (build_tracker().losses(*given, *count) for count in ([], [torch.tensor(1.5)]))
    for name, loss in own.items():
        torch.testing.assert_close(shared[name], 4 * loss)  # 6 regions, divided by 1.5


def test_a_perfect_answer_costs_nothing(build_tracker):
    boxes, targets = random_boxes(20), random_boxes(20)
    deltas, present = encode_boxes(boxes, targets, WEIGHTS), torch.ones(20, dtype=torch.bool)
    losses = build_tracker().losses(deltas, torch.ones(20), boxes, targets, present)
    assert losses["loss_track_box"] == 0 and losses["loss_track_iou"] < 1e-6


def test_iou_target_is_that_of_the_prediction_without_gradient(build_tracker):
    boxes, targets = random_boxes(10), random_boxes(10)
    deltas = torch.randn(10, 4, requires_grad=True)
    scores = torch.rand(10, requires_grad=True)
    predicted = decode_boxes(deltas.detach(), boxes, WEIGHTS)
    targets[7:] = predicted[7:]  # where the object has left, this is not looked at
    present = torch.arange(10) < 7
    losses = build_tracker().losses(deltas, scores, boxes, targets, present)
    wanted = aligned_iou(predicted, targets) * present
    assert wanted[:7].max() > 0
    from_box, from_score = torch.autograd.grad(
        losses["loss_track_iou"], [deltas, scores], allow_unused=True, retain_graph=True
    )
    assert from_box is None
    torch.testing.assert_close(from_score, (scores.detach() - wanted) / 10)
    (from_box,) = torch.autograd.grad(losses["loss_track_box"], [deltas])
    assert (from_box[7:] == 0).all() and (from_box[:7] != 0).all()


def test_all_objects_have_left(build_tracker):
    boxes, scores = random_boxes(4), torch.full((4,), 0.6)
    losses = build_tracker().losses(
        torch.randn(4, 4), scores, boxes, torch.zeros(4, 4), torch.zeros(4, dtype=torch.bool)
    )
    assert losses["loss_track_box"] == 0
    torch.testing.assert_close(losses["loss_track_iou"], torch.tensor(0.18))  # 0.6^2 / 2


def test_no_regions_are_a_step_that_moves_nothing(build_tracker):
    tracker, maps, nothing = build_tracker().train(), random_maps(2), torch.zeros(0, 4)
    deltas, scores = tracker(maps, maps, [nothing, nothing])
    losses = tracker.losses(deltas, scores, nothing, nothing, torch.zeros(0, dtype=torch.bool))
    assert all(loss == 0 for loss in losses.values())
    sum(losses.values()).backward()
    for name, parameter in tracker.named_parameters():
        assert parameter.grad is not None and (parameter.grad == 0).all(), name
    assert all(b.isfinite().all() for b in tracker.buffers())


@pytest.mark.parametrize("counts", [[0], [0, 0]])
def test_no_regions_reach_batch_norm_all_the_same(build_tracker, counts):
    # which other processes may wait for, forwards and backwards
    seen = []

    class Norm(torch.nn.BatchNorm2d):
        def forward(self, x):
            x.register_hook(lambda grad: seen.append(len(grad)))
            return super().forward(x)

    tracker, maps = build_tracker(norm=Norm).train(), random_maps(len(counts))
    before = {name: value.clone() for name, value in tracker.named_buffers()}
    deltas, scores = tracker(maps, maps, [random_boxes(n) for n in counts])
    (deltas.sum() + scores.sum()).backward()
    assert seen == [0, 0, 0]
    for name, value in tracker.named_buffers():  # the statistics stay
        assert torch.equal(value, before[name]) or name.endswith("num_batches_tracked"), name


# ---- training -------------------------------------------------------------------------------


def test_gradient_reaches_every_parameter(build_tracker):
    tracker, maps, boxes = build_tracker().train(), random_maps(2), random_boxes(5)
    deltas, scores = tracker(maps[:1], maps[1:], [boxes])
    present = torch.ones(5, dtype=torch.bool)
    losses = tracker.losses(deltas, scores, boxes, random_boxes(5), present)
    for loss, not_its_own in (("loss_track_box", "iou_branch"), ("loss_track_iou", "box_branch")):
        tracker.zero_grad()
        losses[loss].backward(retain_graph=True)
        for name, parameter in tracker.named_parameters():
            reached = parameter.grad is not None and bool((parameter.grad != 0).any())
            assert reached != name.startswith(not_its_own), name


def test_statistics_move_in_training_and_are_used_in_evaluation(build_tracker):
    tracker, maps, boxes = build_tracker().train(), 5 + random_maps(2), [random_boxes(3)]
    before = {name: b.clone() for name, b in tracker.named_buffers()}
    assert len(before) == 9  # mean, variance and count of three blocks
    trained = tracker(maps[:1], maps[1:], boxes)[0]
    moved = {name: b.clone() for name, b in tracker.named_buffers()}
    assert all(not moved[name].equal(before[name]) for name in before)
    tracker.eval()
    evaluated = tracker(maps[:1], maps[1:], boxes)[0]
    assert all(b.equal(moved[name]) for name, b in tracker.named_buffers())
    assert not torch.allclose(evaluated, trained)
    alone = tracker(maps[:1], maps[1:], [boxes[0][:1]])[0]  # no other box of the batch counts
    torch.testing.assert_close(alone, evaluated[:1], rtol=1e-4, atol=1e-5)


def blob_frames(centers, radii):
    """(N, 3, 20, 30) maps, each with a soft blob; the channels are the blob and its halves."""
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    x, y = (8 * axis + 4 - centers[:, i, None, None] for i, axis in enumerate((x, y)))
    blob = torch.exp(-(x**2 + y**2) / (2 * radii[:, None, None] ** 2))
    return torch.stack([blob, blob * torch.tanh(x / 8), blob * torch.tanh(y / 8)], dim=1)


def blob_pairs(count, largest_shift):
    """Maps of two frames, and the boxes (count, 4) of their blobs; the second one has moved."""
    radii = 16 + 8 * torch.rand(count)
    prev = torch.tensor([120.0, 80]) + 20 * torch.randn(count, 2).clamp(-2, 2)
    curr = prev + largest_shift * (2 * torch.rand(count, 2) - 1)
    maps = blob_frames(prev, radii), blob_frames(curr, radii)
    boxes = [torch.cat([c - radii[:, None], c + radii[:, None]], dim=1) for c in (prev, curr)]
    return maps, boxes


def test_training_on_shifted_blobs_follows_them(build_tracker):
    tracker = build_tracker().train()
    optimizer = torch.optim.Adam(tracker.parameters(), lr=2e-3)
    everything = torch.ones(32, dtype=torch.bool)
    for _ in range(60):
        maps, (boxes, targets) = blob_pairs(32, largest_shift=20)
        deltas, scores = tracker(*maps, [b[None] for b in boxes])
        losses = tracker.losses(deltas, scores, boxes, targets, everything)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    tracker.eval()
    maps, (boxes, targets) = blob_pairs(32, largest_shift=20)
    with torch.no_grad():
        deltas, scores = tracker(*maps, [b[None] for b in boxes])
        stay, _ = tracker(maps[0], maps[0], [b[None] for b in boxes])
    tracked = aligned_iou(decode_boxes(deltas, boxes, WEIGHTS), targets)
    assert aligned_iou(boxes, targets).mean() < 0.5 and tracked.mean() > 0.8
    assert (scores - tracked).abs().mean() < 0.1  # it knows how good it is
    # between two identical frames a box stays
    assert aligned_iou(decode_boxes(stay, boxes, WEIGHTS), boxes).min() > 0.85
