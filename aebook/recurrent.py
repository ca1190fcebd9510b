r"""Recurrent encoders and decoders, for sequences of symbols and for pieces of a series.

A message of symbols is a row of whole numbers, (T,): its symbols, then :data:`END`, then
:data:`PADDING` up to the length of the longest. A batch of them is int64, (B, T). The decoder
writes one symbol after another and is told those before, so its likelihood is

.. math::

    p(x | z) = \prod_t p(x_t | z, x_{<t})

In training it is told the true ones, those of the target (teacher forcing): an
:class:`aebook.Objective` gives the target to any decoder that is ``autoregressive``. The distance
is ``partial(aebook.distances.categorical, ignore=aebook.recurrent.PADDING)``. After training it is
told its own: ``model.decode(z)`` takes the likeliest symbol at each step, and
:meth:`Writer.sample` and :meth:`Writer.beam` look further.

A piece of a series is (C, T), T values of each of C variables, as for a convolution. The networks
of :func:`series` read it whole and write it again, told nothing but the code.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from aebook._internal.checks import array, number, symbols, whole, whole_numbers
from aebook._internal.contract import checked
from aebook.networks import Chain

__all__ = [  # noqa: RUF022 - plain alphabetical order, as in every module
    "Decoder",
    "END",
    "Encoder",
    "LastState",
    "PADDING",
    "Unrolled",
    "Writer",
    "message_lengths",
    "series",
]

#: The symbol after the last of a message; also what stands before the first.
PADDING = 0
#: The symbol that ends a message.
END = 1


class Encoder(nn.Module):
    r"""From symbols to a code, by a gated recurrent unit: :math:`h_t = \mathrm{GRU}(h_{t-1}, x_t)`.

    The code is a linear map of the last state, of both directions if there are two (Cho et al.
    2014). With ``attention`` every position has a code of its own, and the whole is as long as the
    message: no bottleneck.

    Parameters
    ----------
    vocabulary
        Number V of symbols, those of padding and end included.
    code
        Number p of code units; for a :class:`aebook.bottlenecks.Gaussian` give 2p.
    embedding
        Numbers that stand for a symbol.
    hidden
        Units of the state, in each direction.
    bidirectional
        Whether a second unit reads from the end.
    attention
        Whether each position has a code.
    dropout
        Probability that a number of an embedding, or of the states that the code is made from, is
        zero in training.

    Examples
    --------
    >>> from aebook.recurrent import END, PADDING, Encoder
    >>> x = torch.tensor([[2, 3, 4, END], [5, END, PADDING, PADDING]])
    >>> Encoder(vocabulary=6, code=8)(x).shape
    torch.Size([2, 8])
    >>> Encoder(vocabulary=6, code=8, attention=True)(x).shape
    torch.Size([2, 4, 8])
    """

    @checked
    def __init__(
        self,
        vocabulary: int,
        code: int,
        *,
        embedding: int = 64,
        hidden: int = 256,
        bidirectional: bool = True,
        attention: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check_sizes(vocabulary=vocabulary, code=code, embedding=embedding, hidden=hidden)
        self.attention = attention
        self.dropout = nn.Dropout(number("dropout", dropout, least=0, below=1))
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.gru = nn.GRU(embedding, hidden, batch_first=True, bidirectional=bidirectional)
        self.to_code = _linear(hidden * (2 if bidirectional else 1), code)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {
            "vocabulary": self.embedding.num_embeddings,
            "code": self.to_code.out_features,
            "embedding": self.embedding.embedding_dim,
            "hidden": self.gru.hidden_size,
            "bidirectional": self.gru.bidirectional,
            "attention": self.attention,
            "dropout": self.dropout.p,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Codes (B, p) of messages (B, T); with attention (B, T, p), zero after the end."""
        size = message_lengths(x, self.embedding.num_embeddings)
        given = self.dropout(self.embedding(x))
        packed = pack_padded_sequence(given, size, batch_first=True, enforce_sorted=False)
        outputs, state = self.gru(packed)
        if not self.attention:
            return self.to_code(self.dropout(torch.cat(tuple(state), -1)))
        outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
        return self.to_code(self.dropout(outputs)) * (x != PADDING).unsqueeze(-1)


class Writer(nn.Module, ABC):
    r"""A decoder that writes one symbol after another: :math:`p(x_t | z, x_{<t})`.

    What is common to such decoders, whatever network is within. Theirs is an ``embedding`` of
    symbols, a ``length``, the most symbols that it writes, and two methods: ``_start(z)``, what it
    knows before the first symbol, (1, B, ...), and ``_read(told, z, state)``, the logits (B, T, V)
    after each of the symbols (B, T), and what it knows after the last.

    Examples
    --------
    >>> from aebook.recurrent import Decoder, Writer
    >>> issubclass(Decoder, Writer)
    True
    """

    #: An objective gives the target to it, for teacher forcing.
    autoregressive = True
    embedding: nn.Embedding
    length: int
    forget: float = 0.0

    def forward(self, z: Tensor, target: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of a target (B, T), or without one the symbols (B, length) it writes.

        Without a target it takes the likeliest symbol at each step. A message that does not end
        within ``length`` symbols has no :data:`END`. Padding is never written, and its logit is
        -inf: the distance has to ignore it.
        """
        if target is None:
            return self._write(z, lambda logits: logits.argmax(-1))
        told = self._told(target)
        if self.training and self.forget > 0:
            # nothing stands before the first symbol that could be hidden
            hidden = torch.rand(told[:, 1:].shape, device=told.device) < self.forget
            told[:, 1:].masked_fill_(hidden, PADDING)
        return self._read(told, z, self._start(z))[0]

    @checked
    def sample(
        self, z: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Draw messages, :math:`x_t \sim p(x_t | z, x_{<t})^{1/τ}`: int64, (B, length).

        Parameters
        ----------
        z
            Codes, (B, p), or (B, S, p) with attention.
        temperature
            τ above 0; 1 draws from the model, less prefers what is likely.
        generator
            Where the randomness comes from; the default is PyTorch's own.
        """
        number("temperature", temperature)
        self._check_codes(z)
        return self._write(
            z,
            lambda logits: torch.multinomial(
                (logits / temperature).softmax(-1), 1, generator=generator
            ).squeeze(-1),
        )

    @checked
    @torch.no_grad()
    def beam(self, z: Tensor, width: int = 5, alpha: float = 1.0) -> Tensor:
        r"""Search for the message with the largest :math:`\log p(x|z) / |x|^α`: int64, (B, length).

        Of all messages begun, the ``width`` likeliest are kept at each step (Sutskever, Vinyals &
        Le 2014). One that is finished, its end included in its length, keeps its place as long as
        its score is among the best.

        Parameters
        ----------
        z
            Codes, (B, p), or (B, S, p) with attention.
        width
            Messages kept, 1 or more.
        alpha
            α, 0 or more. 0 compares likelihoods, which favours short messages.
        """
        width, alpha = whole("width", width), number("alpha", alpha, least=0)
        self._check_codes(z)
        batch, state = len(z), self._start(z)
        # beams of one message stand side by side: row b * width + k
        z, state = z.repeat_interleave(width, 0), state.repeat_interleave(width, 1)
        written = z.new_full((batch * width, self.length), PADDING, dtype=torch.long)
        # all beams begin alike, so only the first counts at the first step
        log_p = z.new_full((batch, width), -math.inf)
        log_p[:, 0] = 0
        size = torch.zeros_like(log_p)
        last = written.new_full((batch * width,), PADDING)
        done = torch.zeros_like(last, dtype=torch.bool)
        for t in range(self.length):
            logits, state = self._step(last, z, state)
            step = logits.log_softmax(-1)
            # after its end a message goes on in one way only
            step[done] = -math.inf
            step[done, PADDING] = 0
            total = log_p.unsqueeze(-1) + step.view(batch, width, -1)
            longer = size + (~done).view(batch, width)
            scores = total / longer.unsqueeze(-1) ** alpha
            best = scores.flatten(1).topk(width).indices
            beam, symbol = best // step.shape[-1], best % step.shape[-1]
            rows = (beam + width * torch.arange(batch, device=z.device).unsqueeze(-1)).flatten()
            log_p, size = total.flatten(1).gather(1, best), longer.gather(1, beam)
            written, state, last = written[rows], state[:, rows], symbol.flatten()
            written[:, t] = last
            done = done[rows] | (last == END)
            if done.all():
                break
        first = (log_p / size**alpha).argmax(1)
        return written.view(batch, width, -1)[torch.arange(batch, device=z.device), first]

    def _check_codes(self, z: Tensor) -> None:
        """Refuse codes that training never gives."""
        array("codes", z, of=str(self.embedding.weight.dtype).removeprefix("torch."))
        self._start(z)

    @torch.no_grad()
    def _write(self, z: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """Write symbols, each chosen from its logits, up to the end of each message."""
        written = z.new_full((len(z), self.length), PADDING, dtype=torch.long)
        last, state = written[:, 0], self._start(z)
        done = torch.zeros_like(last, dtype=torch.bool)
        for t in range(self.length):
            logits, state = self._step(last, z, state)
            last = choose(logits).masked_fill(done, PADDING)
            written[:, t] = last
            done = done | (last == END)
            if done.all():
                break
        return written

    def _step(self, last: Tensor, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, V) of the next symbol, and the state after it."""
        logits, state = self._read(last.unsqueeze(1), z, state)
        return logits[:, 0], state

    def _told(self, target: Tensor) -> Tensor:
        """What stands before each symbol of a target."""
        message_lengths(target, self.embedding.num_embeddings)
        return nn.functional.pad(target[:, :-1], (1, 0), value=PADDING)

    @abstractmethod
    def _start(self, z: Tensor) -> Tensor:
        """The state before the first symbol; codes of another shape are refused."""

    @abstractmethod
    def _read(self, told: Tensor, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) after each symbol that is told, and the state after the last."""


class Decoder(Writer):
    r"""From a code to symbols: :math:`p(x_t | z, x_{<t}) = \mathrm{softmax}(f(h_t))`.

    The state starts at :math:`h_0 = \tanh(W z + c)`, and z is given at every step beside the symbol
    before. With ``attention``, z has one row a position of the source; the state starts from their
    mean, and each step takes its own mixture of the rows (Luong, Pham & Manning 2015):

    .. math::

        a_t = \mathrm{softmax}_s(h_t^\top A z_s), \qquad
        \tilde h_t = \tanh(C [\textstyle\sum_s a_{ts} z_s; h_t])

    Parameters
    ----------
    vocabulary
        Number V of symbols, those of padding and end included.
    code
        Number p of code units.
    length
        Most symbols that it writes, the end included.
    embedding, hidden
        As in :class:`Encoder`.
    attention
        Whether z is (B, S, p), one code for each position of the source.
    forget
        Probability that a symbol of the target is hidden in training, so that the code has to say
        it (Bowman et al. 2016).
    dropout
        Probability that a number of an embedding, or of the state that the logits are made from,
        is zero in training.

    Examples
    --------
    >>> from aebook.recurrent import END, PADDING, Decoder
    >>> decoder, z = Decoder(vocabulary=6, code=8, length=10), torch.rand(2, 8)
    >>> target = torch.tensor([[2, 3, 4, END], [5, END, PADDING, PADDING]])
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
        embedding: int = 64,
        hidden: int = 256,
        attention: bool = False,
        forget: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = {"vocabulary": vocabulary, "code": code, "length": length}
        _check_sizes(**sizes, embedding=embedding, hidden=hidden)
        number("forget", forget, least=0, most=1)
        self.length, self.attention, self.forget = length, attention, forget
        self.dropout = nn.Dropout(number("dropout", dropout, least=0, below=1))
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.from_code = _linear(code, hidden)
        self.gru = nn.GRU(embedding + (0 if attention else code), hidden, batch_first=True)
        if attention:
            self.query = _linear(hidden, code, bias=False)
            self.mix = _linear(code + hidden, hidden)
        self.logits = _linear(hidden, vocabulary)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of a code, (p,); with attention it has as many rows as the text has symbols."""
        return None if self.attention else (self.from_code.in_features,)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {
            "vocabulary": self.embedding.num_embeddings,
            "code": self.from_code.in_features,
            "length": self.length,
            "embedding": self.embedding.embedding_dim,
            "hidden": self.gru.hidden_size,
            "attention": self.attention,
            "forget": self.forget,
            "dropout": self.dropout.p,
        }

    @checked
    def alignment(self, z: Tensor, target: Tensor) -> Tensor:
        r"""Attention :math:`a_{ts}` of each symbol of a target to each position of the source.

        Parameters
        ----------
        z
            Codes, (B, S, p): the decoder has to have been built with attention.
        target
            Messages, int64 (B, T), such as those that it wrote.

        Returns
        -------
        Tensor
            (B, T, S), at least 0; the sum over s is 1.
        """
        if not self.attention:
            raise ValueError("got a decoder without attention, expected one with it")
        self._check_codes(z)
        h, _ = self.gru(self.embedding(self._told(target)), self._start(z))
        return self._attention(h, z)

    def _attention(self, h: Tensor, z: Tensor) -> Tensor:
        """Weights (B, T, S) of the positions of the source, for states (B, T, hidden)."""
        scores = self.query(h) @ z.transpose(1, 2)
        return scores.masked_fill(~_present(z).unsqueeze(1), -math.inf).softmax(-1)

    def _read(self, told: Tensor, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) after each of the symbols (B, T), and the state after the last."""
        given = self.dropout(self.embedding(told))
        if not self.attention:
            given = torch.cat((given, z.unsqueeze(1).expand(-1, told.shape[1], -1)), -1)
        h, state = self.gru(given, state)
        if self.attention:
            h = self.mix(torch.cat((self._attention(h, z) @ z, h), -1)).tanh()
        logits = self.logits(self.dropout(h))
        # padding is no symbol: the probabilities of all messages sum to 1 without it
        logits[..., PADDING] = -math.inf
        return logits, state

    def _start(self, z: Tensor) -> Tensor:
        """The state before the first symbol, (1, B, hidden)."""
        shape = "(B, S, p)" if self.attention else "(B, p)"
        code = self.from_code.in_features
        if z.dim() != 2 + self.attention or z.shape[-1] != code:
            raise ValueError(f"got codes of shape {tuple(z.shape)}, expected {shape} with p={code}")
        if self.attention:
            present = _present(z)
            if not present.any(1).all():
                raise ValueError("got a source without any position, expected one or more")
            z = z.sum(1) / present.sum(1, keepdim=True)
        return self.from_code(z).tanh().unsqueeze(0)


@checked
def series(
    shape: Sequence[int], hidden: int, code: int, *, posterior: bool = False
) -> tuple[Chain, Chain]:
    r"""Recurrent encoder of pieces of a series, and a decoder that writes them again.

    In place of :func:`aebook.networks.convolutional`: :class:`LastState` and a linear layer make
    the code, :class:`Unrolled` is the way back.

    Parameters
    ----------
    shape
        Number C of variables and length T of a piece, for instance ``(1, 72)``.
    hidden
        Units of the state, in each direction in the encoder.
    code
        Number p of code units.
    posterior
        Whether the encoder gives two numbers for each of the code, a mean and a log-variance, as
        :class:`aebook.bottlenecks.Gaussian` takes them.

    Returns
    -------
    tuple of Chain
        Encoder, (B, C, T) to (B, code), and decoder, the way back.

    Examples
    --------
    >>> from aebook.recurrent import series
    >>> encoder, decoder = series((1, 72), 32, 6)
    >>> codes = encoder(torch.rand(5, 1, 72))
    >>> codes.shape, decoder(codes).shape
    (torch.Size([5, 6]), torch.Size([5, 1, 72]))
    """
    shape = whole_numbers("shape", shape, count=2)
    if len(shape) != 2:
        raise ValueError(f"got shape={shape}, expected (variables, length)")
    channels, length = shape
    whole("hidden", hidden)
    whole("code", code)
    to_code = _linear(2 * hidden, 2 * code if posterior else code)
    return (
        Chain(shape, LastState(channels, hidden), to_code),
        Chain((code,), Unrolled(code, hidden, channels, length)),
    )


class LastState(nn.Module):
    r"""The last states of :math:`h_t = \mathrm{GRU}(h_{t-1}, x_t)`, read forwards and backwards.

    Parameters
    ----------
    channels
        Number C of variables.
    hidden
        Units of the state, in each direction.

    Examples
    --------
    >>> from aebook.recurrent import LastState
    >>> LastState(1, 32)(torch.rand(5, 1, 72)).shape
    torch.Size([5, 64])
    """

    @checked
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        _check_sizes(channels=channels, hidden=hidden)
        self.gru = nn.GRU(channels, hidden, batch_first=True, bidirectional=True)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {"channels": self.gru.input_size, "hidden": self.gru.hidden_size}

    def forward(self, x: Tensor) -> Tensor:
        """States (B, 2 hidden) after all values of pieces (B, C, T)."""
        _, state = self.gru(x.transpose(1, 2))
        return torch.cat(tuple(state), -1)


class Unrolled(nn.Module):
    r"""A piece of a series from its code, :math:`x'_t = V h_t + b`.

    The state is :math:`h_t = \mathrm{GRU}(h_{t-1}, z)` and starts at :math:`h_0 = \tanh(W z + c)`.
    The value before is not told: who knows it can follow any smooth series, an anomaly too, and
    needs no code.

    Parameters
    ----------
    code
        Number p of code units.
    hidden
        Units of the state.
    channels
        Number C of variables.
    length
        Number T of values.

    Examples
    --------
    >>> from aebook.recurrent import Unrolled
    >>> Unrolled(6, 32, 1, 72)(torch.rand(5, 6)).shape
    torch.Size([5, 1, 72])
    """

    @checked
    def __init__(self, code: int, hidden: int, channels: int, length: int) -> None:
        super().__init__()
        _check_sizes(code=code, hidden=hidden, channels=channels, length=length)
        self.length = length
        self.start = _linear(code, hidden)
        self.gru = nn.GRU(code, hidden, batch_first=True)
        self.values = _linear(hidden, channels)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {
            "code": self.start.in_features,
            "hidden": self.gru.hidden_size,
            "channels": self.values.out_features,
            "length": self.length,
        }

    def forward(self, z: Tensor) -> Tensor:
        """Pieces (B, C, T) of codes (B, p)."""
        given = z.unsqueeze(1).expand(-1, self.length, -1)
        h, _ = self.gru(given, self.start(z).tanh().unsqueeze(0))
        return self.values(h).transpose(1, 2)


def _present(z: Tensor) -> Tensor:
    """Which rows of codes (B, S, p) belong to a symbol: after the end they are zero."""
    return (z != 0).any(-1)


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    map_ = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(map_.weight)
    if bias:
        nn.init.zeros_(map_.bias)
    return map_


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        whole(name, size, least=3 if name == "vocabulary" else 1)


def message_lengths(x: Tensor, vocabulary: int) -> Tensor:
    """The lengths (B,) of messages, on the CPU; what are none is refused.

    Parameters
    ----------
    x
        Messages, int64 (B, T): symbols, the end, then padding alone.
    vocabulary
        Number V of symbols.

    Examples
    --------
    >>> from aebook.recurrent import message_lengths
    >>> message_lengths(torch.tensor([[2, 3, 1], [1, 0, 0]]), vocabulary=4)
    tensor([3, 1])
    """
    symbols(x, vocabulary, empty=False)
    there = x != PADDING
    size, begun = torch.stack((there.sum(1), there.long().cumprod(1).sum(1))).cpu()
    if not torch.equal(size, begun) or not begun.all():
        raise ValueError(
            f"got the padding {PADDING} before the end of a message, or a message of nothing "
            f"else; expected symbols, {END}, then only {PADDING}"
        )
    return size
