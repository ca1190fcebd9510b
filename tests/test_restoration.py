import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aebook
from aebook.applications import pretrained
from aebook.applications.images import (
    by_patches,
    cut,
    denoiser,
    downsample,
    filters,
    random_level,
    ssim,
    tune,
    upsample,
)
from aebook.applications.images.filters import as_image
from aebook.corruptions import gaussian, salt_and_pepper
from aebook.metrics import psnr


def image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


# Patches -------------------------------------------------------------------------------------


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([(), (1,), (3,)]),
    size=st.integers(1, 17),
    share=st.floats(0, 0.99),
    chunk=st.integers(1, 9),
    mode=st.sampled_from(["together", "apart"]),
)
def test_the_identity_gives_back_exactly_the_image(
    height, width, channels, size, share, chunk, mode
):
    x = image(height, width, *channels, seed=height * width)
    out = by_patches(
        lambda p: p, x, size=size, overlap=int(share * size), channels=mode, chunk=chunk
    )
    assert out.dtype == np.float32
    assert np.array_equal(out, x)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_enlarged_patches_make_an_enlarged_image(factor):
    x = image(23, 31, 3)
    out = by_patches(
        lambda p: p.repeat_interleave(factor, -1).repeat_interleave(factor, -2),
        x,
        size=8,
        overlap=3,
    )
    assert np.array_equal(out, x.repeat(factor, 0).repeat(factor, 1))


def test_blending_is_the_weighted_mean_of_all_patches():
    # each patch says which it is; two patches on a line, 6 of 10 pixels shared
    numbers = iter([0.0, 1.0])

    def name(patches):
        return torch.full_like(patches, next(numbers))

    out = by_patches(name, image(8, 10), size=8, overlap=6, chunk=1)
    first = np.minimum(np.minimum(np.arange(1, 9), np.arange(8, 0, -1)) / 7, 1)
    before, after = np.pad(first, (0, 2)), np.pad(first, (2, 0))
    np.testing.assert_allclose(out[4], after / (before + after), rtol=1e-6)
    assert (np.diff(out[4]) >= 0).all()


def test_far_from_its_borders_a_convolution_of_patches_is_that_of_the_image():
    torch.manual_seed(0)
    model = denoiser(width=4, depth=2).eval()  # sees 4 pixels to each side
    x = image(48, 48)
    whole = model(torch.from_numpy(x)[None, None])[0, 0].numpy()
    pieces = by_patches(lambda p: model(p), x, size=32, overlap=16)
    # what one patch alone covers, more than 4 pixels from its edge and from the image's border
    np.testing.assert_allclose(pieces[:12, :12], whole[:12, :12], atol=1e-5)


def test_channels_apart_are_images_of_their_own():
    torch.manual_seed(0)
    model = denoiser(width=3, depth=1).eval()
    x = image(20, 19, 3)
    out = by_patches(model, x, size=16, overlap=4, channels="apart")
    for c in range(3):
        np.testing.assert_array_equal(out[..., c], by_patches(model, x[..., c], 16, 4))


def test_patches_refuse_what_makes_no_sense():
    x = image(20, 20)
    with pytest.raises(ValueError, match="got overlap=8, expected a whole number from 0 to 7"):
        by_patches(lambda p: p, x, size=8, overlap=8)
    with pytest.raises(ValueError, match="expected 'together' or 'apart'"):
        by_patches(lambda p: p, x, channels="each")
    with pytest.raises(ValueError, match="expected one image"):
        by_patches(lambda p: p, x[None, None])
    with pytest.raises(ValueError, match="for bytes, use image / 255"):
        by_patches(lambda p: p, (255 * x).astype(np.uint8))
    with pytest.raises(ValueError, match="got image of shape"):
        by_patches(lambda p: p, np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match=r"expected \(N, C, r size, r size\)"):
        by_patches(lambda p: p[..., 1:], x)
    with pytest.raises(ValueError, match=r"expected \(N, C, r size, r size\)"):
        by_patches(lambda p: p.flatten(1), x)


def test_cut_takes_patches_that_are_in_the_images():
    images = [image(9, 12, seed=1), image(15, 7, seed=2)]
    patches = cut(images, 40, 5, seed=3)
    assert patches.shape == (40, 1, 5, 5)
    assert patches.dtype == torch.float32
    assert torch.equal(patches, cut(images, 40, 5, seed=3))
    assert not torch.equal(patches, cut(images, 40, 5, seed=4))
    for n, patch in enumerate(patches[:, 0].numpy()):
        source = images[n % 2]
        windows = np.lib.stride_tricks.sliding_window_view(source, (5, 5)).reshape(-1, 5, 5)
        turned = [np.rot90(p, k) for k in range(4) for p in (patch, patch[:, ::-1])]
        assert any((windows == p).all((1, 2)).any() for p in turned)
    colour = cut([image(8, 8, 3)], 2, 8)
    assert colour.shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match="all of one kind"):
        cut([image(8, 8, 3), image(8, 8)], 2, 8)
    with pytest.raises(ValueError, match="smaller than the patches"):
        cut([image(8, 7)], 2, 8)


# Scores --------------------------------------------------------------------------------------


def slow_ssim(a, b):
    """Wang et al. 2004, window by window."""
    at = np.arange(-5, 6)
    w = np.exp(-(at**2) / (2 * 1.5**2))
    w = np.outer(w, w) / w.sum() ** 2
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mp, mq = (w * p).sum(), (w * q).sum()
            vp, vq = (w * (p - mp) ** 2).sum(), (w * (q - mq) ** 2).sum()
            cov = (w * (p - mp) * (q - mq)).sum()
            c1, c2 = 0.01**2, 0.03**2
            values.append(
                (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
            )
    return np.mean(values)


@pytest.mark.needs("skimage")
def test_ssim_is_that_of_the_paper():
    x = image(18, 21).astype(float)
    y = (x + 0.2 * np.random.default_rng(1).standard_normal(x.shape)).clip(0, 1)
    assert ssim(y, x) == pytest.approx(slow_ssim(y, x), abs=1e-9)
    assert ssim(x, x) == pytest.approx(1)
    three, other = np.stack([x, y, x], -1), np.stack([y, y, x], -1)
    assert ssim(other, three) == pytest.approx((slow_ssim(y, x) + 2) / 3, abs=1e-9)


@pytest.mark.needs("skimage")
def test_ssim_refuses_what_it_cannot_compare():
    x = image(12, 12)
    with pytest.raises(ValueError, match="got restored of shape"):
        ssim(x[:-1], x)
    with pytest.raises(ValueError, match="got clean of shape"):
        ssim(x, 2 * x)
    with pytest.raises(ValueError, match="got restored of shape"):
        ssim(np.full((12, 12), np.nan), x)
    with pytest.raises(ValueError, match="at least 11 × 11"):
        ssim(x[:10], x[:10])


def test_tune_takes_the_best_mean():
    clean = [image(6, 6, seed=s) for s in (0, 1)]
    noisy = [clean[0] - 0.2, clean[1] + 0.1]

    def shift(one, by):
        return one + by

    def error(a, b):
        return -float(np.square(a - b).mean())

    # the mean of (by - .2)² and (by + .1)² is least at .05
    assert tune(shift, (-0.1, 0.0, 0.05, 0.2), noisy, clean, error) == 0.05
    with pytest.raises(ValueError, match="got 2 noisy and 1 clean, expected as many of each"):
        tune(shift, (0,), noisy, clean[:1])
    with pytest.raises(ValueError, match="got 0 strengths"):
        tune(shift, (), noisy, clean)


# The network and its noise -------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(3, 6), st.integers(1, 3), st.integers(1, 9))
def test_a_denoiser_starts_as_the_identity_on_any_size(channels, width, depth, side):
    model = denoiser(channels, width, depth)
    x = torch.rand(2, channels, side, 11)
    assert torch.equal(model(x), x)


def test_a_denoiser_scales_with_its_input_and_sees_as_far_as_it_says():
    model = denoiser(width=5, depth=2).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x = torch.rand(1, 1, 21, 21)
    torch.testing.assert_close(model(3 * x), 3 * model(x))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[0, 0, 10, 10], x)
    seen = gradient[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [9, 9]  # 4 · depth + 1


def test_a_denoiser_learns_and_is_saved_like_any_model(tmp_path):
    torch.manual_seed(0)
    x = torch.rand(64, 1, 1, 1).expand(-1, -1, 12, 12).clone()  # flat images
    objective = aebook.Objective(denoiser(width=4, depth=1), random_level(gaussian, 0, 0.3))
    before = aebook.evaluate(objective, x)["loss"]
    aebook.fit(objective, x, epochs=8, batch_size=8, lr=1e-2)
    assert aebook.evaluate(objective, x)["loss"] < 0.6 * before
    path = tmp_path / "denoiser.safetensors"
    aebook.save(objective.model, path)
    assert torch.equal(aebook.load(path)(x), objective.model(x))
    with pytest.raises(ValueError, match="got width=2, expected a whole number, 3 or more"):
        denoiser(3, 2)


def test_each_message_gets_a_level_of_its_own():
    x = torch.zeros(400, 1, 20, 20)
    noise = random_level(gaussian, 0.1, 0.5)(x)
    levels = noise.flatten(1).std(1)
    # uniform on [.1, .5], each seen through 400 draws
    assert 0.09 < levels.min() < 0.13
    assert 0.47 < levels.max() < 0.55
    assert levels.mean() == pytest.approx(0.3, abs=5 * 0.4 / 12**0.5 / 20)
    ones = random_level(lambda p: salt_and_pepper(p, 0, 1), 1, 1)(x + 0.5)
    assert set(ones.unique().tolist()) == {0, 1}
    assert random_level(gaussian, 0, 1)(x[:0]).shape == (0, 1, 20, 20)
    torch.manual_seed(3)
    again = random_level(gaussian, 0.1, 0.5)(x)
    torch.manual_seed(3)
    assert torch.equal(again, random_level(gaussian, 0.1, 0.5)(x))


def test_levels_that_make_no_sense_are_refused_at_once():
    with pytest.raises(ValueError, match="expected low <= high"):
        random_level(gaussian, 0.3, 0.1)
    with pytest.raises(ValueError, match="got sigma=-1"):
        random_level(gaussian, -1, 0.1)
    with pytest.raises(ValueError, match="got p=2"):
        random_level(salt_and_pepper, 0, 2)


@pytest.mark.needs("skimage")
def test_the_model_that_ships_denoises_what_it_has_not_seen():
    from skimage import data

    x = data.camera()[100:196, 150:246] / 255
    y = x + 0.1 * np.random.default_rng(0).standard_normal(x.shape)
    model = pretrained.load("restoration-photographs")
    # the file's own score is 29 dB on the whole photograph
    assert psnr(by_patches(model, y), x) > psnr(y, x) + 6


def test_an_image_is_an_image():
    assert as_image(torch.rand(3, 4)).dtype == np.float64
    assert as_image([[0.5, 0.25]]).shape == (1, 2)
    for bad in (np.zeros(3), np.zeros((0, 3)), np.zeros((1, 1, 2, 2))):
        with pytest.raises(ValueError, match="expected one image"):
            as_image(bad)


@pytest.mark.parametrize("shape", [(3, 16, 20), (1, 16, 20), (9, 16, 16), (2, 1, 16, 16), (16,)])
@pytest.mark.parametrize(
    "take",
    [
        lambda x: psnr(x, x),
        lambda x: ssim(x, x),
        lambda x: filters.gaussian(x, 1),
        lambda x: filters.median(x, 3),
        lambda x: filters.switching_median(x, 3),
        lambda x: by_patches(lambda y: y, x, 8, 2),
        lambda x: cut([x], 1, 2),
        downsample,
        upsample,
    ],
)
def test_one_rule_for_the_shape_of_an_image(take, shape):
    # (N, C, H, W) is for the functions that say so
    if len(shape) == 4 and take in (downsample, upsample):
        assert take(torch.rand(shape)).dim() == 4
        shape = (2, 16, 16, 3)
    with pytest.raises(ValueError, match=r"channels first use|channels last use"):
        take(torch.rand(shape))
    assert take(torch.rand(16, 16, 3)) is not None
