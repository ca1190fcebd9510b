"""Tests of aebook.recurrent: likelihoods by enumeration, search by brute force, GRUs by hand."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import aebook
from aebook.applications.translation import transformer
from aebook.bottlenecks import Gaussian
from aebook.distances import categorical
from aebook.penalties import kl_to_prior
from aebook.recurrent import END, PADDING, Decoder, Encoder, LastState, Unrolled, series

V, P, LENGTH = 4, 4, 4
#: With one code, with attention, and a network that is attention alone.
WRITERS = [False, True, "transformer"]


def decoder(attention=False, **options):
    torch.manual_seed(1)
    if attention == "transformer":
        made = transformer.Decoder(V, P, LENGTH, heads=2, hidden=6, **options).double()
    else:
        made = Decoder(V, P, LENGTH, embedding=5, hidden=6, attention=attention, **options).double()
    for parameter in made.parameters():  # far from uniform, so that choices matter
        nn.init.normal_(parameter, std=0.8)
    return made.eval()


def encoder(attention=False, code=P, **options):
    torch.manual_seed(2)
    return Encoder(V, code, embedding=5, hidden=6, attention=attention, **options).double().eval()


def codes(attention, batch=3):
    torch.manual_seed(3)
    if not attention:
        return torch.randn(batch, P).double()
    z = torch.randn(batch, 5, P).double()
    z[0, 2:] = 0
    z[1, 4:] = 0
    return z


def all_messages(length=LENGTH):
    """Every message of at most ``length`` symbols, and every one that is cut off there."""
    symbols = range(END + 1, V)
    ended = [
        (*body, END) + (PADDING,) * (length - 1 - n)
        for n in range(length)
        for body in itertools.product(symbols, repeat=n)
    ]
    cut = list(itertools.product(symbols, repeat=length))
    return torch.tensor(ended + cut)


def log_p(made, z, messages):
    """Log-likelihoods of all messages given one code."""
    z = z.expand(len(messages), *z.shape[1:])
    return -categorical(made(z, messages), messages, ignore=PADDING)


@pytest.mark.parametrize("attention", WRITERS)
def test_the_probabilities_of_all_messages_sum_to_one(attention):
    made = decoder(attention)
    for z in codes(attention).split(1):
        assert log_p(made, z, all_messages()).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("attention", WRITERS)
def test_teacher_forcing_is_one_step_after_another(attention):
    made, z = decoder(attention), codes(attention)
    target = torch.tensor([[2, 3, 1, 0], [3, 3, 3, 3], [1, 0, 0, 0]])
    logits = made(z, target)
    state, last = made._start(z), torch.zeros(3, dtype=torch.long)
    for t in range(LENGTH):
        step, state = made._step(last, z, state)
        torch.testing.assert_close(logits[:, t], step)
        last = target[:, t]


@pytest.mark.parametrize("attention", WRITERS)
def test_nothing_later_is_told(attention):
    made, z = decoder(attention), codes(attention)[:1]
    a, b = made(z, torch.tensor([[2, 2, 3, 1]])), made(z, torch.tensor([[2, 3, 3, 3]]))
    torch.testing.assert_close(a[:, :2], b[:, :2])
    assert not torch.allclose(a[:, 2, 1:], b[:, 2, 1:])


def test_the_encoder_is_pytorchs_unit_read_without_padding():
    made = encoder()
    x = torch.tensor([[2, 3, 2, 1], [3, 1, 0, 0], [1, 0, 0, 0]])
    for row, length in zip(x, (4, 2, 1), strict=True):
        _, state = made.gru(made.embedding(row[None, :length]))
        expected = made.to_code(torch.cat((state[0], state[1]), -1))
        torch.testing.assert_close(made(row[None]), expected)
    torch.testing.assert_close(made(x), torch.cat([made(row[None]) for row in x]))
    wider = torch.nn.functional.pad(x, (0, 3))
    torch.testing.assert_close(made(wider), made(x))


def test_with_attention_every_position_has_a_code_and_padding_has_none():
    made = encoder(attention=True, bidirectional=False)
    x = torch.tensor([[2, 3, 2, 1], [3, 1, 0, 0]])
    z = made(x)
    assert z.shape == (2, 4, P)
    assert torch.equal((z != 0).any(-1), x != 0)
    outputs, _ = made.gru(made.embedding(x[1:, :2]))
    torch.testing.assert_close(z[1:, :2], made.to_code(outputs))


@pytest.mark.parametrize("attention", WRITERS[1:])
def test_attention_does_not_look_at_padding(attention):
    made, z = decoder(attention), codes(True)
    target = torch.tensor([[2, 3, 1]])
    torch.testing.assert_close(made(z[:1, :2], target), made(z[:1], target))
    wider = torch.nn.functional.pad(z, (0, 0, 0, 2))
    torch.testing.assert_close(made(wider), made(z))


def test_the_alignment_is_what_the_logits_are_made_of():
    made, z = decoder(True), codes(True)
    target = torch.tensor([[2, 3, 1, 0], [3, 3, 3, 3], [1, 0, 0, 0]])
    a = made.alignment(z, target)
    assert a.shape == (3, 4, 5)
    torch.testing.assert_close(a.sum(-1), torch.ones(3, 4).double())
    assert (a[0, :, 2:] == 0).all()
    told = torch.tensor([[0, 2, 3, 1], [0, 3, 3, 3], [0, 1, 0, 0]])
    h, _ = made.gru(made.embedding(told), made._start(z))
    logits = made.logits(made.mix(torch.cat((a @ z, h), -1)).tanh())
    torch.testing.assert_close(logits[..., 1:], made(z, target)[..., 1:])
    with pytest.raises(ValueError, match="without attention"):
        decoder().alignment(codes(False), target)


@pytest.mark.parametrize("attention", WRITERS)
def test_greedy_takes_the_likeliest_symbol_each_time(attention):
    made, z = decoder(attention), codes(attention)
    written = made(z)
    assert written.shape == (3, LENGTH)
    logits = made(z, written)
    for row, scores in zip(written, logits, strict=True):
        for symbol, step in zip(row, scores, strict=True):
            if symbol == PADDING:
                break
            assert symbol == step.argmax()
    torch.testing.assert_close(made.beam(z, width=1), written)


@pytest.mark.parametrize("attention", WRITERS)
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_beam_as_wide_as_the_language_finds_the_best(attention, alpha):
    made = decoder(attention)
    messages = all_messages()
    sizes = (messages != PADDING).sum(1)
    for z in codes(attention).split(1):
        scores = log_p(made, z, messages) / sizes**alpha
        found = made.beam(z, width=len(messages) + 3, alpha=alpha)[0]
        assert torch.equal(found, messages[scores.argmax()])


def test_beams_of_a_batch_do_not_touch_each_other():
    made, z = decoder(), codes(False)
    together = made.beam(z, width=3)
    torch.testing.assert_close(together, torch.cat([made.beam(row, width=3) for row in z.split(1)]))


def test_a_wider_beam_is_on_the_whole_likelier():
    made = decoder()
    torch.manual_seed(4)
    z = torch.randn(200, P).double()

    def mean(width):
        written = made.beam(z, width, alpha=0)
        return -categorical(made(z, written), written, ignore=PADDING).mean()

    assert mean(1) < mean(3) <= mean(30) + 1e-9


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_have_the_probabilities_of_the_model(temperature):
    made = decoder()
    messages, z, n = all_messages(), codes(False)[:1], 20_000
    generator = torch.Generator().manual_seed(0)
    drawn = made.sample(z.expand(n, -1), temperature, generator)
    # at another temperature each step is drawn from its own power
    logits = made(z.expand(len(messages), -1), messages) / temperature
    p = (-categorical(logits, messages, ignore=PADDING)).exp()
    counts = (drawn[:, None] == messages).all(-1).sum(0)
    assert counts.sum() == n
    error = (p * (1 - p) / n).sqrt()
    assert ((counts / n - p).abs() < 5 * error + 1e-4).all()


def test_the_objective_gives_the_target_to_the_decoder():
    model = aebook.Autoencoder(encoder(), decoder())
    objective = aebook.Objective(model, distance=partial(categorical, ignore=PADDING))
    x, y = torch.tensor([[2, 3, 1], [3, 1, 0]]), torch.tensor([[3, 3, 2, 1], [1, 0, 0, 0]])
    expected = categorical(model.decoder(model.encode(x), y), y, ignore=PADDING)
    torch.testing.assert_close(objective.per_sample(x, y)["distance"], expected)
    expected = categorical(model.decoder(model.encode(x), x), x, ignore=PADDING)
    torch.testing.assert_close(objective.per_sample(x)["distance"], expected)


@pytest.mark.parametrize("attention", [False, True])
def test_it_learns_to_turn_messages_around(attention):
    torch.manual_seed(0)
    symbols = torch.randint(2, 6, (600, 3))
    x = torch.cat((symbols, torch.ones(600, 1, dtype=torch.long)), 1)
    y = torch.cat((symbols.flip(1), torch.ones(600, 1, dtype=torch.long)), 1)
    model = aebook.Autoencoder(
        Encoder(6, 32, hidden=32, embedding=8, attention=attention),
        Decoder(6, 32, 5, hidden=32, embedding=8, attention=attention),
    )
    objective = aebook.Objective(model, distance=partial(categorical, ignore=PADDING))
    aebook.fit(objective, (x[:500], y[:500]), epochs=25, lr=1e-2, batch_size=50, progress=False)
    written = model.reconstruct(x[500:])
    assert (written[:, :4] == y[500:]).all(1).float().mean() > 0.9
    assert not written[:, 4].any()


def test_a_variational_one_trains_and_forgets():
    torch.manual_seed(0)
    x = torch.cat((torch.randint(2, 6, (64, 3)), torch.ones(64, 1, dtype=torch.long)), 1)
    model = aebook.Autoencoder(
        Encoder(6, 8, hidden=8), Decoder(6, 4, 5, hidden=8, forget=0.5), Gaussian()
    )
    objective = aebook.Objective(
        model, distance=partial(categorical, ignore=PADDING), penalties={"kl": (1.0, kl_to_prior)}
    )
    history = aebook.fit(objective, x, epochs=10, lr=1e-2, progress=False)
    assert history.loss[-1] < history.loss[0]
    assert model.reconstruct(x).shape == (64, 5)


def test_forgetting_hides_symbols_in_training_only():
    made = decoder(forget=1.0)
    z, target = codes(False), torch.tensor([[2, 3, 1], [3, 3, 1], [2, 2, 1]])
    open_ = decoder()
    torch.testing.assert_close(made(z, target), open_(z, target))
    # with everything hidden it is as if nothing had been written
    blank = open_._read(torch.zeros(3, 3, dtype=torch.long), z, open_._start(z))[0]
    torch.testing.assert_close(made.train()(z, target), blank)


@pytest.mark.parametrize("attention", [False, True])
def test_it_comes_back_from_a_file(attention, tmp_path):
    model = aebook.Autoencoder(
        encoder(attention, bidirectional=attention), decoder(attention, forget=0.25)
    ).eval()
    aebook.save(model, tmp_path / "model.safetensors")
    again = aebook.load(tmp_path / "model.safetensors")
    x = torch.tensor([[2, 3, 1], [3, 1, 0]])
    assert torch.equal(again.encode(x), model.encode(x))
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))
    assert again.decoder.forget == 0.25


@pytest.mark.parametrize(
    "x",
    [
        torch.tensor([[2, 0, 1]]),
        torch.tensor([[0, 0, 0]]),
        torch.tensor([[2, 9, 1]]),
        torch.tensor([[2, -1, 1]]),
        torch.tensor([2, 1]),
        torch.tensor([[2.0, 1.0]]),
        torch.zeros(0, 3, dtype=torch.long),
        [[2, 1]],
    ],
)
def test_what_is_no_message_is_refused(x):
    with pytest.raises(ValueError, match=r"got .*expected"):
        encoder()(x)
    with pytest.raises(ValueError, match=r"got .*expected"):
        decoder()(torch.zeros(1, P).double(), x)


@pytest.mark.parametrize("attention", WRITERS)
def test_codes_of_another_shape_are_refused(attention):
    made = decoder(attention)
    for z in (torch.zeros(2, P + 1), codes(not attention), torch.zeros(P)):
        with pytest.raises(ValueError, match="got codes of shape"):
            made(z.double())
    if attention:
        with pytest.raises(ValueError, match="without any position"):
            made(torch.zeros(2, 3, P).double())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Encoder(2, 3), "vocabulary=2"),
        (lambda: Encoder(5, 0), "code=0"),
        (lambda: Encoder(5, 2.5), "code=2.5"),
        (lambda: Decoder(5, 3, 0), "length=0"),
        (lambda: Decoder(5, 3, 4, hidden=True), "hidden=True"),
        (lambda: Decoder(5, 3, 4, forget=1.5), "forget=1.5"),
        (lambda: decoder().beam(codes(False), width=0), "width=0"),
        (lambda: decoder().beam(codes(False), alpha=-1.0), "alpha=-1.0"),
        (lambda: decoder().beam(codes(False), alpha=math.nan), "alpha=nan"),
        (lambda: decoder().sample(codes(False), temperature=0.0), "temperature=0.0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Pieces of a series ------------------------------------------------------------------------------


def gru(x, state, weights):
    """A gated recurrent unit over x (T, C), by its equations; all states (T, hidden)."""
    w, u, b, c = weights
    n = len(state)
    states = []
    for value in x:
        a, d = w @ value + b, u @ state + c
        r, z = (1 / (1 + np.exp(-(a + d)[k * n : (k + 1) * n])) for k in (0, 1))
        new = np.tanh(a[2 * n :] + r * d[2 * n :])
        state = (1 - z) * new + z * state
        states.append(state)
    return np.array(states)


def weights_of(layer, end=""):
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [getattr(layer, f"{name}_l0{end}").detach().numpy() for name in names]


def test_the_last_states_are_those_of_the_equations():
    layer = LastState(2, 3).double()
    x = torch.randn(4, 2, 6, dtype=torch.float64)
    for found, piece in zip(layer(x).detach().numpy(), x.numpy(), strict=True):
        there = gru(piece.T, np.zeros(3), weights_of(layer.gru))[-1]
        back = gru(piece.T[::-1], np.zeros(3), weights_of(layer.gru, "_reverse"))[-1]
        np.testing.assert_allclose(found, [*there, *back], rtol=1e-10)


def test_a_piece_is_written_by_the_equations():
    layer = Unrolled(2, 3, 4, 5).double()
    z = torch.randn(1, 2, dtype=torch.float64)
    start, values = (
        (m.weight.detach().numpy(), m.bias.detach().numpy()) for m in (layer.start, layer.values)
    )
    code = z[0].numpy()
    states = gru([code] * 5, np.tanh(start[0] @ code + start[1]), weights_of(layer.gru))
    expected = states @ values[0].T + values[1]
    np.testing.assert_allclose(layer(z)[0].detach().numpy(), expected.T, rtol=1e-10)


@pytest.mark.parametrize("posterior", [False, True])
def test_a_recurrent_autoencoder_fits_where_a_convolutional_one_does(posterior):
    for parts in (
        series((2, 7), 5, 3, posterior=posterior),
        aebook.networks.convolutional((2, 7), (5,), 3, posterior=posterior),
    ):
        if posterior:
            objective = aebook.variants.variational(parts, distance=aebook.distances.Gaussian())
        else:
            objective = aebook.variants.plain(parts)
        aebook.fit(objective, torch.rand(6, 2, 7), epochs=1, progress=False)
        assert aebook.encode(objective.model, torch.rand(4, 2, 7)).shape == (4, 3)
        assert aebook.reconstruct(objective.model, torch.rand(4, 2, 7)).shape == (4, 2, 7)
        with pytest.raises(ValueError, match=r"got a batch of shape \(4, 7\).*batch, 2, 7"):
            objective.model(torch.rand(4, 7))


def test_every_weight_of_a_recurrent_autoencoder_is_trained():
    objective = aebook.Objective(aebook.Autoencoder(*series((2, 7), 5, 3)))
    objective(torch.randn(4, 2, 7)).total.backward()
    for p in objective.parameters():
        assert (p.grad != 0).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((7,), 5, 3), "got shape=.*expected at least 2"),
        (((1, 7, 7), 5, 3), r"got shape=\(1, 7, 7\), expected \(variables, length\)"),
        (((1, 7), 0, 3), "got hidden=0"),
        (((1, 7), 5, 2.5), "got code=2.5"),
    ],
)
def test_a_series_of_another_shape_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        series(*arguments)
