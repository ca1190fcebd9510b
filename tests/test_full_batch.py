import copy
import itertools

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import aebook
from aebook.theory.linear import eckart_young, principal_angles, principal_components

F64 = torch.float64


def low_rank():
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(2, 200, 12, dtype=F64, generator=generator)
    return (left * torch.linspace(3, 0.3, 12)) @ right[:12] + 1


def digits():
    return torch.from_numpy(load_digits().data[:400]) / 16


@pytest.mark.parametrize("widths", ["shallow", "deep"])
@pytest.mark.parametrize("data", [low_rank, digits])
def test_linear_autoencoders_reach_the_floor_of_eckart_and_young(data, widths):
    x = data()
    m, p = x.shape[1], 4
    objective = aebook.variants.linear((m, p) if widths == "shallow" else (m, 8, p)).double()
    history = aebook.lbfgs(objective, x, tolerance=1e-8)
    floor = eckart_young(x, p)
    assert floor * (1 - 1e-12) <= history.loss[-1] <= floor * (1 + 1e-6)
    matrix, _ = aebook.theory.linear.affine(objective.model.decoder, p)
    angles = principal_angles(matrix, principal_components(x, p).components)
    # and of second order in the angle
    assert angles.max() < 1e-2


def test_a_sigmoid_code_with_a_linear_decoder_stays_above_the_floor():
    x = digits()
    objective = aebook.variants.plain((64, 3), code=nn.Sigmoid, output=None).double()
    history = aebook.lbfgs(objective, x, iterations=200, tolerance=1e-2)
    assert history.loss[-1] >= eckart_young(x, 3)


def test_the_last_entry_is_the_loss_at_the_weights_that_were_reached():
    x = low_rank()
    objective = aebook.variants.linear((x.shape[1], 3)).double()
    history = aebook.lbfgs(objective, x)
    assert history.loss[-1] == objective(x).total.item()
    assert history.loss == history.terms["distance"]
    assert not objective.training
    assert all(b <= a for a, b in zip(history.loss, history.loss[1:], strict=False))


def test_it_stops_at_the_first_round_of_20_that_gains_no_more_than_the_tolerance():
    x, tolerance = low_rank(), 1e-3
    objective = aebook.variants.linear((x.shape[1], 3)).double()
    loss = aebook.lbfgs(objective, x, tolerance=tolerance).loss
    falls = [(a - b) / b for a, b in itertools.pairwise(loss)]
    assert falls[-1] <= tolerance
    assert all(fall > tolerance for fall in falls[:-1])
    assert not any(p.grad is not None and p.grad.any() for p in objective.parameters())


def test_a_pair_maps_messages_to_targets():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(50, 3, dtype=F64, generator=generator)
    w = torch.randn(3, 4, dtype=F64, generator=generator)
    model = aebook.Autoencoder(aebook.networks.mlp((3, 3)), aebook.networks.mlp((3, 4)))
    objective = aebook.Objective(model).double()
    history = aebook.lbfgs(objective, (x, x @ w))
    assert history.loss[-1] < 1e-8
    torch.testing.assert_close(model(x), x @ w, rtol=0, atol=1e-3)


def test_running_out_of_iterations_is_said():
    objective = aebook.variants.linear((12, 3)).double()
    with pytest.warns(UserWarning, match=r"stopped after 5 iterations.*allow more iterations"):
        aebook.lbfgs(objective, torch.rand(30, 12, dtype=F64), iterations=5)


@pytest.mark.filterwarnings("ignore:L-BFGS stopped")
@pytest.mark.parametrize("iterations", [1, 7, 25])
def test_no_more_iterations_than_asked_are_run(iterations, monkeypatch):
    x = torch.rand(30, 12, dtype=F64)
    objective = aebook.variants.plain((12, 3)).double()
    other = copy.deepcopy(objective)
    made = []
    original = torch.optim.LBFGS

    def spy(*arguments, **options):
        made.append(original(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(torch.optim, "LBFGS", spy)
    aebook.lbfgs(objective, x, iterations=iterations)
    (optimiser,) = made
    assert max(state["n_iter"] for state in optimiser.state.values()) == iterations
    assert objective(x).total < other(x).total


def test_random_objectives_are_refused_and_left_in_evaluation_mode():
    encoder = nn.Sequential(nn.Linear(5, 2), nn.Dropout(0.5))
    objective = aebook.Objective(aebook.Autoencoder(encoder, nn.Linear(2, 5))).double()
    with pytest.raises(ValueError, match=r"got an objective that is random.*use fit"):
        aebook.lbfgs(objective, torch.rand(20, 5, dtype=F64))
    assert not objective.training
    noisy = aebook.Objective(
        aebook.variants.linear((5, 2)).model, corruption=lambda x: x + torch.randn_like(x)
    ).double()
    with pytest.raises(ValueError, match="random"):
        aebook.lbfgs(noisy, torch.rand(20, 5, dtype=F64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"iterations": 0}, "got iterations=0, expected a whole number, 1 or more"),
        ({"iterations": 2.5}, r"got iterations=2\.5"),
        ({"tolerance": 0.0}, r"got tolerance=0\.0, expected a finite number above 0"),
        ({"tolerance": float("nan")}, "got tolerance=nan"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        aebook.lbfgs(aebook.variants.linear((5, 2)), torch.rand(20, 5), **arguments)
