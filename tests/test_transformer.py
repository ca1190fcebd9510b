"""Tests of aebook.applications.translation.transformer: against its formulas written out.

What its decoder has in common with recurrent ones is in test_recurrent.py.
"""

import math

import pytest
import torch
from torch.nn.functional import layer_norm

from aebook.applications.translation.transformer import Decoder, Encoder
from aebook.recurrent import END, PADDING

V, P = 7, 6
X = torch.tensor([[2, 3, 4, END], [5, END, PADDING, PADDING], [END, PADDING, PADDING, PADDING]])


def encoder(**options):
    torch.manual_seed(0)
    return Encoder(V, P, hidden=5, heads=2, **options).double().eval()


def placed(embeddings):
    """The wave, number by number."""
    h = embeddings.clone()
    for t in range(len(h)):
        for i in range(0, P, 2):
            h[t, i] += math.sin(t / 10_000 ** (i / P))
            h[t, i + 1] += math.cos(t / 10_000 ** (i / P))
    return h


def norm(h, part):
    return layer_norm(h, h.shape[-1:], part.weight, part.bias)


def by_hand(made, row):
    """Codes of one message without padding, head by head."""
    h = placed(made.embedding.weight[row])
    for layer in made.stack.layers:
        attention = layer.self_attn
        maps = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        n = norm(h, layer.norm1)
        q, k, v = (n @ w.T + b for w, b in zip(*maps, strict=True))
        heads = [
            (a @ b.T / math.sqrt(P / 2)).softmax(-1) @ c
            for a, b, c in zip(*(m.chunk(2, -1) for m in (q, k, v)), strict=True)
        ]
        h = h + attention.out_proj(torch.cat(heads, -1))
        h = h + layer.linear2(layer.linear1(norm(h, layer.norm2)).relu())
    return norm(h, made.stack.norm)


def test_the_encoder_is_attention_and_two_maps_a_layer():
    made = encoder()
    z = made(X)
    for row, code in zip(X, z, strict=True):
        n = int((row != PADDING).sum())
        torch.testing.assert_close(code[:n], by_hand(made, row[:n]))
        assert (code[n:] == 0).all()


def test_order_is_seen():
    made = encoder(layers=1)
    z, turned = made(X[:1]), made(X[:1, [1, 0, 2, 3]])
    assert not torch.allclose(z[:, [1, 0, 2, 3]], turned)


def test_layers_do_not_start_alike():
    for part in (Encoder(V, 8), Decoder(V, 8, 4)):
        one, other = (layer.linear1.weight for layer in part.stack.layers)
        assert not torch.equal(one, other)


def test_dropout_is_for_training():
    made = encoder(dropout=0.5)
    assert torch.equal(made(X), made(X))
    made.train()
    assert not torch.equal(made(X), made(X))


@pytest.mark.parametrize("make", [Encoder, lambda *a, **o: Decoder(*a, 5, **o)])
def test_sizes_that_do_not_fit_are_refused(make):
    for sizes, message in (
        ({"heads": 3}, "code=4 for 3 heads"),
        ({"heads": 0}, "heads=0"),
        ({"layers": 0}, "layers=0"),
        ({"hidden": 1.5}, "hidden=1.5"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            make(V, 4, **sizes)
    with pytest.raises(ValueError, match="code=5 for 1 heads"):
        make(V, 5, heads=1)
