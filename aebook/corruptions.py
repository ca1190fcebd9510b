r"""Corruptions T: what the encoder gets to see in place of the message.

Each function returns a map from a batch of messages to a batch of the same shape, drawn anew at
every call from PyTorch's global generator. Any callable of that kind will do in its place.
An objective corrupts in training and in evaluation; encoding with the model never does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

__all__ = ["gaussian", "masking", "salt_and_pepper"]

Corruption = Callable[[Tensor], Tensor]


def gaussian(sigma: float) -> Corruption:
    r"""Additive noise :math:`T(x) = x + σ ε` with :math:`ε \sim N(0, I)`.

    Parameters
    ----------
    sigma
        Standard deviation of the noise, 0 or more, in the unit of the message.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"got sigma={sigma}, expected a finite number, 0 or more")
    return partial(_gaussian, sigma=sigma)


def masking(p: float) -> Corruption:
    """Set each entry to 0 with probability p, independently; the others stay as they are.

    Unlike dropout it does not scale up what is left (Vincent et al. 2010).

    Parameters
    ----------
    p
        Probability, from 0 to 1.
    """
    _check_probability(p)
    return partial(_masking, p=p)


def salt_and_pepper(p: float, low: float | None = None, high: float | None = None) -> Corruption:
    """Set each entry, with probability p, to the least or the largest value, by a fair coin.

    Parameters
    ----------
    p
        Probability, from 0 to 1.
    low, high
        The two values; None takes the batch's own minimum or maximum.
    """
    _check_probability(p)
    if low is not None and high is not None and low > high:
        raise ValueError(f"got low={low} and high={high}, expected low <= high")
    return partial(_salt_and_pepper, p=p, low=low, high=high)


def _gaussian(x: Tensor, sigma: float) -> Tensor:
    return x + sigma * torch.randn_like(x)


def _masking(x: Tensor, p: float) -> Tensor:
    return x * (torch.rand_like(x) >= p)


def _salt_and_pepper(x: Tensor, p: float, low: float | None, high: float | None) -> Tensor:
    pepper = x.min() if low is None else torch.as_tensor(low).to(x)
    salt = x.max() if high is None else torch.as_tensor(high).to(x)
    # one draw decides both whether and which
    u = torch.rand_like(x)
    return torch.where(u < p / 2, pepper, torch.where(u < p, salt, x))


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"got p={p}, expected a probability from 0 to 1")
