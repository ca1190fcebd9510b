import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neural_network import BernoulliRBM

import aebook
from aebook.boltzmann import RBM, partition, pretrain, unroll

F64 = torch.float64
KINDS = [("bernoulli", "bernoulli"), ("gaussian", "bernoulli"), ("bernoulli", "gaussian")]


def make(visible=5, hidden=3, kinds=KINDS[0], scale=0.7, seed=0):
    rbm = RBM(visible, hidden, visible_units=kinds[0], hidden_units=kinds[1]).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in rbm.parameters():
            p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=F64))
    return rbm


def numbers(rbm):
    return (p.detach() for p in (rbm.weight, rbm.hidden_bias, rbm.visible_bias))


def states(n):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=F64)


def integral(function, n, points=60):
    """Log of the integral of exp(function) over R^n, by Gauss-Hermite quadrature."""
    x, w = np.polynomial.hermite_e.hermegauss(points)
    grid = torch.tensor(list(itertools.product(x, repeat=n)), dtype=F64)
    weight = torch.tensor(list(itertools.product(np.log(w), repeat=n)), dtype=F64).sum(1)
    return torch.logsumexp(function(grid) + weight + grid.square().sum(1) / 2, 0)


def by_loops(rbm, v, h):
    """-E of one pair of Bernoulli states, term by term."""
    w, b, c = numbers(rbm)
    total = 0.0
    for i in range(len(v)):
        total += float(c[i] * v[i])
        for j in range(len(h)):
            total += float(h[j] * w[j, i] * v[i])
    return total + sum(float(b[j] * h[j]) for j in range(len(h)))


def brute_log_z(rbm):
    return math.log(
        sum(
            math.exp(by_loops(rbm, v, h))
            for v in states(len(rbm.visible_bias))
            for h in states(len(rbm.hidden_bias))
        )
    )


def test_energy_is_the_sum_that_defines_it():
    rbm = make()
    for v, h in itertools.product(states(5)[::7], states(3)):
        assert rbm.energy(v[None], h[None]).item() == pytest.approx(-by_loops(rbm, v, h))


@pytest.mark.parametrize("kinds", KINDS)
def test_free_energy_sums_the_hidden_units_out(kinds):
    rbm = make(4, 2, kinds)
    v = states(4) if kinds[0] == "bernoulli" else torch.randn(6, 4, dtype=F64)
    for one in v:

        def minus_energy(h, one=one):
            return -rbm.energy(one.expand(len(h), -1), h)

        expected = (
            minus_energy(states(2)).logsumexp(0)
            if kinds[1] == "bernoulli"
            else integral(minus_energy, 2)
        )
        torch.testing.assert_close(-rbm.free_energy(one[None])[0], expected)


@pytest.mark.parametrize("kinds", KINDS)
def test_conditional_means_are_derivatives_of_the_log_sums(kinds):
    # E[h | v] is minus the derivative of F in the hidden bias, up to b itself for Gaussian units
    rbm = make(4, 3, kinds)
    v = torch.rand(5, 4, dtype=F64)
    (slope,) = torch.autograd.grad(-rbm.free_energy(v).sum(), rbm.hidden_bias)
    expected = rbm.hidden_mean(v)
    if kinds[1] == "gaussian":
        expected = expected - rbm.hidden_bias
    torch.testing.assert_close(expected.sum(0), slope)


@pytest.mark.parametrize("seed", range(3))
def test_conditionals_are_those_of_the_joint_distribution(seed):
    rbm = make(4, 3, seed=seed)
    v, h = states(4), states(3)
    pairs = torch.stack([-rbm.energy(v, one.expand(16, -1)) for one in h], 1).exp()
    torch.testing.assert_close(rbm.hidden_mean(v), pairs @ h / pairs.sum(1, keepdim=True))
    torch.testing.assert_close(rbm.visible_mean(h), pairs.T @ v / pairs.T.sum(1, keepdim=True))


@pytest.mark.parametrize(("visible", "hidden"), [(5, 3), (3, 5), (4, 4)])
def test_exact_partition_is_the_sum_over_all_states(visible, hidden):
    rbm = make(visible, hidden)
    assert partition.exact(rbm) == pytest.approx(brute_log_z(rbm))
    assert math.exp(-partition.exact(rbm)) * float(
        (-rbm.free_energy(states(visible))).exp().sum().detach()
    ) == pytest.approx(1)


@pytest.mark.parametrize("kinds", KINDS[1:])
def test_exact_partition_with_a_gaussian_layer(kinds):
    rbm = make(2, 3, kinds) if kinds[0] == "gaussian" else make(3, 2, kinds)
    if kinds[0] == "gaussian":
        expected = integral(lambda v: -rbm.free_energy(v), 2)
    else:
        expected = (-rbm.free_energy(states(3))).logsumexp(0)
    assert partition.exact(rbm) == pytest.approx(expected.item())


def log_likelihood(rbm, data):
    """With log Z by enumeration of visible states, differentiable."""
    log_z = (-rbm.free_energy(states(len(rbm.visible_bias)))).logsumexp(0)
    return -rbm.free_energy(data).mean() - log_z


def test_contrast_against_the_model_itself_is_the_likelihood_gradient():
    rbm = make(4, 3)
    data, everything = states(4)[[3, 5, 6]], states(4)
    exact = torch.autograd.grad(log_likelihood(rbm, data), list(rbm.parameters()))
    p = (-rbm.free_energy(everything)).softmax(0).detach()
    negative = (p * rbm.free_energy(everything)).sum()
    gradient = torch.autograd.grad(rbm.free_energy(data).mean() - negative, list(rbm.parameters()))
    for a, b in zip(exact, gradient, strict=True):
        torch.testing.assert_close(a, -b)
    # and by samples of a long chain, each entry within five standard errors
    samples = rbm.gibbs(everything.repeat(2500, 1), 30)
    rough = torch.autograd.grad(rbm.contrast(data, samples), list(rbm.parameters()))
    for a, b in zip(exact, rough, strict=True):
        assert float((a + b).abs().max()) < 5 * 0.5 / math.sqrt(len(samples))


def test_gradient_is_the_difference_of_correlations():
    rbm = make(6, 4)
    v, negative = torch.rand(7, 6, dtype=F64), torch.rand(9, 6, dtype=F64)
    rbm.contrast(v, negative).backward()
    h, g = rbm.hidden_mean(v), rbm.hidden_mean(negative)
    torch.testing.assert_close(rbm.weight.grad, g.T @ negative / 9 - h.T @ v / 7)
    torch.testing.assert_close(rbm.hidden_bias.grad, g.mean(0) - h.mean(0))
    torch.testing.assert_close(rbm.visible_bias.grad, negative.mean(0) - v.mean(0))


def test_gibbs_leaves_the_model_distribution_as_it_is():
    rbm = make(3, 3)
    v = states(3)
    p = (-rbm.free_energy(v)).softmax(0)
    drawn = v[torch.multinomial(p, 40_000, replacement=True)]
    after = rbm.gibbs(drawn, 1)
    counts = torch.bincount((after @ torch.tensor([4.0, 2, 1], dtype=F64)).long(), minlength=8)
    assert (counts / 40_000 - p).abs().max() < 5 * math.sqrt(0.25 / 40_000)


@pytest.mark.parametrize("kinds", KINDS)
def test_annealing_agrees_with_enumeration(kinds):
    rbm = make(6, 5, kinds, scale=0.3)
    data = torch.rand(50, 6)
    for given_data in (None, data):
        estimate = partition.annealed(rbm, given_data, steps=300, chains=200)
        assert estimate.error < 0.1
        assert abs(estimate.value - partition.exact(rbm)) < 5 * estimate.error + 1e-3


def test_annealing_is_exact_without_weights_and_repeats_itself():
    rbm = make(6, 5)
    with torch.no_grad():
        rbm.weight.zero_()
        rbm.hidden_bias.zero_()
    estimate = partition.annealed(rbm, steps=3, chains=4)
    assert estimate.value == pytest.approx(partition.exact(rbm))
    assert estimate.error == pytest.approx(0, abs=1e-9)
    rbm, before = make(6, 5), torch.get_rng_state()
    assert partition.annealed(rbm, steps=9) == partition.annealed(rbm, steps=9)
    assert torch.equal(torch.get_rng_state(), before)
    assert math.isnan(partition.annealed(rbm, steps=9, chains=1).error)


def test_scikit_learn_agrees_on_free_energy_and_features():
    peer = BernoulliRBM(n_components=7, n_iter=3, learning_rate=0.1, random_state=0)
    x = (torch.rand(60, 9) > 0.4).double()
    peer.fit(x.numpy())
    rbm = RBM(9, 7).double()
    with torch.no_grad():
        rbm.weight.copy_(torch.from_numpy(peer.components_))
        rbm.hidden_bias.copy_(torch.from_numpy(peer.intercept_hidden_))
        rbm.visible_bias.copy_(torch.from_numpy(peer.intercept_visible_))
    np.testing.assert_allclose(rbm.hidden_mean(x).detach(), peer.transform(x.numpy()))
    np.testing.assert_allclose(rbm.free_energy(x).detach(), peer._free_energy(x.numpy()))


def bars():
    """All 3 × 3 images of full rows or full columns: 14 of 512."""
    rows = states(3)[:, :, None].expand(-1, 3, 3)
    return torch.unique(torch.cat([rows, rows.transpose(1, 2)]).flatten(1), dim=0).float()


@pytest.mark.parametrize("persistent", [False, True])
def test_training_raises_the_likelihood(persistent):
    data = bars()
    assert data.shape == (14, 9)
    rbm = RBM(9, 8)
    before = -rbm.free_energy(data).mean().item() - partition.exact(rbm)
    data = data.repeat(20, 1)
    lr = 0.2 if persistent else 0.4
    history = rbm.fit(data, epochs=200, lr=lr, momentum=0.5, persistent=persistent)
    after = -rbm.free_energy(data).mean().item() - partition.exact(rbm)
    assert before == pytest.approx(-9 * math.log(2), abs=0.1)
    # the best possible is -log 14 = -2.6
    assert after > before + 1.5
    assert len(history) == 200
    assert history.loss[-1] < history.loss[0]


def test_gaussian_visible_units_learn_the_mean():
    data = torch.randn(500, 4) + torch.tensor([3.0, -2.0, 0.0, 1.0])
    rbm = RBM(4, 2, visible_units="gaussian")
    rbm.fit(data, epochs=60, lr=0.01)
    fantasy = rbm.gibbs(data, 20)
    assert (fantasy.mean(0) - data.mean(0)).abs().max() < 0.3


def test_fit_repeats_itself_and_leaves_the_random_state():
    data, results = torch.rand(30, 6), []
    before = torch.get_rng_state()
    for _ in range(2):
        (rbm,) = pretrain((6, 3), data, epochs=2, code_units="bernoulli", batch_size=8)
        results.append(rbm.weight.detach())
    assert torch.equal(*results)
    assert torch.equal(torch.get_rng_state(), before)


def test_arrays_and_whole_numbers_are_data_too():
    x = (np.random.default_rng(0).random((20, 5)) < 0.5).astype(int)
    stack = pretrain((5, 4, 2), x, epochs=1)
    same = pretrain((5, 4, 2), torch.tensor(x, dtype=torch.float32), epochs=1)
    assert torch.equal(stack[1].weight, same[1].weight)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_unrolled_stack_passes_means_up_and_down(widths):
    x = torch.rand(8, widths[0])
    stack = pretrain(widths, x, epochs=1, lr=0.5)
    model = unroll(stack)
    h = x
    for rbm in stack:
        h = rbm.hidden_mean(h)
    torch.testing.assert_close(model.encode(x), h)
    for rbm in stack[::-1]:
        h = rbm.visible_mean(h)
    torch.testing.assert_close(model(x), h)
    assert isinstance(model.encoder, aebook.networks.Chain)
    assert [len(model.encoder), len(model.decoder)] == [len(widths) - 1] * 2


def test_unrolled_model_is_fine_tuned_and_the_stack_stays():
    x = torch.rand(64, 12)
    stack = pretrain((12, 6, 3), x, epochs=2)
    kept = [rbm.weight.clone() for rbm in stack]
    objective = aebook.Objective(unroll(stack))
    history = aebook.fit(objective, x, epochs=20)
    assert history.loss[-1] < history.loss[0]
    assert all(torch.equal(a, rbm.weight) for a, rbm in zip(kept, stack, strict=True))


def test_ends_may_be_gaussian_or_bernoulli():
    x = torch.randn(20, 5)
    model = unroll(pretrain((5, 4, 2), x, epochs=1, visible_units="gaussian", lr=0.01))
    assert [len(layer) for layer in model.encoder] == [2, 1]
    assert [len(layer) for layer in model.decoder] == [2, 1]
    model = unroll(pretrain((5, 4, 2), x.sigmoid(), epochs=1, code_units="bernoulli"))
    assert [len(layer) for layer in model.encoder] == [2, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RBM(3, 0), "got hidden=0, expected a whole number, 1 or more"),
        (lambda: RBM(3, 2, visible_units="relu"), "expected 'bernoulli' or 'gaussian'"),
        (lambda: RBM(3, 2, visible_units="gaussian", hidden_units="gaussian"), "at most one"),
        (lambda: RBM(3, 2).fit(torch.rand(5, 4), epochs=1), r"expected \(N, 3\)"),
        (lambda: RBM(3, 2).fit(torch.randn(5, 3), epochs=1), "from 0 to 1: scale it"),
        (lambda: RBM(3, 2).fit((torch.rand(5, 3),) * 2, epochs=1), "expected messages alone"),
        (lambda: RBM(3, 2).fit(torch.full((5, 3), torch.nan), epochs=1), "NaN"),
        (lambda: RBM(3, 2).fit(torch.rand(0, 3), epochs=1), "no data"),
        (lambda: RBM(3, 2).fit(torch.rand(5, 3), epochs=-1), "epochs"),
        (lambda: RBM(3, 2).fit(torch.rand(5, 3), epochs=1, steps=0), "steps"),
        (lambda: unroll([]), "got 0 machines, expected 1 or more"),
        (lambda: unroll([RBM(3, 2), RBM(3, 2)]), "expected as many"),
        (lambda: unroll([RBM(3, 2, hidden_units="gaussian"), RBM(2, 2)]), "Bernoulli units"),
        (lambda: partition.exact(RBM(30, 21)), "use annealed"),
        (lambda: partition.annealed(RBM(3, 2), steps=0), "steps"),
        (lambda: partition.annealed(RBM(3, 2), torch.rand(4, 2)), r"expected \(N, 3\)"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_divergence_is_reported():
    rbm = RBM(6, 4, hidden_units="gaussian")
    with pytest.raises(FloatingPointError, match="lower lr"):
        rbm.fit(torch.rand(200, 6), epochs=30, lr=100.0)


NONSENSE = [math.nan, math.inf, -1, "3", [1], True]


@pytest.mark.parametrize("bad", NONSENSE)
@pytest.mark.parametrize(
    "name", ["epochs", "steps", "lr", "momentum", "weight_decay", "batch_size", "seed"]
)
def test_arguments_that_make_no_sense_are_refused_before_anything_is_trained(name, bad):
    rbm = RBM(3, 2)
    before = rbm.weight.clone()
    with pytest.raises(ValueError, match=f"got {name}="):
        rbm.fit(torch.rand(8, 3), **{"epochs": 1, name: bad})
    assert torch.equal(rbm.weight, before)
    if name in ("lr", "seed", "epochs"):
        with pytest.raises(ValueError, match=f"got {name}="):
            pretrain((3, 2), torch.rand(8, 3), **{"epochs": 1, name: bad})


@pytest.mark.parametrize("bad", NONSENSE)
def test_other_arguments_that_make_no_sense_are_refused_too(bad):
    rbm = RBM(3, 2)
    with pytest.raises(ValueError, match="got steps="):
        rbm.gibbs(torch.rand(8, 3), bad)
    with pytest.raises(ValueError, match="got gaussian_lr="):
        pretrain((3, 2), torch.rand(8, 3), epochs=1, gaussian_lr=bad)
    with pytest.raises(ValueError, match="got momentum=1"):
        rbm.fit(torch.rand(8, 3), epochs=1, momentum=1)


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_data_that_are_not_finite_are_refused(units):
    rbm = RBM(3, 2, visible_units=units)
    for bad in (math.nan, math.inf):
        data = torch.rand(8, 3)
        data[4, 1] = bad
        with pytest.raises(ValueError, match=r"NaN or infinite|to inf"):
            rbm.fit(data, epochs=1)
        if units == "bernoulli":
            with pytest.raises(ValueError, match=r"got (data|messages) of shape .* to (nan|inf)"):
                partition.annealed(rbm, data, steps=2, chains=2)
