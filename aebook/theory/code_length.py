r"""Messages as bits: what a variational autoencoder needs to write one down, exactly.

A sender who has the encoder and a receiver who has the decoder share a grid of codes: each unit's
prior N(0, 1) is cut into :math:`K = 2^b` bins of equal probability, and each bin is decoded as its
median. The posterior gives each bin a probability too,

.. math::

    P(k) = \frac1K, \qquad
    Q(k \mid x) = Φ\Bigl(\frac{e_{k+1} - μ}{σ}\Bigr) - Φ\Bigl(\frac{e_k - μ}{σ}\Bigr),
    \qquad e_k = Φ^{-1}(k / K) .

A code in two parts names the bins, then the message given them (Hinton & Zemel 1994). If the bins
are drawn from Q by bits that have to be sent anyway, the receiver gets these bits back:

.. math::

    L(x) = \underbrace{p \, b}_{\text{code}}
         + \underbrace{-\log_2 p(x \mid z)}_{\text{message}}
         - \underbrace{-\log_2 Q(z \mid x)}_{\text{back}} .

Its mean over Q is the negative evidence lower bound of the grid, over log 2. For many bins it is
that of :func:`aebook.theory.likelihood.elbo`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from aebook._internal.checks import whole
from aebook._internal.contract import checked
from aebook.bottlenecks import Posterior
from aebook.core import Objective
from aebook.data import Data, Form, gathered
from aebook.distances import Gaussian
from aebook.theory.likelihood import posterior_of

__all__ = [  # noqa: RUF022 - plain alphabetical order, as in every module
    "Lengths",
    "MOST_BITS",
    "bin_centres",
    "bin_probabilities",
    "lengths",
]

#: The finest grid has :math:`2^{16}` bins a unit.
MOST_BITS = 16


class Lengths(NamedTuple):
    """Lengths in bits, one entry a message, (B,)."""

    code: Tensor
    """What names the bins of the code, p b."""
    message: Tensor
    """What names the message once the code is known, -log₂ p(x|z)."""
    back: Tensor
    """What the choice of the code tells the receiver, -log₂ Q(z|x)."""

    @property
    def two_parts(self) -> Tensor:
        """Code and message, nothing back."""
        return self.code + self.message

    @property
    def total(self) -> Tensor:
        """Code and message, less what comes back."""
        return self.code + self.message - self.back


@checked
def bin_centres(bits: int) -> Tensor:
    """What the bins of a unit stand for: the median of each under the prior, (2 ** bits,).

    Parameters
    ----------
    bits
        b, from 1 to 16.

    Examples
    --------
    >>> from aebook.theory.code_length import bin_centres
    >>> bin_centres(1)  # the quartiles of the normal distribution
    tensor([-0.6745,  0.6745], dtype=torch.float64)
    """
    bins = 2 ** whole("bits", bits, most=MOST_BITS)
    return torch.special.ndtri((torch.arange(bins, dtype=torch.float64) + 0.5) / bins)


@checked
def bin_probabilities(posterior: Posterior, bits: int) -> Tensor:
    """Probabilities Q of the bins, (B, p, 2 ** bits), in float64.

    Parameters
    ----------
    posterior
        Means and log-variances, (B, p) each.
    bits
        b, from 1 to 16.

    Examples
    --------
    >>> from aebook.bottlenecks import Posterior
    >>> from aebook.theory.code_length import bin_probabilities
    >>> prior = Posterior(torch.zeros(1, 1), torch.zeros(1, 1))
    >>> bin_probabilities(prior, 2)  # under the prior all bins are alike
    tensor([[[0.2500, 0.2500, 0.2500, 0.2500]]], dtype=torch.float64)
    """
    bins = 2 ** whole("bits", bits, most=MOST_BITS)
    mean, log_variance = (part.double().unsqueeze(-1) for part in posterior)
    edges = torch.special.ndtri(torch.arange(bins + 1, dtype=torch.float64) / bins)
    edges = edges.to(mean.device)
    return torch.special.ndtr((edges - mean) / (log_variance / 2).clamp(-300, 300).exp()).diff(
        dim=-1
    )


@checked
def lengths(
    objective: Objective, x: Data, bits: int = 10, *, best: bool = False, seed: int = 0
) -> Lengths:
    """Lengths of messages on a grid of codes, in bits.

    Parameters
    ----------
    objective
        What :func:`aebook.variants.variational` made, or any objective with a
        :class:`aebook.bottlenecks.Gaussian` bottleneck whose distance is a likelihood of discrete
        messages: of a density there are no bits.
    x
        Messages, (B, ...), whatever :func:`aebook.fit` takes; all are in memory at once.
    bits
        b, from 1 to 16: each unit has 2 ** bits bins.
    best
        Take the most probable bins instead of drawing them from Q: what a code in two parts does.
    seed
        Seed of the draw; the global random state is left as it was.

    Raises
    ------
    ValueError
        If the code has no posterior, or the distance is no likelihood of such messages.

    Examples
    --------
    >>> from aebook.theory.code_length import lengths
    >>> objective = aebook.variants.variational((6, 2))
    >>> _ = torch.nn.init.zeros_(objective.model.decoder[0].map.weight)  # x' is 1/2
    >>> found = lengths(objective, torch.zeros(1, 6), bits=8)
    >>> round(found.message.item(), 6), found.code.item()  # six pixels; two units of eight bits
    (6.0, 16.0)
    """
    if isinstance(objective.distance, Gaussian):
        raise ValueError(
            "got an objective with distances.Gaussian, a density, expected a probability of each "
            "message: bernoulli for black and white, distances.DiscretisedLogistic for grey levels"
        )
    x, _ = gathered(x, **Form.of(objective)._asdict())
    centres = bin_centres(bits).to(x.device)
    with posterior_of(objective, x, 1, seed) as posterior:
        p = posterior.mean.shape[1]
        chunk = max(1, 2**21 // (p * len(centres)))
        message, back = [], []
        for *part, piece in zip(*(each.split(chunk) for each in (*posterior, x)), strict=True):
            q = bin_probabilities(Posterior(*part), bits)
            k = q.argmax(-1) if best else q.flatten(0, 1).multinomial(1).view(q.shape[:2])
            _, distance = objective.decoded(centres[k].to(part[0].dtype), piece)
            message.append(distance.double())
            back.append(-q.gather(-1, k.unsqueeze(-1)).log().flatten(1).sum(1))
    nats = torch.cat(message), torch.cat(back)
    return Lengths(torch.full_like(nats[1], p * bits), *(each / math.log(2) for each in nats))
