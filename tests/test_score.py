import math

import numpy as np
import pytest
import torch
from torch import distributions, nn

import aebook
from aebook.theory.score import Mixture, linear_denoiser, linear_denoising_loss, score

F64 = torch.float64


def random_mixture(m, count=4, scale=None):
    means = torch.randn(count, m, dtype=F64)
    scales = torch.rand(count, dtype=F64) + 0.2 if scale is None else scale
    return Mixture(means, scales, torch.rand(count, dtype=F64) + 0.1)


def density_of_torch(mixture, sigma):
    """The noisy density, by torch.distributions."""
    deviation = (mixture.scale**2 + sigma**2).sqrt()[:, None].expand(mixture.means.shape)
    return distributions.MixtureSameFamily(
        distributions.Categorical(mixture.weights),
        distributions.Independent(distributions.Normal(mixture.means, deviation), 1),
    )


@pytest.mark.parametrize("m", [1, 2, 8, 9, 20])
@pytest.mark.parametrize("sigma", [0.0, 0.3, 2.0])
def test_density_and_score_are_those_of_torch_distributions_and_autograd(m, sigma):
    mixture = random_mixture(m)
    x = torch.randn(50, m, dtype=F64, requires_grad=True)
    log_density = density_of_torch(mixture, sigma).log_prob(x)
    (gradient,) = torch.autograd.grad(log_density.sum(), x)
    torch.testing.assert_close(mixture.log_density(x, sigma), log_density, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(mixture.score(x, sigma), gradient, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("m", [1, 8, 9, 30])
@pytest.mark.parametrize("far", [0.0, 2.0**20, 2.0**30])
def test_nothing_depends_on_where_the_origin_is(m, far):
    # multiples of 2⁻¹⁶, which can be moved so far without rounding; two groups, far apart
    grid = lambda values: (values * 2**16).round() / 2**16  # noqa: E731
    means = grid(torch.randn(6, m, dtype=F64))
    means[3:] += far
    x = grid(means + torch.randn(6, m, dtype=F64))
    here, there = Mixture(means, 0.3), Mixture(means + far, 0.3)
    for sigma in (0.0, 0.5):
        expected = density_of_torch(here, sigma).log_prob(x)
        for found in (here.log_density(x, sigma), there.log_density(x + far, sigma)):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        close = {"rtol": 1e-12, "atol": 1e-14 * (1 + far)}
        torch.testing.assert_close(here.score(x, sigma), there.score(x + far, sigma), **close)
    denoised = there.denoise(x + far, 0.5) - far
    torch.testing.assert_close(denoised, here.denoise(x, 0.5), rtol=1e-12, atol=1e-14 * (1 + far))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_messages_that_are_not_finite_have_no_density(bad):
    with pytest.raises(ValueError, match=r"got messages of shape"):
        random_mixture(2).log_density(torch.full((1, 2), bad))


@pytest.mark.parametrize("m", [1, 3, 12])
@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("scale", [None, 0.0])
def test_tweedie_the_posterior_mean_is_the_message_plus_variance_times_score(m, sigma, scale):
    mixture = random_mixture(m, scale=scale)
    x = (torch.randn(50, m, dtype=F64) * 2).requires_grad_()
    (gradient,) = torch.autograd.grad(density_of_torch(mixture, sigma).log_prob(x).sum(), x)
    expected = x + sigma**2 * gradient
    torch.testing.assert_close(mixture.denoise(x, sigma), expected, rtol=1e-10, atol=1e-10)


def test_the_posterior_mean_is_what_numerical_integration_gives():
    mixture = Mixture([[-1.0], [1.5]], [0.3, 0.6], [1.0, 2.0])
    sigma, grid = 0.4, torch.linspace(-8, 8, 20_001, dtype=F64)
    prior = mixture.log_density(grid[:, None]).exp()
    for seen in (-2.0, 0.1, 0.4, 3.0):
        weight = prior * torch.exp(-((seen - grid) ** 2) / (2 * sigma**2))
        expected = (weight * grid).sum() / weight.sum()
        got = mixture.denoise(torch.tensor([[seen]], dtype=F64), sigma)
        assert got.item() == pytest.approx(expected.item(), abs=1e-9)


def test_no_other_denoiser_does_better():
    mixture = random_mixture(2)
    x = mixture.sample(20_000)
    noisy = x + 0.5 * torch.randn_like(x)
    best = mixture.denoise(noisy, 0.5)

    def error(r):
        return (r - x).square().sum(1).mean()

    for other in (
        noisy,
        linear_denoiser(x, 0.5).reconstruct(noisy),
        mixture.denoise(noisy, 0.4),
        mixture.denoise(noisy, 0.6),
        best + 0.05 * noisy.sin(),
    ):
        assert error(best) < error(other)


def test_a_data_set_is_a_mixture_of_points_and_the_nearest_wins_when_noise_is_small():
    x = torch.rand(20, 30)
    data = Mixture(x)
    noisy = x + 1e-3 * torch.randn_like(x)
    torch.testing.assert_close(data.denoise(noisy, 1e-3), x)
    far = data.denoise(noisy, 1e3)
    torch.testing.assert_close(far, x.mean(0).expand_as(x), rtol=1e-3, atol=1e-4)


def test_results_keep_the_dtype_of_what_is_asked_about():
    mixture = random_mixture(3)
    x = torch.randn(5, 3)
    for result in (mixture.denoise(x, 0.5), mixture.score(x, 0.5), mixture.log_density(x)):
        assert result.dtype == torch.float32
    assert mixture.sample(7).shape == (7, 3)


def test_samples_have_the_moments_of_the_mixture():
    mixture = Mixture(np.array([[0.0, 3.0], [4.0, -1.0]]), [0.5, 1.0], [1, 3])
    x = mixture.sample(40_000)
    mean = mixture.weights @ mixture.means
    variance = mixture.weights @ (mixture.means**2 + mixture.scale[:, None] ** 2) - mean**2
    assert ((x.mean(0) - mean).abs() < 5 * (variance / 40_000).sqrt()).all()
    torch.testing.assert_close(x.var(0), variance, rtol=0.05, atol=0)


def test_the_best_linear_denoiser_is_the_solution_of_the_normal_equations():
    x = torch.randn(200, 6, dtype=F64) @ torch.randn(6, 6, dtype=F64) + 3
    sigma = 0.7
    covariance = torch.cov(x.T, correction=0)
    expected = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(6))
    matrix, offset = linear_denoiser(x, sigma)
    torch.testing.assert_close(matrix, expected)
    torch.testing.assert_close(matrix @ x.mean(0) + offset, x.mean(0))


def test_the_best_linear_denoiser_is_a_regression_on_noisy_messages():
    # least squares on many noisy copies, which knows nothing of covariances
    x = torch.randn(100, 4, dtype=F64) @ torch.randn(4, 4, dtype=F64) + 1
    clean = x.repeat(2000, 1)
    noisy = torch.cat([clean + 0.5 * torch.randn_like(clean), torch.ones(len(clean), 1)], 1)
    found = torch.linalg.lstsq(noisy, clean).solution
    matrix, offset = linear_denoiser(x, 0.5)
    torch.testing.assert_close(found[:4].T, matrix, rtol=0, atol=5e-3)
    torch.testing.assert_close(found[4], offset, rtol=0, atol=2e-2)


@pytest.mark.parametrize("p", [1, 3])
def test_training_with_the_closed_form_finds_the_best_linear_denoiser_of_its_rank(p):
    x = torch.randn(200, 5, dtype=F64) * torch.tensor([3.0, 2.0, 1.5, 1.0, 0.5]) + 1
    sigma = 0.75  # its square is exact in the float32 of a weight
    objective = aebook.variants.linear((5, p)).double()
    # L + σ²‖W‖² as an objective of its own, without noise
    objective = aebook.Objective(
        objective.model,
        penalties={"jacobian": (sigma**2, lambda seen: product(seen.model).square().sum())},
    )
    aebook.lbfgs(objective, x, tolerance=1e-13)
    matrix, offset = linear_denoiser(x, sigma, p)
    trained = aebook.theory.linear.affine(objective.model, 5)
    torch.testing.assert_close(trained[0], matrix, rtol=0, atol=1e-4)
    torch.testing.assert_close(trained[1], offset, rtol=0, atol=1e-4)
    assert torch.linalg.matrix_rank(matrix) == p
    loss = linear_denoising_loss(objective.model, x, sigma)
    assert loss == pytest.approx(objective(x).total.item(), rel=1e-9)


def product(model):
    return model.decoder[0][0].weight @ model.encoder[0][0].weight


def test_without_noise_the_best_linear_denoiser_is_pca():
    x = torch.randn(50, 6, dtype=F64)
    got = linear_denoiser(x, 0.0, 2).reconstruct(x)
    torch.testing.assert_close(got, aebook.theory.linear.principal_components(x, 2).reconstruct(x))


def test_directions_without_variance_are_not_passed_on():
    x = torch.randn(50, 3, dtype=F64)
    x[:, 2] = 4.0
    for sigma in (0.0, 1.0):
        matrix, offset = linear_denoiser(x, sigma)
        assert matrix.isfinite().all()
        torch.testing.assert_close(x[:, 2], (x @ matrix.T + offset)[:, 2])


def test_the_closed_form_of_the_loss_is_the_mean_over_noise():
    x = torch.rand(300, 6, dtype=F64)
    objective = aebook.variants.linear((6, 3)).double().eval()
    exact = linear_denoising_loss(objective.model, x, 0.4)
    draws = torch.stack(
        [
            (objective.model(x + 0.4 * torch.randn_like(x)) - x).square().sum(1).mean()
            for _ in range(400)
        ]
    )
    assert abs(draws.mean() - exact) < 5 * draws.std() / math.sqrt(400)
    noiseless = linear_denoising_loss(objective.model, x, 0.0)
    assert noiseless == pytest.approx(objective(x).total.item())


def test_a_network_that_bends_has_no_such_closed_form():
    model = aebook.variants.plain((6, 3)).model
    with pytest.raises(ValueError, match="not affine"):
        linear_denoising_loss(model, torch.rand(5, 6), 0.1)


@pytest.mark.parametrize("shape", [(6,), (1, 2, 3)])
def test_the_score_of_a_model_is_its_step_over_the_variance(shape):
    class Halve(nn.Module):
        def forward(self, x):
            return x / 2

    model = aebook.Autoencoder(Halve(), nn.Identity()).eval()
    x = torch.randn(4, *shape)
    torch.testing.assert_close(score(model, x, 0.5), -2 * x)


def test_a_trained_linear_denoiser_estimates_the_score_of_a_gaussian():
    x = torch.randn(4000, 2) * torch.tensor([2.0, 1.0])
    objective = aebook.variants.denoising(
        (2, 2), aebook.corruptions.gaussian(0.5), activation=None, output=None
    )
    aebook.fit(objective, x, epochs=20, lr=1e-2, schedule=aebook.training.schedules.cosine)
    expected = -x / torch.tensor([4.25, 1.25])
    error = (score(objective.model, x, 0.5) - expected).square().sum() / expected.square().sum()
    assert error < 0.02


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_a_score_needs_noise(sigma):
    model = aebook.variants.plain((3, 2)).model.eval()
    with pytest.raises(ValueError, match=r"got sigma=.*, expected a finite number"):
        score(model, torch.rand(2, 3), sigma)
    with pytest.raises(ValueError, match="expected a finite number"):
        random_mixture(2).denoise(torch.rand(2, 2), sigma)
    if sigma != 0:
        with pytest.raises(ValueError, match="expected a finite number"):
            linear_denoiser(torch.rand(5, 2), sigma)
        with pytest.raises(ValueError, match="expected a finite number"):
            linear_denoising_loss(model, torch.rand(5, 3), sigma)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0],), r"got means of shape"),
        (([[math.nan]],), "got means of shape"),
        (([[1.0]], -1.0), "got scale of shape"),
        (([[1.0]], 1.0, [1.0, 2.0]), "for 1 means"),
        (([[1.0], [2.0]], 1.0, [1.0, -0.5]), "0 or more"),
        (([[1.0], [2.0]], 1.0, [0.0, 0.0]), "not all 0"),
        (([[1.0], [2.0]], [1.0, 2.0, 3.0]), r"scale of shape \(3,\)"),
    ],
)
def test_what_is_no_mixture_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Mixture(*arguments)


def test_points_have_no_density_and_widths_must_agree():
    points = Mixture([[0.0, 1.0]])
    with pytest.raises(ValueError, match="points have no density"):
        points.score(torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"got a tensor of shape \(1, 3\) .*expected \(B, 2\)"):
        points.denoise(torch.zeros(1, 3), 1.0)
