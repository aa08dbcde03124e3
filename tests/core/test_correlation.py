"""The fast correlation against four loops, its size law, and features that overflow float16."""

import pytest
import torch

from d2_plugtrack.core.correlation import depthwise_correlation


def plain_correlation(template, search):
    regions, channels, height, width = template.shape
    rows, columns = search.shape[2] - height + 1, search.shape[3] - width + 1
    response = torch.zeros(regions, channels, rows, columns, dtype=torch.float64)
    for y in range(rows):
        for x in range(columns):
            window = search[:, :, y : y + height, x : x + width]
            response[:, :, y, x] = (window.double() * template.double()).sum(dim=(2, 3))
    return response


@pytest.mark.parametrize("seed", range(100))
def test_correlation_is_that_of_plain_loops(seed):
    torch.manual_seed(seed)
    regions, channels, h, w = (int(n) for n in torch.randint(1, 6, (4,)))
    extra = torch.randint(0, 6, (2,)).tolist()
    template = torch.randn(regions, channels, h, w)
    search = torch.randn(regions, channels, h + extra[0], w + extra[1])
    response = depthwise_correlation(template, search)
    assert response.dtype == torch.float32
    expected = plain_correlation(template, search).float()
    torch.testing.assert_close(response, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("regions", [0, 1, 3])
def test_size_law(regions):
    response = depthwise_correlation(torch.ones(regions, 2, 7, 7), torch.ones(regions, 2, 21, 21))
    assert response.shape == (regions, 2, 15, 15)
    assert (response == 49).all()
    response = depthwise_correlation(torch.ones(regions, 2, 3, 5), torch.ones(regions, 2, 9, 8))
    assert response.shape == (regions, 2, 7, 4)


def test_regions_and_channels_do_not_mix():
    template, search = torch.zeros(2, 3, 1, 1), torch.ones(2, 3, 2, 2)
    template[1, 2] = 5
    response = depthwise_correlation(template, search)
    assert (response[1, 2] == 5).all() and response.sum() == 20


def test_peak_is_where_the_template_was_cut_out():
    search = torch.rand(1, 1, 21, 21)
    search[0, 0, 4:11, 9:16] += 3
    response = depthwise_correlation(search[:, :, 4:11, 9:16].clone(), search)
    assert divmod(int(response.argmax()), 15) == (4, 9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_features_do_not_overflow(dtype):
    nothing = torch.zeros(0, 2, 9, 9, dtype=dtype)
    assert depthwise_correlation(nothing, nothing).dtype == torch.float32
    # 49 * 40 * 40 = 78,400 > 65,504, the largest float16
    template, search = torch.full((1, 1, 7, 7), 40.0), torch.full((1, 1, 21, 21), 40.0)
    response = depthwise_correlation(template.to(dtype), search.to(dtype))
    assert response.dtype == torch.float32
    torch.testing.assert_close(response, torch.full((1, 1, 15, 15), 78400.0))


@pytest.mark.parametrize("regions", [0, 2])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype, regions):
    template, search = torch.randn(regions, 4, 7, 7), torch.randn(regions, 4, 21, 21)
    with torch.autocast("cpu", dtype=dtype):
        response = depthwise_correlation(template, search)
    assert response.dtype == torch.float32
    expected = plain_correlation(template, search).float()
    torch.testing.assert_close(response, expected, rtol=1e-4, atol=1e-4)


def test_gradient_reaches_both():
    template = torch.randn(2, 2, 2, 2, requires_grad=True)
    search = torch.randn(2, 2, 4, 4, requires_grad=True)
    depthwise_correlation(template, search).sum().backward()
    # each template value meets a 3 x 3 window; each window value a part of the template
    expected = search.detach().unfold(2, 3, 1).unfold(3, 3, 1).sum(dim=(4, 5))
    torch.testing.assert_close(template.grad, expected)
    assert (search.grad.abs() > 0).all()
