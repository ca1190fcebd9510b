import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import aebook
from aebook import distances, variants
from aebook.bottlenecks import Gaussian, Posterior
from aebook.penalties import activity, kl_to_prior
from aebook.theory import code_length, likelihood
from aebook.theory.likelihood import (
    ImportanceWeighted,
    active_units,
    elbo,
    importance_weighted_bound,
    interpolate,
    sample,
)

M, P, SIGMA = 6, 2, 0.7


class Affine(nn.Module):
    """Means A(x - b) and constant log-variances: the encoder of a linear Gaussian model."""

    def __init__(self, a, b, log_variance):
        super().__init__()
        self.a, self.b = nn.Parameter(a), nn.Parameter(b)
        self.log_variance = nn.Parameter(log_variance)

    def forward(self, x):
        mean = (x - self.b) @ self.a.T
        return torch.cat([mean, self.log_variance.expand_as(mean)], dim=1)


@pytest.fixture
def exact():
    """A linear Gaussian model with its true posterior as encoder, and its log p(x)."""
    w = torch.linalg.qr(torch.randn(M, P, dtype=torch.float64))[0] * torch.tensor([2.0, 0.8])
    b = torch.randn(M, dtype=torch.float64)
    # with orthogonal columns of w the true posterior has independent entries
    precision = 1 + w.square().sum(0) / SIGMA**2
    decoder = aebook.networks.mlp((P, M)).double()
    with torch.no_grad():
        decoder[0].map.weight.copy_(w)
        decoder[0].map.bias.copy_(b)
    encoder = Affine(w.T / SIGMA**2 / precision[:, None], b, -precision.log())
    model = aebook.Autoencoder(encoder, decoder, Gaussian())
    objective = aebook.Objective(
        model, distance=distances.Gaussian(SIGMA).double(), penalties={"kl": (1.0, kl_to_prior)}
    )
    covariance = w @ w.T + SIGMA**2 * torch.eye(M, dtype=torch.float64)
    return objective, MultivariateNormal(b, covariance)


def spoiled(exact):
    """The same with a posterior that is wrong, so that bounds are not tight."""
    objective, law = exact
    with torch.no_grad():
        objective.model.encoder.a.mul_(0.7)
        objective.model.encoder.log_variance.add_(0.5)
    return objective, law


def vae(**options):
    torch.manual_seed(0)
    return aebook.variants.variational((8, 16, 3), **options)


BINARY = (torch.rand(40, 8, generator=torch.Generator().manual_seed(3)) > 0.5).float()


def test_kl_is_that_of_torch_distributions_and_of_monte_carlo():
    q = Posterior(torch.randn(5, 3).double(), torch.randn(5, 3).double())
    law = Normal(q.mean, (q.log_variance / 2).exp())
    prior = Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean))
    torch.testing.assert_close(q.kl(), kl_divergence(law, prior).sum(1))
    z = torch.stack([q.sample() for _ in range(10_000)])
    ratio = q.log_ratio(z)
    torch.testing.assert_close(ratio, (prior.log_prob(z) - law.log_prob(z)).sum(-1))
    error = ratio.std(0) / math.sqrt(len(z))
    assert ((-ratio.mean(0) - q.kl()).abs() < 5 * error).all()
    assert (Posterior(torch.zeros(2, 3), torch.zeros(2, 3)).kl() == 0).all()


def test_kl_and_ratio_sum_over_all_dimensions_of_a_code():
    flat = Posterior(torch.randn(4, 6), torch.randn(4, 6))
    deep = Posterior(*(v.view(4, 2, 3) for v in flat))
    z = torch.randn(7, 4, 6)
    torch.testing.assert_close(deep.kl(), flat.kl())
    torch.testing.assert_close(deep.log_ratio(z.view(7, 4, 2, 3)), flat.log_ratio(z))


def test_samples_have_the_posteriors_mean_and_variance_and_pass_gradients():
    mean = torch.tensor([[1.0, -2.0]]).requires_grad_()
    log_variance = torch.tensor([[0.0, 1.0]]).requires_grad_()
    z = torch.stack([Posterior(mean, log_variance).sample() for _ in range(10_000)])[:, 0]
    torch.testing.assert_close(z.mean(0), mean[0], atol=0.06, rtol=0)
    torch.testing.assert_close(z.var(0), log_variance[0].exp(), atol=0, rtol=0.05)
    z.square().mean(0).sum().backward()
    # E[z²] = μ² + σ²: gradients 2μ and σ²
    torch.testing.assert_close(mean.grad, 2 * mean.detach(), atol=0.15, rtol=0)
    torch.testing.assert_close(log_variance.grad, log_variance.exp().detach(), atol=0.1, rtol=0.05)


def test_with_the_true_posterior_every_weight_is_p_of_x(exact):
    objective, law = exact
    x = law.sample((50,))
    for k in (1, 2, 30):
        torch.testing.assert_close(importance_weighted_bound(objective, x, k), law.log_prob(x))


def test_with_the_true_posterior_the_elbo_is_log_p_of_x(exact):
    objective, law = exact
    x = law.sample((10,))
    values = torch.stack([elbo(objective, x, 50, seed=s) for s in range(100)])
    error = values.std(0) / 10
    assert ((values.mean(0) - law.log_prob(x)).abs() < 5 * error).all()


def test_the_elbo_falls_short_of_log_p_by_the_divergence_from_the_true_posterior(exact):
    objective, law = exact
    x = law.sample((10,))
    encoder = objective.model.encoder
    true = objective.model.bottleneck.posterior(encoder(x))
    true = Normal(true.mean.detach(), (true.log_variance.detach() / 2).exp())
    spoiled(exact)
    q = objective.model.bottleneck.posterior(encoder(x))
    q = Normal(q.mean.detach(), (q.log_variance.detach() / 2).exp())
    gap = kl_divergence(q, true).sum(1)
    values = torch.stack([elbo(objective, x, 50, seed=s) for s in range(100)])
    error = values.std(0) / 10
    assert ((law.log_prob(x) - gap - values.mean(0)).abs() < 5 * error).all()
    assert (gap > 0.05).all()


def test_the_bound_rises_with_k_towards_log_p(exact):
    objective, law = spoiled(exact)
    x = law.sample((400,))
    truth = law.log_prob(x).mean()
    bounds = [
        torch.stack([importance_weighted_bound(objective, x, k, seed=s).mean() for s in range(20)])
        for k in (1, 2, 5, 50)
    ]
    means = torch.stack([b.mean() for b in bounds])
    assert (means.diff() > 0).all()
    assert (means < truth).all()
    assert truth - means[0] > 0.1
    long = importance_weighted_bound(objective, x, 5000).mean()
    assert (long - truth).abs() < 0.01
    single = torch.stack([elbo(objective, x, 1, seed=s).mean() for s in range(20)])
    error = (single.var() + bounds[0].var()).div(20).sqrt()
    assert (single.mean() - means[0]).abs() < 5 * error


@pytest.mark.parametrize("chunk", [1, 7, 40, 64, 100, 10_000])
def test_the_chunk_does_not_change_the_value(chunk):
    objective = vae().double()
    x = BINARY.double()
    once = importance_weighted_bound(objective, x, 25, chunk=100_000)
    torch.testing.assert_close(importance_weighted_bound(objective, x, 25, chunk=chunk), once)


def test_the_chunk_bounds_what_is_decoded_at_once():
    objective = vae()
    rows = []
    objective.model.decoder.register_forward_hook(lambda m, i, o: rows.append(len(o)))
    importance_weighted_bound(objective, BINARY, 11, chunk=100)
    assert max(rows) == 80  # two codes for each of the 40 messages
    assert sum(rows) == 11 * 40
    rows.clear()
    importance_weighted_bound(objective, BINARY, 2, chunk=16)
    assert rows == [16, 16, 8, 16, 16, 8]


def test_a_bound_by_hand():
    objective = vae().eval()
    x = BINARY[:1]
    with torch.no_grad():
        q = objective.model.bottleneck.posterior(objective.model.encoder(x))
        torch.manual_seed(5)
        total = 0.0
        for _ in range(3):
            scale = (q.log_variance / 2).exp()
            z = q.mean + scale * torch.randn_like(q.mean)
            log_p = -distances.bernoulli(objective.model.decoder(z), x)
            log_p = log_p + Normal(0, 1).log_prob(z).sum()
            total += (log_p - Normal(q.mean, scale).log_prob(z).sum()).exp().item()
    found = importance_weighted_bound(objective, x, 3, seed=5).item()
    assert found == pytest.approx(math.log(total / 3), rel=1e-5)


def test_bounds_are_deterministic_per_sample_and_leave_everything_as_it_was():
    objective = vae(distance=distances.Gaussian(0.3, "optimal")).train()
    state = {k: v.clone() for k, v in objective.state_dict().items()}
    before = torch.get_rng_state()
    for bound in (elbo, importance_weighted_bound):
        a, b = bound(objective, BINARY, 5), bound(objective, BINARY, 5)
        assert a.shape == (40,)
        assert not a.requires_grad
        assert torch.equal(a, b)
        assert not torch.equal(a, bound(objective, BINARY, 5, seed=1))
    assert objective.training
    assert objective.model.bottleneck.training
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(v, state[k]) for k, v in objective.state_dict().items())


def test_a_bound_ignores_beta_corruption_and_other_penalties():
    objective = vae()
    other = aebook.Objective(
        objective.model,
        aebook.corruptions.masking(0.5),
        distances.bernoulli,
        {"kl": (7.0, kl_to_prior), "sparse": (3.0, activity())},
    )
    assert torch.equal(elbo(objective, BINARY, 3), elbo(other, BINARY, 3))


def test_the_loss_is_minus_the_elbo_where_the_noise_is_the_same():
    objective = vae().train()
    torch.manual_seed(0)
    loss = -sum(objective.per_sample(BINARY).values())
    torch.testing.assert_close(loss, elbo(objective, BINARY, 1, seed=0))


def test_in_evaluation_coding_is_deterministic_and_in_training_random():
    model = vae().model
    model.eval()
    assert torch.equal(model.encode(BINARY), model.encode(BINARY))
    assert torch.equal(model.encode(BINARY), model.bottleneck.posterior(model.encoder(BINARY)).mean)
    model.train()
    assert not torch.equal(model.encode(BINARY), model.encode(BINARY))


def test_importance_weighted_loss_is_minus_the_bound():
    objective = vae()
    wrapper = ImportanceWeighted(objective, 4)
    torch.manual_seed(2)
    loss = wrapper(BINARY)
    expected = -importance_weighted_bound(objective, BINARY, 4, seed=2).mean()
    torch.testing.assert_close(loss.total, expected)
    assert list(loss.terms) == ["bound"]


def test_gradients_of_the_importance_weighted_loss_are_weighted_means(exact):
    objective, law = spoiled(exact)
    x = law.sample((3,))
    wrapper = ImportanceWeighted(objective, 5)
    parameters = list(objective.parameters())
    torch.manual_seed(1)
    grads = torch.autograd.grad(wrapper(x).total, parameters)
    # the gradient is the mean of those of each log weight, by its share of the weights
    torch.manual_seed(1)
    q = objective.model.bottleneck.posterior(objective.model.encoder(x))
    z = torch.stack([q.sample() for _ in range(5)])
    scale = (q.log_variance / 2).exp()
    log_w = torch.stack(
        [
            Normal(0, 1).log_prob(zk).sum(1)
            - Normal(q.mean, scale).log_prob(zk).sum(1)
            + Normal(objective.model.decoder(zk), SIGMA).log_prob(x).sum(1)
            for zk in z
        ]
    )
    loss = -(log_w.softmax(0).detach() * log_w).sum(0).mean()
    for a, b in zip(grads, torch.autograd.grad(loss, parameters), strict=True):
        torch.testing.assert_close(a, b)


def test_gradcheck_of_the_bound_in_the_posterior():
    x = BINARY[:2].double()
    objective = vae().double()
    wrapper = ImportanceWeighted(objective, 3)

    def loss(weight):
        torch.manual_seed(0)
        replaced = {"objective.model.encoder.1.map.weight": weight}
        return torch.func.functional_call(wrapper, replaced, (x,)).total

    weight = objective.model.encoder[1].map.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (weight,))


def test_one_sample_has_the_gradient_of_the_objective_in_expectation():
    objective = vae().double()
    x = BINARY[:4].double()
    wrapper = ImportanceWeighted(objective, 1)
    bias = objective.model.encoder[1].map.bias

    def gradients(loss):
        return torch.stack([torch.autograd.grad(loss(x).total, bias)[0] for _ in range(800)])

    a, b = gradients(objective.train()), gradients(wrapper)
    error = ((a.var(0) + b.var(0)) / 800).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() < 5 * error).all()


def test_beta_tempers_the_importance_weighted_loss():
    objective = vae(beta=0.0)
    torch.manual_seed(0)
    without = ImportanceWeighted(objective, 1)(BINARY).total
    torch.manual_seed(0)
    torch.testing.assert_close(without, objective.train()(BINARY).terms["distance"])


def test_fit_trains_the_wrapper_and_the_bound_improves():
    objective = vae()
    patterns = BINARY[:4].repeat(10, 1)
    before = importance_weighted_bound(objective, patterns, 50).mean()
    wrapper = ImportanceWeighted(objective, 5)
    history = aebook.fit(
        wrapper,
        patterns,
        epochs=30,
        lr=1e-2,
        batch_size=20,
        validation=patterns,
        anneal=lambda w, t: w.objective.set_weight("kl", min(1, 2 * t)),
    )
    assert importance_weighted_bound(objective, patterns, 50).mean() > before + 1
    assert set(history.terms) == {"loss", "bound"}
    assert not objective.training
    assert aebook.evaluate(wrapper, BINARY) == aebook.evaluate(wrapper, BINARY)


def test_the_wrapper_resumes_from_a_checkpoint(tmp_path):
    def run(path, epochs):
        wrapper = ImportanceWeighted(vae(), 2)
        for n in epochs:
            # at a constant rate, since with others more epochs are another run
            aebook.fit(
                wrapper,
                BINARY,
                epochs=n,
                schedule=aebook.training.schedules.constant,
                checkpoint=path,
            )
        return wrapper.state_dict()

    whole, parts = run(tmp_path / "a.pt", [4]), run(tmp_path / "b.pt", [2, 4])
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_corruption_and_other_penalties_stay_in_force_in_the_wrapper():
    base = vae()
    seen = []

    def corruption(x):
        seen.append(x)
        return torch.zeros_like(x)

    objective = aebook.Objective(
        base.model,
        corruption,
        distances.bernoulli,
        {"kl": (1.0, kl_to_prior), "sparse": (0.5, activity())},
    )
    loss = ImportanceWeighted(objective, 3)(BINARY)
    assert len(seen) == 1
    assert set(loss.terms) == {"bound", "sparse"}
    torch.testing.assert_close(loss.total, sum(loss.terms.values()))
    torch.manual_seed(0)
    blind = ImportanceWeighted(objective, 3)(BINARY, 1 - BINARY).terms["bound"]
    torch.manual_seed(0)
    expected = -importance_weighted_bound(base, BINARY, 3).mean()
    assert not torch.isclose(blind, expected)


def test_a_sparse_variational_autoencoder_trains():
    model = vae().model
    codes = {}
    for weight in (0.0, 5.0):
        objective = aebook.Objective(
            vae().model,
            distance=distances.bernoulli,
            penalties={"kl": (0.1, kl_to_prior), "l1": (weight, activity())},
        )
        aebook.fit(objective, BINARY, epochs=40, lr=1e-2, batch_size=20)
        codes[weight] = objective.model.encode(BINARY).abs().mean()
    assert codes[5.0] < codes[0.0] / 2
    assert model is not objective.model


@pytest.mark.parametrize("kind", ["learned", "optimal"])
def test_sigma_is_learned(kind):
    x = torch.randn(500, 4) * 0.2
    objective = aebook.variants.variational(
        (4, 2), output=None, distance=distances.Gaussian(1.0, kind)
    )
    aebook.fit(objective, x, epochs=60, lr=2e-2, batch_size=100)
    assert objective.distance.sigma.item() == pytest.approx(0.2, rel=0.15)
    # the entropy of the truth is the best that any model can do
    truth = Normal(0, 0.2).log_prob(x).sum(1).mean()
    assert elbo(objective, x, 10).mean() == pytest.approx(truth.item(), abs=0.3)


def test_samples_are_decoded_from_the_prior():
    model = vae().model.eval()
    torch.manual_seed(4)
    images = sample(model, 10)
    torch.manual_seed(4)
    torch.testing.assert_close(images, model.decode(torch.randn(10, 3)))
    assert sample(vae().double().model, 2).dtype == torch.float64


def test_interpolations_begin_and_end_at_the_reconstructions_and_are_straight():
    model = vae().model.eval()
    a, b = BINARY[:5], BINARY[5:10]
    path = interpolate(model, a, b, 7)
    assert path.shape == (5, 7, 8)
    torch.testing.assert_close(path[:, 0], model.reconstruct(a))
    torch.testing.assert_close(path[:, -1], model.reconstruct(b))
    middle = (model.encode(a) + model.encode(b)) / 2
    torch.testing.assert_close(path[:, 3], model.decode(middle))
    plain = aebook.variants.plain((8, 3)).model.eval()
    assert interpolate(plain, a, b, 2).shape == (5, 2, 8)


def test_active_units_are_those_whose_mean_varies():
    model = vae().model
    with torch.no_grad():
        model.encoder[1].map.weight[1].zero_()
    assert active_units(model, BINARY) == 2
    assert active_units(model, BINARY, threshold=1e9) == 0


def test_convolutional_messages_and_codes():
    encoder, decoder = aebook.networks.convolutional((1, 8, 8), (4,), 6, output=nn.Sigmoid)
    decoder = aebook.networks.convolutional((1, 8, 8), (4,), 3, output=nn.Sigmoid)[1]
    objective = aebook.Objective(
        aebook.Autoencoder(encoder, decoder, Gaussian()),
        distance=distances.bernoulli,
        penalties={"kl": (1.0, kl_to_prior)},
    )
    x = (torch.rand(5, 1, 8, 8) > 0.5).float()
    assert elbo(objective, x, 2).shape == (5,)
    assert importance_weighted_bound(objective, x, 3, chunk=4).shape == (5,)
    assert ImportanceWeighted(objective, 2)(x).total.isfinite()
    assert sample(objective.model.eval(), 2).shape == (2, 1, 8, 8)
    assert interpolate(objective.model, x[:2], x[2:4], 3).shape == (2, 3, 1, 8, 8)


@pytest.mark.parametrize("bound", [elbo, importance_weighted_bound])
def test_what_is_no_likelihood_or_has_no_posterior_is_refused(bound):
    with pytest.raises(ValueError, match=r"got an objective with squared_error.*a likelihood"):
        bound(vae(distance=distances.squared_error), BINARY)
    with pytest.raises(ValueError, match=r"got the bottleneck=Identity\(\.\.\.\), expected bott"):
        bound(aebook.variants.plain((8, 3), distance=distances.bernoulli), BINARY)
    with pytest.raises(ValueError, match="values other than 0 and 1 for the Bernoulli"):
        bound(vae(), 0.5 * BINARY)
    with pytest.raises(ValueError, match="NaN"):
        bound(vae(), BINARY * math.nan)
    with pytest.raises(ValueError, match="got samples=0, expected a whole number"):
        bound(vae(), BINARY, 0)
    with pytest.raises(ValueError, match=r"expected \(batch, 8\)"):
        bound(vae(), BINARY[:, :3])


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="got chunk=0"):
        importance_weighted_bound(vae(), BINARY, 2, chunk=0)
    with pytest.raises(ValueError, match="got steps=1"):
        interpolate(vae().model.eval(), BINARY, BINARY, 1)
    with pytest.raises(ValueError, match="got b of shape"):
        interpolate(vae().model.eval(), BINARY, BINARY[:2])
    with pytest.raises(ValueError, match=r"got the bottleneck=Identity\(\.\.\.\), expected bott"):
        sample(aebook.variants.plain((8, 3)).model, 2)
    with pytest.raises(ValueError, match=r"got a decoder of type Linear.*model.decode"):
        sample(aebook.Autoencoder(nn.Linear(8, 6), nn.Linear(3, 8), Gaussian()), 2)
    with pytest.raises(ValueError, match=r"got samples=1\.5"):
        ImportanceWeighted(vae(), 1.5)
    without = aebook.Objective(vae().model, distance=distances.bernoulli)
    with pytest.raises(ValueError, match="expected one of them to be kl_to_prior"):
        ImportanceWeighted(without)
    with pytest.raises(ValueError, match="got an objective with squared_error"):
        ImportanceWeighted(vae(distance=distances.squared_error))


def test_a_divergence_without_a_posterior_is_refused():
    model = aebook.variants.plain((8, 3)).model
    with pytest.raises(ValueError, match=r"got the bottleneck of kl_to_prior=Identity\(\.\.\.\)"):
        aebook.Objective(model, penalties={"kl": (1.0, kl_to_prior)})
    odd = aebook.Autoencoder(aebook.networks.mlp((8, 3)), aebook.networks.mlp((2, 8)), Gaussian())
    with pytest.raises(ValueError, match="expected an even count"):
        odd.encode(BINARY)


class Told(nn.Linear):
    """A decoder that would write one symbol after another, and notes what it is told."""

    autoregressive = True

    def forward(self, z, told=None):
        self.told = told
        return super().forward(z).sigmoid()


@pytest.mark.parametrize("of", ["loss", "weighted", "elbo", "weighted bound", "lengths"])
def test_a_decoder_that_is_told_the_target_is_told_it_everywhere(of):
    decoder = Told(2, 6)
    objective = variants.variational((nn.Linear(6, 4), decoder))
    x = torch.rand(5, 6).round()
    {
        "loss": lambda: objective(x),
        "weighted": lambda: likelihood.ImportanceWeighted(objective, samples=3)(x),
        "elbo": lambda: likelihood.elbo(objective, x, samples=3),
        "weighted bound": lambda: likelihood.importance_weighted_bound(objective, x, samples=3),
        "lengths": lambda: code_length.lengths(objective, x),
    }[of]()
    assert torch.equal(decoder.told.view(-1, 5, 6)[0], x)
