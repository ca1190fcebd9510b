r"""Corruptions T: what the encoder gets to see in place of the message.

Each function returns a map from a batch of messages to a batch of the same shape, drawn anew at
every call from PyTorch's global generator. Any callable of that kind will do in its place:
``lambda x: x.roll(1, -1)`` is a corruption too. An objective corrupts in training and in
evaluation; encoding with the model never does.

A corruption refuses messages that are not floating point with a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from aebook._internal.checks import INTEGERS, number, tensors
from aebook._internal.contract import checked

__all__ = ["gaussian", "masking", "salt_and_pepper"]

Corruption = Callable[[Tensor], Tensor]


@checked
def gaussian(sigma: float) -> Corruption:
    r"""Additive noise :math:`T(x) = x + σ ε` with :math:`ε \sim N(0, I)`.

    Parameters
    ----------
    sigma
        Standard deviation of the noise, 0 or more, in the unit of the message.

    Examples
    --------
    >>> from aebook import corruptions
    >>> noisy = corruptions.gaussian(0.5)(torch.zeros(100, 784))
    >>> round(noisy.std().item(), 2)
    0.5
    """
    sigma = number("sigma", sigma, least=0)
    return partial(_gaussian, sigma=sigma)


@checked
def masking(p: float) -> Corruption:
    r"""Set entries to 0: :math:`T(x)_j = m_j x_j`, where each :math:`m_j` is 0 with probability p.

    Entries are masked independently and the others stay as they are: unlike dropout it does not
    scale up what is left, so on average a message shrinks to :math:`(1 - p) x` (Vincent et al.
    2010).

    Parameters
    ----------
    p
        Probability, from 0 to 1.

    Examples
    --------
    >>> from aebook import corruptions
    >>> masked = corruptions.masking(0.3)(torch.ones(100, 784))
    >>> round(masked.mean().item(), 1), masked.unique()
    (0.7, tensor([0., 1.]))
    """
    p = number("p", p, least=0, most=1)
    return partial(_masking, p=p)


@checked
def salt_and_pepper(
    p: float, low: float | Tensor | None = None, high: float | Tensor | None = None
) -> Corruption:
    r"""Set entries to the extremes: :math:`T(x)_j` is low or high, each with probability p/2.

    Parameters
    ----------
    p
        Probability that an entry is damaged, from 0 to 1.
    low, high
        The two values, in the unit of the message: numbers, or tensors of the message's shape
        where columns have ranges of their own (``x.amin(0)`` and ``x.amax(0)`` of a table).
        None takes the minimum or maximum of each batch as it comes, which for images is nearly
        always that of the data.

    Examples
    --------
    >>> from aebook import corruptions
    >>> damaged = corruptions.salt_and_pepper(0.5, 0, 1)(torch.full((100, 784), 0.5))
    >>> damaged.unique(), round((damaged == 0.5).double().mean().item(), 1)
    (tensor([0.0000, 0.5000, 1.0000]), 0.5)
    """
    p = number("p", p, least=0, most=1)
    ends = [torch.as_tensor(end) for end in (low, high) if end is not None]
    if not all(end.isfinite().all() for end in ends) or (
        len(ends) == 2 and not (ends[0] <= ends[1]).all()
    ):
        raise ValueError(f"got low={low} and high={high}, expected low <= high, both finite")
    return partial(_salt_and_pepper, p=p, low=low, high=high)


def _gaussian(x: Tensor, sigma: float) -> Tensor:
    _check_floating(x)
    return x + sigma * torch.randn_like(x)


def _masking(x: Tensor, p: float) -> Tensor:
    # not a product, which would leave NaN as NaN and make -0 of what is negative
    return x.masked_fill(_uniform(x) < p, 0)


def _salt_and_pepper(
    x: Tensor, p: float, low: float | Tensor | None, high: float | Tensor | None
) -> Tensor:
    # one draw decides both whether and which
    u = _uniform(x)
    pepper = x.amin() if low is None else torch.as_tensor(low).to(x)
    salt = x.amax() if high is None else torch.as_tensor(high).to(x)
    return torch.where(u < p / 2, pepper, torch.where(u < p, salt, x))


def _uniform(x: Tensor) -> Tensor:
    """Numbers from [0, 1), at least in single precision: bfloat16 has few below p = 0.01."""
    _check_floating(x)
    return torch.rand_like(x, dtype=torch.promote_types(x.dtype, torch.float32))


def _check_floating(x: Tensor) -> None:
    tensors(x=x)
    if not x.is_floating_point():
        raise ValueError(
            f"got messages of dtype {x.dtype} to corrupt, expected floating point: {INTEGERS}"
        )
