r"""Stochastic units of a layer, Bernoulli or Gaussian, as functions of their inputs.

A layer's part in :math:`-E(v, h)` is :math:`b^\top h` for h in {0, 1} and
:math:`-\frac12\|h - b\|^2` for real h; the other layer adds :math:`x^\top h` with the inputs x.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["log_factor", "log_sum", "mean", "sample"]

Units = Literal["bernoulli", "gaussian"]


def mean(inputs: Tensor, kind: Units) -> Tensor:
    """Mean of units with these inputs.

    Examples
    --------
    >>> from aebook.boltzmann.units import mean
    >>> mean(torch.zeros(1), "bernoulli"), mean(torch.zeros(1), "gaussian")
    (tensor([0.5000]), tensor([0.]))
    """
    return inputs.sigmoid() if kind == "bernoulli" else inputs


def sample(mean: Tensor, kind: Units, generator: torch.Generator | None = None) -> Tensor:
    """States of units with these means, drawn from a generator; None: PyTorch's global one.

    Examples
    --------
    >>> from aebook.boltzmann.units import sample
    >>> sample(torch.tensor([0.0, 1.0]), "bernoulli")  # never on, always on
    tensor([0., 1.])
    """
    noise = torch.empty_like(mean)
    if kind == "bernoulli":
        # faster than torch.bernoulli
        return (noise.uniform_(generator=generator) < mean).to(mean.dtype)
    return mean + noise.normal_(generator=generator)


def log_factor(states: Tensor, bias: Tensor, kind: Units) -> Tensor:
    """What a layer's own states add to -E, without the other layer: (B, n) to (B,).

    Examples
    --------
    >>> from aebook.boltzmann.units import log_factor
    >>> states, bias = torch.tensor([[1.0, 0.0]]), torch.tensor([3.0, 2.0])
    >>> log_factor(states, bias, "bernoulli"), log_factor(states, bias, "gaussian")
    (tensor([3.]), tensor([-4.]))
    """
    return states @ bias if kind == "bernoulli" else -(states - bias).square().sum(-1) / 2


def log_sum(inputs: Tensor, bias: Tensor, kind: Units) -> Tensor:
    """Log of the sum, or integral, of :math:`e^{-E}` over a layer's states: (B, n) to (B,).

    Examples
    --------
    >>> from aebook.boltzmann.units import log_sum
    >>> log_sum(torch.zeros(1, 3), torch.zeros(3), "bernoulli").exp()  # eight states
    tensor([8.])
    """
    if kind == "bernoulli":
        return F.softplus(inputs + bias).sum(-1)
    half = math.log(2 * math.pi) / 2
    return (half + bias * inputs + inputs.square() / 2).sum(-1)
