"""Heads with hard mining: what they train on, that it is logged, and that evaluation is stock."""

import copy

import pytest
import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, ImageList, Instances, pairwise_iou
from detectron2.utils.events import EventStorage

from d2_plugtrack.core.hard_mining import hardest_regions
from d2_plugtrack.errors import UserError

OHEM = {"fpn": "OHEMROIHeads", "c4": "OHEMRes5ROIHeads"}
STOCK = {"fpn": "StandardROIHeads", "c4": "Res5ROIHeads"}
CLASSES = 5
LIMIT, POSITIVES = 16, 4  # a quarter


def build(zoo, kind: str, name: str, *opts):
    zoo_cfg, build_random = zoo
    keys = "MODEL.ROI_HEADS"
    cfg = zoo_cfg(
        kind,
        *("MODEL.META_ARCHITECTURE", "GeneralizedRCNN", f"{keys}.NAME", name),
        *(f"{keys}.BATCH_SIZE_PER_IMAGE", LIMIT, f"{keys}.POSITIVE_FRACTION", 0.25),
        *opts,
    )
    return build_random(cfg)


@pytest.fixture(scope="module", params=["fpn", "c4"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(zoo, kind):
    return build(zoo, kind, OHEM[kind])


@pytest.fixture
def heads(model):
    return model.roi_heads.train()


def objects(*boxes, classes=None) -> Instances:
    instances = Instances((96, 128))
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.tensor(classes or [i % CLASSES for i in range(len(boxes))]).long()
    return instances


def proposals(boxes) -> Instances:
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Instances(
        (96, 128), proposal_boxes=Boxes(boxes), objectness_logits=torch.zeros(len(boxes))
    )


def around(box, count: int, spread: float):
    return torch.tensor(box).float() + torch.empty(count, 4).uniform_(-spread, spread)


TRUTH = [[10, 10, 50, 60], [60, 30, 120, 90]]


def two_images():
    """Two objects with proposals near them and far away, and an image of nothing."""
    near = [*around(TRUTH[0], 12, 4), *around(TRUTH[1], 12, 4)]
    far = [*around([70, 5, 90, 25], 20, 4), *around([5, 70, 40, 90], 20, 4)]
    given = [proposals(torch.stack(near + far)), proposals(torch.stack(far))]
    return given, [objects(*TRUTH), objects()]


def maps_of(heads) -> dict:
    """Random features of two images of 96x128, as R50-FPN or R50-C4 would give them."""
    shapes = {f"p{i}": (256, 96 >> i, 128 >> i) for i in range(2, 6)}
    shapes["res4"] = (1024, 96 >> 4, 128 >> 4)
    return {name: torch.randn(2, *shapes[name], requires_grad=True) for name in heads.in_features}


def run(heads, maps, given, targets):
    """Losses, what the heads trained on, and the numbers they logged."""
    trained_on = []
    losses_of = heads.box_predictor.losses

    def losses(predictions, sampled):
        trained_on.extend(sampled)
        return losses_of(predictions, sampled)

    heads.box_predictor.losses = losses
    try:
        with EventStorage() as storage:
            images = ImageList(torch.zeros(len(given), 0), [(96, 128)] * len(given))
            _, got = heads(images, maps, given, targets)
    finally:
        del heads.box_predictor.losses
    logged = {
        name: [value for value, _ in storage.history(f"roi_head/num_{name}_samples").values()]
        for name in ("fg", "bg")
    }
    return got, trained_on, logged


def test_trains_on_the_hardest_of_all_labelled_proposals(heads):
    given, targets = two_images()
    maps = maps_of(heads)
    # by hand for the first image: its true boxes are proposals too
    boxes = torch.cat([given[0].proposal_boxes.tensor, targets[0].gt_boxes.tensor])
    iou = pairwise_iou(targets[0].gt_boxes, Boxes(boxes))
    labels = torch.where(iou.amax(0) >= 0.5, targets[0].gt_classes[iou.argmax(0)], CLASSES)
    assert (labels < CLASSES).sum() > POSITIVES and (labels == CLASSES).sum() > LIMIT
    with torch.no_grad():  # C4's batch norms do not look at the other proposals
        logits = heads.eval().class_logits({k: m[:1] for k, m in maps.items()}, [Boxes(boxes)])
    losses = F.cross_entropy(logits, labels, reduction="none")
    chosen = hardest_regions(
        losses, labels, background=CLASSES, limit=LIMIT, positive_fraction=0.25
    )

    _, (first, second), logged = run(heads.train(), maps, given, targets)
    assert torch.equal(first.proposal_boxes.tensor, boxes[chosen])
    assert torch.equal(first.gt_classes, labels[chosen])
    positive = labels[chosen] < CLASSES
    assert positive.tolist() == [True] * POSITIVES + [False] * (LIMIT - POSITIVES)
    matched = targets[0].gt_boxes.tensor[iou.argmax(0)[chosen]]
    assert torch.equal(first.gt_boxes.tensor[positive], matched[positive])

    assert len(second) == LIMIT and (second.gt_classes == CLASSES).all()
    # once, of what is trained on: 4 and 0 positives, 12 and 16 negatives
    assert logged == {"fg": [2.0], "bg": [14.0]}


@pytest.mark.parametrize("mixed_precision", [False, True])
def test_losses_reach_the_head_and_the_features(heads, mixed_precision):
    given, targets = two_images()
    maps = maps_of(heads)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed_precision):
        losses, _, _ = run(heads, maps, given, targets)
    assert set(losses) == {"loss_cls", "loss_box_reg"}
    heads.zero_grad()
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in heads.parameters())
    assert all(p.grad.abs().sum() > 0 for p in heads.box_predictor.parameters())
    assert any(m.grad is not None and m.grad.abs().sum() > 0 for m in maps.values())


def test_true_boxes_are_only_appended_where_the_config_says_so(heads, monkeypatch):
    monkeypatch.setattr(heads, "proposal_append_gt", False)
    far = proposals([[70, 5, 90, 25]] * 3)
    _, (trained_on,), logged = run(
        heads, {k: m[:1] for k, m in maps_of(heads).items()}, [far], [objects(TRUTH[0])]
    )
    assert trained_on.gt_classes.tolist() == [CLASSES] * 3
    assert logged == {"fg": [0.0], "bg": [3.0]}


def test_no_proposals(heads):
    maps = {k: m[:1] for k, m in maps_of(heads).items()}
    losses, (trained_on,), logged = run(heads, maps, [proposals([])], [objects(*TRUTH)])
    assert sorted(trained_on.gt_classes.tolist()) == [0, 1]  # the true boxes
    assert logged == {"fg": [2.0], "bg": [0.0]}
    losses, (trained_on,), logged = run(heads, maps, [proposals([])], [objects()])
    assert len(trained_on) == 0 and logged == {"fg": [0.0], "bg": [0.0]}
    assert all(loss.isfinite() for loss in losses.values())


def test_ignored_proposals_are_left_out(heads, monkeypatch):
    from detectron2.modeling.matcher import Matcher

    monkeypatch.setattr(heads, "proposal_matcher", Matcher([0.1, 0.5], [-1, 0, 1]))
    given, targets = two_images()
    _, trained_on, _ = run(heads, maps_of(heads), given, targets)
    assert [len(t) for t in trained_on] == [POSITIVES, 0]  # all far ones are below 0.1


def test_mining_moves_no_statistics_and_leaves_the_mode(heads):
    given, targets = two_images()
    maps = maps_of(heads)
    still = next(m for m in heads.modules() if isinstance(m, torch.nn.Linear)).eval()
    before = copy.deepcopy(heads.state_dict())
    with EventStorage():
        labelled = heads._label(given, targets)
        heads._mine(maps, labelled)
    assert all(torch.equal(value, before[key]) for key, value in heads.state_dict().items())
    assert [m for m in heads.modules() if not m.training] == [still]
    still.train()


def test_evaluation_is_that_of_the_stock_class(zoo, model, kind):
    stock = build(zoo, kind, STOCK[kind])
    stock.load_state_dict(model.state_dict())  # strict: the same names
    frames = [{"image": torch.randint(0, 256, (3, 96, 128)).float()} for _ in range(2)]
    with torch.no_grad():
        results = [[o["instances"] for o in m.eval()(frames)] for m in (model, stock)]
    for own, theirs in zip(*results, strict=True):
        assert len(own) > 0 and torch.equal(own.scores, theirs.scores)
        assert torch.equal(own.pred_boxes.tensor, theirs.pred_boxes.tensor)


def test_a_sigmoid_loss_is_refused(zoo):
    with pytest.raises(UserError, match="USE_SIGMOID_CE True .* OHEMROIHeads: expected False"):
        build(zoo, "fpn", "OHEMROIHeads", "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", True)
