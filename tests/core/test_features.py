"""Maps of several sizes become one: finer ones by their maxima, coarser ones by repetition."""

import pytest
import torch

from d2_plugtrack.core.features import concatenate_stages, reduce_stages, zero_outside_images_


def stages(channels=(2, 3, 4, 5)):
    """Maps of 2 frames at strides 4, 8, 16, 32 of 64 x 96 pixels."""
    return [
        torch.randn(2, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("target", range(4))
def test_size_is_the_targets_and_channels_add_up(target):
    maps = stages()
    assert concatenate_stages(maps, target).shape == (2, 14, *maps[target].shape[2:])


def test_channels_are_in_the_order_of_the_stages():
    maps = stages()
    merged = concatenate_stages(maps, 1)
    parts = merged.split([2, 3, 4, 5], dim=1)
    torch.testing.assert_close(parts[1], maps[1])  # the target itself is untouched
    # a cell twice as large holds the largest of four
    finest = maps[0].reshape(2, 2, 8, 2, 12, 2).amax(dim=(3, 5))
    torch.testing.assert_close(parts[0], finest)
    for coarse, factor in ((2, 2), (3, 4)):
        repeated = maps[coarse].repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        torch.testing.assert_close(parts[coarse], repeated)


def test_sizes_that_do_not_divide():
    # 5 to 2 cells: bins [0, 3) and [2, 5); 2 to 5 cells: floor(i * 2/5) = 0 0 0 1 1
    fine = torch.tensor([4.0, 1, 3, 0, 2]).reshape(1, 1, 1, 5)
    coarse = torch.tensor([10.0, 20]).reshape(1, 1, 1, 2)
    assert concatenate_stages([fine, coarse], 1).flatten().tolist() == [4, 3, 10, 20]
    assert concatenate_stages([fine, coarse], 0).flatten().tolist() == [
        *[4, 1, 3, 0, 2],
        *[10, 10, 10, 20, 20],
    ]


def test_one_stage_is_itself():
    maps = stages()[:1]
    torch.testing.assert_close(concatenate_stages(maps, 0), maps[0])


def test_cells_beyond_each_image_are_zero():
    # stride 8 on a 32 x 40 batch, 4 x 5 cells. 17 x 40 pixels: rows 0 to 2 (24 > 17 > 16), all
    # columns; 32 x 16: all rows, columns 0 and 1; 8 x 9: row 0, columns 0 and 1
    features = 1 + torch.rand(3, 2, 4, 5)
    zeroed = zero_outside_images_(features.clone(), [(17, 40), (32, 16), (8, 9)], 8)
    inside = torch.zeros(3, 2, 4, 5, dtype=torch.bool)
    inside[0, :, :3] = True
    inside[1, :, :, :2] = True
    inside[2, :, :1, :2] = True
    assert (zeroed[inside] == features[inside]).all()
    assert (zeroed[~inside] == 0).all()


def test_the_whole_image_stays():
    features = torch.randn(1, 2, 4, 5)
    assert zero_outside_images_(features.clone(), [(32, 40)], 8).equal(features)
    assert zero_outside_images_(features[:0], [], 8).shape == (0, 2, 4, 5)


def test_not_a_number_in_the_padding_is_zero():
    features = torch.full((1, 1, 2, 2), float("nan"))
    features[..., 0, 0] = 7
    assert zero_outside_images_(features, [(8, 8)], 8).flatten().tolist() == [7, 0, 0, 0]


def test_sizes_are_counted_exactly_in_low_precision():
    # bfloat16 has no 257; 257 of 300 columns are inside
    features = torch.ones(1, 1, 1, 300, dtype=torch.bfloat16)
    assert zero_outside_images_(features, [(4, 257 * 4)], 4).sum(dtype=torch.float32) == 257


# ---- a 1x1 convolution ahead of it ----------------------------------------------------------


@pytest.mark.parametrize("target", range(4))
def test_reduced_stages_are_the_convolution_of_all_at_one_size(target):
    maps, weight = stages(), torch.randn(6, 14, 1, 1)
    expected = torch.nn.functional.conv2d(concatenate_stages(maps, target), weight)
    before = [m.clone() for m in maps]
    torch.testing.assert_close(reduce_stages(maps, weight, target), expected)
    assert all(m.equal(b) for m, b in zip(maps, before, strict=True))


def test_reduced_stages_of_sizes_that_do_not_divide():
    maps, weight = [torch.randn(1, 2, 5, 7), torch.randn(1, 3, 3, 9)], torch.randn(4, 5, 1, 1)
    for target in range(2):  # the one is finer in one direction only: cells are repeated, or left
        expected = torch.nn.functional.conv2d(concatenate_stages(maps, target), weight)
        torch.testing.assert_close(reduce_stages(maps, weight, target), expected)
