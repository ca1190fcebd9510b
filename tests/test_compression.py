import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft, optimize, stats
from torch import nn

import aebook
from aebook.applications.compression import (
    Analysis,
    Quantiser,
    Synthesis,
    compressors,
    rate,
    slope,
    transform_coder,
)


def smooth(n=16, size=32, seed=0):
    """Images with most of their energy in low frequencies, (n, 3, size, size) in [0, 1]."""
    g = np.random.default_rng(seed)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))) + 1 / size
    x = np.fft.ifft2(np.fft.fft2(g.standard_normal((n, 3, size, size))) / f).real
    x = (x - x.min()) / np.ptp(x)
    return torch.from_numpy(x).float()


def fitted_quantiser(channels=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    quantiser = Quantiser(channels)
    with torch.no_grad():
        for p in quantiser.parameters():
            p.copy_(torch.randn(p.shape, generator=g))
    return quantiser


# The prior -----------------------------------------------------------------------------------


def test_the_prior_is_the_mixture_of_logistics_that_it_says():
    quantiser = fitted_quantiser().double()
    z = torch.arange(-9.0, 10).double()
    p = quantiser.probability(z.expand(1, 3, 1, -1))[0, :, 0].detach().numpy()
    weights = quantiser.logits.softmax(1).detach().numpy()
    means, scales = (v.detach().numpy() for v in (quantiser.means, quantiser.log_scales.exp()))
    for c in range(3):
        parts = stats.logistic(means[c], scales[c])
        cdf = [weights[c] @ parts.cdf(v) for v in np.arange(-9.5, 10)]
        np.testing.assert_allclose(p[c], np.diff(cdf), rtol=1e-9)


def test_probabilities_of_all_whole_numbers_sum_to_one():
    quantiser = fitted_quantiser()
    z = torch.arange(-200.0, 201).expand(1, 3, 1, -1)
    total = quantiser.probability(z).sum(-1).flatten()
    assert torch.allclose(total, torch.ones(3), atol=1e-5)


def test_both_tails_are_priced_alike_and_nothing_is_free_or_impossible():
    quantiser = Quantiser(1)
    z = torch.tensor([3.0, 8, 15, 1e6]).view(1, 1, 1, 4)
    assert torch.equal(quantiser.probability(z), quantiser.probability(-z))
    assert quantiser.probability(z).min() == 2**-30
    assert quantiser.bits(z).isfinite().all()


def test_bits_are_summed_over_the_code_of_each_image():
    quantiser = fitted_quantiser()
    z = torch.randn(2, 3, 4, 5).round()
    bits = quantiser.bits(z)
    assert bits.shape == (2,)
    by_hand = -quantiser.probability(z[1:]).log2().sum()
    assert torch.isclose(bits[1], by_hand)


def test_the_noisy_density_at_a_whole_number_is_the_probability_of_rounding_to_it():
    # h from the mixture itself: h + u has the density P(z + ½) - P(z - ½)
    quantiser = Quantiser(1)
    h = torch.from_numpy(stats.logistic.rvs(size=200_000, random_state=0)).float()
    with torch.no_grad():
        quantiser.log_scales.zero_()
    near = (quantiser.noisy(h) - 1).abs() < 0.05
    p = float(quantiser.probability(torch.ones(1, 1, 1, 1)).detach())
    assert abs(float(near.float().mean()) / 0.1 - p) < 0.01
    assert abs(float((h.round() == 1).float().mean()) - p) < 0.005


def test_the_priors_start_with_the_moments_of_the_codes():
    quantiser = Quantiser(2)
    h = torch.randn(4, 2, 8, 8) * torch.tensor([5.0, 0.5]).view(2, 1, 1) + 3
    quantiser.start(h)
    each = h.transpose(0, 1).flatten(1)
    assert torch.allclose(quantiser.means[:, 0], each.mean(1))
    middle = quantiser.log_scales.exp() * math.pi / math.sqrt(3)
    assert (middle.min(1).values < each.std(1)).all()
    assert (middle.max(1).values > each.std(1)).all()


# The quantiser -------------------------------------------------------------------------------


@given(st.integers(0, 1000))
def test_the_code_is_the_cheaper_of_two_neighbours(seed):
    quantiser = fitted_quantiser(seed=seed).eval()
    h = 3 * torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    z = quantiser(h)
    cost = {}
    for name, candidate in (("z", z), ("low", h.floor()), ("high", h.ceil())):
        bits = -quantiser.probability(candidate).log2()
        cost[name] = (candidate - h).square() + math.log(2) / 6 * bits
    assert torch.equal(cost["z"], torch.minimum(cost["low"], cost["high"]))
    assert torch.equal(z, z.round())


def test_where_all_numbers_cost_the_same_the_code_is_rounded():
    quantiser = Quantiser(1).double().eval()
    with torch.no_grad():
        quantiser.log_scales.fill_(8)
    h = 10 * torch.randn(1, 1, 20, 20).double()
    assert torch.equal(quantiser(h), h.round())


def test_training_sees_whole_numbers_and_the_slope_of_the_identity():
    quantiser = fitted_quantiser().train()
    h = torch.randn(2, 3, 4, 4, requires_grad=True)
    z = quantiser(h)
    assert torch.equal(z, z.round())
    (gradient,) = torch.autograd.grad((2 * z).sum(), h)
    assert torch.equal(gradient, torch.full_like(h, 2))
    assert torch.equal(z, quantiser.eval()(h))


def test_noise_is_uniform_between_the_halves():
    quantiser = Quantiser(1, kind="noise").train()
    h = torch.zeros(1, 1, 100, 100)
    u = quantiser(h).flatten().numpy()
    assert stats.kstest(u, stats.uniform(-0.5, 1).cdf).pvalue > 0.01
    assert torch.equal(quantiser.eval()(h), h)


def seen_by(objective, x):
    model = objective.model
    h = model.encoder(x)
    code = model.bottleneck(h)
    return aebook.core.Pass(model, x, x, (h,), code, model.decoder(code))


def test_the_price_is_that_of_the_code_unless_noise_stands_for_it():
    x = smooth(2)
    objective = transform_coder(0.1, x, hidden=2)
    seen = seen_by(objective.train(), x)
    exact = objective.model.bottleneck.bits(seen.code)
    assert not torch.equal(rate(seen), rate(seen))
    objective.model.encoder.requires_grad_(False)
    assert torch.equal(rate(seen_by(objective, x)), exact)
    objective.model.encoder.requires_grad_(True)
    assert torch.equal(rate(seen_by(objective.eval(), x)), exact)
    objective = transform_coder(0.1, x, kind="noise", hidden=2)
    noisy = seen_by(objective.train(), x)
    assert torch.equal(rate(noisy), objective.model.bottleneck.bits(noisy.code))


def test_a_rate_needs_a_quantiser():
    model = aebook.variants.plain((4, 2)).model
    with pytest.raises(ValueError, match=r"penalty rate with the bottleneck Identity"):
        aebook.Objective(model, penalties={"rate": (1.0, rate)})
    with pytest.raises(ValueError, match="expected 'mixed' or 'noise'"):
        Quantiser(3, kind="round")


@pytest.mark.parametrize("step", [0.1, 3.0])
def test_the_slope_makes_its_step_the_best(step):
    def loss(log_step):
        return math.exp(2 * log_step) / 12 - slope(step) * log_step / math.log(2)

    best = optimize.minimize_scalar(loss, bounds=(-5, 5), options={"xatol": 1e-8})
    assert math.isclose(math.exp(best.x), step, rel_tol=1e-4)


# The transform -------------------------------------------------------------------------------


def test_at_the_start_nothing_is_lost_but_what_is_rounded():
    x = torch.rand(2, 3, 32, 48)
    encoder, decoder = Analysis(0.2, 4, (64, 64)), Synthesis(0.2, 4, (64, 64))
    h = encoder(x)
    assert h.shape == (2, 768, 2, 3)
    assert torch.allclose(decoder(h), x, atol=1e-5)
    # orthonormal: an error in the code is as large in the image
    other = h + torch.randn_like(h)
    error = (decoder(other) - x).square().sum() / ((other - h) * 0.2).square().sum()
    assert abs(float(error.detach()) - 1) < 1e-4


def test_grey_pictures_need_no_colours():
    x = torch.rand(1, 1, 32, 32).expand(1, 3, 32, 32)
    assert torch.allclose(Synthesis()(Analysis()(x)), x, atol=1e-5)
    assert Analysis()(x).shape == (1, 384, 2, 2)


def test_at_the_start_the_blocks_are_those_of_the_cosine_transform():
    x = torch.rand(1, 3, 16, 16)
    encoder = Analysis(1.0, 1, (64, 64))
    ours = encoder.blocks(x / 8)[0].detach().numpy()
    grey = (x[0].sum(0) / math.sqrt(3)).numpy() - math.sqrt(3) / 2
    for i, j in ((0, 0), (0, 1), (1, 1)):
        block = grey[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
        expected = fft.dctn(block, norm="ortho")
        np.testing.assert_allclose(ours[:64, i, j].reshape(8, 8), expected, atol=1e-5)


def test_with_small_steps_theory_holds():
    # distortion Δ² / 12 a coefficient, and one bit more for half the step
    x = smooth(8, 64)
    found = []
    for step in (1 / 255, 0.5 / 255):
        objective = transform_coder(step, x, hidden=1, kept=(64, 64)).eval()
        with torch.no_grad():
            terms = objective(x).terms
        distance = float(terms["distance"]) / x[0].numel()
        found.append(float(terms["rate"]) / slope(step) / x[0].numel())
        assert abs(distance / (step**2 / 12) - 1) < 0.15
    assert 0.85 < found[1] - found[0] < 1.05


def test_training_lowers_the_loss_and_freezing_keeps_the_encoder():
    x = smooth(16, 32)
    objective = transform_coder(0.1, x, hidden=4)
    before = aebook.evaluate(objective, x)["loss"]
    aebook.fit(objective, x, epochs=8, batch_size=8, lr=2e-3)
    print(before, aebook.evaluate(objective, x))
    after = aebook.evaluate(objective, x)["loss"]
    assert after < before
    weights = [p.clone() for p in objective.model.encoder.parameters()]
    objective.model.encoder.requires_grad_(False)
    aebook.fit(objective, x, epochs=2, batch_size=8, lr=1e-3)
    assert aebook.evaluate(objective, x)["loss"] < after
    assert all(map(torch.equal, weights, objective.model.encoder.parameters()))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: transform_coder(0), "step=0, expected a finite number above 0"),
        (lambda: transform_coder(math.nan), "step=nan"),
        (lambda: transform_coder(0.1, hidden=0), "hidden=0, expected a whole number"),
        (lambda: transform_coder(0.1, kept=(60, 16)), r"kept=\(60, 16\), expected two squares"),
        (lambda: transform_coder(0.1, kept=(64, 100)), "expected two squares"),
        (lambda: Analysis()(torch.rand(1, 3, 20, 32)), "multiples of 16"),
        (lambda: Analysis()(torch.rand(1, 1, 32, 32)), r"expected \(B, 3, H, W\)"),
        (lambda: Analysis()(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)), "numbers from 0 to 1"),
        (lambda: transform_coder(0.1, torch.full((1, 3, 16, 16), math.nan)), "NaN or infinite"),
        (lambda: Quantiser(0), "channels=0, expected a whole number"),
        (lambda: compressors.cosine(50), r"step=50, expected one of"),
        (lambda: compressors.trained(50), r"step=50, expected one of \(28, 48, 80, 140\)"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# What ships ----------------------------------------------------------------------------------


def test_the_compressors_that_ship_trade_bits_for_errors():
    from sklearn.datasets import load_sample_image

    image = load_sample_image("china.jpg")[100:228, 200:328]
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    bits, errors = [], []
    for step in compressors.STEPS:
        model = compressors.trained(step)
        assert isinstance(model.bottleneck, Quantiser)
        assert not model.training
        assert all(
            isinstance(p, nn.Parameter) and p.dtype == torch.float32 for p in model.parameters()
        )
        assert math.isclose(float(model.encoder.step), step / 255, rel_tol=1e-3)
        code = model.encode(x)
        bits.append(float(model.bottleneck.bits(code).detach()) / (128 * 128))
        errors.append(float((model.decode(code) - x).square().mean().sqrt()))
    assert bits == sorted(bits, reverse=True)
    assert errors == sorted(errors)
    assert 0.05 < bits[-1] < bits[0] < 8
    assert errors[0] < 0.05


def test_the_weights_are_small():
    from importlib import resources

    folder = resources.files("aebook.applications") / "weights"
    sizes = [len((folder / f"compression-{s}.safetensors").read_bytes()) for s in compressors.STEPS]
    assert max(sizes) < 300_000
