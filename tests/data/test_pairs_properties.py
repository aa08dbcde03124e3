"""Laws of training pairs over many examples: which frames, which regions, and what becomes of both.

Together 100,000 examples in ``make test-slow``, of which ``make test`` has a few hundred: 60,000 of
frames drawn, 27,000 of regions, 3,000 of losses and 10,000 of pairs read from tiny images.
"""

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from d2_plugtrack.core.boxes import pairwise_iou
from d2_plugtrack.core.pair_losses import Objects, pair_losses
from d2_plugtrack.core.sampling import sample_regions
from d2_plugtrack.core.tracker import TrackerHead
from d2_plugtrack.data.labeled_frames import PairDrawing, RandomPairs
from d2_plugtrack.errors import UserError
from tests.data.examples import SEEDS, for_all
from tests.data.pair_videos import FramesSeen, write_videos


def cases(few: int, many: int):
    """So many examples in ``make test``, and in ``make test-slow``."""
    return pytest.mark.parametrize("num_cases", [few, pytest.param(many, marks=pytest.mark.slow)])


@st.composite
def drawings(draw) -> PairDrawing:
    """Gaps of the paper's range, and any share of reversed pairs."""
    low = draw(st.integers(1, 9))
    return PairDrawing(low, draw(st.integers(low, 9)), draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])))


# ---- which frames --------------------------------------------------------------------------------

CROWD, OBJECT = {"iscrowd": 1}, {"iscrowd": 0}


def bare_frames(objects: int, crowds: int, length: int) -> list[dict]:
    """Frames whose objects and crowds are the bits of two numbers."""
    return [
        {"annotations": [OBJECT] * (objects >> t & 1) + [CROWD] * (crowds >> t & 1)}
        for t in range(length)
    ]


@cases(200, 50_000)
def test_pairs_are_within_the_video_and_the_gap_within_its_range(num_cases):
    def law(length, objects, crowds, drawing, seed):
        frames = bare_frames(objects, crowds, length)
        pair = drawing.draw_with_objects(frames, np.random.default_rng(seed))
        assert (pair is None) == (not drawing.can_draw_with_objects(frames))
        if pair is None:
            return
        prev, curr = pair
        assert 0 <= prev < length and 0 <= curr < length
        longest = length - 1
        assert min(drawing.min_gap, longest) <= abs(curr - prev) <= min(drawing.max_gap, longest)
        assert objects >> prev & 1  # a crowd is no object
        if drawing.reverse_prob in (0.0, 1.0):
            assert curr == prev or (curr < prev) == (drawing.reverse_prob == 1.0)

    few = st.integers(0, 2**40 - 1)
    some = st.one_of(few, st.sampled_from([0, 2**40 - 1]), st.integers(0, 39).map(lambda t: 1 << t))
    for_all(
        num_cases,
        law,
        length=st.integers(1, 40),
        objects=some,
        crowds=few,
        drawing=drawings(),
        seed=SEEDS,
    )


@cases(1000, 10_000)
@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_the_share_of_reversed_pairs_over_seeds(num_cases, probability):
    """Of a pair a seed, whatever the length of the video and its empty frames."""
    times, count = num_cases // 5, 0
    drawing = PairDrawing(1, 9, probability)
    for seed in range(times):
        # empty frames alike at both ends, so that both directions can be drawn as often
        empty, length = seed % 4, 12 + seed % 30
        frames = bare_frames((1 << length) - 1 ^ 1 << empty ^ 1 << (length - 1 - empty), 0, length)
        prev, curr = drawing.draw_with_objects(frames, np.random.default_rng(seed))
        count += curr < prev
    deviation = (probability * (1 - probability) * times) ** 0.5
    assert abs(count - probability * times) <= 5 * deviation


# ---- which regions -------------------------------------------------------------------------------


@st.composite
def boxes(draw, most: int) -> torch.Tensor:
    """Boxes in and out of an image of 100 pixels: large, below a pixel, without area, the same."""
    numbers = st.sampled_from([-20.0, 0.0, 0.25, 10.0, 10.5, 33.3, 60.0, 99.0, 120.0])
    sizes = st.sampled_from([0.0, 1e-3, 0.5, 1.0, 7.0, 20.0, 64.0, 140.0])
    rows = draw(st.lists(st.tuples(numbers, numbers, sizes, sizes), max_size=most))
    found = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    found[:, 2:] += found[:, :2]
    return found


@cases(150, 27_000)
def test_regions_are_what_the_iou_test_says_and_no_more_than_the_limit(num_cases):
    def law(gt_boxes, per_object, limit, threshold, reading, seed):
        def draw(limit: int):
            return sample_regions(
                gt_boxes,
                per_object=per_object,
                limit=limit,
                iou_threshold=threshold,
                reading=reading,
                generator=torch.Generator().manual_seed(seed),
            )

        passing, regions = draw(10**9), draw(limit)
        count = len(regions.boxes)
        assert regions.boxes.shape == (count, 4) and regions.boxes.dtype == torch.float32
        assert regions.objects.shape == (count,) and regions.objects.dtype == torch.int64
        assert torch.isfinite(regions.boxes).all()
        if len(gt_boxes) == 0:
            assert count == 0
            return
        iou = pairwise_iou(regions.boxes, gt_boxes)
        own = iou.gather(1, regions.objects[:, None]).squeeze(1)
        if reading == "at_least":  # few may pass, and all of them are kept
            assert count == min(limit, len(passing.boxes))
            assert (own >= threshold).all() and (own == iou.amax(dim=1)).all()
            followed = set(passing.objects.tolist())
            sizes = (gt_boxes[:, 2:] - gt_boxes[:, :2]).amin(dim=1)
            assert {i for i, size in enumerate(sizes.tolist()) if size >= 0.5} <= followed
        else:
            assert (own < threshold).all()
            for index in range(len(gt_boxes)):
                all_of_it = int((passing.objects == index).sum())
                assert int((regions.objects == index).sum()) == min(limit, all_of_it)
        again = draw(limit)
        assert torch.equal(again.boxes, regions.boxes)

    for_all(
        num_cases,
        law,
        gt_boxes=boxes(most=4),
        per_object=st.integers(0, 40),
        limit=st.sampled_from([1, 3, 16, 128]),
        threshold=st.sampled_from([0.3, 0.5, 0.7]),
        reading=st.sampled_from(["at_least", "below"]),
        seed=SEEDS,
    )


# ---- what is lost on them ------------------------------------------------------------------------


@cases(25, 3000)
def test_losses_are_finite_and_zero_regions_give_zero_with_a_graph(num_cases):
    tracker = TrackerHead(
        in_features=["p"],
        in_channels=[2],
        target=0,
        stride=16,
        channels=2,
        template_size=3,
        search_factor=3,
        box_weights=(10, 10, 5, 5),
        smooth_l1_beta=1.0,
        iou_loss_weight=1.0,
    )
    maps = torch.randn(2, 3, 2, 7, 7, generator=torch.Generator().manual_seed(0))

    def law(prev, curr, limit, reading, seed):
        ids = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
        objects = [
            [Objects(boxes, ids[: len(boxes)] + shift) for boxes in frames]
            for frames, shift in ((prev, 0), (curr, seed % 3))  # some have left, some are new
        ]
        count = min(map(len, objects))
        before, after = (frames[:count] for frames in objects)
        sampling = {"per_object": 6, "limit": limit, "iou_threshold": 0.5, "reading": reading}
        sampling["generator"] = torch.Generator().manual_seed(seed)
        tracker.zero_grad()
        losses = pair_losses(tracker, maps[0, :count], maps[1, :count], before, after, sampling)
        assert set(losses) == {"loss_track_box", "loss_track_iou"}
        total = sum(losses.values())
        assert total.requires_grad and torch.isfinite(total) and total >= 0
        total.backward()
        grads = [parameter.grad for parameter in tracker.parameters()]
        assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)
        assert all(torch.isfinite(buffer).all() for buffer in tracker.buffers())
        if not any(len(o.boxes) for o in before):
            assert total == 0 and all((grad == 0).all() for grad in grads)
        shared = [
            set(b.track_ids.tolist()) & set(a.track_ids.tolist())
            for b, a in zip(before, after, strict=True)
        ]
        if not any(shared):
            assert losses["loss_track_box"] == 0

    frames = st.lists(boxes(most=3), min_size=1, max_size=3)
    for_all(
        num_cases,
        law,
        prev=frames,
        curr=frames,
        limit=st.sampled_from([1, 2, 128]),
        reading=st.sampled_from(["at_least", "below"]),
        seed=SEEDS,
    )


# ---- pairs of images -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("videos"))


NUMBERS = st.integers(0, 10**6)


@cases(40, 5000)
def test_pairs_of_torchvisions_detectors_are_frames_of_one_video_flipped_alike(videos, num_cases):
    def law(number, drawing, seed):
        video = videos[number % len(videos)]
        try:
            prev, curr = next(iter(RandomPairs([video], drawing, seed)))
        except UserError as error:
            assert "no video has an object" in str(error)
            assert not drawing.can_draw_with_objects(video["frames"])
            return
        seen = FramesSeen(video, drawing)
        for frame in (prev, curr):
            seen.add(frame.image, frame.boxes, frame.track_ids)
        seen.check()

    for_all(num_cases, law, number=NUMBERS, drawing=drawings(), seed=SEEDS)


@cases(40, 5000)
def test_pairs_of_detectron2_are_frames_of_one_video_resized_and_flipped_alike(videos, num_cases):
    from detectron2.config import get_cfg

    from d2_plugtrack.config import add_plugtrack_config
    from d2_plugtrack.data.pair_mapper import PairMapper

    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.INPUT.MIN_SIZE_TRAIN = (12, 16, 24)
    mapper = PairMapper(cfg)

    def law(number, drawing, seed):
        video = videos[number % len(videos)]
        mapper.drawing = drawing
        np.random.seed(seed)
        pair = mapper(video)
        assert (pair is None) == (not drawing.can_draw_with_objects(video["frames"]))
        if pair is None:
            return
        seen = FramesSeen(video, drawing)
        for frame in (pair["prev"], pair["curr"]):
            instances = frame["instances"]
            image = frame["image"].numpy().transpose(1, 2, 0)
            seen.add(image, instances.gt_boxes.tensor, instances.gt_track_ids)
        seen.check()
        assert seen.numbers == [pair["prev"]["frame_index"], pair["curr"]["frame_index"]]
        assert pair["gap"] == seen.numbers[1] - seen.numbers[0]

    for_all(num_cases, law, number=NUMBERS, drawing=drawings(), seed=SEEDS)
