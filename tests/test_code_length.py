import math

import numpy as np
import pytest
import torch
from scipy import stats

import aebook
from aebook.bottlenecks import Posterior
from aebook.distances import DiscretisedLogistic, Gaussian, bernoulli
from aebook.networks import mlp
from aebook.theory.code_length import bin_centres, bin_probabilities, lengths
from aebook.theory.likelihood import elbo


def model_of(units=3, m=12, scale=1.0, **options):
    torch.manual_seed(1)
    objective = aebook.variants.variational((m, 8, units), **options)
    with torch.no_grad():
        for p in objective.parameters():
            p.mul_(scale)
    return objective.double().eval()


X = (torch.rand(40, 12, generator=torch.Generator().manual_seed(0)) > 0.5).double()


@pytest.mark.parametrize("bits", [1, 5, 10, 16])
def test_bins_are_equally_probable_under_the_prior(bits):
    edges = stats.norm.ppf(np.arange(2**bits + 1) / 2**bits)
    expected = np.diff(stats.norm.cdf(edges))
    standard = Posterior(torch.zeros(1, 2), torch.zeros(1, 2))
    found = bin_probabilities(standard, bits)
    assert found.shape == (1, 2, 2**bits)
    np.testing.assert_allclose(found[0, 1].numpy(), expected, atol=1e-15)
    centres = bin_centres(bits).numpy()
    assert ((centres > edges[:-1]) & (centres < edges[1:])).all()
    np.testing.assert_allclose(stats.norm.cdf(centres) * 2**bits % 1, 0.5, atol=1e-9)


@pytest.mark.parametrize("mean", [-50.0, -1.0, 0.0, 3.0, 1e6])
@pytest.mark.parametrize("log_variance", [-2000.0, -4.0, 0.0, 5.0, 2000.0])
def test_the_posterior_of_the_bins_is_that_of_scipy_and_sums_to_one(mean, log_variance):
    posterior = Posterior(torch.tensor([[mean]]), torch.tensor([[log_variance]]))
    q = bin_probabilities(posterior, 6)[0, 0].numpy()
    assert q.sum() == pytest.approx(1)
    assert (q >= 0).all()
    if abs(log_variance) < 100:
        edges = stats.norm.ppf(np.arange(65) / 64)
        law = stats.norm(mean, math.exp(log_variance / 2))
        np.testing.assert_allclose(q, np.diff(law.cdf(edges)), atol=1e-12)


def test_lengths_of_a_grid_small_enough_to_sum_over_are_the_bound_on_it():
    objective = model_of(units=2)
    posterior = objective.model.bottleneck.posterior(objective.model.encoder(X))
    q = bin_probabilities(posterior, 2)
    joint = (q[:, 0, :, None] * q[:, 1, None, :]).flatten(1)
    grid = torch.cartesian_prod(bin_centres(2), bin_centres(2))
    decoded = objective.model.decoder(grid)
    distance = torch.stack([bernoulli(decoded, x.expand_as(decoded)) for x in X])
    bound = (joint * (distance + joint.log() + 4 * math.log(2))).sum(1) / math.log(2)
    drawn = torch.stack([lengths(objective, X, 2, seed=s).total for s in range(400)])
    apart = (drawn.mean(0) - bound) / (drawn.std(0) / 20)
    assert apart.abs().max() < 5
    # and no code is shorter than what all of them together make of a message
    together = -(-distance - 4 * math.log(2)).logsumexp(1) / math.log(2)
    assert (bound > together).all()
    best = lengths(objective, X, 2, best=True)
    at_best = distance[torch.arange(40), joint.argmax(1)] / math.log(2)
    torch.testing.assert_close(best.message, at_best)
    torch.testing.assert_close(best.two_parts, 4 + at_best)
    torch.testing.assert_close(best.back, -joint.amax(1).log2())


@pytest.mark.parametrize("grey", [False, True])
def test_many_bins_come_to_the_evidence_lower_bound(grey):
    objective = model_of()
    if grey:
        objective = aebook.variants.variational(
            (mlp((12, 8, 6)), mlp((3, 8, 24), output=None)), distance=DiscretisedLogistic(2)
        ).double()
    codes = [lengths(objective, X, 10, seed=seed).total for seed in range(100)]
    bits = torch.stack(codes).mean(1)
    bound = -elbo(objective, X, 2000).mean() / math.log(2)
    assert abs(bits.mean() - bound) < 5 * bits.std() / 10 + 0.005


def test_lengths_leave_everything_as_it_was_and_can_be_repeated():
    objective = model_of().train()
    before, state = X.clone(), torch.get_rng_state()
    once, again = lengths(objective, X, 4), lengths(objective, X, 4)
    assert all(map(torch.equal, once, again))
    assert not torch.equal(once.back, lengths(objective, X, 4, seed=1).back)
    assert objective.training
    assert torch.equal(X, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert once.code.tolist() == [12.0] * 40
    torch.testing.assert_close(once.total, once.two_parts - once.back)


@pytest.mark.parametrize("bits", [0, 17, 2.5, None, "8", True])
def test_a_grid_has_from_2_to_65536_bins(bits):
    with pytest.raises(ValueError, match="bits"):
        lengths(model_of(), X, bits)


@pytest.mark.parametrize(
    ("objective", "x", "said"),
    [
        (aebook.variants.plain((12, 3)), X, "bottleneck"),
        (model_of(distance=Gaussian(0.1)), X, "density"),
        (model_of(), X / 2, "zeros|binary"),
        (model_of(), X * math.nan, "NaN"),
    ],
    ids=["plain", "density", "grey", "nan"],
)
def test_what_has_no_length_in_bits_is_refused(objective, x, said):
    with pytest.raises(ValueError, match=said):
        lengths(objective, x)
