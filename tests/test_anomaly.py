import math

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import aebook
from aebook import distances
from aebook.applications.anomaly import (
    likelihood_regret,
    mahalanobis,
    negative_elbo,
    negative_log_likelihood,
    reconstruction_error,
    reconstruction_probability,
    threshold,
)
from aebook.bottlenecks import Gaussian
from aebook.penalties import kl_to_prior
from aebook.theory.likelihood import elbo, importance_weighted_bound

M, P, SIGMA = 6, 2, 0.7
BINARY = (torch.rand(30, 8, generator=torch.Generator().manual_seed(3)) > 0.5).double()
GREY = torch.rand(30, 8, generator=torch.Generator().manual_seed(4)).double()


def plain(**options):
    torch.manual_seed(0)
    return aebook.variants.plain((8, 16, 3), **options).double().eval()


def vae(**options):
    torch.manual_seed(0)
    return aebook.variants.variational((8, 16, 3), **options).double().eval()


def gaussian_vae():
    return vae(distance=distances.Gaussian(0.3, "optimal"), output=None)


OF_POSTERIORS = {
    "probability": lambda o, x, **k: reconstruction_probability(o, x, 5, **k),
    "elbo": lambda o, x, **k: negative_elbo(o, x, 5, **k),
    "likelihood": lambda o, x, **k: negative_log_likelihood(o, x, 5, **k),
    "regret": lambda o, x, **k: likelihood_regret(o, x, steps=7, samples=5, **k),
}
OF_ALL = {
    "error": reconstruction_error,
    "mahalanobis": lambda o, x, **k: mahalanobis(o, x, GREY.flip(0) * 0.9, **k),
}
CASES = [
    pytest.param(score, objective, x, id=f"{name}-{kind}")
    for kind, objective, x in (("bernoulli", vae, BINARY), ("gaussian", gaussian_vae, GREY))
    for name, score in {**OF_ALL, **OF_POSTERIORS}.items()
] + [pytest.param(score, plain, GREY, id=f"{name}-plain") for name, score in OF_ALL.items()]


@pytest.mark.parametrize(("score", "objective", "x"), CASES)
def test_a_score_is_one_finite_number_a_message_and_the_same_at_every_call(score, objective, x):
    objective = objective()
    values = score(objective, x)
    assert values.shape == (30,)
    assert values.dtype == torch.float64
    assert values.isfinite().all()
    assert not values.requires_grad
    assert torch.equal(values, score(objective, x))


@pytest.mark.parametrize(("score", "objective", "x"), CASES)
def test_a_score_does_not_depend_on_the_company_of_its_message(score, objective, x):
    objective = objective()
    together = score(objective, x)
    alone = torch.cat([score(objective, x[n : n + 1]) for n in range(len(x))])
    torch.testing.assert_close(alone, together)
    order = torch.randperm(len(x))
    torch.testing.assert_close(score(objective, x[order]), together[order])
    # among messages that are nothing like it
    company = torch.cat([x[:1], torch.zeros(3, 8).double(), torch.ones(3, 8).double()])
    torch.testing.assert_close(score(objective, company)[:1], together[:1])


@pytest.mark.parametrize("chunk", [1, 7, 30, 64, 1000])
@pytest.mark.parametrize(("score", "objective", "x"), CASES)
def test_the_chunk_does_not_change_a_score(score, objective, x, chunk):
    objective = objective()
    torch.testing.assert_close(score(objective, x, chunk=chunk), score(objective, x))


@pytest.mark.parametrize(("score", "objective", "x"), CASES)
def test_scoring_leaves_everything_as_it_was(score, objective, x):
    objective = objective().train()
    state = {k: v.clone() for k, v in objective.state_dict().items()}
    generator, given_ = torch.get_rng_state(), x.clone()
    in_training = score(objective, x)
    assert objective.training
    assert objective.model.bottleneck.training
    assert torch.equal(generator, torch.get_rng_state())
    assert torch.equal(x, given_)
    assert all(torch.equal(v, state[k]) for k, v in objective.state_dict().items())
    assert all(p.grad is None for p in objective.parameters())
    assert torch.equal(in_training, score(objective.eval(), x))


@pytest.mark.parametrize("score", OF_POSTERIORS.values(), ids=OF_POSTERIORS)
def test_the_seed_decides_the_noise(score):
    values = score(vae(), BINARY, seed=1)
    assert not torch.equal(values, score(vae(), BINARY))
    torch.manual_seed(7)
    assert torch.equal(values, score(vae(), BINARY, seed=1))


def test_the_chunk_bounds_what_is_decoded_at_once():
    objective, rows = vae(), []
    objective.model.decoder.register_forward_hook(lambda m, i, o: rows.append(len(o)))
    for score in (reconstruction_error, *OF_POSTERIORS.values()):
        rows.clear()
        score(objective, BINARY, chunk=12)
        assert max(rows) <= 12
        rows.clear()
        score(objective, BINARY, chunk=60)
        assert max(rows) <= 60


def test_arrays_are_taken_and_converted():
    objective = plain().float()
    expected = reconstruction_error(objective, GREY.float())
    assert np.array_equal(reconstruction_error(objective, GREY.numpy()), expected)
    frozen = GREY.numpy().copy()
    frozen.setflags(write=False)
    assert np.array_equal(reconstruction_error(objective, frozen), expected)


# reconstruction error


def test_the_error_is_the_distance_from_the_reconstruction():
    for distance in (distances.squared_error, distances.bernoulli, distances.Gaussian(0.5)):
        objective = plain(distance=distance)
        expected = distance(objective.model.reconstruct(GREY), GREY)
        torch.testing.assert_close(reconstruction_error(objective, GREY), expected)


def test_the_error_sees_neither_corruption_nor_penalties():
    model = plain().model
    objective = aebook.Objective(
        model,
        aebook.corruptions.masking(0.5),
        penalties={"sparse": (3.0, aebook.penalties.activity())},
    )
    assert torch.equal(reconstruction_error(objective, GREY), reconstruction_error(plain(), GREY))


def test_the_error_of_the_best_linear_autoencoder_is_the_distance_from_the_plane():
    pca = PCA(3).fit(GREY.numpy())
    objective = aebook.variants.linear((8, 3)).double()
    with torch.no_grad():
        encoder, decoder = objective.model.encoder[0].map, objective.model.decoder[0].map
        encoder.weight.copy_(torch.tensor(pca.components_))
        encoder.bias.copy_(torch.tensor(-pca.components_ @ pca.mean_))
        decoder.weight.copy_(torch.tensor(pca.components_.T))
        decoder.bias.copy_(torch.tensor(pca.mean_))
    other = torch.randn(20, 8).double()
    back = pca.inverse_transform(pca.transform(other.numpy()))
    expected = ((other.numpy() - back) ** 2).sum(1)
    torch.testing.assert_close(reconstruction_error(objective, other), torch.tensor(expected))


def test_the_error_takes_images():
    encoder, decoder = aebook.networks.convolutional((1, 6, 5), (4,), 3, output=nn.Sigmoid)
    objective = aebook.Objective(aebook.Autoencoder(encoder, decoder))
    x = torch.rand(5, 1, 6, 5)
    assert reconstruction_error(objective, x).shape == (5,)
    assert mahalanobis(objective, x, torch.rand(20, 1, 6, 5)).shape == (5,)


def test_anomalies_off_the_plane_have_the_larger_error():
    basis = torch.linalg.qr(torch.randn(8, 2).double())[0]
    normal = torch.randn(300, 2).double() @ basis.T
    objective = aebook.variants.linear((8, 2)).double()
    aebook.lbfgs(objective, normal[:200])
    held_out, off = normal[200:], torch.randn(100, 8).double()
    limit = threshold(reconstruction_error(objective, normal[:200]), quantile=0.99)
    assert (reconstruction_error(objective, off) > 1e3 * max(limit, 1e-12)).all()
    assert (reconstruction_error(objective, held_out) < 1e-6).all()


# scores of posteriors


@pytest.fixture
def exact():
    """A linear Gaussian model whose encoder is spoiled, its log p(x) and true posterior."""
    w = torch.linalg.qr(torch.randn(M, P, dtype=torch.float64))[0] * torch.tensor([2.0, 0.8])
    b = torch.randn(M, dtype=torch.float64)
    # with orthogonal columns of w the true posterior has independent entries
    precision = 1 + w.square().sum(0) / SIGMA**2
    decoder = aebook.networks.mlp((P, M)).double()
    encoder = aebook.networks.mlp((M, 2 * P)).double()
    inward = w.T / SIGMA**2 / precision[:, None]
    with torch.no_grad():
        decoder[0].map.weight.copy_(w)
        decoder[0].map.bias.copy_(b)
        encoder[0].map.weight.copy_(torch.cat([0.6 * inward, 0.05 * torch.randn(P, M)]))
        encoder[0].map.bias.copy_(torch.cat([-0.5 * inward @ b, 0.5 - precision.log()]))
    model = aebook.Autoencoder(encoder, decoder, Gaussian())
    objective = aebook.Objective(
        model, distance=distances.Gaussian(SIGMA).double(), penalties={"kl": (1.0, kl_to_prior)}
    )
    covariance = w @ w.T + SIGMA**2 * torch.eye(M, dtype=torch.float64)

    def posterior(x):
        return Normal((x - b) @ inward.T, precision.rsqrt().expand(len(x), P))

    return objective.eval(), MultivariateNormal(b, covariance), posterior


def test_a_score_is_what_the_bounds_give_for_the_message_alone():
    for objective, x in ((vae(), BINARY), (gaussian_vae(), GREY)):
        for score, bound in (
            (negative_elbo, elbo),
            (negative_log_likelihood, importance_weighted_bound),
        ):
            values = score(objective, x, 6, seed=2)
            alone = [bound(objective, x[n : n + 1], 6, seed=2) for n in range(len(x))]
            torch.testing.assert_close(values, -torch.cat(alone))


def test_the_elbo_is_the_reconstruction_probability_plus_the_divergence():
    objective = gaussian_vae()
    with torch.no_grad():
        q = objective.model.bottleneck.posterior(objective.model.encoder(GREY))
    difference = negative_elbo(objective, GREY) - reconstruction_probability(objective, GREY)
    law = Normal(q.mean, (q.log_variance / 2).exp())
    prior = Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean))
    torch.testing.assert_close(difference, kl_divergence(law, prior).sum(1))


def test_the_reconstruction_probability_by_its_closed_form(exact):
    objective, law, _ = exact
    x = law.sample((10,))
    with torch.no_grad():
        q = objective.model.bottleneck.posterior(objective.model.encoder(x))
        w = objective.model.decoder[0].map.weight
        # E|x - Dz|² = |x - Dμ|² + Σ σ_j² |w_j|²
        squared = (x - objective.model.decoder(q.mean)).square().sum(1)
        squared = squared + q.log_variance.exp() @ w.square().sum(0)
    expected = squared / (2 * SIGMA**2) + M * math.log(2 * math.pi * SIGMA**2) / 2
    values = torch.stack([reconstruction_probability(objective, x, 50, seed=s) for s in range(40)])
    error = values.std(0) / math.sqrt(40)
    assert ((values.mean(0) - expected).abs() < 5 * error).all()


def test_the_likelihood_tends_to_the_true_one(exact):
    objective, law, _ = exact
    x = law.sample((10,))
    values = negative_log_likelihood(objective, x, 20_000)
    torch.testing.assert_close(values, -law.log_prob(x), atol=0.1, rtol=0)
    assert (negative_elbo(objective, x, 2000) > values - 0.05).all()


def test_the_regret_is_the_divergence_from_the_true_posterior(exact):
    # there the best posterior is the true one, so what is gained is all that was lost
    objective, law, posterior = exact
    x = torch.cat([law.sample((20,)), 4 * torch.randn(20, M).double()])
    with torch.no_grad():
        q = objective.model.bottleneck.posterior(objective.model.encoder(x))
    expected = kl_divergence(Normal(q.mean, (q.log_variance / 2).exp()), posterior(x)).sum(1)
    values = torch.stack(
        [likelihood_regret(objective, x, steps=200, samples=100, seed=s) for s in range(8)]
    )
    error = values.std(0) / math.sqrt(8)
    assert ((values.mean(0) - expected).abs() < 5 * error + 0.02 * expected + 0.05).all()
    assert expected.max() > 5
    assert np.corrcoef(values.mean(0), expected)[0, 1] > 0.999


def test_the_regret_is_never_negative_and_zero_where_nothing_can_be_gained(exact):
    objective, law, posterior = exact
    x = law.sample((30,))

    class Truth(nn.Module):
        def forward(self, x):
            true = posterior(x)
            return torch.cat([true.mean, 2 * true.scale.log()], dim=1)

    model = aebook.Autoencoder(Truth(), objective.model.decoder, Gaussian())
    regret = likelihood_regret(aebook.Objective(model, distance=objective.distance), x)
    assert (regret >= 0).all()
    assert regret.max() < 0.1
    # a rate that does harm: the encoder's posterior is the better one
    wild = likelihood_regret(aebook.Objective(model, distance=objective.distance), x, lr=5, steps=2)
    assert (wild == 0).all()
    with pytest.raises(FloatingPointError, match=r"left the finite numbers .*lr=1000.0: lower lr"):
        likelihood_regret(objective, x, steps=3, lr=1e3)


def test_more_steps_find_more_regret(exact):
    objective, law, _ = exact
    x = law.sample((20,))
    few, many = (likelihood_regret(objective, x, steps=s, lr=0.02).mean() for s in (2, 100))
    assert many > few > 0


# distance in the code


def test_mahalanobis_is_that_of_the_codes():
    objective = plain()
    reference = torch.rand(5000, 8).double()
    codes = objective.model.encode(reference).numpy()
    fitted = EmpiricalCovariance().fit(codes)
    expected = np.sqrt(fitted.mahalanobis(objective.model.encode(GREY).numpy()))
    values = mahalanobis(objective, GREY, reference)
    # shrinking a well-known covariance changes little
    np.testing.assert_allclose(values, expected, rtol=0.02)
    by_hand = (objective.model.encode(GREY[:1]).numpy() - codes.mean(0))[0]
    by_hand = math.sqrt(by_hand @ np.linalg.solve(np.cov(codes.T, bias=True), by_hand))
    assert values[0].item() == pytest.approx(by_hand, rel=0.02)


def test_a_dead_unit_does_no_harm_to_mahalanobis():
    objective = plain()
    with torch.no_grad():
        objective.model.encoder[1].map.weight[2] = 0
    values = mahalanobis(objective, GREY, torch.rand(100, 8).double())
    assert values.isfinite().all()
    assert (values > 0).all()


@pytest.mark.parametrize("score", OF_POSTERIORS.values(), ids=OF_POSTERIORS)
def test_what_is_so_far_out_that_it_overflows_ranks_highest(score):
    objective = gaussian_vae().float()
    far = GREY.float()
    far[[4, 9]] = 3e4 * far[[4, 9]].sign()
    values = score(objective, far)
    assert values.isfinite().all()
    assert set(values.topk(2).indices.tolist()) == {4, 9}
    assert values.max() == torch.finfo(torch.float32).max
    torch.testing.assert_close(values[:4], score(objective, far[:4]))


# errors


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_messages_that_are_not_finite_are_refused(bad):
    x = GREY.clone()
    x[3, 2] = bad
    for score in (reconstruction_error, negative_elbo, likelihood_regret):
        with pytest.raises(ValueError, match="1 of 30 samples have NaN or infinite values"):
            score(gaussian_vae(), x)


def test_weights_that_are_not_finite_are_refused():
    objective = gaussian_vae()
    with torch.no_grad():
        objective.model.decoder[0].map.weight[0, 0] = math.nan
    for score in (reconstruction_error, negative_elbo):
        with pytest.raises(ValueError, match="weights that are NaN or infinite"):
            score(objective, GREY)


def test_an_objective_without_a_posterior_or_likelihood_is_refused():
    scores = reconstruction_probability, negative_elbo, negative_log_likelihood, likelihood_regret
    for score in scores:
        with pytest.raises(ValueError, match=r"got the bottleneck=Identity\(\.\.\.\), expected "):
            score(plain(), GREY)
        with pytest.raises(ValueError, match="squared_error, expected a likelihood"):
            score(vae(distance=distances.squared_error), GREY)
        with pytest.raises(ValueError, match="values other than 0 and 1 for the Bernoulli"):
            score(vae(), GREY)


def test_a_distance_that_is_no_value_a_message_is_refused():
    objective = plain(distance=lambda a, b: (a - b).square())
    with pytest.raises(ValueError, match=r"shape \(30, 8\) for 30 messages, expected one value"):
        reconstruction_error(objective, GREY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples=0, expected a whole number, 1 or more"),
        ({"chunk": 0}, "chunk=0, expected a whole number, 1 or more"),
        ({"seed": -1}, "seed=-1, expected a whole number, 0 or more"),
    ],
)
def test_arguments_are_checked(options, message):
    for score in (negative_elbo, negative_log_likelihood, likelihood_regret):
        with pytest.raises(ValueError, match=message):
            score(vae(), BINARY, **options)


def test_arguments_of_the_regret_are_checked():
    with pytest.raises(ValueError, match="steps=0, expected a whole number, 1 or more"):
        likelihood_regret(vae(), BINARY, steps=0)
    with pytest.raises(ValueError, match="lr=-1, expected a finite number above 0"):
        likelihood_regret(vae(), BINARY, lr=-1)


def test_a_reference_without_variance_is_refused():
    for reference in (GREY[:1], GREY[:1].repeat(5, 1)):
        with pytest.raises(ValueError, match="expected codes with some variance"):
            mahalanobis(plain(), GREY, reference)


def test_with_a_sharp_posterior_the_probability_is_the_error():
    objective = gaussian_vae()
    with torch.no_grad():
        objective.model.encoder[1].map.weight[3:] = 0
        objective.model.encoder[1].map.bias[3:] = -40
    error, probability = (
        score(objective, GREY) for score in (reconstruction_error, reconstruction_probability)
    )
    torch.testing.assert_close(probability, error, atol=1e-6, rtol=0)
