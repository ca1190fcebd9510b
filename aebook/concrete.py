r"""The concrete autoencoder: an encoder that selects k of the m features (Balın, Abid & Zou 2019).

Each of the k nodes mixes the features with weights that sum to one,

.. math::

    z_i = \sum_j M_{ij} x_j, \qquad
    M_{ij} = \frac{\exp((\log α_{ij} + g_{ij}) / τ)}{\sum_l \exp((\log α_{il} + g_{il}) / τ)},

with :math:`g_{ij}` drawn from the Gumbel distribution. At a high temperature τ a node averages all
features; as τ falls to zero it picks one, feature j with probability proportional to
:math:`α_{ij}`. Training lowers τ, and :math:`\log α` is learnt by gradient descent. Afterwards
node i is the single feature :math:`\arg\max_j α_{ij}`.

The temperature is a buffer that the training loop sets, never ``forward``:

>>> objective = aebook.variants.concrete((784, 75, 50))
>>> history = aebook.fit(objective, x, epochs=100, anneal=aebook.concrete.annealing())
>>> objective.model.encoder.selected
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aebook._internal.checks import check_arguments
from aebook.core import Objective
from aebook.training.batches import Data
from aebook.training.history import History
from aebook.training.loop import fit
from aebook.training.schedules import constant

__all__ = [
    "ConcreteSelector",
    "annealing",
    "fit_until_converged",
    "relaxed_one_hot",
    "temperature_at",
]


def relaxed_one_hot(logits: Tensor, temperature: Tensor | float) -> Tensor:
    r"""Draw :math:`M = \mathrm{softmax}((\log α + g) / τ)`, the Concrete distribution.

    Maddison et al. 2017 named it; Jang et al. 2017 call it Gumbel-softmax. The largest entry is
    entry j with probability :math:`\mathrm{softmax}(\log α)_j` at every temperature; what the
    temperature sets is how much larger it is than the others. Gradients reach ``logits``.

    Parameters
    ----------
    logits
        :math:`\log α` up to a constant, (..., m).
    temperature
        τ, above 0.

    Returns
    -------
    Tensor
        The shape of ``logits``; the last dimension is at least 0 and sums to 1.
    """
    # away from 0 and 1, where the logarithms are infinite
    eps = torch.finfo(logits.dtype).eps
    uniform = torch.rand_like(logits).clamp(eps, 1 - eps)
    gumbel = -(-uniform.log()).log()
    return ((logits + gumbel) / temperature).softmax(-1)


class ConcreteSelector(nn.Module):
    r"""Encoder of k features: :math:`z = Mx`, in evaluation :math:`z_i = x_{\arg\max_j α_{ij}}`.

    In training M is drawn from the Concrete distribution, once for a batch, as the authors' code
    does. In evaluation the code consists of features of the message, copied exactly.

    Parameters
    ----------
    m
        Features of a message, 1 or more.
    k
        Features to select, from 1 to m. Two nodes may end with the same one: :attr:`duplicates`.
    temperature
        τ before a schedule sets it, above 0. A buffer, saved with the weights.

    Attributes
    ----------
    logits
        :math:`\log α`, (k, m), a parameter; starts normal with variance 2 / (m + k).
    temperature
        τ, a scalar buffer.
    """

    def __init__(self, m: int, k: int, temperature: float = 10.0) -> None:
        super().__init__()
        for name, value in (("m", m), ("k", k)):
            if value != int(value) or value < 1:
                raise ValueError(f"got {name}={value!r}, expected a whole number, 1 or more")
        if k > m:
            raise ValueError(f"got k={k} features to select of m={m}, expected at most that many")
        m, k = int(m), int(k)
        self.shape = (m,)
        self.logits = nn.Parameter(torch.empty(k, m))
        self.register_buffer("temperature", torch.tensor(_positive("temperature", temperature)))
        nn.init.xavier_normal_(self.logits)

    def forward(self, x: Tensor) -> Tensor:
        """The code, (B, k), of messages (B, m)."""
        if x.dim() != 2 or x.shape[1:] != self.shape:
            raise ValueError(
                f"got a batch of shape {tuple(x.shape)}, expected (batch, {self.shape[0]}): "
                "flatten the messages, or build the selector for this many features"
            )
        if self.training:
            return x @ relaxed_one_hot(self.logits, self.temperature).T
        return x[:, self.selected]

    def set_temperature(self, value: float) -> None:
        """Set τ, from a schedule in the training loop; see :func:`annealing`."""
        self.temperature.fill_(_positive("temperature", value))

    @property
    def selected(self) -> Tensor:
        r"""The feature of each node, :math:`\arg\max_j α_{ij}`, (k,), counted from 0."""
        return self.logits.detach().argmax(1)

    @property
    def probabilities(self) -> Tensor:
        r"""Chance of each feature at each node, :math:`α_{ij} / \sum_l α_{il}`, (k, m)."""
        return self.logits.detach().softmax(1)

    @property
    def confidence(self) -> float:
        r"""Mean over nodes of the largest probability: from 1/m, undecided, to 1, decided."""
        return float(self.probabilities.amax(1).mean())

    @property
    def duplicates(self) -> Tensor:
        """Features that more than one node selects, in rising order; empty if there are none."""
        features, counts = self.selected.unique(return_counts=True)
        return features[counts > 1]

    def extra_repr(self) -> str:
        """What ``print`` shows between the brackets."""
        k, m = self.logits.shape
        return f"m={m}, k={k}, temperature={float(self.temperature):.3g}"


def temperature_at(t: float, start: float = 10.0, end: float = 0.01) -> float:
    r"""The exponential schedule :math:`τ(t) = τ_0 (τ_1 / τ_0)^t`.

    Parameters
    ----------
    t
        Fraction of training done, from 0 to 1; step b of B is t = b / B.
    start, end
        :math:`τ_0` and :math:`τ_1`, above 0. The defaults are those of the paper.
    """
    return start * (end / start) ** t


def annealing(start: float = 10.0, end: float = 0.01) -> Callable[[Objective, float], None]:
    """The schedule :func:`temperature_at`, in the form that :func:`aebook.fit` takes as ``anneal``.

    Parameters
    ----------
    start, end
        Temperatures at the start and at the end of training, above 0.

    Returns
    -------
    callable
        ``(objective, t)``; sets the temperature of every selector in the objective.
    """
    return partial(_anneal, start=_positive("start", start), end=_positive("end", end))


def fit_until_converged(
    objective: Objective,
    data: Data,
    *,
    epochs: int,
    confidence: float = 0.99,
    attempts: int = 5,
    anneal: Callable[[Objective, float], None] | None = None,
    **options: Any,
) -> list[History]:
    """Train; while the selector is not confident, start again with twice the epochs.

    Every attempt begins from the weights that the objective has now, as the authors' code begins
    each with a new network. The five attempts of the default may take 31 times ``epochs``.

    Parameters
    ----------
    objective, data
        As in :func:`aebook.fit`; the objective's encoder is a :class:`ConcreteSelector`.
    epochs
        Of the first attempt.
    confidence
        :attr:`ConcreteSelector.confidence` that is enough, below 1.
    attempts
        Most attempts to make, 1 or more.
    anneal
        The temperature's schedule; the default is ``annealing()``.
    **options
        For :func:`aebook.fit`, where the rate is constant unless a ``schedule`` is given: nodes
        decide late, when the temperature is low. A ``checkpoint`` is refused: each attempt is a
        run of its own.

    Returns
    -------
    list of History
        One an attempt; the objective is as the last one left it.

    Warns
    -----
    RuntimeWarning
        If the last attempt was not confident enough either.
    """
    check_arguments(epochs=epochs, attempts=attempts)
    if not 0 < confidence < 1:
        raise ValueError(f"got confidence={confidence}, expected a number between 0 and 1")
    if "checkpoint" in options:
        raise ValueError("got a checkpoint, expected none: each attempt is a run of its own")
    (selector, *_) = _selectors(objective)
    begin = copy.deepcopy(objective.state_dict())
    anneal = annealing() if anneal is None else anneal
    options = {"schedule": constant, **options}
    histories: list[History] = []
    for attempt in range(int(attempts)):
        objective.load_state_dict(begin)
        histories.append(
            fit(objective, data, epochs=int(epochs) * 2**attempt, anneal=anneal, **options)
        )
        if selector.confidence >= confidence:
            return histories
    warnings.warn(
        f"the selector ended with a confidence of {selector.confidence:.3f}, expected "
        f"{confidence} or more: allow more attempts or epochs, or raise lr",
        RuntimeWarning,
        stacklevel=2,
    )
    return histories


def _anneal(objective: Objective, t: float, start: float, end: float) -> None:
    for selector in _selectors(objective):
        selector.set_temperature(temperature_at(t, start, end))


def _selectors(objective: Objective) -> list[ConcreteSelector]:
    found = [module for module in objective.modules() if isinstance(module, ConcreteSelector)]
    if not found:
        raise ValueError(
            "got an objective without a ConcreteSelector, expected one as its encoder: "
            "aebook.variants.concrete makes it"
        )
    return found


def _positive(name: str, value: float) -> float:
    value = float(value)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"got {name}={value}, expected a finite number above 0")
    return value
