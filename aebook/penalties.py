"""Penalties Ω: each takes a :class:`aebook.core.Pass` and returns (B,), or a scalar.

A penalty joins an objective under a name and with a weight:
``Objective(model, penalties={"l2": (1e-3, weight_decay)})``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from aebook._internal.checks import number
from aebook._internal.contract import checked, taken
from aebook._internal.verdicts import judge
from aebook.bottlenecks import Gaussian
from aebook.core import Autoencoder, Pass, Penalty
from aebook.jacobian import contractive
from aebook.processes import average

__all__ = ["activity", "combined", "contractive", "kl_to_prior", "sparsity", "weight_decay"]


def weight_decay(seen: Pass) -> Tensor:
    r"""Squared norm of the weights :math:`\sum_l \|W_l\|_F^2`, a scalar; biases are left alone.

    Unlike the ``weight_decay`` of an optimiser it is part of the loss, so its size is reported and
    a full-batch solver sees it too. A weight shared by encoder and decoder counts once.

    Examples
    --------
    >>> from aebook.penalties import weight_decay
    >>> decay = {"decay": (1.0, weight_decay)}
    >>> objective = aebook.variants.linear((3, 2), tied=True, penalties=decay)
    >>> _ = torch.nn.init.ones_(objective.model.encoder[0].map.weight)
    >>> objective(torch.zeros(1, 3)).terms["decay"].item()  # six weights, which both networks share
    6.0
    """
    weights = [p for p in seen.model.parameters() if p.dim() > 1]
    return torch.stack([w.square().sum() for w in weights]).sum()


@checked
def activity(
    kind: Literal["l1", "l2", "squared"] = "l1", layer: int | None = None
) -> Callable[[Pass], Tensor]:
    r"""Size of the activities, one value a sample.

    Their pulls towards zero differ. :math:`\|h\|_1` pulls each activity alike, however small, and
    makes zeros inside a code; :math:`\|h\|_2` pulls the code as a whole, and makes zeros of whole
    codes; :math:`\|h\|_2^2` pulls less and less, and makes none.

    Parameters
    ----------
    kind
        ``"l1"``: the sum of absolute values; ``"l2"``: the Euclidean norm, whose gradient at the
        code 0 is taken to be 0; ``"squared"``: its square.
    layer
        Which of the encoder's layers, from 0; negative numbers count from the last. None: the code.

    Examples
    --------
    >>> from aebook.penalties import activity
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.Identity())
    >>> penalties = {"l1": (1.0, activity("l1")), "l2": (1.0, activity("l2"))}
    >>> aebook.Objective(model, penalties=penalties)(torch.tensor([[3.0, -4.0]])).terms
    {'distance': tensor(0.), 'l1': tensor(7.), 'l2': tensor(5.)}
    """
    return partial(_activity, kind=kind, layer=layer)


@checked
def sparsity(
    target: float = 0.05,
    kind: Literal["kl", "l1", "l2"] = "kl",
    over: Literal["data", "units"] = "data",
    layer: int | None = None,
) -> Callable[[Pass], Tensor]:
    r"""Distance of the mean activity :math:`\hat ρ` from the desired sparsity ρ.

    .. math::

        \mathrm{kl}:\; ρ \log \frac{ρ}{\hat ρ} + (1 - ρ) \log \frac{1 - ρ}{1 - \hat ρ},
        \qquad \mathrm{l1}:\; |ρ - \hat ρ|, \qquad \mathrm{l2}:\; (ρ - \hat ρ)^2

    Parameters
    ----------
    target
        ρ, strictly between 0 and 1.
    kind
        Which of the three distances.
    over
        ``"data"``: for each unit its mean over the batch, then summed over units; a scalar (Ng
        2011, lifetime sparsity). ``"units"``: for each sample its mean over the units, (B,) (the
        article's, population sparsity). The first asks every unit to be used, the second does not.
    layer
        As in :func:`activity`.

    Returns
    -------
    callable
        A penalty. For ``"kl"`` it expects activities from 0 to 1, as a sigmoid gives them.

    Examples
    --------
    >>> from aebook.penalties import sparsity
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.Identity())
    >>> objective = aebook.Objective(model, penalties={"sparsity": (1.0, sparsity(0.25, "l1"))})
    >>> objective(torch.tensor([[0.0, 0.5], [0.5, 1.0]])).terms["sparsity"]  # means 0.25 and 0.75
    tensor(0.5000)
    """
    target = number("target", target, below=1)
    return partial(_sparsity, target=target, kind=kind, over=over, layer=layer)


def kl_to_prior(seen: Pass) -> Tensor:
    r"""Divergence from the prior, :math:`D_{KL}(q(z|x) \,\|\, N(0, I))` in nats, (B,), at least 0.

    In closed form, :math:`\frac12 \sum_j μ_j^2 + σ_j^2 - \log σ_j^2 - 1`. It needs the posterior of
    a :class:`aebook.bottlenecks.Gaussian` bottleneck, and an objective refuses it without one.

    Examples
    --------
    >>> from aebook.penalties import kl_to_prior
    >>> gaussian = aebook.bottlenecks.Gaussian()
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.Linear(1, 2), gaussian)
    >>> objective = aebook.Objective(model, penalties={"kl": (1.0, kl_to_prior)})
    >>> objective.per_sample(torch.tensor([[1.0, 0.0]]))["kl"]  # of N(1, 1) from N(0, 1)
    tensor([0.5000])
    """
    return seen.model.bottleneck.posterior(seen.activations[-1]).kl()


def _check_posterior(model: Autoencoder) -> None:
    taken("the bottleneck of kl_to_prior", model.bottleneck, Gaussian)


kl_to_prior.check = _check_posterior  # pyright: ignore[reportFunctionMemberAccess]


@checked
def combined(
    own: Mapping[str, tuple[float, Penalty]], more: Mapping[str, tuple[float, Penalty]] | None
) -> dict[str, tuple[float, Penalty]]:
    """The penalties of a variant and those that its user adds.

    Parameters
    ----------
    own, more
        ``{name: (λ, Ω)}`` each, with different names.

    Examples
    --------
    >>> from aebook.penalties import combined, kl_to_prior, weight_decay
    >>> list(combined({"kl": (1.0, kl_to_prior)}, {"l2": (1e-3, weight_decay)}))
    ['kl', 'l2']
    """
    if more and (twice := own.keys() & more.keys()):
        raise ValueError(f"got a penalty {sorted(twice)[0]!r}, which the variant has: rename yours")
    return {**own, **(more or {})}


def _layer(seen: Pass, layer: int | None) -> Tensor:
    if layer is None:
        return seen.code
    if not -len(seen.activations) <= layer < len(seen.activations):
        raise ValueError(
            f"got layer={layer} for an encoder with {len(seen.activations)} layers, expected "
            f"0 to {len(seen.activations) - 1}, or None for the code"
        )
    return seen.activations[layer]


def _activity(seen: Pass, kind: str, layer: int | None) -> Tensor:
    h = _layer(seen, layer).flatten(1)
    if kind == "squared":
        return h.square().sum(1)
    return h.abs().sum(1) if kind == "l1" else torch.linalg.vector_norm(h, dim=1)


def _sparsity(seen: Pass, target: float, kind: str, over: str, layer: int | None) -> Tensor:
    h = _layer(seen, layer).flatten(1)
    mean = average(h.mean(0), len(h)) if over == "data" else h.mean(1)
    if kind == "l1":
        distance = (mean - target).abs()
    elif kind == "l2":
        distance = (mean - target).square()
    else:
        judge(torch.stack(h.detach().aminmax()), _refuse_activities)
        # a mean of exactly 0 or 1 would make the logarithm infinite
        mean = mean.clamp(1e-7, 1 - 1e-7)
        distance = target * (target / mean).log()
        distance = distance + (1 - target) * ((1 - target) / (1 - mean)).log()
    return distance.sum() if over == "data" else distance


def _refuse_activities(extremes: list[float]) -> None:
    low, high = extremes
    if low < 0 or high > 1:
        raise ValueError(
            f"got activities from {low:.3g} to {high:.3g} for the KL sparsity, expected 0 to 1: "
            "end the layer in a sigmoid, or use kind='l1' or 'l2'"
        )
