"""The denoising variant: noise where the objective is, none where the model is."""

import pytest
import torch
from torch import nn

import aebook
from aebook.corruptions import gaussian, masking, salt_and_pepper

CORRUPTIONS = [gaussian(0.5), masking(0.5), salt_and_pepper(0.5), lambda x: x.roll(1, -1)]


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_loss_compares_the_reconstruction_of_the_damaged_with_the_clean(corruption):
    x = torch.rand(7, 6)
    objective = aebook.variants.denoising((6, 4, 2), corruption)
    torch.manual_seed(5)
    loss = objective(x).total
    torch.manual_seed(5)
    damaged = corruption(x)
    expected = (objective.model(damaged) - x).square().sum(1).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_model_never_corrupts_in_either_mode(corruption):
    x = torch.rand(7, 6)
    objective = aebook.variants.denoising((6, 4, 2), corruption)
    codes = objective.model.decoder(objective.model.encoder(x))
    for model in (objective.train().model, objective.eval().model):
        state = torch.get_rng_state()
        torch.testing.assert_close(model.decode(model.encode(x)), codes)
        torch.testing.assert_close(model.reconstruct(x), codes)
        assert torch.equal(torch.get_rng_state(), state)


def test_the_objective_corrupts_in_training_and_in_testing():
    calls = []

    def corruption(x):
        calls.append(len(x))
        return x

    objective = aebook.variants.denoising((6, 2), corruption)
    aebook.fit(objective, torch.rand(20, 6), epochs=1, batch_size=20, validation=torch.rand(8, 6))
    aebook.evaluate(objective, torch.rand(9, 6))
    assert calls == [20, 8, 9]


def test_evaluation_repeats_its_noise_and_training_does_not():
    seen = []

    def corruption(x):
        seen.append(masking(0.5)(x))
        return seen[-1]

    x = torch.ones(8, 6)
    objective = aebook.variants.denoising((6, 2), corruption)
    aebook.fit(objective, x, epochs=2, batch_size=8)
    assert not torch.equal(seen[0], seen[1])
    assert aebook.evaluate(objective, x) == aebook.evaluate(objective, x)
    assert torch.equal(seen[2], seen[3])


def test_the_arguments_are_those_of_the_plain_autoencoder():
    objective = aebook.variants.denoising(
        (6, 4, 2),
        masking(0.1),
        activation=nn.Tanh,
        code=nn.Sigmoid,
        output=None,
        tied=True,
        distance=aebook.distances.Gaussian(0.5),
    )
    torch.manual_seed(0)
    objective = aebook.variants.denoising((6, 4, 2), None, code=nn.Sigmoid, tied=True)
    torch.manual_seed(0)
    plain = aebook.variants.plain((6, 4, 2), code=nn.Sigmoid, tied=True)
    x = torch.rand(3, 6)
    assert torch.equal(objective(x).total, plain(x).total)
    assert objective.state_dict().keys() == plain.state_dict().keys()


def test_a_target_of_its_own_stays_clean_while_the_message_is_damaged():
    x, target = torch.rand(5, 6), torch.rand(5, 6)
    objective = aebook.variants.denoising((6, 3), lambda x: torch.zeros_like(x))
    expected = (objective.model(torch.zeros(5, 6)) - target).square().sum(1).mean()
    torch.testing.assert_close(objective(x, target).total, expected)


def test_a_second_objective_leaves_a_trained_model_in_evaluation_mode():
    objective = aebook.variants.denoising((6, 2), masking(0.5)).eval()
    clean = aebook.Objective(objective.model)
    aebook.evaluate(clean, torch.rand(4, 6))
    assert not clean.training
    assert not objective.model.training


@pytest.mark.parametrize("seed", range(2))
def test_training_with_noise_denoises_better_than_training_without(seed):
    # points on a line in the plane of eight dimensions: what is off the line is noise
    torch.manual_seed(seed)
    x = torch.randn(500, 1) @ torch.ones(1, 8) / 8**0.5
    losses = []
    for corruption in (None, gaussian(0.5)):
        torch.manual_seed(seed)
        objective = aebook.variants.denoising((8, 8), corruption, activation=None, output=None)
        aebook.fit(objective, x, epochs=40, lr=1e-2, seed=seed)
        noisy = aebook.Objective(objective.model, gaussian(0.5))
        losses.append(aebook.evaluate(noisy, x)["loss"])
    # without noise nothing is thrown away: 8 σ²; with it, the line's share v σ² / (v + σ²)
    assert losses[0] > 0.5
    assert losses[1] < 0.35
