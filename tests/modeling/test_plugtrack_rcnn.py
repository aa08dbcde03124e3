"""PlugTrackRCNN on detectron2's own R50-FPN and R50-C4: the stock detector, frozen, and a tracker.

Three promises hold it: names minus ``tracker.*`` equal the stock ones, training changes no bit of
the detector, and a single frame gives the stock detector's output.
"""

import copy
import hashlib

import pytest
import torch
from detectron2.solver import build_optimizer
from detectron2.structures import Boxes, Instances

from d2_plugtrack.build import build_pipeline
from d2_plugtrack.core.tfd import VideoPipeline
from d2_plugtrack.errors import UserError

PER_FRAME = ["TEST.TFD.ENABLED", False, "TEST.SEQ_NMS.TRACK_LINKS", False]
STOCK_PER_FRAME = [
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 1e-3, "MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.45),
    *("TEST.DETECTIONS_PER_IMAGE", 300),
]


class Pair:
    """A stock detector, a PlugTrackRCNN with the same detector weights, and their config."""

    def __init__(self, zoo, kind: str):
        zoo_cfg, build_random = zoo
        self.kind = kind
        self.cfg = zoo_cfg(kind, *STOCK_PER_FRAME)
        stock_cfg = zoo_cfg(kind, *STOCK_PER_FRAME, "MODEL.META_ARCHITECTURE", "GeneralizedRCNN")
        self.stock = build_random(stock_cfg)
        self.model = build_random(self.cfg)
        self.loaded = self.model.load_state_dict(self.stock.state_dict(), strict=False)


@pytest.fixture(scope="module", params=["fpn", "c4"])
def pair(request, zoo):
    return Pair(zoo, request.param)


@pytest.fixture
def model(pair):
    return pair.model.eval()


@pytest.fixture
def trainable(pair):
    """A copy of the model, to be trained."""
    return copy.deepcopy(pair.model)


def frame(size=(96, 128), **keys) -> dict:
    return {"image": torch.randint(0, 256, (3, *size)).float(), **keys}


def small_and_large() -> list[dict]:
    """A batch that needs padding; the second frame came in another size."""
    return [frame((64, 96)), frame((96, 128), height=200, width=256)]


def annotated(boxes: list[list[float]], track_ids: list[int], size=(96, 128)) -> dict:
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.tensor(boxes).reshape(-1, 4))
    instances.gt_track_ids = torch.tensor(track_ids, dtype=torch.int64)
    return {**frame(size), "instances": instances}


def boxes_at(*lefts: float) -> list[list[float]]:
    return [[left, 20.0, left + 40.0, 60.0] for left in lefts]


def detector_tensors(model) -> dict[str, torch.Tensor]:
    """Every parameter and buffer outside the tracker, those that are not saved included."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor for name, tensor in named if not name.startswith("tracker.")}


def hashes(tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    return {k: hashlib.sha256(t.detach().numpy().tobytes()).hexdigest() for k, t in tensors.items()}


def assert_same_instances(ours: Instances, stock: Instances):
    assert ours.image_size == stock.image_size
    assert set(ours.get_fields()) == set(stock.get_fields())
    for name, value in stock.get_fields().items():
        mine = ours.get(name)
        value, mine = (v.tensor if isinstance(v, Boxes) else v for v in (value, mine))
        assert torch.equal(mine, value), name


# ---- names and weights ---------------------------------------------------------------------------


def test_names_minus_tracker_equal_the_stock_ones(pair):
    stock = {name: tensor.shape for name, tensor in detector_tensors(pair.stock).items()}
    assert {k: t.shape for k, t in detector_tensors(pair.model).items()} == stock
    saved = [key for key in pair.model.state_dict() if not key.startswith("tracker.")]
    assert saved == list(pair.stock.state_dict())


def test_stock_state_dict_loads_with_only_the_tracker_missing(pair):
    tracker_keys = {f"tracker.{key}" for key in pair.model.tracker.state_dict()}
    counters = {key for key in tracker_keys if key.endswith("num_batches_tracked")}
    assert len(tracker_keys) > 10
    assert set(pair.loaded.missing_keys) == tracker_keys - counters  # torch lets these be missing
    assert pair.loaded.unexpected_keys == []


def test_detector_takes_no_gradients_and_tracker_does(pair):
    trains = {name for name, p in pair.model.named_parameters() if p.requires_grad}
    assert trains == {f"tracker.{name}" for name, _ in pair.model.tracker.named_parameters()}


def test_optimizer_holds_the_tracker_only(pair):
    optimizer = build_optimizer(pair.cfg, pair.model)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in pair.model.tracker.parameters()}


# ---- single frames -------------------------------------------------------------------------------


def test_single_frame_is_the_stock_output(pair, model):
    inputs = [frame(height=200, width=256)]
    (stock,), (ours,) = pair.stock(inputs), model(inputs)
    assert len(stock["instances"]) > 20
    assert_same_instances(ours["instances"], stock["instances"])
    assert_same_instances(model.inference(inputs)[0]["instances"], stock["instances"])


def test_batch_of_different_sizes_is_the_stock_output(pair, model):
    inputs = small_and_large()
    for ours, stock in zip(model(inputs), pair.stock(inputs), strict=True):
        assert_same_instances(ours["instances"], stock["instances"])


def test_masks_are_the_stock_output(zoo):
    pair = Pair(zoo, "mask")
    inputs = [frame()]
    (stock,), (ours,) = pair.stock(inputs), pair.model(inputs)
    assert stock["instances"].pred_masks.any()
    assert_same_instances(ours["instances"], stock["instances"])


def test_frames_of_a_batch_carry_their_own_sizes_and_maps(model):
    outputs = model(small_and_large())
    small, large = (output["frame"] for output in outputs)
    assert (small.image_size, small.original_size) == ((64, 96), (64, 96))
    assert (large.image_size, large.original_size) == ((96, 128), (200, 256))
    stride = model.tracker.stride
    rows, columns = (-(-side // stride) for side in small.image_size)
    assert small.tracking_map[:, rows:].abs().max() == 0  # padding
    assert small.tracking_map[:, :, columns:].abs().max() == 0
    assert (small.tracking_map[:, :rows, :columns].abs().amax(0) > 0).all()
    assert (large.tracking_map.abs().amax(0) > 0).all()


def test_evaluation_builds_no_graph(model):
    (output,) = model([frame()])
    assert not output["instances"].scores.requires_grad
    assert not output["frame"].tracking_map.requires_grad
    assert not output["frame"].classify(torch.tensor([[1.0, 1, 20, 20]])).requires_grad


# ---- training ------------------------------------------------------------------------------------


def test_training_changes_no_bit_of_the_detector(pair, trainable):
    before = hashes(detector_tensors(trainable))
    tracker_before = hashes(dict(trainable.tracker.state_dict()))
    cfg = pair.cfg.clone()
    cfg.merge_from_list(["SOLVER.WEIGHT_DECAY", 0.1, "SOLVER.BASE_LR", 0.01])
    optimizer = build_optimizer(cfg, trainable)
    trainable.train()
    for _ in range(3):
        inputs = {
            "prev": annotated(boxes_at(10, 70), [1, 2]),
            "curr": annotated(boxes_at(14, 60), [1, 2]),
        }
        losses = trainable([inputs, inputs])
        assert set(losses) == {"loss_track_box", "loss_track_iou"}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert hashes(detector_tensors(trainable)) == before
    tracker_after = hashes(dict(trainable.tracker.state_dict()))
    assert [k for k in tracker_before if tracker_after[k] == tracker_before[k]] == []


def test_train_leaves_the_detector_in_evaluation_mode(trainable):
    for mode in (True, False, True):
        trainable.train(mode)
        tracker_modules = set(trainable.tracker.modules())
        assert trainable.training == mode
        assert all(m.training == mode for m in tracker_modules)
        detector = [m for m in trainable.modules() if m not in tracker_modules | {trainable}]
        assert len(detector) > 50
        assert not any(m.training for m in detector)


def on_true_boxes_only(model):
    """The tracker made to leave boxes where they are, with IoU scores of exactly 0.5.

    Its regions are the true boxes themselves, without candidates around them.
    """
    model.region_sampling = {**model.region_sampling, "per_object": 0}
    for branch in (model.tracker.box_branch, model.tracker.iou_branch):
        torch.nn.init.zeros_(branch.weight)
    return model.train()


def losses_of(model, *pairs: tuple[dict, dict]) -> tuple[float, float]:
    torch.manual_seed(1)
    losses = model([{"prev": prev, "curr": curr} for prev, curr in pairs])
    return losses["loss_track_box"].item(), losses["loss_track_iou"].item()


def test_losses_of_an_object_that_moves_and_one_that_leaves(trainable):
    model = on_true_boxes_only(trainable)
    prev = annotated(boxes_at(10, 70), [7, 8])
    curr = annotated(boxes_at(14), [7])  # a tenth of its width to the right
    # weight 10: the delta to learn is 1 and its smooth L1 0.5. IoU is 36 / 44; 0 of who left
    iou = (0.5 * (0.5 - 36 / 44) ** 2 + 0.5 * 0.5**2) / 2
    assert losses_of(model, (prev, curr)) == pytest.approx((0.5 / 2, iou))


def test_objects_are_matched_by_track_id_in_any_order(trainable):
    model = on_true_boxes_only(trainable)
    prev = annotated(boxes_at(10, 70), [7, 8])
    in_order = annotated(boxes_at(14, 70), [7, 8])
    iou = (0.5 * (0.5 - 36 / 44) ** 2 + 0.5 * 0.5**2) / 2
    swapped = {**in_order, "instances": in_order["instances"][[1, 0]]}
    assert losses_of(model, (prev, in_order)) == pytest.approx((0.5 / 2, iou))
    assert losses_of(model, (prev, swapped)) == pytest.approx((0.5 / 2, iou))


def test_tracker_gets_the_maps_of_prev_and_curr_and_the_regions_of_prev(trainable, monkeypatch):
    frames = [annotated(boxes_at(10), [7]), annotated(boxes_at(60), [7])]
    other = annotated(boxes_at(40), [1])
    features = (trainable.extract([f]) for f in [*frames, other])
    with torch.no_grad():
        first, second, third = (
            trainable.tracker.tracking_map(f.maps, f.image_sizes)[0] for f in features
        )
    model = on_true_boxes_only(trainable)
    seen = []
    forward = type(model.tracker).forward
    monkeypatch.setattr(
        type(model.tracker), "forward", lambda self, *a: (seen.append(a), forward(self, *a))[1]
    )
    losses_of(model, frames, (other, other))
    ((prev_maps, curr_maps, boxes),) = seen
    torch.testing.assert_close(prev_maps, torch.stack([first, third]))
    torch.testing.assert_close(curr_maps, torch.stack([second, third]))
    assert [b.tolist() for b in boxes] == [boxes_at(10), boxes_at(40)]


@pytest.mark.parametrize("curr_ids", [[], [3, 4]], ids=["nothing", "others"])
def test_every_object_left(trainable, curr_ids):
    model = on_true_boxes_only(trainable)
    prev = annotated(boxes_at(10, 70), [7, 8])
    curr = annotated(boxes_at(10, 70)[: len(curr_ids)], curr_ids)
    assert losses_of(model, (prev, curr)) == pytest.approx((0.0, 0.5 * 0.5**2))


def test_no_objects_give_zero_losses_that_can_be_stepped(trainable):
    trainable.train()
    empty = annotated([], [])
    losses = trainable([{"prev": empty, "curr": annotated(boxes_at(10), [7])}] * 2)
    assert {k: v.item() for k, v in losses.items()} == {"loss_track_box": 0, "loss_track_iou": 0}
    sum(losses.values()).backward()
    assert all((p.grad == 0).all() for p in trainable.tracker.parameters())


def test_a_pair_without_objects_beside_one_with(trainable):
    model = on_true_boxes_only(trainable)
    with_objects = annotated(boxes_at(10), [7]), annotated(boxes_at(14), [7])
    without = annotated([], []), annotated([], [])
    alone = losses_of(model, with_objects)
    assert losses_of(model, without, with_objects, without) == pytest.approx(alone)


# ---- the video pipeline --------------------------------------------------------------------------


def test_per_frame_pipeline_gives_the_stock_detections(pair, model):
    cfg = pair.cfg.clone()
    cfg.merge_from_list(PER_FRAME)
    pipeline = build_pipeline(cfg, model.tracker)
    inputs = [*small_and_large(), frame(height=50, width=60)]
    counts = []
    for output, stock in zip(model(inputs), pair.stock(inputs), strict=True):
        result, instances = pipeline.step(output["frame"]), stock["instances"]
        assert torch.equal(result.boxes, instances.pred_boxes.tensor)
        one_class = torch.zeros(len(instances), model.num_classes)
        one_class[torch.arange(len(instances)), instances.pred_classes] = instances.scores
        assert torch.equal(result.scores, one_class)
        assert result.image_size == instances.image_size
        counts.append(len(instances))
    assert min(counts) > 20
    assert max(counts) == 300 or pair.kind == "c4"  # the FPN has more, and is cut


def test_classify_of_the_proposals_is_the_stock_prediction(pair, model):
    seen = {}
    hooks = [
        pair.stock.proposal_generator.register_forward_hook(
            lambda module, inputs, output: seen.update(proposals=output[0])
        ),
        pair.stock.roi_heads.box_predictor.register_forward_hook(
            lambda module, inputs, output: seen.update(predictions=output)
        ),
    ]
    inputs = small_and_large()
    pair.stock(inputs)
    for hook in hooks:
        hook.remove()
    expected = pair.stock.roi_heads.box_predictor.predict_probs(
        seen["predictions"], seen["proposals"]
    )
    features = model.extract(inputs)
    for i, proposals in enumerate(seen["proposals"]):
        scores = model.classify(features.frame(i), proposals.proposal_boxes.tensor)
        assert scores.shape == (len(proposals), 5)
        assert scores.std() > 0.01
        torch.testing.assert_close(scores, expected[i][:, :-1])
        torch.testing.assert_close(model.detect(features)[i].scores, expected[i][:, :-1])


def test_classify_depends_on_the_box_and_the_frame(model):
    first, second = (output["frame"] for output in model([frame(), frame()]))
    boxes = torch.tensor([[4.0, 4, 60, 60], [60.0, 30, 120, 90]])
    scores = first.classify(boxes)
    assert (scores[0] - scores[1]).abs().max() > 1e-4
    assert (scores - second.classify(boxes)).abs().max() > 1e-4
    assert first.classify(boxes[:0]).shape == (0, 5)


def test_tracking_first_detection_over_frames(pair, model):
    pipeline: VideoPipeline = build_pipeline(pair.cfg, model.tracker)
    pipeline.iou_score_threshold = 0.0  # an untrained tracker: everything is tracked on
    image = torch.randint(0, 256, (3, 96, 128)).float()
    previous, num_tracked = 0, []
    for t in range(4):
        moved = {"image": image.roll(4 * t, dims=2), "height": 192, "width": 256}
        result = pipeline.step(model([moved])[0]["frame"])
        tracked = result.source >= 0
        assert result.mapped_boxes.shape == (previous, 4)
        assert torch.equal(result.boxes[tracked], result.mapped_boxes[result.source[tracked]])
        assert tracked.tolist() == sorted(tracked.tolist(), reverse=True)
        assert result.scores.shape == (len(result.boxes), 5)
        assert ((result.scores >= 0) & (result.scores <= 1)).all()
        assert torch.equal(result.track_scores.isnan(), ~tracked)
        assert (result.boxes >= 0).all() and (result.boxes <= torch.tensor([256, 192] * 2)).all()
        previous = len(result.boxes)
        num_tracked.append(int(tracked.sum()))
    assert num_tracked[0] == 0 and min(num_tracked[1:]) > 0


# ---- detectors that it is not for ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "opts", "named"),
    [
        ("fpn", ["MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals"], "PROPOSAL_GENERATOR"),
        ("fpn", ["MODEL.PLUGTRACK.REGION_IOU_TEST", "above"], "at_least, below"),
    ],
)
def test_what_cannot_work_is_refused(zoo, kind, opts, named):
    zoo_cfg, build_random = zoo
    with pytest.raises(UserError, match=named):
        build_random(zoo_cfg(kind, *opts))
