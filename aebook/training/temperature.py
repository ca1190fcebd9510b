r"""The temperature of a selector of features, from hot to cold while it is trained.

.. math::

    τ(t) = τ_0 (τ_1 / τ_0)^t

t is the fraction of training done (Balın, Abid & Zou 2019).

>>> objective = aebook.variants.concrete((784, 75, 50))
>>> history = aebook.fit(objective, x, epochs=100, anneal=annealing())
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from aebook._internal.checks import check_arguments, number
from aebook._internal.contract import checked
from aebook.concrete import ConcreteSelector
from aebook.core import Objective
from aebook.data import Data
from aebook.training.history import History
from aebook.training.loop import fit
from aebook.training.schedules import constant

__all__ = ["annealing", "fit_until_converged", "temperature_at"]


def temperature_at(t: float, start: float = 10.0, end: float = 0.01) -> float:
    r"""The exponential schedule :math:`τ(t) = τ_0 (τ_1 / τ_0)^t`.

    Parameters
    ----------
    t
        Fraction of training done, from 0 to 1; step b of B is t = b / B.
    start, end
        :math:`τ_0` and :math:`τ_1`, above 0. The defaults are those of the paper.

    Examples
    --------
    >>> from aebook.training import temperature_at
    >>> [round(temperature_at(t, start=100.0, end=1.0), 6) for t in (0.0, 0.5, 1.0)]
    [100.0, 10.0, 1.0]
    """
    number("t", t, least=0, most=1)
    return _temperature(t, number("start", start), number("end", end))


@checked
def annealing(start: float = 10.0, end: float = 0.01) -> Callable[[nn.Module, float], None]:
    """The schedule :func:`temperature_at`, in the form that :func:`aebook.fit` takes as ``anneal``.

    Parameters
    ----------
    start, end
        Temperatures at the start and at the end of training, above 0.

    Returns
    -------
    callable
        ``(objective, t)``; sets the temperature of every selector in the objective.

    Examples
    --------
    >>> from aebook.training import annealing
    >>> objective = aebook.variants.concrete((6, 2))
    >>> annealing(start=100.0, end=1.0)(objective, 0.5)
    >>> round(objective.model.encoder.temperature.item(), 4)
    10.0
    """
    return partial(_anneal, start=number("start", start), end=number("end", end))


@checked
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
        As in :func:`aebook.fit`; the objective's encoder is a
        :class:`aebook.concrete.ConcreteSelector`.
    epochs
        Of the first attempt.
    confidence
        :attr:`aebook.concrete.ConcreteSelector.confidence` that is enough, below 1.
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

    Examples
    --------
    >>> from aebook.training import fit_until_converged
    >>> objective = aebook.variants.concrete((6, 2))
    >>> x = torch.rand(50, 6)
    >>> histories = fit_until_converged(objective, x, epochs=2, confidence=0.1)
    >>> len(histories), objective.model.encoder.confidence > 0.1  # one attempt was enough
    (1, True)
    """
    check_arguments(epochs=epochs, attempts=attempts)
    number("confidence", confidence, below=1)
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
        stacklevel=3,  # the caller of what is checked
    )
    return histories


def _temperature(t: float, start: float, end: float) -> float:
    return start * (end / start) ** t


def _anneal(objective: nn.Module, t: float, start: float, end: float) -> None:
    for selector in _selectors(objective):
        selector.set_temperature(_temperature(t, start, end))


def _selectors(objective: nn.Module) -> list[ConcreteSelector]:
    found = [module for module in objective.modules() if isinstance(module, ConcreteSelector)]
    if not found:
        raise ValueError(
            "got an objective without a ConcreteSelector, expected one as its encoder: "
            "aebook.variants.concrete makes it"
        )
    return found
