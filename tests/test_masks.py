"""Masks of a frame by hand, and what pycocotools reads of their run lengths."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from d2_plugtrack.masks import encode_masks, paste_masks


def test_a_mask_is_stretched_over_its_box():
    # the right half of a 8 x 8 box is the object's: from pixel 14 on, and not beyond the box
    mask = torch.zeros(1, 4, 4)
    mask[:, :, 2:] = 1
    (pasted,) = paste_masks(mask, torch.tensor([[10.0, 20, 18, 28]]), (40, 30))
    assert pasted.shape == (40, 30) and pasted.dtype == bool
    rows, columns = np.nonzero(pasted)
    assert set(rows) == set(range(20, 28)) and set(columns) == set(range(14, 18))


def test_each_box_has_its_own_mask_and_no_pixel_is_outside_the_frame():
    boxes = torch.tensor([[0.0, 0, 30, 20], [5, 5, 6, 6], [29, 19, 30, 20]])
    masks = torch.tensor([1, 0, 0.49])[:, None, None].expand(3, 28, 28)
    pasted = paste_masks(masks, boxes, (20, 30))
    assert pasted.shape == (3, 20, 30)
    assert pasted[0][1:-1, 1:-1].all() and not pasted[1:].any()


def test_a_box_without_pixels_is_no_mistake():
    boxes = torch.tensor([[3.0, 3, 3, 3], [29.9, 19.9, 30, 20]])
    assert paste_masks(torch.ones(2, 4, 4), boxes, (20, 30)).shape == (2, 20, 30)


@pytest.mark.parametrize("side", [1, 28])
def test_no_boxes_have_no_masks(side):
    pasted = paste_masks(torch.zeros(0, side, side), torch.zeros(0, 4), (20, 30))
    assert pasted.shape == (0, 20, 30) and encode_masks(pasted) == []


def test_run_lengths_are_read_back_from_json():
    masks = np.random.rand(4, 20, 30) > 0.5
    masks[3] = False
    encoded = json.loads(json.dumps(encode_masks(masks)))
    assert [sorted(e) for e in encoded] == [["counts", "size"]] * 4
    assert all(e["size"] == [20, 30] for e in encoded)
    np.testing.assert_array_equal([coco.decode(e) for e in encoded], masks)
    # by hand: columns first, 2 pixels of nothing, 1 of the object, 3 of nothing
    by_hand = coco.frPyObjects({"size": [3, 2], "counts": [2, 1, 3]}, 3, 2)
    mask = np.array([[0, 0], [0, 0], [1, 0]], bool)
    assert encode_masks(mask[None])[0]["counts"] == by_hand["counts"].decode()


@pytest.mark.detectron2
@pytest.mark.parametrize("size", [(3, 12), (15, 40), (60, 90)], ids=["small", "middle", "large"])
def test_masks_are_those_of_detectron2(size):
    from detectron2.layers import paste_masks_in_image

    corners = torch.rand(40, 2) * torch.tensor([120.0, 80.0])
    sides = size[0] + torch.rand(40, 2) * (size[1] - size[0])
    boxes = torch.cat([corners, corners + sides], dim=1).clamp(max=torch.tensor([130, 90] * 2))
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 28)] * 2, indexing="ij")
    masks = (x**2 + y**2 < 0.8).float() * torch.rand(40, 1, 1).add(0.5).clamp(max=1)
    pasted = paste_masks(masks, boxes, (90, 130))
    expected = paste_masks_in_image(masks, boxes, (90, 130))
    assert np.mean(pasted != expected.numpy()) < 1e-5  # centres on a mask's edge may round apart
    assert pasted.any(axis=(1, 2)).sum() > 30
