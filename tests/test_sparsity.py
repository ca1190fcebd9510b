import math

import pytest
import torch
from torch import nn

import aebook
from aebook.penalties import activity, sparsity


def seen(h, *others):
    """A pass whose encoder gave these activations, the last of which is the code."""
    layers = (h, *others)
    return aebook.core.Pass(None, None, None, layers, layers[-1], None)


def divergence(target, mean):
    p = torch.distributions.Bernoulli(torch.tensor(target, dtype=torch.float64))
    q = torch.distributions.Bernoulli(mean)
    return torch.distributions.kl_divergence(p, q)


ORACLES = {
    "kl": divergence,
    "l1": lambda target, mean: (mean - target).abs(),
    "l2": lambda target, mean: (mean - target) ** 2,
}


@pytest.mark.parametrize("target", [0.05, 0.3])
@pytest.mark.parametrize("kind", ORACLES)
def test_over_data_sums_the_distance_of_each_units_mean_over_the_batch(kind, target):
    h = torch.rand(7, 4, dtype=torch.float64)
    expected = sum(ORACLES[kind](target, h[:, j].mean()) for j in range(4))
    found = sparsity(target, kind, "data")(seen(h))
    assert found.shape == ()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("target", [0.05, 0.3])
@pytest.mark.parametrize("kind", ORACLES)
def test_over_units_takes_each_samples_mean_over_the_units(kind, target):
    h = torch.rand(7, 4, dtype=torch.float64)
    expected = torch.stack([ORACLES[kind](target, row.mean()) for row in h])
    found = sparsity(target, kind, "units")(seen(h))
    assert found.shape == (7,)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("over", ["data", "units"])
@pytest.mark.parametrize("kind", ORACLES)
def test_gradients_against_finite_differences(kind, over):
    h = (0.1 + 0.8 * torch.rand(3, 4, dtype=torch.float64)).requires_grad_()
    torch.autograd.gradcheck(lambda h: sparsity(0.2, kind, over)(seen(h)), h)


def test_one_unit_of_twenty_always_on_is_right_for_samples_and_wrong_for_units():
    h = torch.zeros(50, 20, dtype=torch.float64)
    h[:, 0] = 1
    for kind in ORACLES:
        assert sparsity(0.05, kind, "units")(seen(h)).abs().max() < 1e-12
    # each unit is on for one sample in twenty: right in both senses
    fair = torch.eye(20, dtype=torch.float64)
    for kind in ORACLES:
        assert sparsity(0.05, kind, "data")(seen(fair)) < 1e-12
    # 0.95 for the unit that is always on, 0.05 for each of the nineteen that are always off
    assert sparsity(0.05, "l1", "data")(seen(h)).item() == pytest.approx(0.95 + 19 * 0.05)
    assert sparsity(0.05, "kl", "data")(seen(h)) > 10


def test_kl_is_finite_where_units_are_always_off_or_always_on():
    h = torch.tensor([[0.0, 1.0], [0.0, 1.0]], requires_grad=True)
    loss = sparsity(0.05)(seen(h))
    loss.backward()
    assert loss.isfinite()
    assert h.grad.isfinite().all()


def test_kl_of_the_right_mean_is_zero_and_positive_on_both_sides():
    for mean in (0.01, 0.2):
        assert sparsity(0.05)(seen(torch.full((4, 3), mean))) > 0
    assert sparsity(0.05)(seen(torch.full((4, 3), 0.05, dtype=torch.float64))) < 1e-12


@pytest.mark.parametrize("layer", [None, 0, 1, -1, -2])
def test_layers_are_counted_from_the_first_or_from_the_last(layer):
    first, code = torch.rand(5, 3), torch.rand(5, 2)
    h = code if layer in (None, 1, -1) else first
    both = seen(first, code)
    torch.testing.assert_close(activity("l1", layer)(both), h.abs().sum(1))
    torch.testing.assert_close(
        sparsity(0.1, "l2", "units", layer)(both), (h.mean(1) - 0.1).square()
    )


def test_the_code_is_what_the_bottleneck_leaves_and_a_layer_is_what_it_takes():
    objective = aebook.variants.k_sparse((6, 9), 2)
    x, h = torch.rand(4, 6), objective.model.encoder(torch.rand(4, 6))
    h = objective.model.encoder(x)
    code = objective.model.bottleneck(h)
    for layer, expected in ((None, code), (-1, h)):
        with_penalty = aebook.Objective(
            objective.model, penalties={"size": (1.0, activity("l1", layer))}
        )
        found = with_penalty.per_sample(x)["size"]
        torch.testing.assert_close(found, expected.abs().sum(1))


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("l1", lambda h: sum(map(abs, h))),
        ("l2", lambda h: math.hypot(*h)),
        ("squared", lambda h: sum(v * v for v in h)),
    ],
)
def test_activity_is_a_norm_or_its_square_with_one_value_a_sample(kind, size):
    h = torch.randn(4, 3, 2, dtype=torch.float64)
    expected = [size(row.flatten().tolist()) for row in h]
    assert activity(kind)(seen(h)).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["l1", "l2", "squared"])
def test_gradient_steps_on_a_penalty_arrive_where_its_proximal_map_says(kind):
    # min ½‖h − a‖² + λ Ω(h): soft thresholds, a shorter code or none, a smaller code
    a, weight = torch.randn(30, 8, dtype=torch.float64), 2.5
    h = a.clone().requires_grad_()
    optimiser = torch.optim.SGD([h], lr=1.0)
    for step in range(4000):
        optimiser.param_groups[0]["lr"] = 0.2 / (1 + step / 20)
        optimiser.zero_grad()
        loss = (h - a).square().sum() / 2 + weight * activity(kind)(seen(h)).sum()
        loss.backward()
        optimiser.step()
    expected = {
        "l1": a.sign() * (a.abs() - weight).clamp(min=0),
        "l2": a * (1 - weight / a.norm(dim=1, keepdim=True)).clamp(min=0),
        "squared": a / (1 + 2 * weight),
    }[kind]
    assert 0 < (expected == 0).all(1).sum() < len(a) or kind == "squared"
    torch.testing.assert_close(h.detach(), expected, atol=0.02, rtol=0)


def test_a_code_of_zeros_has_a_gradient_under_the_norm():
    h = torch.zeros(2, 3, requires_grad=True)
    activity("l2")(seen(h)).sum().backward()
    assert not h.grad.any()


def test_every_layer_has_a_weight_and_a_target_of_its_own():
    objective = aebook.variants.sparse((6, 5, 9), [0.5, 2.0], target=[0.1, 0.3])
    x = torch.rand(8, 6)
    layers, terms = objective.model.encoder.layers(x), objective(x).terms
    for k, (weight, target) in enumerate([(0.5, 0.1), (2.0, 0.3)]):
        expected = weight * divergence(target, layers[k].mean(0).double()).sum()
        assert terms[f"sparsity_{k + 1}"].item() == pytest.approx(expected.item(), rel=1e-4)
    objective.set_weight("sparsity_2", 0)
    assert objective(x).terms["sparsity_2"] == 0


def test_one_weight_and_target_serve_all_layers_and_one_layer_needs_no_number():
    deep = aebook.variants.sparse((6, 5, 9), 0.5, target=0.2, kind="l2")
    assert [float(deep.weight(f"sparsity_{k}")) for k in (1, 2)] == [0.5, 0.5]
    assert list(aebook.variants.sparse((6, 9), 0.5).penalties) == ["sparsity"]


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_without_a_target_the_penalty_is_the_size_of_the_activities(kind):
    objective = aebook.variants.sparse((6, 9), 0.5, target=None, kind=kind, activation=nn.ReLU)
    x = torch.rand(4, 6)
    h = objective.model.encoder(x)
    expected = 0.5 * h.norm(1 if kind == "l1" else 2, dim=1)
    torch.testing.assert_close(objective.per_sample(x)["sparsity"], expected)


@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize("over", ["data", "units"])
def test_training_brings_the_mean_activity_to_the_target(kind, over):
    objective = aebook.variants.sparse((6, 9), 100.0, target=0.2, kind=kind, over=over)
    x = torch.rand(64, 6)
    before = objective.model.encoder(x).mean().item()
    aebook.fit(objective, x, epochs=40, batch_size=32, lr=3e-2)
    assert abs(before - 0.2) > 0.2
    assert objective.model.encode(x).mean().item() == pytest.approx(0.2, abs=0.05)


def test_misuse_is_refused_with_advice():
    for target in (0, 1, -0.1, math.nan):
        with pytest.raises(ValueError, match=r"expected a (mean activity|finite number)"):
            sparsity(target)
    with pytest.raises(ValueError, match="expected 'kl', 'l1' or 'l2'"):
        sparsity(kind="l3")
    with pytest.raises(ValueError, match="expected 'data' or 'units'"):
        sparsity(over="both")
    with pytest.raises(ValueError, match="got kind='l3', expected 'l1', 'l2' or 'squared'"):
        activity("l3")
    with pytest.raises(ValueError, match="got layer=2 for an encoder with 2 layers"):
        activity("l1", 2)(seen(torch.rand(2, 3), torch.rand(2, 3)))
    with pytest.raises(ValueError, match="end the layer in a sigmoid"):
        sparsity()(seen(torch.tensor([[1.5, 0.2]])))
    with pytest.raises(ValueError, match="without a target"):
        aebook.variants.sparse((6, 9), 0.5, target=None)
    with pytest.raises(ValueError, match="got 3 values of weight, expected one for each"):
        aebook.variants.sparse((6, 5, 9), [1, 2, 3])
    with pytest.raises(ValueError, match="got 1 values of target, expected one for each"):
        aebook.variants.sparse((6, 5, 9), 1, target=[0.1])
