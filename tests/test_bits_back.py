import importlib.util
import math
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import aebook
from aebook.applications.compression import bits_back
from aebook.applications.compression.bits_back import decode, encode
from aebook.distances import DiscretisedLogistic, Gaussian
from aebook.networks import mlp
from aebook.theory.code_length import lengths

pytestmark = pytest.mark.needs("constriction")


def model_of(m=12, units=3, levels=2, scale=1.0, seed=0):
    """A small autoencoder with weights at random."""
    torch.manual_seed(seed)
    if levels == 2:
        objective = aebook.variants.variational((m, 8, units))
    else:
        networks = mlp((m, 8, 2 * units)), mlp((units, 8, 2 * m), output=None)
        objective = aebook.variants.variational(networks, distance=DiscretisedLogistic(levels))
    with torch.no_grad():
        for p in objective.parameters():
            p.copy_(scale * torch.randn(p.shape) / math.sqrt(p.shape[-1]))
    return objective


def messages(n=20, m=12, levels=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (n, m), generator=g).float() / (levels - 1)


MODEL, X = model_of(), messages()
CODER = importlib.util.find_spec("constriction") is not None


def forged(data, **parts):
    """Bytes with another header or other words, and a checksum that fits."""
    names = ("fingerprint", "digest", "bits", "units", "count")
    header = dict(zip(names, struct.unpack("<4s8sBHI", data[8:27]), strict=True))
    words = parts.pop("words", data[27:])
    content = struct.pack("<4s8sBHI", *(header | parts).values()) + words
    return data[:4] + struct.pack("<I", zlib.crc32(content)) + content


# There and back ------------------------------------------------------------------------------


@given(
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(1, 5),
    st.sampled_from([2, 3, 256]),
    st.sampled_from([0.0, 0.1, 1.0, 30.0, 1e3]),
    st.integers(1, 13),
)
@example(1, 1, 1, 2, 0.0, 1)
@example(300, 1, 1, 2, 1e3, 16)
@example(200, 1, 1, 2, 30.0, 1)
def test_any_messages_come_back_from_any_model(n, m, units, levels, scale, bits):
    objective = model_of(m, units, levels, scale, seed=n)
    x = messages(n, m, levels, seed=n + m)
    y = decode(objective, encode(objective, x, bits=bits))
    assert y.dtype == torch.float32
    assert torch.equal(y, x)


@pytest.mark.parametrize("levels", [2, 256])
def test_images_come_back_through_convolutions(levels):
    twice = 1 if levels == 2 else 2
    encoder = nn.Sequential(nn.Conv2d(2, 3, 3, 2), nn.Flatten(), nn.Linear(27, 8))
    last = [nn.Sigmoid()] if levels == 2 else []
    decoder = nn.Sequential(
        nn.Linear(4, 27), nn.Unflatten(1, (3, 3, 3)), nn.ConvTranspose2d(3, 2 * twice, 3, 2), *last
    )
    distance = {} if levels == 2 else {"distance": DiscretisedLogistic()}
    objective = aebook.variants.variational((encoder, decoder), **distance)
    x = messages(7, 98, levels).view(7, 2, 7, 7)
    assert torch.equal(decode(objective, encode(objective, x)), x)


@pytest.mark.parametrize(("count", "m"), [(500, 2), (4, 5000)])
def test_messages_that_cost_nothing_come_back(count, m):
    objective, x = model_of(m=m, units=1, scale=0.0), torch.zeros(count, m)
    with torch.no_grad():
        objective.model.decoder[-1].map.bias.fill_(-40)
    data = encode(objective, x)
    assert len(data) < 60
    assert torch.equal(decode(objective, data), x)


def test_whatever_fit_takes_gives_the_same_bytes():
    expected = encode(MODEL, X)
    array = X.numpy().astype("float16")
    pair = TensorDataset(X, torch.zeros(20, 1))
    for form in (array, (X, X), pair, DataLoader(TensorDataset(X), 7), X.double()):
        assert encode(MODEL, form) == expected


def test_grey_levels_may_be_rounded_in_any_type():
    objective = model_of(levels=256)
    x = messages(levels=256)
    whole = (x * 255).round()
    for form in (whole * (1 / 255), whole.double() / 255, (whole.numpy() / 255)):
        assert torch.equal(decode(objective, encode(objective, form)), x)


def test_nothing_of_the_callers_changes():
    objective = model_of().train()
    weights = {k: v.clone() for k, v in objective.state_dict().items()}
    x, state = X.clone(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        decode(objective, encode(objective, x))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert objective.training
    assert all(torch.equal(v, weights[k]) for k, v in objective.state_dict().items())
    assert torch.equal(x, X)
    assert torch.equal(torch.get_rng_state(), state)


SCRIPT = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from test_bits_back import X, model_of
from aebook.applications.compression.bits_back import decode
torch.set_num_threads(int(sys.argv[2]))
assert torch.equal(decode(model_of(), sys.stdin.buffer.read()), X)
"""


def test_another_process_with_other_threads_reads_the_bytes():
    here = os.path.dirname(__file__)
    subprocess.run(
        [sys.executable, "-c", SCRIPT, here, "2"], input=encode(MODEL, X), check=True, timeout=1200
    )


# Lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 256])
def test_one_message_takes_a_code_in_two_parts(levels):
    objective = model_of(levels=levels, scale=0.3)
    for x in messages(8, levels=levels).split(1):
        words = (len(encode(objective, x, bits=8)) - 27) * 8
        expected = lengths(objective.double(), x.double(), 8, best=True).two_parts.item()
        # whole words, and up to 24 bits until the coder has filled its state
        assert expected - 1 < words < expected + 32 + 24


@pytest.mark.parametrize("levels", [2, 256])
@torch.no_grad()
def test_many_messages_take_what_is_left_when_the_bits_have_come_back(levels, monkeypatch):
    objective = model_of(levels=levels, scale=0.3).double()
    x = messages(400, levels=levels).double()
    used, likelihood = [], bits_back._Coder.likelihood
    monkeypatch.setattr(
        bits_back._Coder, "likelihood", lambda coder, z: used.append(z) or likelihood(coder, z)
    )
    bits = (len(encode(objective, x, bits=8)) - 27) * 8

    # the codes that were drawn from the bits themselves, the last message first
    coder, expected = bits_back._Coder(objective, 8), 0.0
    for number, (z, message) in enumerate(zip(used, coder.to_levels(x.flip(0)), strict=True)):
        p, q = likelihood(coder, z), coder.posterior(message.numpy())
        expected += 8 * len(z) - np.log2(p[range(len(p)), message.flatten()]).sum()
        expected += np.log2(q[range(len(q)), z]).sum() if number else 0.0
    # whole words, 24 bits until the coder has filled its state, and its rounding
    assert abs(bits - expected) < 32 + 24 + 0.01 * len(x)
    assert bits < 0.9 * lengths(objective, x, 8, seed=0).two_parts.sum()


# What is refused -----------------------------------------------------------------------------


DATA = encode(MODEL, X) if CODER else b""


def test_every_flipped_bit_is_refused():
    for place in range(8 * len(DATA)):
        other = bytearray(DATA)
        other[place // 8] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"altered|another version"):
            decode(MODEL, bytes(other))


def test_every_beginning_is_refused():
    for size in range(len(DATA)):
        with pytest.raises(ValueError, match=r"truncated|another version"):
            decode(MODEL, DATA[:size])
    with pytest.raises(ValueError, match="altered"):
        decode(MODEL, DATA + b"\0\0\0\0")


def test_another_model_is_refused_even_if_it_passes_for_the_right_one():
    other = model_of(seed=1)
    with pytest.raises(ValueError, match="are of the model"):
        decode(other, DATA)
    with pytest.raises(ValueError, match="other messages"):
        decode(other, forged(DATA, fingerprint=encode(other, X)[8:12]))


def test_probabilities_that_are_rounded_otherwise_give_no_wrong_message(monkeypatch):
    from aebook.applications.compression import bits_back

    def otherwise(*arguments):
        return exact(*arguments) * 0.999 + 0.001 / 1024

    exact = bits_back.bin_probabilities
    monkeypatch.setattr(bits_back, "bin_probabilities", otherwise)
    with pytest.raises(ValueError, match="other messages here"):
        decode(MODEL, DATA)


@pytest.mark.parametrize(
    "parts",
    [
        {"count": 2**32 - 1},
        {"count": 21},
        {"count": 19},
        {"count": 0},
        {"units": 65535},
        {"units": 0},
        {"units": 2},
        {"bits": 0},
        {"bits": 255},
        {"bits": 9},
        {"words": b""},
        {"words": bytes(4000)},
        {"words": b"\1\2\3"},
        {"words": DATA[27:] + b"\1\0\0\0"},
        {"digest": bytes(8)},
    ],
    ids=lambda parts: "-".join(
        f"{k}-{v if isinstance(v, int) else len(v)}" for k, v in parts.items()
    ),
)
def test_headers_that_claim_something_else_are_refused(parts):
    with pytest.raises(ValueError, match=r"get them again|other messages"):
        decode(MODEL, forged(DATA, **parts))


@given(st.binary(max_size=200))
def test_any_words_under_a_true_checksum_are_refused(words):
    with pytest.raises(ValueError, match=r"get them again|other messages"):
        decode(MODEL, forged(DATA, words=words))


@pytest.mark.parametrize(
    "data", [None, "bytes", 7, X, [1, 2]], ids=["none", "text", "number", "tensor", "list"]
)
def test_what_is_no_bytes_is_refused(data):
    with pytest.raises(ValueError, match="expected bytes"):
        decode(MODEL, data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_may_be_of_any_kind(kind):
    assert torch.equal(decode(MODEL, kind(DATA)), X)


@pytest.mark.parametrize(
    ("objective", "x", "said"),
    [
        (MODEL.model, X, "expected an Objective"),
        (aebook.variants.plain((12, 3)), X, "bottleneck"),
        (aebook.variants.variational((12, 3), distance=Gaussian(0.1)), X, "probability"),
        (aebook.variants.variational((12, 3), output=None), X, "Sigmoid"),
        (MODEL, X / 2, "other than k/1"),
        (MODEL, X - 1, "other than k/1"),
        (MODEL, 2 * X, "other than k/1"),
        (MODEL, X.int(), "int32"),
        (MODEL, X * math.nan, "NaN"),
        (MODEL, X[:0], "no data"),
        (MODEL, X[0], "single message"),
        (MODEL, "text", "expected numbers"),
        (model_of(levels=256), X / 7, "other than k/255"),
        (model_of(scale=math.nan), X, "NaN"),
    ],
    ids=[
        *("model", "plain", "density", "linear", "half", "below", "above", "whole", "nan"),
        *("none", "one", "text", "between", "weights"),
    ],
)
def test_what_cannot_be_written_is_refused(objective, x, said):
    with pytest.raises(ValueError, match=said):
        encode(objective, x)


@pytest.mark.parametrize("bits", [0, 17, 2.5, "8", True, None])
def test_bins_have_from_1_to_16_bits(bits):
    with pytest.raises(ValueError, match="bits"):
        encode(MODEL, X, bits=bits)


def test_numpys_whole_numbers_are_whole():
    assert encode(MODEL, X, bits=np.int64(8)) == encode(MODEL, X, bits=8.0)
