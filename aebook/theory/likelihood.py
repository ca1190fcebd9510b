r"""Bounds on the likelihood, samples and interpolations of variational autoencoders.

The model is :math:`p(x) = \int p(x|z)\, p(z)\, dz` with the prior :math:`p(z) = N(0, I)`. The
distance of the objective is :math:`-\log p(x|z)`, its bottleneck holds :math:`q(z|x)`. With z
drawn from q, the importance weight :math:`w = p(x|z)\, p(z) / q(z|x)` has the mean p(x): that is
what every bound here rests on.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from aebook._internal.checks import array, counted, number, tensors, whole
from aebook._internal.contract import checked, taken
from aebook._internal.modes import unshared
from aebook._internal.randomness import seeded
from aebook.bottlenecks import Gaussian, Posterior
from aebook.core import Autoencoder, Loss, Objective, Pass, averaged, layers
from aebook.data import Data, Form, gathered, like
from aebook.distances import bernoulli, squared_error
from aebook.inference import evaluating
from aebook.penalties import kl_to_prior

__all__ = [
    "ImportanceWeighted",
    "active_units",
    "draws",
    "elbo",
    "importance_weighted_bound",
    "interpolate",
    "posterior_of",
    "prior",
    "sample",
    "weighted_bound",
]


@checked
def elbo(objective: Objective, x: Data, samples: int = 1, *, seed: int = 0) -> Any:
    r"""Evidence lower bound :math:`E_{q(z|x)}[\log p(x|z)] - D_{KL}(q(z|x) \| p(z))` in nats.

    The first term is a mean over codes drawn from q, the second is exact. β, corruption and other
    penalties play no part: however the model was trained, this is a bound on :math:`\log p(x)`
    from below (Kingma & Welling 2014). Computed in evaluation mode, without gradients.

    Parameters
    ----------
    objective
        What :func:`aebook.variants.variational` made, or any objective with a
        :class:`aebook.bottlenecks.Gaussian` bottleneck and a likelihood as its distance.
    x
        Messages, (B, ...), whatever :func:`aebook.fit` takes; for the Bernoulli likelihood of zeros
        and ones. Where there are targets, it is they that have the likelihood. All are in memory at
        once.
    samples
        Codes drawn for each message, 1 or more.
    seed
        Seed of the noise, so that two calls agree; the global random state is left as it was.

    Returns
    -------
    Tensor, ndarray or series
        One value a message, (B,), of the kind that the messages came in.

    Raises
    ------
    ValueError
        If the code has no posterior, or the distance is no likelihood of such messages.

    Examples
    --------
    >>> from aebook.theory.likelihood import elbo
    >>> objective = aebook.variants.variational((4, 2))
    >>> _ = torch.nn.init.zeros_(objective.model.decoder[0].map.weight)  # x' is 1/2
    >>> elbo(objective, torch.zeros(1, 4))  # the posterior at 0 is the prior: -4 log 2
    tensor([-2.7726])
    """
    messages, target = _with_target(objective, x)
    with posterior_of(objective, messages, samples, seed, target) as posterior:
        total = -posterior.kl()
        for _, distance in draws(objective, posterior, target, samples, chunk=2048):
            total = total - distance.sum(0) / samples
    return _as_given(x, total)


@checked
def importance_weighted_bound(
    objective: Objective, x: Data, samples: int = 1000, *, chunk: int = 2048, seed: int = 0
) -> Any:
    r"""The bound :math:`\log \frac1K \sum_{k=1}^K w_k` on :math:`\log p(x)` in nats.

    Its expectation rises with K and tends to :math:`\log p(x)`; for K = 1 it is that of the
    evidence lower bound (Burda, Grosse & Salakhutdinov 2016). In evaluation mode, no gradients.

    Parameters
    ----------
    objective, x, seed
        As in :func:`elbo`.
    samples
        K, 1 or more.
    chunk
        How many codes are decoded at once. Memory grows with it and not with K; the noise does
        not depend on it.

    Returns
    -------
    Tensor, ndarray or series
        One value a message, (B,), of the kind that the messages came in.

    Examples
    --------
    >>> from aebook.theory.likelihood import elbo, importance_weighted_bound
    >>> objective, x = aebook.variants.variational((4, 2)), torch.ones(3, 4)
    >>> bool((importance_weighted_bound(objective, x) > elbo(objective, x, samples=1000)).all())
    True
    """
    chunk = whole("chunk", chunk)
    messages, target = _with_target(objective, x)
    with posterior_of(objective, messages, samples, seed, target) as posterior:
        return _as_given(x, weighted_bound(objective, posterior, target, samples, chunk))


class ImportanceWeighted(nn.Module):
    r"""Train with :math:`-\log \frac1K \sum_k p(x|z_k) (p(z_k) / q(z_k|x))^β`, z drawn from q.

    A wrapper that :func:`aebook.fit` takes in place of the objective. For β = 1 it is the loss of
    the importance-weighted autoencoder (Burda, Grosse & Salakhutdinov 2016); for K = 1 the
    objective itself, with the divergence estimated. Codes are drawn in evaluation mode too, so
    that the validation loss is a bound.

    Parameters
    ----------
    objective
        What :func:`aebook.variants.variational` made; the weight of its divergence is β. Its
        corruption and other penalties (on the first code drawn) stay in force.
    samples
        K, 1 or more: codes drawn for each message in each step.

    Examples
    --------
    >>> from aebook.theory.likelihood import ImportanceWeighted
    >>> objective = aebook.variants.variational((4, 2))
    >>> _ = torch.nn.init.zeros_(objective.model.decoder[0].map.weight)  # x' is 1/2
    >>> loss = ImportanceWeighted(objective, samples=5)(torch.zeros(3, 4))
    >>> round(loss.total.item(), 4)  # 4 log 2
    2.7726
    """

    @checked
    def __init__(self, objective: Objective, samples: int = 5) -> None:
        super().__init__()
        _check(objective, samples)
        divergences = [name for name, o in objective.penalties.items() if o is kl_to_prior]
        if len(divergences) != 1:
            raise ValueError(
                f"got an objective with the penalties {list(objective.penalties)}, expected one "
                "of them to be kl_to_prior: start from variants.variational"
            )
        self.objective, self.samples = objective, int(samples)
        self.divergence = divergences[0]

    def forward(
        self, x: Tensor, target: Tensor | None = None, weight: Tensor | None = None
    ) -> Loss:
        """The loss of a batch: ``"bound"``, negative, and the penalties other than the KL."""
        objective, model = self.objective, self.objective.model
        target = x if target is None else target
        tensors(x=x, target=target)
        if target.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"got targets of shape {tuple(target.shape)} for messages of {tuple(x.shape)}, "
                "expected one each"
            )
        corrupted = objective.corrupted(x)
        activations = layers(model.encoder, corrupted)
        posterior = model.bottleneck.posterior(activations[-1])
        z = torch.stack([posterior.sample() for _ in range(self.samples)])
        reconstruction, distance = _decoded(objective, z, target)

        weights = objective.weight(self.divergence) * posterior.log_ratio(z) - distance
        # the constant is a sample's as well, but there is no need to weigh what has mean 1
        terms = {"bound": math.log(self.samples) - averaged(weights.logsumexp(0), weight)}
        seen = Pass(model, x, corrupted, activations, z[0], reconstruction[: len(x)])
        for name, term in objective.penalised(seen, without=self.divergence).items():
            terms[name] = averaged(term, weight)
        return Loss(torch.stack(list(terms.values())).sum(), terms)

    def extra_repr(self) -> str:
        """What ``print`` shows between the brackets."""
        return f"samples={self.samples}"


@checked
def sample(model: Autoencoder, n: int, generator: torch.Generator | None = None) -> Tensor:
    r"""Means :math:`D_θ(z)` of p(x|z) for n codes drawn from the prior, :math:`z \sim N(0, I)`.

    Parameters
    ----------
    model
        An autoencoder with a :class:`aebook.bottlenecks.Gaussian` bottleneck.
    n
        How many.
    generator
        Where the randomness comes from; the default is PyTorch's own.

    Returns
    -------
    Tensor
        (n, ...). Means, not messages: for binary images ``torch.bernoulli`` of them are messages.

    Examples
    --------
    >>> from aebook.theory.likelihood import sample
    >>> objective = aebook.variants.variational((784, 256, 8))
    >>> sample(objective.model.eval(), 3).shape
    torch.Size([3, 784])
    """
    _check_bottleneck(model)
    return model.decode(prior(model.decoder, n, generator=generator))


@checked
def prior(decoder: nn.Module, n: int, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Draw n codes for a decoder from the prior, :math:`z \sim N(0, I)`.

    They are drawn where the generator is, so that every device sees the same codes, and lie on the
    decoder's device, in its type.

    Parameters
    ----------
    decoder
        Of :mod:`aebook.networks` or :mod:`aebook.recurrent`, which tell the shape of their codes.
    n
        How many.
    generator
        Where the randomness comes from; the default is PyTorch's own.

    Returns
    -------
    Tensor
        (n, ...).

    Examples
    --------
    >>> from aebook.theory.likelihood import prior
    >>> prior(aebook.networks.mlp((8, 256, 784)), 3).shape
    torch.Size([3, 8])
    """
    shape = getattr(decoder, "shape", None)
    if shape is None:
        raise ValueError(
            f"got a decoder of type {type(decoder).__name__}, which does not tell the width "
            "of its code; expected one of aebook.networks or aebook.recurrent: use "
            "model.decode(torch.randn(n, width))"
        )
    form = Form.of(decoder)
    z = torch.randn(whole("n", n), *shape, dtype=form.dtype, generator=generator)
    return z.to(form.device)


@checked
def interpolate(model: Autoencoder, a: Tensor, b: Tensor, steps: int = 8) -> Tensor:
    r"""Decode the straight line between two codes, :math:`D_θ((1 - t)\, E(a) + t\, E(b))`.

    Parameters
    ----------
    model
        Any autoencoder in evaluation mode; where there is a posterior, codes are its means.
    a, b
        Messages of the same shape, (B, ...).
    steps
        Values of t from 0 to 1, both included; 2 or more.

    Returns
    -------
    Tensor
        (B, steps, ...).

    Examples
    --------
    >>> from aebook.theory.likelihood import interpolate
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.Identity()).eval()
    >>> interpolate(model, torch.zeros(1, 1), torch.ones(1, 1), steps=5).flatten()
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    array("b", b, f"{tuple(a.shape)}", finite=False, empty=True)
    steps = whole("steps", steps, least=2)
    start, end = model.encode(a).unsqueeze(1), model.encode(b).unsqueeze(1)
    t = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    t = t.view(1, -1, *[1] * (start.dim() - 2))
    decoded = model.decode(((1 - t) * start + t * end).flatten(0, 1))
    return decoded.unflatten(0, (len(a), steps))


@checked
def active_units(model: Autoencoder, x: Data, threshold: float = 0.01) -> int:
    r"""How many units of the code have :math:`\mathrm{Var}_x(μ_j(x))` above a threshold.

    A unit that has collapsed onto the prior has the same mean for every message (Burda, Grosse &
    Salakhutdinov 2016, who use the threshold 0.01).

    Parameters
    ----------
    model
        An autoencoder with a :class:`aebook.bottlenecks.Gaussian` bottleneck.
    x
        Messages, (N, ...), two or more, whatever :func:`aebook.fit` takes; all are in memory at
        once.
    threshold
        Smallest variance over the messages of a unit that counts; the prior's variance is 1.

    Examples
    --------
    >>> from aebook.theory.likelihood import active_units
    >>> gaussian = aebook.bottlenecks.Gaussian()
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.Identity(), gaussian)
    >>> x = torch.tensor([[1.0, 5.0, 0.0, 0.0], [-1.0, 5.0, 0.0, 0.0]])  # two means, two log σ²
    >>> active_units(model, x)  # the second mean is always 5
    1
    """
    _check_bottleneck(model)
    number("threshold", threshold, least=0)
    messages, _ = gathered(x, **Form.of(model)._asdict())
    counted("messages", len(messages), least=2)
    with torch.no_grad():
        h = model.encoder(unshared(model.encoder, messages))
        mean = model.bottleneck.posterior(h).mean
    return int((mean.var(0) > threshold).sum())


@contextlib.contextmanager
def posterior_of(
    objective: Objective, x: Tensor, samples: int, seed: int, target: Tensor | None = None
) -> Iterator[Posterior]:
    """The posterior of a batch, and evaluation mode, seed and no gradients while it is used.

    Parameters
    ----------
    objective, x, samples, seed
        As in :func:`elbo`; what makes no sense together is refused here.
    target
        What has the likelihood, (B, ...); the default is ``x``.

    Examples
    --------
    >>> from aebook.theory.likelihood import posterior_of
    >>> objective, x = aebook.variants.variational((4, 2)), torch.zeros(3, 4)
    >>> with posterior_of(objective, x, samples=1, seed=0) as posterior:
    ...     posterior.kl()  # at 0 it is the prior
    tensor([0., 0., 0.])
    """
    target = x if target is None else target
    _check(objective, samples)
    seed = whole("seed", seed, least=0)
    array("messages", x, empty=True)
    if objective.distance is bernoulli and not ((target == 0) | (target == 1)).all():
        raise ValueError(
            "got messages with values other than 0 and 1 for the Bernoulli distance, expected "
            "binary ones: for any others it is no likelihood. Use (x > 0.5).float() or "
            "torch.bernoulli(x), or train with distances.Gaussian"
        )
    with evaluating(objective), torch.no_grad(), seeded(seed, x.device):
        encoder, bottleneck = objective.model.encoder, objective.model.bottleneck
        yield bottleneck.posterior(encoder(unshared(encoder, x)))


@checked
def draws(
    objective: Objective, posterior: Posterior, x: Tensor, samples: int, chunk: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Codes (K', B, ...) and distances (K', B), again and again until K codes were drawn.

    Parameters
    ----------
    objective, x
        As in :func:`elbo`.
    posterior
        Where codes are drawn from, of :func:`posterior_of` or any other.
    samples
        K.
    chunk
        How many codes are decoded at once; the noise does not depend on it.

    Examples
    --------
    >>> from aebook.theory.likelihood import draws, posterior_of
    >>> objective, x = aebook.variants.variational((4, 2)), torch.ones(3, 4)
    >>> with posterior_of(objective, x, samples=10, seed=0) as posterior:
    ...     [(z.shape, d.shape) for z, d in draws(objective, posterior, x, samples=10, chunk=15)]
    [(torch.Size([5, 3, 2]), torch.Size([5, 3])), (torch.Size([5, 3, 2]), torch.Size([5, 3]))]
    """
    at_once = max(1, chunk // max(1, len(x)))
    for done in range(0, int(samples), at_once):
        # each code by itself, so that the noise does not depend on the chunk
        z = torch.stack([posterior.sample() for _ in range(min(at_once, int(samples) - done))])
        pieces = zip(z.split(chunk, dim=1), x.split(chunk), strict=True)
        yield z, torch.cat([_decoded(objective, *piece)[1] for piece in pieces], dim=1)


@checked
def weighted_bound(
    objective: Objective, posterior: Posterior, x: Tensor, samples: int, chunk: int
) -> Tensor:
    """The importance-weighted bound with codes drawn from a posterior, (B,).

    Parameters
    ----------
    objective, posterior, x, samples, chunk
        As in :func:`draws`.

    Examples
    --------
    >>> from aebook.theory.likelihood import posterior_of, weighted_bound
    >>> objective, x = aebook.variants.variational((4, 2)), torch.zeros(1, 4)
    >>> _ = torch.nn.init.zeros_(objective.model.decoder[0].map.weight)  # x' is 1/2
    >>> with posterior_of(objective, x, samples=10, seed=0) as posterior:
    ...     weighted_bound(objective, posterior, x, samples=10, chunk=5)  # -4 log 2
    tensor([-2.7726])
    """
    total = torch.full_like(posterior.kl(), -math.inf)
    for z, distance in draws(objective, posterior, x, samples, chunk):
        weights = posterior.log_ratio(z) - distance
        total = torch.logaddexp(total, weights.logsumexp(0))
    return total - math.log(samples)


def _with_target(objective: Objective, x: Data) -> tuple[Tensor, Tensor]:
    messages, target = gathered(x, **Form.of(objective)._asdict())
    return messages, messages if target is None else target


def _as_given(x: Data, values: Tensor) -> Any:
    return like(x, values.to(x.device) if isinstance(x, Tensor) else values)


def _decoded(objective: Objective, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstructions (K·B, ...) and distances (K, B) of codes (K, B, ...)."""
    repeated = target.expand(len(z), *target.shape).flatten(0, 1)
    reconstruction, distance = objective.decoded(z.flatten(0, 1), repeated)
    return reconstruction, distance.view(z.shape[:2])


def _check(objective: Objective, samples: int) -> None:
    whole("samples", samples)
    _check_bottleneck(objective.model)
    if objective.distance is squared_error:
        raise ValueError(
            "got an objective with squared_error, expected a likelihood: log p(x|z) needs a "
            "variance. Train with distances.Gaussian(kind='learned'), or with bernoulli for "
            "binary messages"
        )


def _check_bottleneck(model: Autoencoder) -> None:
    taken("the bottleneck", model.bottleneck, Gaussian)
