import copy
import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import aebook
from aebook.networks import Chain, convolutional, mlp, tied_decoder

F64 = torch.float64
SIDES = st.integers(1, 17)


def test_an_mlp_is_its_matrix_products():
    network = mlp((6, 5, 4, 3), activation=nn.Tanh, output=nn.Sigmoid).double()
    x = torch.randn(7, 6, dtype=F64)
    h = x.numpy()
    w1, b1, w2, b2, w3, b3 = (p.detach().numpy() for p in network.parameters())
    h1 = np.tanh(h @ w1.T + b1)
    h2 = np.tanh(h1 @ w2.T + b2)
    h3 = 1 / (1 + np.exp(-(h2 @ w3.T + b3)))
    np.testing.assert_allclose(network(x).detach().numpy(), h3, rtol=1e-12)
    for layer, expected in zip(network.layers(x), (h1, h2, h3), strict=True):
        np.testing.assert_allclose(layer.detach().numpy(), expected, rtol=1e-12)


def test_the_last_layer_of_an_mlp_is_linear_unless_asked():
    network = mlp((3, 4, 2), bias=False)
    x = torch.randn(5, 3)
    first, second = (p.detach() for p in network.parameters())
    torch.testing.assert_close(network(x), (x @ first.T).clamp_min(0) @ second.T)
    linear = mlp((3, 4, 2), activation=None, bias=False)
    first, second = (p.detach() for p in linear.parameters())
    torch.testing.assert_close(linear(x), x @ (second @ first).T)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_an_mlp_has_a_matrix_and_a_bias_between_every_two_widths(widths):
    network = mlp(widths)
    assert sum(p.numel() for p in network.parameters()) == sum(
        a * b + b for a, b in itertools.pairwise(widths)
    )
    assert network.shape == (widths[0],)
    assert network(torch.zeros(2, widths[0])).shape == (2, widths[-1])


@given(
    st.tuples(st.integers(1, 3), SIDES) | st.tuples(st.integers(1, 3), SIDES, SIDES),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(1, 5),
)
def test_convolutions_halve_upwards_and_come_back_to_any_size(shape, channels, code):
    encoder, decoder = convolutional(shape, channels, code)
    x = torch.randn(2, *shape)
    *layers, z = encoder.layers(x)
    for k, (layer, depth) in enumerate(zip(layers, channels, strict=True), start=1):
        sides = tuple(math.ceil(side / 2**k) for side in shape[1:])
        assert layer.shape == (2, depth, *sides)
    assert z.shape == (2, code)
    assert decoder(z).shape == x.shape
    mirrored = [tuple(layer.shape[1:]) for layer in decoder.layers(z)]
    assert mirrored == [tuple(layer.shape[1:]) for layer in reversed((x, *layers))]


def test_a_convolution_of_a_series_is_the_sum_that_slides_over_it():
    encoder, decoder = convolutional((2, 9), (3,), 4, activation=nn.Identity)
    encoder, decoder = encoder.double(), decoder.double()
    weight = encoder[0][0].weight.detach().numpy()
    x = torch.randn(2, 9, dtype=F64)
    padded = np.pad(x.numpy(), ((0, 0), (1, 1)))
    expected = [[(padded[:, t : t + 3] * w).sum() for t in range(0, 9, 2)] for w in weight]
    np.testing.assert_allclose(encoder.layers(x[None])[0][0].detach().numpy(), expected)
    # the decoder's is the transpose of such a sum
    weight = decoder[1][0].weight.detach().numpy()
    h = decoder.layers(torch.randn(1, 4, dtype=F64))
    back = np.zeros((2, 11))
    for t, column in enumerate(h[0][0].detach().numpy().T):
        back[:, 2 * t : 2 * t + 3] += np.tensordot(column, weight, 1)
    np.testing.assert_allclose(h[1][0].detach().numpy(), back[:, 1:-1])


def test_a_convolutional_code_is_linear_and_the_output_is_as_asked():
    encoder, decoder = convolutional((1, 8, 8), (2, 3), 4, output=nn.Sigmoid)
    assert isinstance(list(encoder.modules())[-1], nn.Linear)
    x = decoder(100 * torch.randn(5, 4))
    assert x.min() >= 0
    assert x.max() <= 1
    _, free = convolutional((1, 8, 8), (2, 3), 4)
    assert free(100 * torch.randn(50, 4)).min() < 0


def test_every_pixel_of_an_image_reaches_its_convolutional_code():
    # also the last row and column of odd sides
    encoder, decoder = convolutional((1, 7, 5), (2, 2), 3, activation=nn.Tanh)
    x = torch.randn(1, 1, 7, 5, requires_grad=True)
    encoder(x).sum().backward()
    assert (x.grad != 0).all()
    z = torch.randn(1, 3)
    jacobian = torch.func.jacrev(lambda z: decoder(z[None])[0])(z[0])
    assert (jacobian.abs().sum(-1) > 0).all()


def test_the_loss_of_a_convolutional_autoencoder_reaches_every_parameter():
    encoder, decoder = convolutional((2, 5, 6), (3, 4), 3, activation=nn.Tanh, output=nn.Sigmoid)
    objective = aebook.Objective(aebook.Autoencoder(encoder, decoder))
    objective(torch.rand(4, 2, 5, 6)).total.backward()
    for p in objective.parameters():
        assert (p.grad != 0).any()


@pytest.fixture
def tied():
    encoder = mlp((5, 4, 2), activation=nn.Tanh).double()
    return aebook.Autoencoder(encoder, tied_decoder(encoder, activation=nn.Tanh))


def test_a_tied_decoder_multiplies_with_the_transposed_weights(tied):
    (_, b1), (_, b2) = ((m.weight, m.bias) for m in (tied.encoder[0][0], tied.encoder[1][0]))
    w1, w2 = (layer[0].weight.detach() for layer in tied.encoder)
    biases = [p for p in tied.decoder.parameters()]
    with torch.no_grad():
        for p in (b1, b2, *biases):
            p.normal_()
    z = torch.randn(6, 2, dtype=F64)
    c2, c1 = (p.detach() for p in biases)
    expected = torch.tanh(z @ w2 + c2) @ w1 + c1
    torch.testing.assert_close(tied.decoder(z), expected)


def test_tied_weights_are_shared_and_counted_once(tied):
    assert sum(p.numel() for p in tied.parameters()) == (5 * 4 + 4 * 2) + (4 + 2) + (4 + 5)
    assert sum(p.numel() for p in tied.decoder.parameters()) == 4 + 5
    assert not [name for name in tied.state_dict() if "decoder" in name and "weight" in name]
    z = torch.ones(1, 2, dtype=F64)
    before = tied.decoder(z).detach()
    with torch.no_grad():
        tied.encoder[0][0].weight.mul_(2)
    assert not torch.equal(tied.decoder(z), before)


def test_tied_weights_survive_the_state_dict(tied):
    encoder = mlp((5, 4, 2), activation=nn.Tanh).double()
    other = aebook.Autoencoder(encoder, tied_decoder(encoder, activation=nn.Tanh))
    x = torch.randn(3, 5, dtype=F64)
    assert not torch.equal(other(x), tied(x))
    other.load_state_dict(tied.state_dict())
    assert torch.equal(other(x), tied(x))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_tied_to_its_own_encoder(tied, clone):
    other = clone(tied)
    x = torch.randn(3, 5, dtype=F64)
    before = tied(x).detach()
    with torch.no_grad():
        for p in other.encoder.parameters():
            p.zero_()
    # a decoder without weights puts out its bias, which starts at zero
    assert not other.decoder(torch.randn(3, 2, dtype=F64)).any()
    assert torch.equal(tied(x), before)


def test_tied_gradients_are_finite_differences(tied):
    objective = aebook.Objective(tied)
    x = torch.randn(6, 5, dtype=F64)
    objective(x).total.backward()
    step = 1e-5
    with torch.no_grad():
        for p in tied.parameters():
            flat, gradient = p.view(-1), p.grad.view(-1)
            for i in range(p.numel()):
                flat[i] += step
                above = objective(x).total
                flat[i] -= 2 * step
                below = objective(x).total
                flat[i] += step
                assert gradient[i].item() == pytest.approx(
                    ((above - below) / (2 * step)).item(), rel=1e-6, abs=1e-8
                )


def test_a_functional_call_replaces_tied_weights_on_both_sides(tied):
    x = torch.randn(3, 5, dtype=F64)
    replaced = {name: torch.randn_like(p) for name, p in tied.named_parameters()}
    actual = torch.func.functional_call(tied, replaced, (x,))
    other = copy.deepcopy(tied)
    other.load_state_dict(replaced)
    torch.testing.assert_close(actual, other(x))


def test_a_tied_decoder_without_biases_has_no_parameters():
    encoder = mlp((4, 2), bias=False)
    decoder = tied_decoder(encoder, bias=False)
    assert not list(decoder.parameters())
    z = torch.randn(3, 2)
    torch.testing.assert_close(decoder(z), z @ encoder[0][0].weight)


def test_a_tied_decoder_needs_a_fully_connected_encoder():
    encoder, _ = convolutional((1, 4, 4), (2,), 3)
    with pytest.raises(ValueError, match="a tied decoder needs an encoder made by mlp"):
        tied_decoder(encoder)


def test_a_slice_of_a_chain_is_its_layers_in_a_row():
    network = mlp((6, 5, 4, 3))
    x = torch.randn(2, 6)
    first, second, third = network.layers(x)
    assert torch.equal(network[:2](x), second)
    assert torch.equal(network[1:](first), third)
    assert isinstance(network[-1], nn.Sequential)


@pytest.mark.parametrize("widths", [(5,), (), (5, 0), (5, -2), (5, 2.5), 7, "52", (5, math.nan)])
def test_bad_widths_are_refused(widths):
    with pytest.raises(ValueError, match=r"got widths.*expected .*whole number"):
        mlp(widths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((28,), (4,), 2), "got shape=.*expected at least 2 whole numbers"),
        (
            ((1, 2, 28, 28), (4,), 2),
            r"expected \(channels, height, width\) or \(channels, length\)",
        ),
        (((1, 28, 28), (), 2), "got channels=.*expected at least 1"),
        (((1, 28, 28), (4, 0), 2), "got channels="),
        (((1, 28, 28), (4,), 0), "got code="),
    ],
)
def test_bad_convolutions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        convolutional(*arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 4), r"got a batch of shape \(2, 4\), expected \(batch, 3\): reshape"),
        (torch.zeros(3), r"got a batch of shape \(3,\), expected \(batch, 3\)"),
        (torch.zeros(()), r"got a batch of shape \(\), expected \(batch, 3\)"),
        (torch.zeros(2, 3, dtype=torch.uint8), r"dtype torch\.uint8.*divide bytes by 255"),
        (torch.zeros(2, 3, dtype=F64), r"dtype torch\.float64, expected torch\.float32: use x\.to"),
        (np.zeros((2, 3)), r"got x=ndarray.*, expected a tensor"),
    ],
)
def test_a_chain_refuses_what_does_not_fit(x, message):
    with pytest.raises(ValueError, match=message):
        mlp((3, 2))(x)


def test_a_chain_takes_an_empty_batch():
    assert mlp((3, 2))(torch.zeros(0, 3)).shape == (0, 2)


def test_a_chain_under_autocast_takes_what_autocast_makes():
    network = Chain((3,), nn.Linear(3, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(torch.zeros(2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
