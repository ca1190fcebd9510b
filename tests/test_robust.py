from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import aebook
from aebook.applications.anomaly import decompose, group_soft_threshold, soft_threshold

values = st.lists(st.floats(-3, 3), min_size=1, max_size=4).map(
    lambda v: torch.tensor(v, dtype=torch.float64)
)


@given(values, st.floats(0, 2))
def test_soft_thresholding_solves_its_problem(s, weight):
    # entry by entry, on a grid that holds the solution's candidates
    grid = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    cost = (grid[:, None] - s).square() / 2 + weight * grid[:, None].abs()
    best = grid[cost.argmin(0)]
    torch.testing.assert_close(soft_threshold(s, weight), best, atol=1.1e-3, rtol=0)


@given(values, st.floats(0.01, 3))
def test_group_thresholding_solves_its_problem(s, weight):
    def cost(u):
        return ((u - s.numpy()) ** 2).sum() / 2 + weight * np.sqrt((u**2).sum())

    found = group_soft_threshold(s[None], weight)[0].numpy()
    # the problem is convex: nothing near may be better, nor what a search from afar finds
    for start in (s.numpy(), s.numpy() / 2, np.full(len(s), 0.1)):
        searched = minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-9})
        assert cost(found) <= searched.fun + 1e-8
    rng = np.random.default_rng(0)
    for step in (1e-4, 1e-2, 1):
        for _ in range(20):
            assert cost(found) <= cost(found + step * rng.standard_normal(len(s))) + 1e-12


@given(st.floats(0, 3))
def test_groups_of_one_entry_are_entries(weight):
    s = torch.randn(9, 1).double()
    torch.testing.assert_close(group_soft_threshold(s, weight), soft_threshold(s, weight))


def test_groups_are_rows_or_columns_and_images_are_rows():
    s = torch.randn(5, 3).double()
    by_column = group_soft_threshold(s, 0.7, by="column")
    torch.testing.assert_close(by_column, group_soft_threshold(s.T, 0.7).T)
    images = torch.randn(4, 2, 3, 3).double()
    flat = group_soft_threshold(images.flatten(1), 2.0)
    torch.testing.assert_close(group_soft_threshold(images, 2.0), flat.view_as(images))
    lengths = images.flatten(1).norm(dim=1)
    after = group_soft_threshold(images, 2.0).flatten(1).norm(dim=1)
    torch.testing.assert_close(after, (lengths - 2).clamp_min(0))


def test_proximal_maps_leave_zero_and_everything_at_weight_zero():
    for prox in (soft_threshold, group_soft_threshold):
        assert (prox(torch.zeros(3, 2), 1.0) == 0).all()
        s = torch.randn(3, 2)
        assert torch.equal(prox(s, 0.0), s)
        # far from each other, no pair gets further apart
        a, b = torch.randn(50, 4), torch.randn(50, 4)
        moved = (prox(a, 0.5) - prox(b, 0.5)).norm(dim=1)
        assert (moved <= (a - b).norm(dim=1) + 1e-6).all()


def planted(kind, n=80, m=12, rank=2):
    """A plane, and on top of it entries, rows or columns that are wrong by much."""
    L = torch.randn(n, rank).double() @ torch.randn(rank, m).double() + 0.5
    S = torch.zeros(n, m).double()
    if kind == "l1":
        S[torch.rand(n, m) < 0.04] = 6.0
    elif kind == "l21":
        S[:6] = 4 * torch.randn(6, m).double()
    else:
        S[:, 3] = 4 * torch.randn(n).double()
    return L, S


def by_svd(x, weight, norm, rounds, rank=2):
    """The same with the autoencoder's optimum written down: the principal plane of L."""
    s = torch.zeros_like(x)
    for _ in range(rounds):
        low = x - s
        rest = x - aebook.theory.linear.principal_components(low, rank).reconstruct(low)
        if norm == "l1":
            s = rest.sign() * (rest.abs() - weight).clamp_min(0)
        else:
            length = rest.norm(dim=1 if norm == "l21" else 0, keepdim=True)
            s = torch.where(length > weight, rest * (1 - weight / length), 0)
    return s


def solved(objective, low):
    """Training with the answer written down: the weights of the principal plane of L."""
    pca = aebook.theory.linear.principal_components(low, 2)
    encoder, decoder = objective.model.encoder[0].map, objective.model.decoder[0].map
    with torch.no_grad():
        encoder.weight.copy_(pca.components.T)
        encoder.bias.copy_(-pca.components.T @ pca.mean)
        decoder.weight.copy_(pca.components)
        decoder.bias.copy_(pca.mean)


@pytest.mark.parametrize(("norm", "weight"), [("l1", 0.8), ("l21", 1.5), ("l21_features", 2.0)])
def test_with_exact_training_it_alternates_as_principal_components_do(norm, weight):
    L, S = planted(norm)
    objective = aebook.variants.linear((12, 2)).double()
    result = decompose(objective, L + S, weight, norm, rounds=15, train=solved)
    torch.testing.assert_close(result.S, by_svd(L + S, weight, norm, 15), atol=1e-9, rtol=0)
    torch.testing.assert_close(result.L + result.S, L + S)
    assert (result.S != 0).any()


def test_a_trained_linear_autoencoder_alternates_as_principal_components_do():
    L, S = planted("l21", n=40, m=6)
    objective = aebook.variants.linear((6, 2)).double()
    train = partial(aebook.lbfgs, tolerance=1e-10)
    result = decompose(objective, L + S, 1.5, "l21", rounds=3, train=train)
    torch.testing.assert_close(result.S, by_svd(L + S, 1.5, "l21", 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("norm", "weight"), [("l1", 0.05), ("l21", 0.05)])
def test_a_planted_plane_is_recovered(norm, weight):
    L, S = planted(norm)
    x = L + S
    objective = aebook.variants.linear((12, 2)).double()
    result = decompose(objective, x, weight, norm, rounds=300, train=solved)
    pca = aebook.theory.linear.principal_components(x, 2).reconstruct(x)
    assert (result.L - L)[S == 0].norm() < 0.05 * (pca - L)[S == 0].norm()
    hit = (S != 0) if norm == "l1" else (S != 0).any(1)
    found = (result.S != 0) if norm == "l1" else (result.S != 0).any(1)
    assert found[hit].all()
    assert found[~hit].double().mean() < 0.05


def test_the_objective_falls_where_training_is_exact():
    L, S = planted("l21")
    objective = aebook.variants.linear((12, 2)).double()
    result = decompose(objective, L + S, 1.0, "l21", rounds=6, train=solved)
    assert len(result.history) == 6
    assert all(
        b <= a * (1 + 1e-6) for a, b in zip(result.history, result.history[1:], strict=False)
    )
    rest = result.L - objective.model.reconstruct(result.L)
    size = (rest.square().sum() / 2 + result.S.norm(dim=1).sum()) / len(L)
    # the last S belongs to the reconstructions of the L before it
    assert size.item() <= result.history[-1] * (1 + 1e-6)


def test_what_is_left_out_is_what_the_weight_says():
    x = torch.rand(40, 6)
    objective = aebook.variants.plain((6, 8, 2))
    everything = decompose(objective, x, 0.0, rounds=1)
    assert (everything.L - objective.model.reconstruct(x)).abs().max() < 1e-6
    nothing = decompose(objective, x, 1e3, rounds=2)
    assert (nothing.S == 0).all()
    assert torch.equal(nothing.L, x)


def test_a_deep_autoencoder_leaves_the_odd_rows_out():
    normal = torch.rand(200, 1) * torch.linspace(0.2, 1, 10)
    odd = torch.rand(10, 10).round()
    objective = aebook.variants.plain((10, 16, 1))
    train = partial(aebook.fit, epochs=30, lr=1e-2, progress=False)
    result = decompose(objective, torch.cat([odd, normal]), 0.6, "l21", rounds=4, train=train)
    flagged = result.S.any(1)
    assert flagged[:10].all()
    assert flagged[10:].double().mean() < 0.05
    assert not objective.training


def test_training_is_asked_once_a_round_and_the_same_data_give_the_same_parts():
    seen = []

    def train(objective, L):
        seen.append(L.clone())
        aebook.fit(objective, L, epochs=1, progress=False)

    x, results = np.random.default_rng(0).random((30, 5)), []
    for _ in range(2):
        torch.manual_seed(1)
        objective = aebook.variants.plain((5, 3, 2))
        results.append(decompose(objective, x, 0.2, rounds=3, train=train))
    assert len(seen) == 6
    assert np.allclose(seen[0], x)
    assert np.array_equal(results[0].S, results[1].S)
    assert results[0].S.dtype == np.float32


def test_bad_arguments_are_refused():
    objective, x = aebook.variants.plain((5, 2)), torch.rand(9, 5)
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"weight={weight}, expected a finite number"):
            decompose(objective, x, weight)
        for prox in (soft_threshold, group_soft_threshold):
            with pytest.raises(ValueError, match="expected a finite number"):
                prox(x, weight)
    with pytest.raises(ValueError, match="norm='l2', expected 'l1', 'l21' or 'l21_features'"):
        decompose(objective, x, 1.0, "l2")
    with pytest.raises(ValueError, match="rounds=0, expected a whole number, 1 or more"):
        decompose(objective, x, 1.0, rounds=0)
    with pytest.raises(ValueError, match="by='both', expected 'row' or 'column'"):
        group_soft_threshold(x, 1.0, by="both")
    x[4, 0] = float("nan")
    with pytest.raises(ValueError, match="1 of 9 samples have NaN"):
        decompose(objective, x, 1.0)
