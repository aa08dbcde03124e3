"""The parts of a detector compute faster, and leave what is around them as it was."""

from collections import OrderedDict
from copy import deepcopy

import pytest
import torch
from torch import nn

from d2_plugtrack.core.precision import DTYPES, Part, Speed, speed_up

OFF = Speed("float32", channels_last=False, compile=False)
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    ),
]


class Net(nn.Module):
    """A convolution; what it computes in is kept; its results have the form that is asked for."""

    def __init__(self, form=lambda x: x):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.form = form
        self.inside = []
        self.eval().requires_grad_(False)

    def forward(self, x):
        out = self.norm(self.conv(x)).relu()
        self.inside.append((out.dtype, out.is_contiguous(memory_format=torch.channels_last)))
        return self.form(out)

    def layers(self, x):
        return self.conv(x)


def maps(device="cpu"):
    return torch.randn(2, 8, 12, 20, device=device)


def test_a_speed_of_nothing_touches_nothing():
    net = Net()
    before = dict(vars(net))
    speed_up([Part(net, compiles=True)], OFF)
    assert vars(net) == before and net.conv.weight.is_contiguous()


@torch.no_grad()
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("precision", "dtype"), DTYPES.items())
def test_half_inside_and_float32_outside(device, precision, dtype):
    net, x = Net().to(device), maps(device)
    expected = net(x)
    speed_up([Part(net)], OFF._replace(precision=precision))
    out = net(x)
    assert net.inside[-1][0] is dtype and out.dtype is torch.float32
    assert net.conv.weight.dtype is torch.float32 and not torch.is_autocast_enabled(device)
    # 8 bits (bf16) or 11 bits (fp16) of input, weight and result; values of about 1
    steps = torch.finfo(dtype).eps
    torch.testing.assert_close(out, expected, atol=3 * steps, rtol=3 * steps)
    assert not torch.equal(out, expected)


@torch.no_grad()
@pytest.mark.parametrize("device", DEVICES)
def test_channels_last_inside_and_contiguous_outside(device):
    net, x = Net().to(device), maps(device)
    expected = net(x)
    speed_up([Part(net)], OFF._replace(channels_last=True))
    out = net(x)
    assert [last for _, last in net.inside] == [False, True]
    assert out.is_contiguous() and out.dtype is torch.float32
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: OrderedDict(p3=x, p2=2 * x),
        lambda x: [x, 2 * x],
        lambda x: ([x], [2 * x, x]),
    ],
    ids=["mapping", "list", "lists"],
)
def test_results_of_any_form(form):
    net, x = Net(form), maps()
    expected = net(x)
    speed_up([Part(net)], Speed("bf16", channels_last=True, compile=False))
    out = net(x)
    if isinstance(expected, dict):
        assert list(out) == list(expected)
        out, expected = list(out.values()), list(expected.values())
    torch.testing.assert_close(list(out), list(expected), atol=0.05, rtol=0.05)


def test_another_method_and_no_other():
    net, x = Net(), maps()
    forward, layers = net(x), net.layers(x)
    speed_up([Part(net, "layers")], OFF._replace(precision="bf16"))
    assert torch.equal(net(x), forward)
    assert not torch.equal(net.layers(x), layers)
    torch.testing.assert_close(net.layers(x), layers, atol=0.05, rtol=0.05)


def test_what_calls_a_part_stays_exact():
    whole = nn.Sequential(Net(), nn.Conv2d(16, 4, 1)).requires_grad_(False)
    speed_up([Part(whole[0])], OFF._replace(precision="bf16"))
    x = maps()
    assert torch.equal(whole(x), whole[1](whole[0](x)))
    assert whole(x).dtype is torch.float32


def test_a_part_of_no_parameters_stays_what_it_is():
    identity, x = nn.Identity(), maps()
    speed_up([Part(identity, compiles=True)], Speed("bf16", channels_last=True, compile=True))
    assert identity(x) is x


def test_a_failing_part_leaves_no_autocast_behind():
    net = Net()
    speed_up([Part(net)], OFF._replace(precision="bf16"))
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 3, 4, 4))
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("precision", ["float32", *DTYPES])
def test_nothing_goes_through(precision):
    net = Net()
    speed_up([Part(net)], Speed(precision, channels_last=True, compile=False))
    out = net(torch.zeros(0, 8, 12, 20))
    assert out.shape == (0, 16, 12, 20) and out.dtype is torch.float32


def test_names_and_values_of_parameters_stay():
    net = Net()
    before = deepcopy(net.state_dict())
    speed_up([Part(net)], Speed("bf16", channels_last=True, compile=False))
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_copy_has_its_own_weights():
    net, x = Net(), maps()
    speed_up([Part(net)], OFF._replace(precision="bf16"))
    copy, expected = deepcopy(net), net(x)
    net.conv.weight.zero_()
    assert torch.equal(copy(x), expected) and not torch.equal(net(x), expected)


# ---- compilation -----------------------------------------------------------------------------


def test_only_parts_that_it_pays_for_are_compiled(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda method: compiled.append(method) or method)
    on_images, on_regions = Net(), Net()
    parts = [Part(on_images, compiles=True), Part(on_regions)]
    speed_up(parts, OFF._replace(precision="bf16"))
    assert compiled == []
    speed_up(parts, OFF._replace(compile=True))
    assert compiled == [Net.forward]


@torch.no_grad()
@pytest.mark.parametrize("device", DEVICES)
def test_a_compiled_part_says_the_same(device):
    net = nn.Sequential(nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4)).eval().requires_grad_(False)
    net, x = net.to(device), maps(device)
    names, expected = list(net.state_dict()), net(x)
    speed_up([Part(net, compiles=True)], Speed("bf16", channels_last=True, compile=True))
    assert list(net.state_dict()) == names
    out = net(x)
    assert out.dtype is torch.float32 and not torch.equal(out, expected)
    torch.testing.assert_close(out, expected, atol=0.05, rtol=0.05)
