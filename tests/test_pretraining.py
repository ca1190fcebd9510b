import copy

import pytest
import torch
from torch import nn

import aebook
from aebook.training import layerwise


def weights(objective):
    return [p.detach().clone() for p in objective.parameters()]


def test_one_layer_is_ordinary_training():
    x = torch.rand(40, 6)
    one = aebook.variants.plain((6, 3))
    other = copy.deepcopy(one)
    (mine,) = layerwise(one, x, epochs=3, seed=5)
    assert mine.terms == aebook.fit(other, x, epochs=3, seed=5).terms
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_each_pair_is_trained_on_the_codes_below_as_by_hand():
    x = torch.rand(40, 6)
    objective = aebook.variants.plain((6, 4, 2), activation=nn.Sigmoid)
    by_hand = copy.deepcopy(objective).model
    histories = layerwise(objective, x, epochs=3)
    outer = aebook.Autoencoder(nn.Sequential(by_hand.encoder[0]), nn.Sequential(by_hand.decoder[1]))
    aebook.fit(aebook.Objective(outer), x, epochs=3)
    inner = aebook.Autoencoder(nn.Sequential(by_hand.encoder[1]), nn.Sequential(by_hand.decoder[0]))
    last = aebook.fit(aebook.Objective(inner), outer.encode(x), epochs=3)
    assert histories[1].terms == last.terms
    torch.testing.assert_close(objective.model(x), by_hand(x))


def test_corruption_and_distance_reach_the_pairs_they_should():
    seen, judged = [], []

    def corruption(x):
        seen.append(x.shape[1])
        return x

    def distance(a, b):
        judged.append(a.shape[1])
        return (a - b).square().sum(1)

    plain = aebook.variants.plain((6, 4, 2))
    objective = aebook.Objective(plain.model, corruption, distance)
    layerwise(objective, torch.rand(20, 6), epochs=1)
    assert set(seen) == {6, 4}
    assert set(judged) == {6}


def test_convolutional_layers_are_pairs_too():
    encoder, decoder = aebook.networks.convolutional((1, 8, 8), (3, 4), 2, output=nn.Sigmoid)
    objective = aebook.Objective(aebook.Autoencoder(encoder, decoder))
    histories = layerwise(objective, torch.rand(20, 1, 8, 8), epochs=1)
    assert len(histories) == 3
    assert not objective.training


def test_unmirrored_networks_are_refused():
    mlp = aebook.networks.mlp
    for up, down, message in (
        ((6, 4, 2), (2, 6), "as many layers"),
        ((6, 4, 2), (2, 5, 6), "mirror the encoder|shapes"),
    ):
        objective = aebook.Objective(aebook.Autoencoder(mlp(up), mlp(down)))
        with pytest.raises((ValueError, RuntimeError), match=message):
            layerwise(objective, torch.rand(9, 6), epochs=1)
