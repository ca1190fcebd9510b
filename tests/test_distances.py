import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import distributions

from aebook.distances import (
    DiscretisedLogistic,
    Gaussian,
    bernoulli,
    categorical,
    squared_error,
)

F64 = torch.float64
SHAPES = [(5,), (5, 7), (4, 2, 3, 3)]


def per_sample(values):
    """Sum over everything but the first axis, without reshaping."""
    return torch.stack([value.sum() for value in values])


@pytest.mark.parametrize("shape", SHAPES)
def test_squared_error_is_the_squared_norm_of_each_difference(shape):
    x, y = torch.randn(2, *shape, dtype=F64)
    expected = torch.stack(
        [torch.linalg.vector_norm(a - b) ** 2 for a, b in zip(x, y, strict=True)]
    )
    torch.testing.assert_close(squared_error(x, y), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_bernoulli_is_the_negative_log_probability_of_binary_targets(shape):
    mean = torch.rand(shape, dtype=F64)
    x = torch.bernoulli(torch.full(shape, 0.4, dtype=F64))
    expected = -per_sample(distributions.Bernoulli(mean).log_prob(x))
    torch.testing.assert_close(bernoulli(mean, x), expected)


def test_bernoulli_of_grey_targets_is_the_cross_entropy_and_least_at_the_target():
    x = torch.rand(3, 6, dtype=F64)
    mean = torch.rand(3, 6, dtype=F64)
    expected = [
        -sum(
            a * math.log(m) + (1 - a) * math.log(1 - m)
            for a, m in zip(row.tolist(), means.tolist(), strict=True)
        )
        for row, means in zip(x, mean, strict=True)
    ]
    torch.testing.assert_close(bernoulli(mean, x), torch.tensor(expected, dtype=F64))
    # Gibbs: the cross-entropy exceeds the entropy by the divergence, which is at least zero
    assert (bernoulli(mean, x) > bernoulli(x, x)).all()


def test_bernoulli_of_a_confident_mistake_is_100_nats_a_pixel_with_a_finite_gradient():
    wrong = torch.tensor([[0.0, 1.0], [0.0, 0.0]], requires_grad=True)
    value = bernoulli(wrong, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    assert value.tolist() == [200.0, 0.0]
    value.sum().backward()
    assert wrong.grad.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [1e-3, 1.0, 50.0])
def test_gaussian_is_the_negative_log_density(shape, sigma):
    mean, x = torch.randn(2, *shape, dtype=F64)
    expected = -per_sample(distributions.Normal(mean, sigma).log_prob(x))
    # of an untouched module: its sigma is kept in double once the module is
    torch.testing.assert_close(Gaussian(sigma).double()(mean, x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("index", [False, True])
def test_categorical_is_the_negative_log_probability_of_the_classes(index):
    logits = torch.randn(4, 6, 5, dtype=F64)
    classes = torch.randint(5, (4, 6))
    expected = -per_sample(distributions.Categorical(logits=logits).log_prob(classes))
    one_hot = torch.eye(5, dtype=F64)[classes]
    torch.testing.assert_close(categorical(logits, classes if index else one_hot), expected)


def test_categorical_leaves_out_the_class_to_ignore_whatever_its_logits():
    torch.manual_seed(0)
    logits, classes = torch.randn(2, 3, 4), torch.tensor([[1, 3, 0], [2, 0, 0]])
    each = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), classes.flatten(), reduction="none", ignore_index=0
    )
    expected = each.view(2, 3).sum(1)
    torch.testing.assert_close(categorical(logits, classes, ignore=0), expected)
    # a class that can never come: its logarithm is infinite and its gradient zero
    logits[..., 0] = -torch.inf
    logits.requires_grad_()
    categorical(logits, classes, ignore=0).sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[1, 1:] == 0).all()


def test_categorical_takes_one_class_a_sample_and_ignores_a_shift_of_the_logits():
    logits = torch.randn(4, 3, dtype=F64)
    classes = torch.tensor([0, 2, 1, 1])
    expected = torch.nn.functional.cross_entropy(logits, classes, reduction="none")
    torch.testing.assert_close(categorical(logits, classes), expected)
    torch.testing.assert_close(categorical(logits + 1e4, classes), expected)


def test_optimal_gaussian_has_the_gradient_and_value_of_half_d_log_mse():
    x = torch.randn(8, 5, dtype=F64)
    y = torch.randn(8, 5, dtype=F64, requires_grad=True)
    value = Gaussian(kind="optimal").double()(y, x).mean()
    mse = (y - x).square().mean()
    # with the optimal variance put in, the exponent is one half a dimension
    torch.testing.assert_close(value, 5 / 2 * (2 * math.pi * mse).log() + 5 / 2)
    (actual,) = torch.autograd.grad(value, y)
    (expected,) = torch.autograd.grad(5 / 2 * mse.log(), y)
    torch.testing.assert_close(actual, expected)


def test_optimal_gaussian_beats_every_fixed_sigma_on_the_batch():
    y, x = torch.randn(2, 8, 5, dtype=F64)
    best = Gaussian(kind="optimal").double()(y, x).mean()
    others = [Gaussian(s).double()(y, x).mean() for s in (0.5, 1.0, 1.2, 1.4, 1.6, 3.0)]
    assert best <= min(others)


def test_optimal_gaussian_keeps_a_running_variance_that_evaluation_uses_and_leaves_alone():
    gaussian = Gaussian(2.0, kind="optimal").double()
    variance = 4.0
    for size in (1.0, 3.0, 0.5):
        gaussian(torch.zeros(2, 3, dtype=F64), torch.full((2, 3), size, dtype=F64))
        variance = 0.9 * variance + 0.1 * size**2
        assert gaussian.sigma.item() == pytest.approx(math.sqrt(variance), rel=1e-6)
    gaussian.eval()
    y, x = torch.randn(2, 4, 3, dtype=F64)
    expected = -per_sample(distributions.Normal(y, math.sqrt(variance)).log_prob(x))
    torch.testing.assert_close(gaussian(y, x), expected, rtol=1e-5, atol=1e-5)
    assert gaussian.sigma.item() == pytest.approx(math.sqrt(variance), rel=1e-6)
    assert "log_sigma" in gaussian.state_dict()
    assert not list(gaussian.parameters())


def test_learned_sigma_converges_to_the_root_mean_squared_error():
    gaussian = Gaussian(1.0, kind="learned").double()
    y, x = torch.randn(2, 50, 4, dtype=F64)
    optimiser = torch.optim.LBFGS(gaussian.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = gaussian(y, x).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert gaussian.sigma.item() == pytest.approx((y - x).square().mean().sqrt().item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["fixed", "learned", "optimal"])
def test_gaussian_of_a_perfect_reconstruction_is_finite(kind):
    x = torch.randn(4, 3)
    assert Gaussian(1e-4, kind=kind)(x, x).isfinite().all()


def test_optimal_gaussian_takes_double_precision_without_being_converted():
    y, x = torch.randn(2, 4, 3, dtype=F64)
    value = Gaussian(kind="optimal")(y, x).mean()
    expected = 3 / 2 * (2 * math.pi * (y - x).square().mean()).log() + 3 / 2
    torch.testing.assert_close(value, expected)


def test_an_optimal_gaussian_of_large_values_stays_finite_in_single_precision():
    y, x = torch.randn(2, 4, 3)
    assert Gaussian(kind="optimal")(1e15 * y, 1e15 * x).isfinite().all()


@given(st.integers(1, 5), st.lists(st.integers(1, 4), min_size=0, max_size=3))
def test_every_distance_gives_one_finite_value_a_sample(batch, message):
    x = torch.rand(batch, *message)
    y = torch.rand(batch, *message)
    for distance in (squared_error, bernoulli, Gaussian(), Gaussian(kind="optimal")):
        value = distance(y, x)
        assert value.shape == (batch,)
        assert value.isfinite().all()
    logits = torch.randn(batch, *message, 3)
    assert categorical(logits, torch.zeros(batch, *message, dtype=torch.long)).shape == (batch,)


@given(st.integers(0, 2**31))
def test_a_sample_has_the_same_distance_in_any_batch(seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(2, 6, 4, generator=generator, dtype=F64)
    for distance in (squared_error, bernoulli, Gaussian(0.3).double()):
        alone = torch.cat([distance(b[None], a[None]) for a, b in zip(x, y, strict=True)])
        torch.testing.assert_close(distance(y, x), alone)


@pytest.mark.parametrize("distance", [squared_error, bernoulli, Gaussian()])
def test_shapes_that_would_broadcast_are_refused(distance):
    with pytest.raises(ValueError, match=r"got a target of shape \(3, 1\).*\(3, 4\).*same shape"):
        distance(torch.rand(3, 4), torch.rand(3, 1))


@pytest.mark.parametrize("distance", [squared_error, bernoulli, Gaussian()])
def test_bytes_as_targets_are_refused_with_the_cure(distance):
    with pytest.raises(ValueError, match=r"got a target of dtype torch\.uint8.*float\(\) / 255"):
        distance(torch.rand(2, 3), torch.zeros(2, 3, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("reconstruction", "target", "message"),
    [
        (0.5, 1.5, r"got a target with values from 1\.5 to 1\.5.*\[0, 1\]: scale the data"),
        (0.5, -0.25, r"got a target with values from -0\.25"),
        (0.5, math.nan, r"got a target with values from nan"),
        (1.25, 0.5, r"got a reconstruction with values from 1\.25.*end the decoder in a sigmoid"),
        (-3.0, 0.5, r"got a reconstruction with values from -3"),
    ],
)
def test_bernoulli_refuses_values_outside_the_unit_interval(reconstruction, target, message):
    with pytest.raises(ValueError, match=message):
        bernoulli(torch.full((2, 3), reconstruction), torch.full((2, 3), target))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 3), r"shape \(2, 3\) for logits of shape \(2, 5\); expected \(2,\)")],
)
def test_categorical_refuses_classes_of_the_wrong_shape(shape, message):
    with pytest.raises(ValueError, match=message):
        categorical(torch.randn(2, 5), torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("wrong", [-1, 5])
def test_categorical_refuses_classes_that_the_logits_lack(wrong):
    with pytest.raises(ValueError, match=rf"got classes from .*{wrong}.*, expected 0 to 4"):
        categorical(torch.randn(2, 5), torch.tensor([wrong, 2]))


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan])
def test_gaussian_refuses_a_sigma_that_is_none(sigma):
    with pytest.raises(ValueError, match=r"got sigma=.*expected a finite number above 0"):
        Gaussian(sigma)


def test_gaussian_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match=r"got kind='best', expected 'fixed', 'learned'"):
        Gaussian(kind="best")


# Grey levels ---------------------------------------------------------------------------------

GREY = st.tuples(st.integers(2, 300), st.floats(-3, 3), st.floats(-9, 9))


@given(GREY)
def test_every_level_has_a_probability_and_they_sum_to_one(case):
    levels, mean, log_scale = case
    given = torch.tensor([[mean, log_scale]], dtype=F64)
    p = DiscretisedLogistic(levels).probabilities(given)
    assert p.shape == (1, 1, levels)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(-1), torch.ones(1, 1, dtype=F64))
    scale = math.exp(min(max(log_scale, -7), 7))
    edges = np.r_[-np.inf, (np.arange(1, levels) - 0.5) / (levels - 1), np.inf]
    expected = np.diff(stats.logistic(mean, scale).cdf(edges))
    np.testing.assert_allclose(p[0, 0].numpy(), expected, atol=1e-12)


@given(GREY)
def test_the_logistic_distance_is_the_negative_logarithm_of_that_probability(case):
    levels, mean, log_scale = case
    distance = DiscretisedLogistic(levels)
    given = torch.tensor([[mean, log_scale]], dtype=F64).expand(levels, 2)
    value = distance(given, torch.linspace(0, 1, levels, dtype=F64)[:, None])
    p = distance.probabilities(given[:1])[0, 0]
    torch.testing.assert_close(value[p > 0], -p[p > 0].log(), rtol=1e-9, atol=1e-9)
    assert value.isfinite().all()
    # far from the mean the tail is an exponential, and not 0
    far = distance(torch.tensor([[-3.0, -7.0]]), torch.tensor([[1.0]]))
    assert far.item() == pytest.approx((4 - 0.5 / (levels - 1)) * math.exp(7), rel=1e-3)


def test_the_logistic_distance_takes_images_and_sums_over_them():
    distance, x = DiscretisedLogistic(), torch.randint(256, (4, 2, 3, 5)) / 255
    halves = torch.randn(4, 2, 3, 5), torch.randn(4, 2, 3, 5)
    value = distance(torch.cat(halves, 1), x)
    flat = distance(torch.cat([h.flatten(1) for h in halves], 1), x.flatten(1))
    torch.testing.assert_close(value, flat)
    p = distance.probabilities(torch.cat(halves, 1))
    assert p.shape == (4, 2, 3, 5, 256)
    chosen = p.gather(-1, (255 * x).round().long().unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(value, -per_sample(chosen.log()))


def test_gradients_of_the_logistic_distance_are_those_of_differences():
    given = torch.randn(3, 8, dtype=F64, requires_grad=True)
    x = torch.randint(256, (3, 4)).double() / 255
    x[0] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert torch.autograd.gradcheck(lambda g: DiscretisedLogistic()(g, x), given)


@pytest.mark.parametrize(
    ("distance", "given", "x", "said"),
    [
        (DiscretisedLogistic(), torch.zeros(2, 6), torch.full((2, 3), 0.5), "256 levels"),
        (DiscretisedLogistic(), torch.zeros(2, 6), torch.full((2, 3), 2.0), "256 levels"),
        (DiscretisedLogistic(), torch.zeros(2, 6), torch.full((2, 3), math.nan), "256 levels"),
        (DiscretisedLogistic(3), torch.zeros(2, 6), torch.full((2, 3), 1 / 255), "3 levels"),
        (DiscretisedLogistic(), torch.zeros(2, 6), torch.ones(2, 3, dtype=torch.int), "dtype"),
        (DiscretisedLogistic(), torch.zeros(2, 3), torch.zeros(2, 3), "means, and then log"),
        (DiscretisedLogistic(), torch.zeros(2, 6), torch.zeros(2, 6), "same shape"),
    ],
    ids=["between", "beyond", "nan", "other", "whole", "odd", "shape"],
)
def test_what_is_no_grey_level_is_refused(distance, given, x, said):
    with pytest.raises(ValueError, match=said):
        distance(given, x)


@pytest.mark.parametrize("levels", [1, 0, 2.5, True, "256"])
def test_levels_are_two_or_more(levels):
    with pytest.raises(ValueError, match="levels"):
        DiscretisedLogistic(levels)
