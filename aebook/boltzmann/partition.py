r"""The partition function of a restricted Boltzmann machine, :math:`Z = \sum_{v,h} e^{-E(v, h)}`.

With it a machine has a likelihood, :math:`\log p(v) = -F(v) - \log Z`, that can be compared with
other models'. Exactly for small machines, by annealed importance sampling for all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from aebook._internal.checks import array, check_arguments
from aebook._internal.contract import checked
from aebook._internal.randomness import seeded
from aebook.boltzmann.rbm import RBM
from aebook.boltzmann.units import Units, log_factor, log_sum, mean, sample

__all__ = ["Estimate", "annealed", "exact"]


class Estimate(NamedTuple):
    """An estimate of log Z in nats."""

    value: float
    """The estimate. That of Z is unbiased; its logarithm is on average a little too low."""
    error: float
    """Standard error of the value, from the spread of the chains; NaN for a single one."""


@checked
@torch.no_grad()
def exact(rbm: RBM) -> float:
    r"""The exact :math:`\log Z` in nats: :math:`\log\sum_h\sum_v e^{-E(v, h)}`.

    The sum runs over all states of one Bernoulli layer, the smaller if both are; the sum over the
    other layer has a closed form. Takes 2 to the number of units, in float64.

    Parameters
    ----------
    rbm
        A machine with a Bernoulli layer of at most 20 units.

    Examples
    --------
    >>> from aebook.boltzmann import RBM
    >>> from aebook.boltzmann.partition import exact
    >>> rbm = RBM(visible=3, hidden=2)
    >>> _ = torch.nn.init.zeros_(rbm.weight)
    >>> round(exact(rbm), 4)  # all 2⁵ states have the energy 0: 5 log 2
    3.4657
    """
    w, b, c = (p.double() for p in (rbm.weight, rbm.hidden_bias, rbm.visible_bias))
    sides: list[tuple[Tensor, Tensor, Tensor, Units, Units]] = [
        (b, w.T, c, rbm.hidden_units, rbm.visible_units),
        (c, w, b, rbm.visible_units, rbm.hidden_units),
    ]
    own, w, other, kind, rest = min(
        (side for side in sides if side[3] == "bernoulli"), key=lambda side: len(side[0])
    )
    if len(own) > 20:
        raise ValueError(
            f"got a machine whose smaller Bernoulli layer has {len(own)} units, expected at most "
            "20: use annealed"
        )
    digits, parts = torch.arange(len(own), device=w.device), []
    for block in torch.arange(2 ** len(own), device=w.device).split(4096):
        states = (block[:, None] >> digits & 1).to(w)
        parts.append(log_factor(states, own, kind) + log_sum(F.linear(states, w), other, rest))
    return float(torch.cat(parts).logsumexp(0))


@checked
@torch.no_grad()
def annealed(
    rbm: RBM,
    data: Tensor | None = None,
    *,
    steps: int = 1000,
    chains: int = 100,
    seed: int = 0,
) -> Estimate:
    r"""Estimate :math:`\log Z` by annealed importance sampling (Neal 2001).

    .. math::

        \frac{Z}{Z_0} = E \prod_{k=1}^K e^{F_{k-1}(v_{k-1}) - F_k(v_{k-1})}

    Machine k has the weights :math:`β_k W` with :math:`β_k = k/K`, so that :math:`Z_0` is known,
    :math:`v_0` comes from machine 0 and :math:`v_k` from one round of Gibbs sampling of machine k
    (Salakhutdinov & Murray 2008).

    Parameters
    ----------
    rbm
        The machine.
    data
        Messages, (N, visible), whose mean machine 0 has; without, its visible bias is the
        machine's own. A start near the model needs fewer steps.
    steps, chains
        K, and how many independent products to average.
    seed
        Seed of the samples. PyTorch's global state is left as it was.

    Examples
    --------
    >>> from aebook.boltzmann import RBM
    >>> from aebook.boltzmann.partition import annealed, exact
    >>> rbm = RBM(visible=6, hidden=2)
    >>> estimate = annealed(rbm, steps=100)
    >>> round(abs(estimate.value - exact(rbm)), 1)
    0.0
    """
    check_arguments(steps=steps, chains=chains, seed=seed)
    w, b, c = (p.double() for p in (rbm.weight, rbm.hidden_bias, rbm.visible_bias))
    start = c
    if data is not None:
        rbm.check(data)
        array("messages", data)
        start = data.to(c).mean(0)
        if rbm.visible_units == "bernoulli":
            # never quite 0 or 1, so that every state can occur
            start = torch.logit((start * len(data) + 0.5) / (len(data) + 1))
    own, other = rbm.visible_units, rbm.hidden_units
    log_z = log_sum(0 * c, start, own) + log_sum(0 * b, 0 * b, other)
    log_weights = torch.zeros(int(chains)).to(w)
    with seeded(int(seed), w.device):
        v = sample(mean(start.expand(int(chains), -1), own), own)
        for k in range(1, int(steps) + 1):
            old, new = (k - 1) / steps, k / steps
            inputs = F.linear(v, w)
            for beta, sign in ((old, -1), (new, 1)):
                bias = (1 - beta) * start + beta * c
                factor = log_factor(v, bias, own) + log_sum(beta * inputs, beta * b, other)
                log_weights += sign * factor
            h = sample(mean(new * (inputs + b), other), other)
            v = sample(mean(new * (h @ w) + (1 - new) * start + new * c, own), own)
    ratio = log_weights.logsumexp(0) - math.log(chains)
    error = (log_weights - ratio).exp().std() / math.sqrt(chains) if chains > 1 else math.nan
    return Estimate(float(log_z + ratio), float(error))
