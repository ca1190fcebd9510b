"""Learning-rate schedules: functions from the fraction of training done to a factor.

``fit(..., lr=1e-3, schedule=cosine)`` uses the rate ``1e-3 * cosine(t)`` where t runs from 0 to 1
over all steps. Any function of t will do; a schedule has no state, so a resumed run needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["Schedule", "constant", "cosine", "one_cycle"]

Schedule = Callable[[float], float]


def constant(t: float) -> float:
    """Factor 1 throughout.

    Examples
    --------
    >>> from aebook.training.schedules import constant
    >>> [constant(t) for t in (0.0, 0.5, 1.0)]
    [1.0, 1.0, 1.0]
    """
    return 1.0


def cosine(t: float) -> float:
    r"""Half a cosine from 1 to 0: :math:`\frac12(1 + \cos πt)` (Loshchilov & Hutter 2017).

    Examples
    --------
    >>> from aebook.training.schedules import cosine
    >>> [round(cosine(t), 6) for t in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return (1 + math.cos(math.pi * t)) / 2


def one_cycle(t: float) -> float:
    """Up from 1/25 to 1 in the first three tenths, then down to 1/2500 (Smith & Topin 2019).

    Both ways along half a cosine, so ``lr`` is the peak. It allows a peak several times the best
    constant rate, and short runs gain most.

    Examples
    --------
    >>> from aebook.training.schedules import one_cycle
    >>> [round(one_cycle(t), 6) for t in (0.0, 0.3, 1.0)]
    [0.04, 1.0, 0.0004]
    """
    if t < 0.3:
        return 1 + (1 / 25 - 1) * cosine(t / 0.3)
    return 1 / 2500 + (1 - 1 / 2500) * cosine((t - 0.3) / 0.7)
