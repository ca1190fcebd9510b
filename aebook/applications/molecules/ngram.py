r"""The n-gram model: the next symbol depends on the few before it, and on nothing else.

.. math::

    p(x) = \prod_t p(x_t | x_{t-n+1}, \dots, x_{t-1})

It has no code, and is trained by counting. What an autoencoder of sequences writes from the prior
has to be better than what this writes. Messages are those of :mod:`aebook.recurrent`.

>>> model = NGram(alphabet.encode(train), order=6)
>>> alphabet.decode(model.sample(100))
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aebook._internal.checks import counted, whole
from aebook._internal.checks import symbols as check_symbols
from aebook._internal.contract import checked
from aebook.recurrent import END, PADDING

__all__ = ["NGram"]


class NGram:
    r"""Counts of n symbols in a row, each smoothed by that of one symbol fewer.

    With :math:`c(h, s)` the number of times that s follows the context h, :math:`c(h)` its sum over
    s, :math:`t(h)` the number of different s that do, and h' the context without its first symbol
    (Witten & Bell 1991):

    .. math::

        p(s | h) = \frac{c(h, s) + t(h)\, p(s | h')}{c(h) + t(h)}

    A context that never occurred leaves it to the shorter one; below the shortest stand all symbols
    alike, so that nothing is impossible.

    Parameters
    ----------
    messages
        int64, (N, T): symbols, END, padding.
    order
        n, 1 or more; 1 knows only how frequent each symbol is.
    alphabet
        Number V of symbols; the default is one more than the largest in the messages. As many as
        :math:`V^n < 2^{62}` allows.

    Examples
    --------
    >>> from aebook.applications.molecules import Alphabet, NGram
    >>> alphabet = Alphabet(["C", "O"])
    >>> model = NGram(alphabet.encode(["CCO", "CCCO"]), order=2)
    >>> usual, odd = model.log_likelihood(alphabet.encode(["CCO", "OOC"]))
    >>> bool(usual > odd), len(alphabet.decode(model.sample(3)))
    (True, 3)
    """

    @checked
    def __init__(self, messages: Tensor, order: int, alphabet: int | None = None) -> None:
        symbols = _checked(messages, alphabet and whole("alphabet", alphabet))
        order = whole("order", order, most=61)
        self.alphabet = int(symbols.max()) + 1 if alphabet is None else alphabet
        if self.alphabet**order >= 2**62:
            raise ValueError(
                f"got order={order} for {self.alphabet} symbols, expected a lower one: contexts "
                "are numbers below 2^62"
            )
        self.order = order
        self.length = messages.shape[1]
        there = symbols != PADDING
        self._tables = []
        for k in range(order):
            # the numbers of context and symbol, written as the digits of one number
            keys = self._contexts(symbols, k)[there] * self.alphabet + symbols[there]
            self._tables.append(_table(keys, self.alphabet))

    @checked
    def log_likelihood(self, messages: Tensor) -> Tensor:
        r""":math:`\log p(x)` in nats of messages (N, T), their end included: float64, (N,)."""
        symbols = _checked(messages, self.alphabet)
        there = symbols != PADDING
        p = self._probabilities([self._contexts(symbols, k) for k in range(self.order)], symbols)
        return torch.from_numpy(np.where(there, np.log(p), 0).sum(1))

    @checked
    def sample(
        self, n: int, *, length: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Write n messages, one symbol after another: int64, (n, length).

        Parameters
        ----------
        n
            How many, 1 or more.
        length
            Most symbols, the end included; the default is that of the longest it was made from.
        generator
            Where the randomness comes from; the default is PyTorch's own.
        """
        n, length = whole("n", n), self.length if length is None else whole("length", length)
        written = np.zeros((n, length), np.int64)
        symbols = np.broadcast_to(np.arange(self.alphabet), (n, self.alphabet))
        done = np.zeros(n, bool)
        for t in range(length):
            before = [self._contexts(written[:, : t + 1], k)[:, -1:] for k in range(self.order)]
            p = self._probabilities(before, symbols)
            p[:, PADDING] = 0
            edges = p.cumsum(1)
            uniform = torch.rand(n, 1, dtype=torch.float64, generator=generator).numpy()
            drawn = (uniform * edges[:, -1:] >= edges).sum(1)
            written[:, t] = np.where(done, PADDING, drawn)
            done |= drawn == END
            if done.all():
                break
        return torch.from_numpy(written)

    def _contexts(self, messages: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """The k symbols before each, as one number; before the first stands padding."""
        number = np.zeros_like(messages)
        for back in range(k, 0, -1):
            shifted = np.zeros_like(messages)
            shifted[:, back:] = messages[:, :-back]
            number = number * self.alphabet + shifted
        return number

    def _probabilities(
        self, contexts: list[NDArray[np.int64]], symbols: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The probability of each symbol, by the recursion from the shortest context up."""
        p = np.full(symbols.shape, 1 / (self.alphabet - 1))
        for (keys, counts, known, totals, types), context in zip(
            self._tables, contexts, strict=True
        ):
            c = _look(keys, counts, context * self.alphabet + symbols)
            total, kinds = _look(known, totals, context), _look(known, types, context)
            p = (c + kinds * p) / np.maximum(total + kinds, 1) + (total == 0) * p
        return p


def _table(keys: NDArray[np.int64], alphabet: int) -> tuple[NDArray[np.int64], ...]:
    """Counts c(h, s), and for each context c(h) and t(h), all sorted for look-up."""
    keys, counts = np.unique(keys, return_counts=True)
    known, start = np.unique(keys // alphabet, return_index=True)
    return keys, counts, known, np.add.reduceat(counts, start), np.diff(np.append(start, len(keys)))


def _look(
    keys: NDArray[np.int64], values: NDArray[np.int64], wanted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The values of some keys, 0 where there is none."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def _checked(messages: Tensor, alphabet: int | None) -> NDArray[np.int64]:
    check_symbols(messages, alphabet)
    counted("symbols", messages.numel())
    return messages.cpu().numpy()
