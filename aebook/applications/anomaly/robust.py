r"""The robust deep autoencoder: data as what an autoencoder explains plus what is left out.

.. math::

    X = L + S, \qquad
    \min_{θ,φ,S} \sum_n \tfrac12 \|l_n - D(b(E(l_n)))\|^2 + λ\, Ω(S)

With a linear autoencoder it is close to robust principal component analysis (Candès et al. 2011);
with a deep one it is due to Zhou & Paffenroth 2017. Messages are the rows of X. Ω decides what S
can be:

.. math::

    \|S\|_1 = \sum_{n,j} |s_{nj}|, \qquad
    \|S^\top\|_{2,1} = \sum_n \Big(\sum_j s_{nj}^2\Big)^{1/2}, \qquad
    \|S\|_{2,1} = \sum_j \Big(\sum_n s_{nj}^2\Big)^{1/2}

single entries that are wrong, whole messages, or whole features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from aebook._internal.checks import array, check_arguments, number
from aebook._internal.contract import checked
from aebook.core import Objective
from aebook.data import Data, Form, like, messages
from aebook.inference import in_pieces
from aebook.training.loop import fit

__all__ = ["Decomposition", "decompose", "group_soft_threshold", "soft_threshold"]


_few_epochs = partial(fit, epochs=5, progress=False)


class Decomposition(NamedTuple):
    """The two parts of the data, X = L + S, of the kind that X came in, and the way there."""

    L: Any
    """What the autoencoder was trained on, (N, ...)."""
    S: Any
    """What was left out, (N, ...), exactly zero wherever nothing was."""
    history: list[float]
    r"""After each round, :math:`\frac1N (\sum_n \frac12 \|x_n - s_n - x'_n\|^2 + λ\,Ω(S))`."""


@checked
def soft_threshold(s: Tensor, weight: float) -> Tensor:
    r"""The proximal map of :math:`λ\|\cdot\|_1`, :math:`\mathrm{sign}(s) \max(|s| - λ, 0)`.

    It solves :math:`\min_u \frac12 \|u - s\|^2 + λ \|u\|_1`: what is small becomes zero, what is
    not shrinks by λ.

    Parameters
    ----------
    s
        Any shape.
    weight
        λ, 0 or more, in the unit of ``s``.

    Examples
    --------
    >>> from aebook.applications.anomaly import soft_threshold
    >>> soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0)
    tensor([-2.,  0.,  1.])
    """
    number("weight", weight, least=0)
    array("s", s, of="floating point", empty=True)
    return s.sign() * (s.abs() - weight).clamp_min(0)


@checked
def group_soft_threshold(
    s: Tensor, weight: float, *, by: Literal["row", "column"] = "row"
) -> Tensor:
    r"""The proximal map of :math:`λ\|\cdot\|_{2,1}`, :math:`s_g \max(1 - λ / \|s_g\|, 0)`.

    It solves :math:`\min_u \frac12 \|u - s\|^2 + λ \sum_g \|u_g\|`: a group whose length is at most
    λ becomes zero as a whole, any other is shortened by λ.

    Parameters
    ----------
    s
        (N, ...).
    weight
        λ, 0 or more, in the unit of ``s``.
    by
        ``"row"``: a group is a message, all its entries together. ``"column"``: a group is one
        entry of all messages.

    Examples
    --------
    >>> from aebook.applications.anomaly import group_soft_threshold
    >>> s = torch.tensor([[3.0, 4.0], [0.3, 0.4]])  # of length 5 and 1/2
    >>> group_soft_threshold(s, 1.0)
    tensor([[2.4000, 3.2000],
            [0.0000, 0.0000]])
    """
    number("weight", weight, least=0)
    array("s", s, of="floating point", empty=True)
    length = _lengths(s, by)
    # a group of length zero stays zero, and 0 / 0 is no number
    return s * (1 - weight / length.clamp_min(torch.finfo(s.dtype).tiny)).clamp_min(0)


@checked
def decompose(
    objective: Objective,
    x: Data,
    weight: float,
    norm: Literal["l1", "l21", "l21_features"] = "l1",
    *,
    rounds: int = 20,
    train: Callable[[Objective, Tensor], Any] = _few_epochs,
) -> Decomposition:
    r"""Train an autoencoder on X - S while finding S: the robust deep autoencoder.

    Two steps in turn, from S = 0. First the weights are trained on L = X - S for a while. Then
    :math:`S = \mathrm{prox}_{λΩ}(X - D(b(E(L))))`, which is the best S for the reconstructions as
    they are. What does not fit is thus taken out of the data that the autoencoder learns from
    (Zhou & Paffenroth 2017).

    λ decides how much goes into S: with ``"l21"`` the messages with :math:`\|x - x'\|_2 > λ`; with
    ``"l1"`` the entries with :math:`|x_j - x'_j| > λ`. Messages left out are those with
    ``S.flatten(1).any(1)``; to rank all, take the distance of X from
    ``objective.model.reconstruct(L)``.

    Parameters
    ----------
    objective
        What to train, in place. Its distance should be :func:`aebook.distances.squared_error`: with
        another the two steps no longer minimise the same thing.
    x
        Messages alone, whatever :func:`aebook.fit` takes; all are in memory at once.
    weight
        λ, 0 or more, in the unit of the messages.
    norm
        Ω: ``"l1"`` for wrong entries, ``"l21"`` for wrong messages, ``"l21_features"`` for wrong
        features.
    rounds
        How often the two steps are taken.
    train
        Called as ``train(objective, L)`` once a round; the default is five epochs of
        :func:`aebook.fit`. For others give ``functools.partial(aebook.fit, epochs=10, lr=3e-3)``.

    Returns
    -------
    Decomposition
        L, S and the history.

    Examples
    --------
    >>> from aebook.applications.anomaly import decompose
    >>> x, objective = torch.rand(20, 4), aebook.variants.plain((4, 2))
    >>> parts = decompose(objective, x, weight=0.5, rounds=2)
    >>> torch.allclose(parts.L + parts.S, x)
    True
    """
    check_arguments(rounds=rounds)
    number("weight", weight, least=0)
    given = x
    x = messages(given, **Form.of(objective)._asdict())
    by = "row" if norm == "l21" else "column"

    S, history = torch.zeros_like(x), []
    for _ in range(int(rounds)):
        L = x - S
        train(objective, L)
        rest = x - in_pieces(objective, L, 2048, objective.model.reconstruct)
        if norm == "l1":
            S = soft_threshold(rest, weight)
            size = S.abs().sum()
        else:
            S = group_soft_threshold(rest, weight, by=by)
            size = _lengths(S, by).sum()
        history.append(float(((rest - S).square().sum() / 2 + weight * size) / len(x)))
    L, S = (like(given, part, "x") for part in (x - S, S))
    return Decomposition(L, S, history)


def _lengths(s: Tensor, by: str) -> Tensor:
    """Euclidean lengths of the groups, in a shape that broadcasts with them."""
    dims = tuple(range(1, s.dim())) if by == "row" else (0,)
    return torch.linalg.vector_norm(s, dim=dims, keepdim=True)
