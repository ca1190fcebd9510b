import pytest
import torch

import aebook
from aebook.penalties import weight_decay


@pytest.mark.parametrize("tied", [False, True])
def test_weight_decay_is_the_squared_frobenius_norm_of_distinct_weights_without_biases(tied):
    objective = aebook.variants.plain((5, 3, 2), tied=tied)
    weights = [layer[0].weight for layer in objective.model.encoder]
    if not tied:
        weights += [layer[0].weight for layer in objective.model.decoder]
    expected = sum(entry**2 for weight in weights for entry in weight.flatten().tolist())
    with_penalty = aebook.Objective(objective.model, penalties={"l2": (0.25, weight_decay)})
    terms = with_penalty.per_sample(torch.rand(4, 5))
    assert terms["l2"].shape == ()
    assert terms["l2"].item() == pytest.approx(0.25 * expected, rel=1e-5)


def test_weight_decay_counts_the_kernels_of_convolutions():
    encoder, decoder = aebook.networks.convolutional((1, 4, 4), (2,), 3)
    model = aebook.Autoencoder(encoder, decoder)
    objective = aebook.Objective(model, penalties={"l2": (1.0, weight_decay)})
    expected = sum(
        torch.linalg.vector_norm(p).item() ** 2
        for name, p in model.named_parameters()
        if name.endswith("weight")
    )
    assert objective(torch.rand(2, 1, 4, 4)).terms["l2"].item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_weight_decay_is_twice_the_weight():
    model = aebook.variants.plain((5, 2)).model
    objective = aebook.Objective(model, penalties={"l2": (3.0, weight_decay)})
    objective(torch.rand(4, 5)).terms["l2"].backward()
    weight = model.encoder[0][0].weight
    torch.testing.assert_close(weight.grad, 6 * weight.detach())
    assert model.encoder[0][0].bias.grad is None
