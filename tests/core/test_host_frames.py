"""What arrives on the CPU is what there was, frame by frame; masks come apart as they were."""

import numpy as np
import pytest
import torch

from d2_plugtrack.core.host_frames import flatten_masks, mask_starts, to_host, unflatten_masks
from tests.core.video_results import random_video


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_frames_are_as_they_were(seed, masks):
    results = random_video(seed, 6, masks=masks)
    frames = to_host(results)
    assert len(frames) == 6
    for frame, result in zip(frames, results, strict=True):
        for name in ("boxes", "scores", "mapped_boxes"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(result, name).numpy())
        assert (frame.masks is None) == (not masks)
        if masks:
            np.testing.assert_array_equal(frame.masks, result.masks.numpy())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_halves_become_float32_and_others_stay(half):
    (result,) = random_video(0, 1, empty=0, masks=True)
    changed = result._replace(scores=result.scores.to(half), boxes=result.boxes.double())
    (frame,) = to_host([changed])
    assert frame.scores.dtype == np.float32 and frame.boxes.dtype == np.float64
    np.testing.assert_array_equal(frame.scores, result.scores.to(half).float().numpy())


def test_gradients_do_not_matter():
    (result,) = random_video(0, 1, empty=0)
    (frame,) = to_host([result._replace(scores=result.scores.requires_grad_())])
    np.testing.assert_array_equal(frame.scores, result.scores.detach().numpy())


def test_no_frames():
    assert to_host([]) == []
    cells, sides = flatten_masks([])
    assert cells.shape == sides.shape == (0,) and mask_starts(sides, sides).tolist() == [0]


def test_flat_masks_by_hand():
    # 2 boxes of 3 x 3, a frame without masks, none of 1 x 1, 1 of 2 x 2: 18 + 0 + 0 + 4 cells
    masks = [torch.rand(2, 3, 3), None, torch.rand(0, 1, 1), torch.rand(1, 2, 2)]
    arrays, sizes = [None if m is None else m.numpy() for m in masks], np.array([2, 5, 0, 1])
    cells, sides = flatten_masks(arrays)
    starts = mask_starts(sizes, sides)
    assert sides.tolist() == [3, -1, 1, 2] and starts.tolist() == [0, 18, 18, 18, 22]
    assert cells.dtype == np.float32 and len(cells) == 22
    for frame, mask in enumerate(arrays):
        own = cells[starts[frame] : starts[frame + 1]]
        again = unflatten_masks(own, int(sizes[frame]), int(sides[frame]))
        assert again is None if mask is None else np.array_equal(again, mask)
