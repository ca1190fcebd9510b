r"""Anomaly scores: one number a message, and the higher it is, the more anomalous the message.

The model has learnt what ordinary messages are like. A score says how badly a message fits:

.. math::

    \begin{aligned}
    \text{reconstruction error} \quad & d(x', x) \\
    \text{reconstruction probability} \quad & E_{q(z|x)}[-\log p(x|z)] \\
    \text{negative ELBO} \quad & E_{q(z|x)}[-\log p(x|z)] + D_{KL}(q(z|x) \| p(z)) \\
    \text{negative log-likelihood} \quad & -\log E_{q(z|x)}[p(x|z)\, p(z) / q(z|x)] \\
    \text{likelihood regret} \quad & \max_q \mathrm{ELBO}_q(x) - \mathrm{ELBO}_{q(z|x)}(x) \\
    \text{Mahalanobis distance} \quad & \sqrt{(z - \bar z)^\top Σ^{-1} (z - \bar z)}
    \end{aligned}

A score belongs to its message alone: it does not depend on which others are scored with it, in
which order, or how many at once. Where codes are drawn, all messages get the same noise ε in
:math:`z = μ + σ ε`, which also takes noise out of their comparison. Everything is computed in
evaluation mode and without corruption; the global random state is left as it was. A message so
far out that numbers overflow on the way gets the largest number of the precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor

from aebook._internal.checks import check_arguments
from aebook._internal.contract import checked
from aebook._internal.randomness import seeded
from aebook.applications.anomaly.posteriors import (
    Shared,
    finite,
    mean_distance,
    with_posterior,
)
from aebook.bottlenecks import Posterior
from aebook.core import Objective
from aebook.data import Data, Form, like
from aebook.inference import in_pieces
from aebook.theory.likelihood import weighted_bound
from aebook.training.schedules import cosine

__all__ = [
    "likelihood_regret",
    "mahalanobis",
    "negative_elbo",
    "negative_log_likelihood",
    "reconstruction_error",
    "reconstruction_probability",
]


@checked
def reconstruction_error(objective: Objective, x: Data, *, chunk: int = 2048) -> Any:
    r"""The distance :math:`d(x', x)` of each message from its reconstruction.

    Of any autoencoder. With :func:`aebook.distances.squared_error` it is the squared error, summed
    over the message; penalties play no part.

    Parameters
    ----------
    objective
        A trained objective: its model reconstructs, its distance compares.
    x
        Messages, whatever :func:`aebook.fit` takes; where there are targets, reconstructions are
        compared with these.
    chunk
        How many messages, or codes of messages, are decoded at once. Memory grows with it; beyond
        the rounding of sums the scores do not depend on it.

    Returns
    -------
    Tensor, ndarray or series
        One value a message, (N,), in the precision of the weights and of the kind that the
        messages came in, as in :mod:`aebook.inference`.

    Raises
    ------
    ValueError
        If a message is not finite or of the wrong shape, or the distance does not give one value
        a message.

    Examples
    --------
    >>> from aebook.applications.anomaly import reconstruction_error
    >>> objective = aebook.Objective(aebook.Autoencoder(torch.nn.Identity(), torch.nn.ReLU()))
    >>> reconstruction_error(objective, torch.tensor([[1.0, 2.0], [-3.0, 4.0]]))
    tensor([0., 9.])
    """

    def score(piece: Tensor, target: Tensor) -> Tensor:
        values = objective.distance(objective.model.reconstruct(piece), target)
        if values.shape != (len(piece),):
            raise ValueError(
                f"the distance gave the shape {tuple(values.shape)} for {len(piece)} messages, "
                "expected one value a message: sum over the other dimensions"
            )
        return finite(values)

    return like(x, in_pieces(objective, x, chunk, score, targets=True))


@checked
def reconstruction_probability(
    objective: Objective, x: Data, samples: int = 32, *, seed: int = 0, chunk: int = 2048
) -> Any:
    r"""The negative logarithm :math:`E_{q(z|x)}[-\log p(x|z)]` of the reconstruction probability.

    An & Cho 2015 score with :math:`E_q[\log p(x|z)]`, low for anomalies; the sign is turned here.
    Nats.

    Parameters
    ----------
    objective
        A trained objective with a :class:`aebook.bottlenecks.Gaussian` bottleneck and a likelihood
        as its distance, as :func:`aebook.variants.variational` makes it.
    x, chunk
        As in :func:`reconstruction_error`; for the Bernoulli likelihood of zeros and ones.
    samples
        Codes drawn for each message, 1 or more.
    seed
        Seed of the noise, which is the same for all messages.

    Returns
    -------
    Tensor, ndarray or series
        One value a message, (N,). A density's can be negative.

    Raises
    ------
    ValueError
        If the code has no posterior, or the distance is no likelihood of such messages.

    Examples
    --------
    >>> from aebook.applications.anomaly import reconstruction_probability
    >>> objective = aebook.variants.variational((4, 2))
    >>> _ = torch.nn.init.zeros_(objective.model.decoder[0].map.weight)  # x' is 1/2
    >>> reconstruction_probability(objective, torch.ones(1, 4))  # 4 log 2, for any code
    tensor([2.7726])
    """

    def score(target: Tensor, q: Posterior) -> Tensor:
        return mean_distance(objective, target, q, samples, chunk)

    return with_posterior(objective, x, samples, seed, chunk, score)


@checked
def negative_elbo(
    objective: Objective, x: Data, samples: int = 32, *, seed: int = 0, chunk: int = 2048
) -> Any:
    r"""The bound :math:`E_{q(z|x)}[-\log p(x|z)] + D_{KL}(q(z|x) \| p(z))` on -log p(x), in nats.

    For each message by itself it is :func:`aebook.theory.likelihood.elbo` with the sign turned.

    Parameters
    ----------
    objective, x, samples, seed, chunk
        As in :func:`reconstruction_probability`.

    Returns
    -------
    Tensor, ndarray or series
        One value a message, (N,).

    Examples
    --------
    >>> from aebook.applications.anomaly import negative_elbo
    >>> objective = aebook.variants.variational((4, 2))
    >>> _ = torch.nn.init.zeros_(objective.model.decoder[0].map.weight)  # x' is 1/2
    >>> negative_elbo(objective, torch.zeros(1, 4))  # the posterior at 0 is the prior: 4 log 2
    tensor([2.7726])
    """

    def score(target: Tensor, q: Posterior) -> Tensor:
        return mean_distance(objective, target, q, samples, chunk) + q.kl()

    return with_posterior(objective, x, samples, seed, chunk, score)


@checked
def negative_log_likelihood(
    objective: Objective, x: Data, samples: int = 200, *, seed: int = 0, chunk: int = 2048
) -> Any:
    r"""The importance-weighted estimate of :math:`-\log p(x)`, in nats.

    For each message by itself it is :func:`aebook.theory.likelihood.importance_weighted_bound` with
    the sign turned.

    Parameters
    ----------
    objective, x, seed, chunk
        As in :func:`reconstruction_probability`.
    samples
        Codes drawn for each message; with more of them the bound is tighter.

    Returns
    -------
    Tensor, ndarray or series
        One value a message, (N,).

    Examples
    --------
    >>> from aebook.applications.anomaly import negative_log_likelihood
    >>> objective = aebook.variants.variational((4, 2))
    >>> _ = torch.nn.init.zeros_(objective.model.decoder[0].map.weight)  # x' is 1/2
    >>> negative_log_likelihood(objective, torch.zeros(1, 4))  # 4 log 2
    tensor([2.7726])
    """

    def score(target: Tensor, q: Posterior) -> Tensor:
        return -weighted_bound(objective, q, target, samples, chunk)

    return with_posterior(objective, x, samples, seed, chunk, score)


@checked
def likelihood_regret(
    objective: Objective,
    x: Data,
    *,
    steps: int = 100,
    lr: float = 0.1,
    samples: int = 32,
    seed: int = 0,
    chunk: int = 2048,
) -> Any:
    r"""What the encoder's posterior loses against the best for this message, in nats.

    .. math:: \max_{μ, σ} \mathrm{ELBO}_{N(μ, σ^2)}(x) - \mathrm{ELBO}_{q(z|x)}(x)

    The decoder stays as it is. The encoder has learnt to propose codes for messages like those of
    the training, and for others its proposals can be improved by much (Xiao, Yan & Amit 2020). The
    paper trains the encoder's weights on, once for each message; here μ and log σ² of each message
    are optimised themselves, many messages in one batch, by Adam with a rate that falls to zero
    and a new code a step. Both bounds are then estimated with the same noise, other than that of
    the steps, and the better posterior counts: the regret is never negative.

    Parameters
    ----------
    objective, x, seed, chunk
        As in :func:`reconstruction_probability`.
    steps
        Steps of Adam, 1 or more.
    lr
        The learning rate at the start, in units of the code, whose prior has deviation 1.
    samples
        Codes with which the two bounds are estimated.

    Returns
    -------
    Tensor, ndarray or series
        One value a message, (N,), 0 or more.

    Raises
    ------
    FloatingPointError
        If a posterior leaves the finite numbers: the rate is too high.

    Examples
    --------
    >>> from aebook.applications.anomaly import likelihood_regret
    >>> objective = aebook.variants.variational((4, 2))
    >>> _ = torch.nn.init.zeros_(objective.model.decoder[0].map.weight)  # no code helps
    >>> regret = likelihood_regret(objective, torch.zeros(1, 4), steps=10)
    >>> round(regret.item(), 3)  # and the posterior at 0 is the prior, which nothing beats
    0.0
    """
    check_arguments(steps=steps, lr=lr)

    def bound(target: Tensor, q: Posterior) -> Tensor:
        return -mean_distance(objective, target, q, samples, chunk) - q.kl()

    def score(target: Tensor, q: Posterior) -> Tensor:
        start = bound(target, q)
        best = Shared(*(part.clone().requires_grad_() for part in q))
        optimiser = torch.optim.Adam(best, lr=lr)
        for step in range(int(steps)):
            optimiser.param_groups[0]["lr"] = lr * cosine(step / steps)
            with torch.enable_grad():
                # a sum: no message's gradient depends on another message
                loss = (mean_distance(objective, target, best, 1, chunk) + best.kl()).sum()
            # not backward, which would leave gradients with the weights
            best.mean.grad, best.log_variance.grad = torch.autograd.grad(loss, best)
            optimiser.step()
        with seeded(seed, target.device):
            end = bound(target, best)
        lost = start.isfinite() & ~end.isfinite()
        if lost.any():
            raise FloatingPointError(
                f"{int(lost.sum())} of {len(lost)} posteriors left the finite numbers while they "
                f"were optimised with lr={lr}: lower lr"
            )
        return (end - start).clamp_min(0)

    return with_posterior(objective, x, samples, seed, chunk, score)


@checked
def mahalanobis(objective: Objective, x: Data, reference: Data, *, chunk: int = 2048) -> Any:
    r"""How unusual a code is: :math:`\sqrt{(z - \bar z)^\top Σ^{-1} (z - \bar z)}`.

    Mean and covariance are those of the codes of reference messages; the covariance is shrunk
    towards a multiple of the identity (Ledoit & Wolf 2004), so that a unit that never moves does
    no harm. What is lost on the way to the code is not seen by this score.

    Parameters
    ----------
    objective
        A trained objective, of whose model the code is taken; a posterior's mean.
    x, chunk
        As in :func:`reconstruction_error`; targets play no part.
    reference
        Ordinary messages, (M, ...), usually those of the training; two or more, in any form.

    Returns
    -------
    Tensor, ndarray or series
        One value a message, (N,), 0 or more.

    Examples
    --------
    >>> from aebook.applications.anomaly import mahalanobis
    >>> model = aebook.Autoencoder(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    >>> _ = torch.nn.init.eye_(model.encoder.weight)  # codes are messages, but for a shift
    >>> ordinary = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> unusual = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    >>> mahalanobis(aebook.Objective(model), unusual, ordinary).round(decimals=4).tolist()
    [0.0, 5.0]
    """

    def codes(messages: Data) -> np.ndarray:
        z = in_pieces(objective, messages, chunk, objective.model.encode)
        return z.flatten(1).double().cpu().numpy()

    usual = codes(reference)
    # the rounding of a matrix product may differ from row to row
    if len(usual) < 2 or usual.std(0).max() <= 1e-6 * np.abs(usual).max():
        raise ValueError(
            f"got {len(usual)} reference messages whose codes are all the same, expected codes "
            "with some variance: give more messages, or train the model"
        )
    squared = LedoitWolf().fit(usual).mahalanobis(codes(x))
    return like(x, torch.as_tensor(squared).sqrt().to(Form.of(objective.model).dtype))
