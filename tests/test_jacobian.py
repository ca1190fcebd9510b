import copy
import functools
import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, jacrev, vmap

import aebook
from aebook import corruptions, penalties
from aebook.jacobian import ELEMENTWISE, jacobian, squared_norm
from aebook.networks import convolutional, mlp

F64 = torch.float64


def oracle(encoder, x):
    """Jacobians by torch.func, (B, p, m)."""
    one = lambda v: encoder(v[None])[0].flatten()  # noqa: E731
    return vmap(jacrev(one))(x).flatten(2)


def oracle_norm(encoder, x):
    return oracle(encoder, x).square().sum((1, 2))


def gradients(value, encoder):
    found = torch.autograd.grad(value.sum(), list(encoder.parameters()), allow_unused=True)
    shapes = [p for p in encoder.parameters()]
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, shapes, strict=True)]


def same_value_and_gradient(encoder, x):
    norm, expected = squared_norm(encoder, x), oracle_norm(encoder, x)
    torch.testing.assert_close(norm, expected)
    if expected.requires_grad:
        pairs = zip(gradients(norm, encoder), gradients(expected, encoder), strict=True)
        for got, wanted in pairs:
            torch.testing.assert_close(got, wanted)


activation = st.sampled_from([None, nn.Sigmoid, nn.Tanh, nn.ReLU, nn.SiLU, nn.ELU, nn.Softplus])


@given(st.lists(st.integers(1, 7), min_size=2, max_size=5), activation, activation, st.booleans())
def test_exact_is_jacrev_for_any_shape_with_the_same_gradient(widths, hidden, code, bias):
    torch.manual_seed(sum(widths))
    encoder = mlp(widths, activation=hidden, output=code, bias=bias).double()
    same_value_and_gradient(encoder, torch.randn(3, widths[0], dtype=F64))


IN_PLACE = [k for k in ELEMENTWISE if "inplace" in inspect.signature(k.__init__).parameters]


@pytest.mark.parametrize(
    "kind", [*ELEMENTWISE, *(functools.partial(k, inplace=True) for k in IN_PLACE)]
)
def test_every_activation_has_the_slope_that_autograd_gives(kind):
    encoder = mlp((4, 6, 3), activation=kind, output=kind).double()
    same_value_and_gradient(encoder, 2 * torch.randn(5, 4, dtype=F64))


def test_a_sequence_of_ones_own_with_two_activations_in_a_row():
    encoder = nn.Sequential(
        nn.Linear(4, 5), nn.Softplus(), nn.Tanh(), nn.Sequential(nn.Linear(5, 2), nn.Identity())
    ).double()
    same_value_and_gradient(encoder, torch.randn(3, 4, dtype=F64))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        h = self.a(x.flatten(1)).sin()
        return self.b(h) * h[:, :1]


@pytest.mark.parametrize(
    ("encoder", "shape"),
    [
        (convolutional((1, 6, 5), (2, 3), 4, activation=nn.Tanh)[0], (1, 6, 5)),
        (Own(), (2, 3)),
        (nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Sigmoid()), (6,)),
        (nn.Sequential(nn.Linear(6, 4), nn.Softmax(-1)), (6,)),
        (nn.Sequential(nn.Linear(3, 2), nn.Tanh()), (2, 3)),
    ],
)
def test_any_other_encoder_goes_through_autograd(encoder, shape):
    encoder = copy.deepcopy(encoder).double()
    same_value_and_gradient(encoder, torch.randn(3, *shape, dtype=F64))


def test_a_hook_may_change_an_output_and_is_heeded():
    encoder = mlp((4, 3, 2), activation=nn.Tanh).double()
    encoder[0].register_forward_hook(lambda module, args, output: output.sin())
    same_value_and_gradient(encoder, torch.randn(3, 4, dtype=F64))


def test_weights_that_are_parametrised_are_those_that_the_encoder_uses():
    encoder = mlp((4, 3, 2), activation=nn.Tanh).double()
    nn.utils.parametrizations.weight_norm(encoder[0][0])
    same_value_and_gradient(encoder, torch.randn(3, 4, dtype=F64))


def test_one_layer_is_the_closed_form_of_the_paper():
    encoder = mlp((6, 4), output=nn.Sigmoid).double()
    x = torch.randn(5, 6, dtype=F64)
    h, weight = encoder(x), encoder[0][0].weight
    expected = torch.zeros(5, dtype=F64)
    for n in range(5):
        for i in range(4):
            slope = h[n, i] * (1 - h[n, i])
            expected[n] += slope**2 * sum(weight[i, j] ** 2 for j in range(6))
    torch.testing.assert_close(squared_norm(encoder, x), expected)


@pytest.mark.parametrize("widths", [(7, 4, 3), (3, 6, 8), (7, 5, 4, 3)])
@pytest.mark.parametrize("code", [None, nn.Sigmoid])
def test_the_penalty_can_be_differentiated_twice_more(widths, code):
    encoder = mlp(widths, activation=nn.Tanh, output=code).double()
    x = torch.randn(2, widths[0], dtype=F64)
    names, values = zip(*encoder.named_parameters(), strict=True)

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, x):
            return squared_norm(self.encoder, x)

    def of_weights(*weights):
        found = dict(zip((f"encoder.{name}" for name in names), weights, strict=True))
        return functional_call(Norm(), found, (x,))

    assert gradcheck(of_weights, values)
    assert gradgradcheck(of_weights, values)


def test_the_gradient_in_the_message_is_that_of_jacrev():
    encoder = mlp((5, 4, 3), activation=nn.SiLU, output=nn.Tanh).double()
    x = torch.randn(3, 5, dtype=F64, requires_grad=True)
    (got,) = torch.autograd.grad(squared_norm(encoder, x).sum(), x)
    (expected,) = torch.autograd.grad(oracle_norm(encoder, x).sum(), x)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("kind", ["exact", "hutchinson"])
def test_it_works_without_gradients_and_with_frozen_weights(kind, other):
    encoder = Own() if other else mlp((6, 4, 3), activation=nn.SiLU, output=nn.ELU)
    x = torch.randn(5, 6)
    torch.manual_seed(1)
    expected = squared_norm(encoder, x, kind)
    with torch.no_grad():
        torch.manual_seed(1)
        got = squared_norm(encoder, x, kind)
    assert expected.requires_grad
    assert not got.requires_grad
    torch.testing.assert_close(got, expected.detach())
    torch.manual_seed(1)
    frozen = squared_norm(encoder.requires_grad_(False), x, kind)
    torch.testing.assert_close(frozen.detach(), expected.detach())
    assert not x.requires_grad


def test_jacobians_are_those_of_jacrev():
    encoder = convolutional((1, 6, 5), (2,), 4)[0].double().eval()
    x = torch.randn(3, 1, 6, 5, dtype=F64)
    got = jacobian(encoder, x)
    assert got.shape == (3, 4, 30)
    assert not got.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(jacobian(encoder, x), oracle(encoder, x))


# the estimate


@pytest.mark.parametrize("other", [False, True])
def test_the_estimate_is_unbiased_with_the_variance_of_random_signs(other):
    encoder = (Own() if other else mlp((6, 5, 3), activation=nn.Tanh)).double()
    x = torch.randn(1, 6, dtype=F64)
    gram = oracle(encoder, x)[0] @ oracle(encoder, x)[0].T
    # vᵀAv with random signs has variance 2 (‖A‖² - Σ a_ii²) about tr A
    variance = 2 * (gram.square().sum() - gram.diagonal().square().sum())
    n = 20_000
    drawn = squared_norm(encoder, x.expand(n, 6), "hutchinson").detach()
    assert abs(drawn.mean() - gram.trace()) < 4 * (variance / n).sqrt()
    assert drawn.var().item() == pytest.approx(variance.item(), rel=0.1)
    averaged = squared_norm(encoder, x.expand(n // 5, 6), "hutchinson", 5).detach()
    assert averaged.var().item() == pytest.approx(variance.item() / 5, rel=0.15)


@pytest.mark.parametrize("other", [False, True])
def test_the_gradient_of_the_estimate_is_unbiased_too(other):
    encoder = (Own() if other else mlp((6, 5, 3), activation=nn.Tanh, output=nn.Tanh)).double()
    x = torch.randn(2, 6, dtype=F64)
    many = x.repeat_interleave(10_000, 0)
    got = gradients(squared_norm(encoder, many, "hutchinson") / 10_000, encoder)
    expected = gradients(oracle_norm(encoder, x), encoder)
    for g, e in zip(got, expected, strict=True):
        assert (g - e).norm() <= 0.05 * max(e.norm(), 0.1)


def test_one_code_unit_leaves_the_estimate_nothing_to_guess():
    encoder = mlp((6, 4, 1), activation=nn.ELU).double()
    x = torch.randn(5, 6, dtype=F64)
    torch.testing.assert_close(squared_norm(encoder, x, "hutchinson"), oracle_norm(encoder, x))


# in an objective


def test_an_objective_takes_the_norm_at_the_clean_messages():
    objective = aebook.variants.plain((6, 4, 3), activation=nn.Tanh, code=nn.Sigmoid)
    omega = {"contractive": (0.5, penalties.contractive())}
    both = aebook.Objective(objective.model, corruptions.masking(1.0), penalties=omega).double()
    x = torch.rand(5, 6, dtype=F64)
    expected = 0.5 * oracle_norm(objective.model.encoder, x)
    torch.testing.assert_close(both.per_sample(x)["contractive"], expected)


def test_the_bottleneck_plays_no_part():
    model = aebook.variants.k_sparse((6, 4), 1, activation=nn.Tanh).model
    omega = {"contractive": (1.0, penalties.contractive())}
    x = torch.rand(5, 6)
    value = aebook.Objective(model, penalties=omega).per_sample(x)["contractive"]
    torch.testing.assert_close(value, oracle_norm(model.encoder, x))


@pytest.mark.parametrize("kind", ["exact", "hutchinson"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_variant_contracts(kind, tied):
    x = torch.rand(256, 12)
    norms = {}
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        objective = aebook.variants.contractive((12, 8, 4), weight, kind=kind, tied=tied)
        history = aebook.fit(objective, x, epochs=20, lr=1e-2, validation=x, progress=False)
        assert set(history.terms) == {"loss", "distance", "contractive"}
        norms[weight] = oracle_norm(objective.model.encoder, x).mean().item()
    assert norms[1.0] < 0.7 * norms[0.0]


def test_a_tied_one_shares_its_weights_and_trains_through_them():
    objective = aebook.variants.contractive((12, 4), 0.1)
    assert sum(p.dim() == 2 for p in objective.parameters()) == 1
    x = torch.rand(64, 12)
    before = aebook.evaluate(objective, x)["loss"]
    aebook.fit(objective, x, epochs=20, lr=1e-2, progress=False)
    assert aebook.evaluate(objective, x)["loss"] < before


def test_a_denoising_contractive_k_sparse_model_trains_and_is_deterministic_afterwards():
    model = aebook.variants.k_sparse((12, 16, 8), 3, activation=nn.Tanh).model
    objective = aebook.Objective(
        model, corruptions.masking(0.25), penalties={"contractive": (0.1, penalties.contractive())}
    )
    x = torch.rand(256, 12)
    before = aebook.evaluate(objective, x)
    history = aebook.fit(objective, x, epochs=15, lr=1e-2, validation=x, progress=False)
    after = aebook.evaluate(objective, x)
    assert after["loss"] < before["loss"]
    assert set(history.validation_terms) == {"loss", "distance", "contractive"}
    codes = objective.model.encode(x)
    assert ((codes != 0).sum(1) <= 3).all()
    assert torch.equal(codes, objective.model.encode(x))


def test_it_trains_in_mixed_precision_and_is_computed_in_that_of_the_weights():
    objective = aebook.variants.contractive((12, 8, 4), 0.1)
    x = torch.rand(64, 12)
    aebook.fit(objective, x, epochs=1, precision=torch.bfloat16, progress=False)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = objective.per_sample(x)["contractive"]
    torch.testing.assert_close(mixed, 0.1 * oracle_norm(objective.model.encoder, x))


def test_batch_normalisation_is_refused():
    encoder = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Sigmoid())
    model = aebook.Autoencoder(encoder, mlp((4, 6)))
    with pytest.raises(ValueError, match=r"contractive with an encoder that has BatchNorm1d"):
        aebook.Objective(model, penalties={"contractive": (1.0, penalties.contractive())})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "rough"}, "got kind='rough', expected 'exact' or 'hutchinson'"),
        ({"kind": "hutchinson", "probes": 0}, "got probes=0, expected a whole number, 1 or more"),
        ({"probes": 2}, "got probes=2 with kind='exact'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        penalties.contractive(**arguments)
    with pytest.raises(ValueError, match=message):
        squared_norm(mlp((3, 2)), torch.rand(1, 3), **arguments)


def test_a_message_of_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match=r"expected \(batch, 3\)"):
        squared_norm(mlp((3, 2)), torch.rand(1, 4))
