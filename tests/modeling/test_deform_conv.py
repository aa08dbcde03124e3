"""Deformable layers against a plain loop, finite differences and detectron2's own."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import get_norm
from detectron2.modeling.backbone import resnet
from detectron2.modeling.backbone.resnet import BottleneckBlock, DeformBottleneckBlock
from torch import nn

from d2_plugtrack.modeling.deform_conv import DeformConv2d, deform_block

try:
    from detectron2 import _C
except ImportError:
    _C = None

CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA")
)
compiled = pytest.mark.skipif(_C is None, reason="detectron2 has no compiled part")


def bilinear(image, y: float, x: float) -> float:
    """Value of a list of rows between cells; cells outside are zero."""
    top, left = math.floor(y), math.floor(x)
    total = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < len(image) and 0 <= column < len(image[0]):
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                total += weight * image[row][column]
    return total


def plain_loop(x, offset, mask, weight, bias, stride, padding, dilation, groups):
    """Deformable convolution one output value at a time, in Python's floats."""
    images, channels = x.shape[:2]
    filters, per_group, kernel = weight.shape[:3]
    height, width = offset.shape[-2:]
    points = kernel * kernel
    deform_groups = offset.shape[1] // (2 * points)
    out = torch.zeros(images, filters, height, width, dtype=torch.float64)
    for n, f, i, j in torch.cartesian_prod(*map(torch.arange, out.shape)).tolist():
        total = 0.0 if bias is None else bias[f].item()
        for c in range(per_group):
            channel = f // (filters // groups) * per_group + c
            moved = channel // (channels // deform_groups)
            for point in range(points):
                row, column = divmod(point, kernel)
                place = 2 * (moved * points + point)
                y = i * stride - padding + row * dilation + offset[n, place, i, j].item()
                x_ = j * stride - padding + column * dilation + offset[n, place + 1, i, j].item()
                value = bilinear(x[n, channel].tolist(), y, x_)
                if mask is not None:
                    value *= mask[n, moved * points + point, i, j].item()
                total += weight[f, c, row, column].item() * value
        out[n, f, i, j] = total
    return out


CASES = [  # stride, padding, dilation, groups, deformable groups, modulated, bias
    (1, 1, 1, 1, 1, True, False),
    (2, 1, 1, 2, 1, True, True),
    (1, 2, 2, 2, 2, True, False),
    (2, 0, 1, 4, 2, False, True),
    (1, 1, 1, 2, 1, False, False),
]


def layer_and_inputs(case, seed=0):
    """A layer of 4 to 4 channels and inputs in float64, points up to three cells away."""
    stride, padding, dilation, groups, deform_groups, modulated, bias = case
    torch.manual_seed(seed)
    layer = DeformConv2d(4, 4, 3, stride, padding, dilation, groups, bias).double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    size = F.conv2d(x, layer.weight, None, stride, padding, dilation, groups).shape[-2:]
    offset = torch.empty(2, 18 * deform_groups, *size, dtype=torch.float64).uniform_(-3, 3)
    mask = torch.rand(2, 9 * deform_groups, *size, dtype=torch.float64) if modulated else None
    return layer, x, offset, mask


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("case", CASES)
def test_as_a_plain_loop(case, device):
    layer, x, offset, mask = layer_and_inputs(case)
    expected = plain_loop(x, offset, mask, layer.weight, layer.bias, *case[:4])
    given = [None if t is None else t.float().to(device) for t in (x, offset, mask)]
    assert torch.allclose(layer.float().to(device)(*given).cpu().double(), expected, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("case", CASES[:4])
def test_gradients_are_those_of_finite_differences(case, device):
    layer, x, offset, mask = layer_and_inputs(case)
    # away from whole cells, where bilinear sampling has a kink
    offset = offset.floor() + torch.empty_like(offset).uniform_(0.1, 0.9)
    given = [t.to(device).requires_grad_() for t in (x, offset, mask) if t is not None]
    layer.to(device)

    def convolve(weight, *given):
        # of all parameters the weight alone: a bias is only added
        return torch.func.functional_call(layer, {"weight": weight}, given)

    weight = layer.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(convolve, (weight, *given), fast_mode=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stride, padding, dilation, groups", [(1, 1, 1, 2), (2, 2, 2, 4)])
def test_unmoved_points_of_weight_1_are_a_plain_convolution(
    seed, stride, padding, dilation, groups
):
    layer, x, offset, mask = layer_and_inputs((stride, padding, dilation, groups, 1, True, 1), seed)
    expected = F.conv2d(x, layer.weight, layer.bias, stride, padding, dilation, groups)
    assert torch.allclose(layer(x, offset * 0, mask * 0 + 1), expected)
    assert torch.allclose(layer(x, offset * 0), expected)
    assert torch.allclose(
        layer(x, offset * 0, mask * 0), layer.bias[:, None, None].expand_as(expected)
    )


def test_norm_and_activation_come_last_and_parameters_have_detectron2s_names():
    norm = get_norm("BN", 4)
    layer = DeformConv2d(4, 4, 3, padding=1, bias=False, norm=norm, activation=F.relu).eval()
    assert {name for name, _ in layer.named_parameters()} == {"weight", "norm.weight", "norm.bias"}
    with torch.no_grad():
        norm.weight.fill_(2.0), norm.bias.fill_(-0.1)
    x = torch.randn(2, 4, 5, 5)
    plain = F.conv2d(x, layer.weight, padding=1)
    expected = F.relu(plain / math.sqrt(1 + norm.eps) * 2 - 0.1)
    assert torch.allclose(layer(x, torch.zeros(2, 18, 5, 5)), expected, atol=1e-5)
    assert 0 < (expected == 0).float().mean() < 1


@pytest.mark.parametrize("norm", [None, "BN"])
def test_no_images_give_no_images(norm):
    layer = DeformConv2d(4, 6, 3, stride=2, padding=1, norm=norm and get_norm(norm, 6)).eval()
    x = torch.zeros(0, 4, 7, 9, requires_grad=True)
    out = layer(x, torch.zeros(0, 18, 4, 5), torch.zeros(0, 9, 4, 5))
    assert out.shape == (0, 6, 4, 5)
    out.sum().backward()


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_under_autocast_it_convolves_in_float32(device):
    dtype = {"cpu": torch.bfloat16, "cuda": torch.float16}[device]
    layer, *given = layer_and_inputs(CASES[1])
    layer, (x, offset, mask) = layer.float().to(device), (t.float().to(device) for t in given)
    expected = layer(x, offset, mask)
    with torch.autocast(device, dtype):
        assert torch.equal(layer(x, offset, mask), expected)
        half = layer(x.to(dtype), offset, mask)
    assert half.dtype == dtype
    assert torch.equal(half, layer(x.to(dtype).float(), offset, mask).to(dtype))
    halves = layer(x.to(dtype), offset.to(dtype), mask.to(dtype))  # as under autocast before it
    rounded = (t.to(dtype).float() for t in (x, offset, mask))
    assert torch.equal(halves, layer(*rounded).to(dtype))


# ---- blocks -----------------------------------------------------------------------------------


def plain_block(stride=1, groups=1, dilation=1) -> BottleneckBlock:
    block = BottleneckBlock(
        8,
        16,
        bottleneck_channels=8,
        stride=stride,
        num_groups=groups,
        norm="FrozenBN",
        dilation=dilation,
    )
    for name, value in block.state_dict().items():
        if "norm" in name:
            value.uniform_(0.5, 1.5)
    return block


@pytest.mark.parametrize("stride, groups, dilation", [(1, 1, 1), (2, 4, 1), (1, 2, 2)])
@pytest.mark.parametrize("modulated", [True, False])
def test_a_block_starts_as_the_plain_one(stride, groups, dilation, modulated):
    plain = plain_block(stride, groups, dilation)
    block = deform_block(copy.deepcopy(plain), modulated=modulated, deform_groups=2)
    assert isinstance(block, DeformBottleneckBlock)
    if modulated:  # each point weighs sigmoid(0) = 1/2
        with torch.no_grad():
            block.conv2.weight.mul_(2)
    x = torch.randn(2, 8, 9, 10)
    assert torch.allclose(block(x), plain(x), atol=1e-5)


def test_a_block_learns_offsets():
    block = deform_block(plain_block(groups=2), modulated=True, deform_groups=1)
    block(torch.randn(1, 8, 6, 6)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in block.parameters())


def test_a_frozen_block_stays_frozen():
    block = deform_block(plain_block().freeze(), modulated=True, deform_groups=1)
    assert not [name for name, p in block.named_parameters() if p.requires_grad]
    assert all(
        p.requires_grad
        for p in deform_block(plain_block(), modulated=True, deform_groups=1).parameters()
    )


def own_and_detectron2s(modulated: bool, groups: int, deform_groups: int) -> list[nn.Module]:
    """The block here and detectron2's, with equal random weights."""
    block = deform_block(plain_block(2, groups), modulated=modulated, deform_groups=deform_groups)
    nn.init.normal_(block.conv2_offset.weight, std=0.3)
    theirs = DeformBottleneckBlock(
        8,
        16,
        bottleneck_channels=8,
        stride=2,
        num_groups=groups,
        norm="FrozenBN",
        deform_modulated=modulated,
        deform_num_groups=deform_groups,
    )
    theirs.load_state_dict(block.state_dict())  # strict: the same names and shapes
    return [block, theirs]


@compiled
@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize("groups, deform_groups", [(1, 1), (4, 2)])
def test_names_and_shapes_are_detectron2s(modulated, groups, deform_groups):
    own, theirs = own_and_detectron2s(modulated, groups, deform_groups)
    assert list(own.state_dict()) == list(theirs.state_dict())


@compiled
def test_as_detectron2s_layer_where_that_runs_on_the_cpu():
    own, theirs = own_and_detectron2s(modulated=False, groups=1, deform_groups=1)
    x = torch.randn(2, 8, 9, 11)
    with torch.no_grad():
        assert torch.allclose(own(x), theirs(x), atol=1e-4)


@compiled
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA")
@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize("groups, deform_groups", [(1, 1), (4, 2)])
def test_as_detectron2s_layer_on_cuda(modulated, groups, deform_groups):
    x = torch.randn(2, 8, 9, 11, device="cuda", requires_grad=True)
    results = []
    for block in own_and_detectron2s(modulated, groups, deform_groups):
        out = block.cuda()(x)
        parameters = [x, *block.parameters()]
        results.append([out, *torch.autograd.grad(out.square().sum(), parameters)])
    for own, theirs in zip(*results, strict=True):
        assert torch.allclose(own, theirs, atol=1e-4, rtol=1e-3)


def test_blocks_need_nothing_compiled(monkeypatch):
    def missing(*args, **kwargs):
        raise ImportError("detectron2 is not compiled successfully")

    for name in ("DeformConv", "ModulatedDeformConv"):
        monkeypatch.setattr(resnet, name, missing)
    block = deform_block(plain_block(), modulated=True, deform_groups=1)
    assert block(torch.randn(1, 8, 6, 6)).shape == (1, 16, 6, 6)
