import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from aebook.theory.dimension import IntrinsicDimension, maximum_likelihood, two_nn

SEEDS = st.integers(0, 2**31)


def cube(n, d, seed=0):
    return np.random.default_rng(seed).random((n, d))


def sphere(n, d, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, d + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def torus(n, d, seed=0):
    """A flat torus, which has neither edges nor, for near points, curvature."""
    angle = 2 * math.pi * cube(n, d, seed)
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


def rotation(m, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((m, m)))[0]


def by_loops(x, k):
    """The estimate of MacKay and Ghahramani, read from their note, point by point."""
    inverses = []
    for i in range(len(x)):
        r = sorted(math.dist(x[i], x[j]) for j in range(len(x)) if j != i)[:k]
        inverses.append(sum(math.log(r[-1] / r[j]) for j in range(k - 1)) / (k - 1))
    return 1 / (sum(inverses) / len(inverses))


# What is computed


@pytest.mark.parametrize("k", [2, 3, 10, 39])
def test_the_estimate_is_that_of_a_slow_and_obvious_computation(k):
    x = cube(40, 3)
    assert maximum_likelihood(x, k).dimension == pytest.approx(by_loops(x, k), rel=1e-12)


def test_the_standard_error_is_that_of_a_double_sum_over_pairs():
    x, k = cube(60, 2), 4
    r, near = NearestNeighbors(n_neighbors=k).fit(x).kneighbors()
    hoods = [{i, *near[i]} for i in range(60)]
    inverse = np.log(r[:, -1:] / r[:, :-1]).mean(1)
    deviation = inverse - inverse.mean()
    variance = sum(
        deviation[i] * deviation[j] * len(hoods[i] & hoods[j]) / (k + 1)
        for i in range(60)
        for j in range(60)
    )
    # the derivative of 1 / mean turns an error of the mean into one of the dimension
    expected = math.sqrt(variance) / 60 / inverse.mean() ** 2
    assert maximum_likelihood(x, k).standard_error == pytest.approx(expected, rel=1e-9)


def test_two_nn_is_maximum_likelihood_with_two_neighbours():
    x = sphere(200, 3)
    assert two_nn(x) == maximum_likelihood(x, 2)
    r = NearestNeighbors(n_neighbors=2).fit(x).kneighbors()[0]
    # scipy's own fit of the Pareto distribution to the ratios
    d, _, _ = stats.pareto.fit(r[:, 1] / r[:, 0], floc=0, fscale=1)
    assert two_nn(x).dimension == pytest.approx(d, rel=1e-9)


# What it estimates


@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_ratios_of_distances_have_the_distributions_that_the_docstring_gives(d):
    # 400 balls of uniform points, seen from their centres
    generator = np.random.default_rng(d)
    x = generator.standard_normal((400, 30, d))
    radius = generator.random((400, 30, 1)) ** (1 / d)
    x *= radius / np.linalg.norm(x, axis=2, keepdims=True)
    r = np.sort(np.linalg.norm(x, axis=2), axis=1)
    assert stats.kstest(r[:, 1] / r[:, 0], stats.pareto(d).cdf).pvalue > 0.01
    for k in (2, 10):
        exponential = d * np.log(r[:, k - 1 : k] / r[:, : k - 1])
        assert stats.kstest(exponential.ravel(), stats.expon.cdf).pvalue > 0.01


@pytest.mark.parametrize("make", [cube, sphere, torus])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_few_dimensions_are_found_within_the_error_and_a_little_bias(make, d):
    x = make(3000, d)
    for estimate in (two_nn(x), maximum_likelihood(x, 10)):
        allowed = 4 * estimate.standard_error + 0.05 * d
        assert abs(estimate.dimension - d) < allowed
        assert round(estimate.dimension) == d


def test_a_cube_in_a_space_of_many_dimensions_keeps_its_own():
    x = cube(1000, 3)
    embedded = np.concatenate([x, np.zeros((1000, 37))], axis=1) @ rotation(40) + 5
    for k in (2, 10):
        flat, deep = maximum_likelihood(x, k), maximum_likelihood(embedded, k)
        assert deep.dimension == pytest.approx(flat.dimension, rel=1e-6)
        assert deep.standard_error == pytest.approx(flat.standard_error, rel=1e-6)


def test_a_bent_sheet_has_two_dimensions():
    t, height = cube(3000, 2).T
    t = 1.5 * math.pi * (1 + 2 * t)
    roll = np.stack([t * np.cos(t), 20 * height, t * np.sin(t)], axis=1)
    assert two_nn(roll).dimension == pytest.approx(2, abs=0.15)


def test_uneven_density_hardly_matters():
    x = np.random.default_rng(0).standard_normal((3000, 2))
    estimate = two_nn(x)
    assert abs(estimate.dimension - 2) < 4 * estimate.standard_error


def test_noise_adds_dimensions_at_its_own_scale():
    line = np.concatenate([cube(20_000, 1), np.zeros((20_000, 2))], axis=1)
    noisy = line + 1e-3 * np.random.default_rng(1).standard_normal(line.shape)
    assert two_nn(line).dimension == pytest.approx(1, abs=0.05)
    # neighbours 0.00005 apart, then 0.0005, then 0.005
    near, middle, far = (two_nn(noisy[::step]).dimension for step in (1, 10, 100))
    assert near > 2.5
    assert near > middle > far
    assert far < 2


def test_many_dimensions_are_underestimated_more_for_few_points_and_large_neighbourhoods():
    estimates = {
        (n, k): np.mean([maximum_likelihood(cube(n, 12, seed), k).dimension for seed in range(8)])
        for n in (200, 2000)
        for k in (2, 20)
    }
    assert all(value < 12 for value in estimates.values())
    assert estimates[200, 20] < estimates[2000, 20] < estimates[2000, 2]
    assert estimates[200, 20] < estimates[200, 2]


def test_without_edges_and_curvature_there_is_little_bias():
    mean = np.mean([maximum_likelihood(torus(1500, 2, s), 5).dimension for s in range(10)])
    assert mean == pytest.approx(2, abs=0.03)


# The standard error


@pytest.mark.parametrize(("make", "d", "k"), [(cube, 2, 2), (sphere, 2, 10), (cube, 8, 10)])
def test_the_standard_error_is_the_spread_over_samples(make, d, k):
    estimates = [maximum_likelihood(make(300, d, seed), k) for seed in range(150)]
    spread = np.std([e.dimension for e in estimates], ddof=1)
    claimed = math.sqrt(np.mean([e.standard_error**2 for e in estimates]))
    # the spread itself is known to 6 per cent
    assert 0.8 < claimed / spread < 1.25
    naive = d / math.sqrt(300 * (k - 1))
    assert naive < spread


def test_four_times_the_points_halve_the_standard_error():
    ratio = two_nn(cube(4000, 2)).standard_error / two_nn(cube(1000, 2)).standard_error
    assert ratio == pytest.approx(0.5, abs=0.1)


# Invariance


@given(SEEDS, st.floats(1e-100, 1e100), st.integers(2, 12))
def test_scale_rotation_shift_and_order_do_not_matter(seed, scale, k):
    x = np.random.default_rng(seed).standard_normal((50, 4))
    plain = maximum_likelihood(x, k)
    order = np.random.default_rng(seed).permutation(50)
    moved = scale * (x[order] @ rotation(4, seed) + 3)
    other = maximum_likelihood(moved, k)
    np.testing.assert_allclose(other, plain, rtol=1e-8)


@given(SEEDS, st.integers(0, 30))
def test_repetitions_count_once(seed, repeated):
    x = np.random.default_rng(seed).standard_normal((40, 3))
    twice = np.concatenate([x, x[:repeated], x[:repeated]])
    assert maximum_likelihood(twice, 5) == maximum_likelihood(x, 5)
    assert maximum_likelihood(twice, 5).samples == 40


def test_points_close_together_and_far_from_the_rest_keep_their_digits():
    # in 20 dimensions, where the search squares and subtracts
    x = cube(200, 20)
    near, far = 1e-6 * x, 1e-6 * x + 1
    both = maximum_likelihood(np.concatenate([near, far]), 5)
    alone = maximum_likelihood(x, 5)
    assert both.dimension == pytest.approx(alone.dimension, rel=0.01)


# Input


def test_tensors_images_and_whole_numbers_are_taken():
    x = torch.rand(50, 1, 4, 4, requires_grad=True)
    flat = x.detach().flatten(1).numpy()
    assert two_nn(x) == two_nn(flat)
    assert isinstance(two_nn(x), IntrinsicDimension)
    assert all(isinstance(value, float) for value in two_nn(x)[:2])
    bytes_ = np.random.default_rng(0).integers(0, 256, (50, 6)).astype(np.uint8)
    assert two_nn(bytes_) == two_nn(bytes_.astype(float))
    before = flat.copy()
    two_nn(flat)
    np.testing.assert_array_equal(flat, before)


@pytest.mark.parametrize(
    ("x", "k", "message"),
    [
        (
            np.zeros(5),
            2,
            r"got data of shape \(5,\), expected \(samples, \.\.\.\)",
        ),
        (np.zeros((0, 3)), 2, "got no data"),
        (np.array([["a"]] * 5), 2, "expected numbers"),
        (np.full((5, 2), math.nan), 2, "NaN or infinite values"),
        (np.full((5, 2), math.inf), 2, "NaN or infinite values"),
        (cube(10, 2), 1, "got k=1, expected a whole number from 2 to 9: change k, "),
        (cube(10, 2), 10, "got k=10, expected a whole number from 2 to 9: change k,"),
        (cube(10, 2), 2.5, "got k=2.5, expected a whole number"),
        (cube(10, 2), math.nan, "got k=nan, expected a whole number"),
        (np.ones((10, 2)), 2, "got k=2, expected a whole number from 2 to 0: change k, "),
        (np.array([[0.0], [1e-200], [1], [-1]]), 2, "less than double precision resolves"),
        (np.eye(10), 3, "3 nearest neighbours at one distance, as on a grid; expected points"),
    ],
)
def test_what_has_no_dimension_is_refused(x, k, message):
    with pytest.raises(ValueError, match=message):
        maximum_likelihood(x, k)
