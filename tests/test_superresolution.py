import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import aebook
from aebook.applications.images import (
    consistent,
    coupled,
    downsample,
    upsample,
    upscaler,
)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.sampled_from([(), (2, 3)]))
def test_downsampling_is_average_pooling(factor, height, width, before):
    x = torch.rand(*before, factor * height, factor * width, dtype=torch.float64)
    flat = x.reshape(-1, 1, *x.shape[-2:])
    expected = F.avg_pool2d(flat, factor).reshape(*before, height, width)
    torch.testing.assert_close(downsample(x, factor), expected)
    torch.testing.assert_close(downsample(x.numpy(), factor), expected)
    # repeating pixels is the way back that adds nothing
    assert torch.allclose(downsample(upsample(expected, factor, "nearest"), factor), expected)


@pytest.mark.parametrize("kind", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_interpolation_keeps_a_constant_and_its_geometry(kind):
    flat = torch.full((2, 3, 5, 6), 0.3)
    torch.testing.assert_close(upsample(flat, 2, kind), torch.full((2, 3, 10, 12), 0.3))
    # symmetric: a mirrored image is enlarged to the mirrored enlargement
    y = torch.rand(5, 6)
    torch.testing.assert_close(upsample(y.flip(1), 2, kind), upsample(y, 2, kind).flip(1))
    # away from the border the block means of a ramp are the ramp
    if kind != "nearest":
        ramp = torch.linspace(0, 1, 16).expand(8, 16).contiguous()
        torch.testing.assert_close(
            downsample(upsample(ramp, 2, kind))[:, 4:-4], ramp[:, 4:-4], atol=2e-3, rtol=0
        )


@given(st.integers(1, 3), st.integers(0, 30))
def test_consistency_is_the_orthogonal_projection(factor, seed):
    g = torch.Generator().manual_seed(seed)
    truth = torch.rand(1, 2, 3 * factor, 4 * factor, generator=g, dtype=torch.float64)
    guess = torch.rand(1, 2, 3 * factor, 4 * factor, generator=g, dtype=torch.float64)
    y = downsample(truth, factor)
    out = consistent(guess, y)
    torch.testing.assert_close(downsample(out, factor), y)
    torch.testing.assert_close(consistent(out, y), out)
    fallen = (guess - truth).square().sum() - (out - truth).square().sum()
    gap = (y - downsample(guess, factor)).square().sum()
    torch.testing.assert_close(fallen, factor**2 * gap)
    # against the pseudo-inverse of A
    unit = torch.eye(12 * factor**2, dtype=torch.float64).reshape(-1, 1, *truth.shape[2:])
    a = downsample(unit, factor).flatten(1).T
    step = torch.linalg.pinv(a) @ (y - downsample(guess, factor)).flatten(2)[0].T
    torch.testing.assert_close(out, guess + step.T.reshape(guess.shape))


@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))
def test_an_upscaler_starts_by_repeating_pixels(channels, depth, factor):
    model = upscaler(channels, 4, depth, factor)
    y = torch.rand(2, channels, 5, 7)
    torch.testing.assert_close(model(y), upsample(y, factor, "nearest"))


def test_an_upscaler_learns_more_than_to_interpolate(tmp_path):
    g = torch.Generator().manual_seed(0)
    # squares with sharp edges, off the grid of the small pixels
    x = torch.zeros(128, 1, 12, 12)
    for n in range(128):
        i, j = torch.randint(1, 6, (2,), generator=g)
        x[n, 0, i : i + 5, j : j + 5] = 1
    train, test = x[:96], x[96:]
    torch.manual_seed(0)
    objective = aebook.Objective(upscaler(width=8, depth=1))
    aebook.fit(objective, (downsample(train), train), epochs=12, batch_size=8, lr=1e-2)
    out = objective.model(downsample(test))
    learned = (out - test).square().mean()
    assert learned < 0.5 * (upsample(downsample(test)) - test).square().mean()
    aebook.save(objective.model, tmp_path / "model.safetensors")
    assert torch.equal(aebook.load(tmp_path / "model.safetensors")(downsample(test)), out)


def test_coupling_shares_the_parts_and_composes_them():
    low = aebook.variants.k_sparse((9, 4), 2).model.eval()
    high = aebook.variants.plain((36, 6)).model.eval()
    link = nn.Linear(4, 6)
    model = coupled(low, high, link).eval()
    y = torch.rand(5, 9)
    torch.testing.assert_close(model(y), high.decode(link(low.encode(y))))
    assert {id(p) for p in model.parameters()} >= {id(p) for p in high.decoder.parameters()}
    with pytest.raises(ValueError, match=r"for an objective give objective\.model"):
        coupled(low, aebook.Objective(high), link)


@pytest.mark.parametrize("kind", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_colours_are_last_in_one_image_and_second_in_many(kind, channels):
    x = torch.rand(2, channels, 8, 12)
    one = x[0].movedim(0, -1)
    small, large = downsample(x), upsample(x, 2, kind)
    for form in (one, one.numpy()):
        torch.testing.assert_close(downsample(form), small[0].movedim(0, -1))
        torch.testing.assert_close(upsample(form, 2, kind), large[0].movedim(0, -1))
        both = consistent(form, small[1].movedim(0, -1))
        torch.testing.assert_close(both, consistent(x[:1], small[1:])[0].movedim(0, -1))
    # each channel is enlarged by itself
    for c in range(channels):
        torch.testing.assert_close(upsample(one[..., c], 2, kind), large[0, c])


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"expected one image, \(H, W\) or \(H, W, C\)"):
        downsample(torch.rand(4))
    with pytest.raises(ValueError, match="use x / 255"):
        upsample(torch.zeros(4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="multiples of 2: crop them first"):
        downsample(torch.rand(4, 5))
    with pytest.raises(ValueError, match="got factor=0"):
        downsample(torch.rand(4, 4), 0)
    with pytest.raises(ValueError, match="got kind='cubic'"):
        upsample(torch.rand(4, 4), 2, "cubic")
    for shape in ((4, 5), (8, 8, 1), (3, 4), (6, 8)):
        with pytest.raises(ValueError, match="expected r times the height and width"):
            consistent(torch.rand(shape), torch.rand(4, 4))
    with pytest.raises(ValueError, match="got width=1, expected a whole number, 3 or more"):
        upscaler(3, 1)
    assert np.isfinite(upsample(np.zeros((3, 3), np.float32)).numpy()).all()
