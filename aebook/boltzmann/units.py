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
    """Mean of units with these inputs."""
    return inputs.sigmoid() if kind == "bernoulli" else inputs


def sample(mean: Tensor, kind: Units, generator: torch.Generator | None = None) -> Tensor:
    """States of units with these means, drawn from a generator; None: PyTorch's global one."""
    noise = torch.empty_like(mean)
    if kind == "bernoulli":
        # faster than torch.bernoulli
        return (noise.uniform_(generator=generator) < mean).to(mean.dtype)
    return mean + noise.normal_(generator=generator)


def log_factor(states: Tensor, bias: Tensor, kind: Units) -> Tensor:
    """What a layer's own states add to -E, without the other layer: (B, n) to (B,)."""
    return states @ bias if kind == "bernoulli" else -(states - bias).square().sum(-1) / 2


def log_sum(inputs: Tensor, bias: Tensor, kind: Units) -> Tensor:
    """Log of the sum, or integral, of :math:`e^{-E}` over a layer's states: (B, n) to (B,)."""
    if kind == "bernoulli":
        return F.softplus(inputs + bias).sum(-1)
    half = math.log(2 * math.pi) / 2
    return (half + bias * inputs + inputs.square() / 2).sum(-1)
