"""The binary bottleneck, the layer that centres it, and the variant made of the two."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import aebook
from aebook.bottlenecks import Binary
from aebook.networks import Standardised
from aebook.variants import binary

KINDS = ["straight_through", "bernoulli", "noise"]


@pytest.mark.parametrize("kind", KINDS)
def test_in_evaluation_the_code_is_the_step(kind):
    h = torch.tensor([[-2.0, 0.0, 1e-30], [3.0, -1e-30, 5.0]])
    bottleneck = Binary(kind, sigma=3.0).eval()
    assert bottleneck(h).tolist() == [[0, 0, 1], [1, 0, 1]]
    assert bottleneck(h.double()).dtype == torch.float64


@pytest.mark.parametrize("kind", ["straight_through", "bernoulli"])
@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_bits_go_forward_and_the_slope_of_the_sigmoid_comes_back(kind, seed, scale):
    torch.manual_seed(seed)
    h = (scale * torch.randn(5, 7, dtype=torch.float64)).requires_grad_()
    upstream = torch.randn(5, 7, dtype=torch.float64)
    z = Binary(kind)(h)
    assert set(z.detach().unique().tolist()) <= {0, 1}
    (found,) = torch.autograd.grad((z * upstream).sum(), h)
    (expected,) = torch.autograd.grad((h.sigmoid() * upstream).sum(), h)
    torch.testing.assert_close(found, expected)


def test_the_straight_through_code_is_the_same_in_training():
    h = torch.randn(50, 8)
    bottleneck = Binary("straight_through")
    assert torch.equal(bottleneck(h), bottleneck.eval()(h))


def test_bernoulli_bits_have_the_sigmoid_as_their_mean():
    h = torch.tensor([-2.0, -0.3, 0.0, 1.0])
    n = 40_000
    mean = Binary("bernoulli")(h.expand(n, 4)).mean(0)
    p = h.sigmoid()
    assert ((mean - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()


def test_noise_is_added_before_the_sigmoid():
    h = torch.full((40_000, 1), 0.7)
    noise = Binary("noise", sigma=2.0)(h).double().logit() - 0.7
    assert abs(noise.mean()) < 5 * 2 / 200
    assert abs(noise.std() / 2 - 1) < 5 / (2 * 40_000) ** 0.5
    assert torch.equal(Binary("noise", sigma=0.0)(h), h.sigmoid())


def test_noise_drives_activities_to_their_ends():
    # the point of it: what is near the threshold is lost, so training moves away from there
    x = torch.rand(400, 12)
    middling = {}
    for sigma in (0.0, 4.0):
        torch.manual_seed(0)
        objective = binary((12, 32, 8), kind="noise", sigma=sigma, centred=False)
        aebook.fit(objective, x, epochs=60, lr=1e-2, batch_size=50)
        with torch.no_grad():
            s = objective.model.encoder(x).sigmoid()
        middling[sigma] = float(((s > 0.1) & (s < 0.9)).double().mean())
    assert middling[4.0] < middling[0.0] / 2


def test_a_bottleneck_says_what_it_is_and_refuses_what_it_cannot_be():
    assert repr(Binary("noise", 2.0)) == "Binary(kind='noise', sigma=2.0)"
    assert repr(Binary()) == "Binary(kind='straight_through')"
    with pytest.raises(ValueError, match="got kind='sign', expected 'straight_through'"):
        Binary("sign")
    for sigma in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected a finite number"):
            Binary("noise", sigma)


def test_standardised_against_numpy_in_training_and_its_running_means_afterwards():
    layer = Standardised(3).double()
    h = 5 + 3 * torch.randn(64, 3, dtype=torch.float64)
    a = h.numpy()
    expected = (a - a.mean(0)) / np.sqrt(a.var(0) + layer.eps)
    np.testing.assert_allclose(layer(h).numpy(), expected, rtol=1e-10)
    for _ in range(300):
        layer(h)
    layer.eval()
    expected = (a - a.mean(0)) / np.sqrt(a.var(0, ddof=1) + layer.eps)
    np.testing.assert_allclose(layer(h).numpy(), expected, rtol=1e-8)
    assert not list(layer.parameters())


def test_a_batch_of_one_is_standardised_by_what_was_seen_before():
    layer = Standardised(3)
    layer(5 + torch.randn(64, 3))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    one = torch.randn(1, 3)
    assert torch.equal(layer(one), layer.eval()(one))
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("centred", [True, False])
def test_the_variant_trains_and_its_codes_are_bits(kind, centred):
    x = torch.rand(129, 12)  # the last batch of 64 has one sample
    objective = binary((12, 16, 5), kind=kind, centred=centred)
    history = aebook.fit(objective, x, epochs=20, batch_size=64, lr=1e-2)
    assert history.loss[-1] < history.loss[0]
    codes = objective.model.encode(x)
    assert codes.shape == (129, 5)
    assert set(codes.unique().tolist()) <= {0, 1}
    assert torch.equal(codes, objective.model.encode(x))
    assert objective.model.decode(codes).shape == x.shape


def test_centred_bits_divide_the_data_and_others_need_not():
    images, _ = aebook.datasets.mnist()
    images = images[:1000]
    share = {}
    for centred in (True, False):
        torch.manual_seed(0)
        objective = binary((784, 64, 16), centred=centred)
        aebook.fit(objective, images, epochs=5, lr=3e-3)
        share[centred] = objective.model.encode(images).mean(0)
    assert ((share[True] - 0.5).abs() < 0.25).all()
    assert (share[False] - 0.5).abs().max() > 0.3


def test_counts_of_words_with_the_categorical_distance():
    counts = torch.distributions.Multinomial(20, torch.ones(30)).sample((64,)) / 20
    objective = binary((30, 8), output=None, distance=aebook.distances.categorical)
    loss = objective(counts)
    assert loss.total.isfinite()
    bits = objective.model.bottleneck(objective.model.encoder(counts))
    logits = objective.model.decoder(bits)
    by_hand = -(counts * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss.total, by_hand)


def test_the_centring_layer_is_the_encoders_last_and_has_no_weights_to_train():
    encoder = binary((12, 16, 5)).model.encoder
    assert isinstance(encoder[-1][-1], Standardised)
    plain = aebook.variants.plain((12, 16, 5), code=partial(Standardised, 5)).model.encoder
    assert [n for n, _ in encoder.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert not any(isinstance(m, nn.BatchNorm1d) for m in binary((6, 2), centred=False).modules())
