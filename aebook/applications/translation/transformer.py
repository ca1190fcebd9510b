r"""Transformers: encoder and decoder made of attention alone (Vaswani et al. 2017).

They take the places of :class:`aebook.recurrent.Encoder` and :class:`aebook.recurrent.Decoder`
with attention, and nothing else changes: the code has a row for each symbol of the source, the
decoder is told the symbols before, the loss is the same. What is new is that positions look at each
other directly, in the source and in what has been written, and not through a state:

.. math::

    \mathrm{attention}(Q, K, V) = \mathrm{softmax}(Q K^\top / \sqrt{d})\, V

Since attention does not know order, a wave of sines and cosines is added at each position. Layers
are PyTorch's, normalised first.

>>> from aebook.applications.translation import Translator, Vocabulary, transformer
>>> source, target = Vocabulary(english), Vocabulary(french)
>>> model = aebook.Autoencoder(
...     transformer.Encoder(len(source), code=64), transformer.Decoder(len(target), 64, length=64)
... )
>>> translator = Translator(source, target, model)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from aebook._internal.checks import number, whole
from aebook._internal.contract import checked
from aebook.recurrent import PADDING, Writer, message_lengths

__all__ = ["Decoder", "Encoder"]


class Encoder(nn.Module):
    """From symbols to a code for each: layers of self-attention.

    Parameters
    ----------
    vocabulary
        Number V of symbols, those of padding and end included.
    code
        Numbers of a row of the code, and of an embedding; a multiple of ``heads``, and even.
    layers
        Layers, one or more.
    heads
        Attentions side by side in a layer, each on its part of the numbers.
    hidden
        Units between the two linear maps of a layer.
    dropout
        Probability that a number is zero in training, after the embedding and in the layers.

    Examples
    --------
    >>> from aebook.applications.translation.transformer import Encoder
    >>> Encoder(vocabulary=6, code=8)(torch.tensor([[2, 3, 4, 1], [5, 1, 0, 0]])).shape
    torch.Size([2, 4, 8])
    """

    @checked
    def __init__(
        self,
        vocabulary: int,
        code: int,
        *,
        layers: int = 2,
        heads: int = 4,
        hidden: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        sizes = {"vocabulary": vocabulary, "code": code, "layers": layers, "heads": heads}
        self._arguments = _sized(**sizes, hidden=hidden, dropout=dropout)
        self.embedding = nn.Embedding(vocabulary, code)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            code, heads, hidden, dropout, batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(code)
        self.stack = nn.TransformerEncoder(layer, layers, norm, enable_nested_tensor=False)
        _draw(self.stack)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return dict(self._arguments)

    def forward(self, x: Tensor) -> Tensor:
        """Codes (B, T, p) of messages (B, T), zero after the end."""
        message_lengths(x, self.embedding.num_embeddings)
        h = self.dropout(_placed(self.embedding(x)))
        there = (x != PADDING).unsqueeze(-1)
        return self.stack(h, src_key_padding_mask=x == PADDING).masked_fill(~there, 0)


class Decoder(Writer):
    r"""From a code to symbols: attention to the code, and to the symbols before.

    It reads what has been written anew for each symbol that it writes. Its logits are a linear map
    of the last layer.

    Parameters
    ----------
    vocabulary, code, layers, heads, hidden, dropout
        As in :class:`Encoder`.
    length
        Most symbols that it writes, the end included.

    Examples
    --------
    >>> from aebook.applications.translation.transformer import Decoder
    >>> decoder, z = Decoder(vocabulary=6, code=8, length=10), torch.rand(2, 3, 8)
    >>> target = torch.tensor([[2, 3, 4, 1], [5, 1, 0, 0]])
    >>> decoder(z, target).shape, decoder(z).shape  # logits; symbols that it writes
    (torch.Size([2, 4, 6]), torch.Size([2, 10]))
    """

    @checked
    def __init__(
        self,
        vocabulary: int,
        code: int,
        length: int,
        *,
        layers: int = 2,
        heads: int = 4,
        hidden: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        sizes = {"vocabulary": vocabulary, "code": code, "layers": layers, "heads": heads}
        self._arguments = _sized(**sizes, hidden=hidden, dropout=dropout)
        self.length = whole("length", length)
        self.embedding = nn.Embedding(vocabulary, code)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerDecoderLayer(
            code, heads, hidden, dropout, batch_first=True, norm_first=True
        )
        self.stack = nn.TransformerDecoder(layer, layers, nn.LayerNorm(code))
        self.logits = nn.Linear(code, vocabulary)
        _draw(self.stack)
        _draw(self.logits)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {**self._arguments, "length": self.length}

    def _start(self, z: Tensor) -> Tensor:
        """What was written: nothing, (1, B, 0)."""
        code = self.embedding.embedding_dim
        if z.dim() != 3 or z.shape[-1] != code:
            raise ValueError(
                f"got codes of shape {tuple(z.shape)}, expected (B, S, p) with p={code}"
            )
        if not (z != 0).any(-1).any(1).all():
            raise ValueError("got a source without any position, expected one or more")
        return torch.zeros(1, len(z), 0, dtype=torch.long, device=z.device)

    def _read(self, told: Tensor, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) after each of the symbols (B, T), and all that was told."""
        read = torch.cat((state[0], told), 1)
        size = read.shape[1]
        later = torch.ones(size, size, dtype=torch.bool, device=z.device).triu(1)
        h = self.stack(
            self.dropout(_placed(self.embedding(read))),
            z,
            tgt_mask=later,
            tgt_is_causal=False,  # PyTorch would compare to find out, and wait for a GPU
            memory_key_padding_mask=~(z != 0).any(-1),
        )
        logits = self.logits(h[:, size - told.shape[1] :])
        # padding is no symbol, as in a recurrent decoder
        logits[..., PADDING] = -math.inf
        return logits, read.unsqueeze(0)


def _placed(h: Tensor) -> Tensor:
    r"""Embeddings (B, T, p) with a wave of their position added."""
    size, code = h.shape[1:]
    at = torch.arange(size, device=h.device, dtype=h.dtype).unsqueeze(-1)
    rate = torch.arange(0, code, 2, device=h.device, dtype=h.dtype) / code
    angle = at * 10_000**-rate
    return h + torch.stack((angle.sin(), angle.cos()), -1).flatten(1)


def _draw(layers: nn.Module) -> None:
    """First weights at Glorot's scale, each layer its own: PyTorch makes them as copies."""
    for weight in layers.parameters():
        if weight.dim() > 1:
            nn.init.xavier_uniform_(weight)


def _sized(*, dropout: float, **sizes: int) -> dict[str, Any]:
    """The arguments of a network, if it can be made of them."""
    for name, size in sizes.items():
        # layers are made one after another, and memory would run out late
        most = 1000 if name == "layers" else None
        whole(name, size, least=3 if name == "vocabulary" else 1, most=most)
    number("dropout", dropout, least=0, below=1)
    code, heads = sizes["code"], sizes["heads"]
    if code % heads or code % 2:
        raise ValueError(
            f"got code={code} for {heads} heads, expected an even number that they divide"
        )
    return {**sizes, "dropout": dropout}
