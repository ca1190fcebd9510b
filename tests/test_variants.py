import pytest
import torch
from torch import nn

import aebook
from aebook.distances import bernoulli


def parts(chain):
    return [type(module) for layer in chain for module in layer]


def test_plain_mirrors_its_widths_with_a_linear_code_and_a_sigmoid_at_the_end():
    model = aebook.variants.plain((7, 5, 2)).model
    assert parts(model.encoder) == [nn.Linear, nn.ReLU, nn.Linear]
    assert parts(model.decoder) == [nn.Linear, nn.ReLU, nn.Linear, nn.Sigmoid]
    shapes = [tuple(p.shape) for p in model.parameters() if p.dim() == 2]
    assert shapes == [(5, 7), (2, 5), (5, 2), (7, 5)]


def test_plain_takes_activations_and_a_distance():
    objective = aebook.variants.plain(
        (7, 5, 2), activation=nn.Tanh, code=nn.Sigmoid, output=None, distance=torch.dist
    )
    assert parts(objective.model.encoder) == [nn.Linear, nn.Tanh, nn.Linear, nn.Sigmoid]
    assert parts(objective.model.decoder) == [nn.Linear, nn.Tanh, nn.Linear]
    assert objective.distance is torch.dist


def test_plain_with_bernoulli_is_trainable():
    objective = aebook.variants.plain((7, 2), distance=bernoulli)
    loss = objective(torch.rand(3, 7))
    loss.total.backward()
    assert all(p.grad.isfinite().all() for p in objective.parameters())


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", [(6, 2), (6, 4, 2)])
def test_linear_is_affine_of_the_rank_of_its_code(widths, bias, tied):
    model = aebook.variants.linear(widths, bias=bias, tied=tied).double().model.eval()
    x = torch.randn(20, 6, dtype=torch.float64)
    a, b = torch.randn(2, dtype=torch.float64)
    origin = model(torch.zeros(1, 6, dtype=torch.float64))
    torch.testing.assert_close(
        model(a * x[:10] + b * x[10:]) - origin,
        a * (model(x[:10]) - origin) + b * (model(x[10:]) - origin),
    )
    assert torch.linalg.matrix_rank(model(x) - origin) == 2
    if not bias:
        assert not origin.any()


@pytest.mark.parametrize("make", [aebook.variants.plain, aebook.variants.linear])
def test_tied_variants_have_half_the_weights(make):
    free, tied = make((6, 4, 2)), make((6, 4, 2), tied=True)
    count = lambda o: sum(p.numel() for p in o.parameters() if p.dim() == 2)  # noqa: E731
    assert count(free) == 2 * count(tied)


@pytest.mark.parametrize("make", [aebook.variants.plain, aebook.variants.linear])
def test_variants_refuse_a_single_width(make):
    with pytest.raises(ValueError, match="expected at least 2 whole numbers"):
        make((784,))
