"""L-BFGS on all data at once, for small problems where the optimum itself is the question."""

from __future__ import annotations

import math
import time
import warnings

import torch
from torch import Tensor, nn

from aebook._internal.checks import check_arguments
from aebook._internal.contract import checked, explained
from aebook._internal.devices import chosen, computed_in, moved
from aebook._internal.modes import at_rest, carried, check_unaltered, recorded, train, versions
from aebook.core import trainable
from aebook.data import Data, gathered
from aebook.training.history import History, Mean
from aebook.training.reach import warn_beyond_reach

__all__ = ["lbfgs"]


@checked
def lbfgs(
    objective: nn.Module,
    data: Data,
    *,
    iterations: int = 2000,
    tolerance: float = 1e-9,
    device: str | torch.device | None = None,
) -> History:
    """Minimise a deterministic objective with L-BFGS on all data at once (Liu & Nocedal 1989).

    For small problems where the optimum itself is the question. Use ``objective.double()``: in
    float32 the line search runs out of digits long before the optimum.

    Parameters
    ----------
    objective
        What to minimise, in place; anything random in it is refused.
    data
        Whatever :func:`aebook.fit` takes; all of it is in memory at once.
    iterations
        At most so many.
    tolerance
        Stop when 20 iterations lower the loss by no more than this fraction of it.
    device
        As in :func:`aebook.fit`: the default is a GPU if there is one that computes in the type of
        the weights. Afterwards the objective is back where it came from.

    Returns
    -------
    History
        One entry for every 20 iterations or fewer; the last is at the weights that were reached.

    Warns
    -----
    UserWarning
        If the iterations ran out first, or targets lie where the decoder cannot go.

    Examples
    --------
    >>> x = torch.randn(50, 3)
    >>> objective = aebook.variants.linear((3, 2)).double()
    >>> history = aebook.lbfgs(objective, x)
    >>> least = aebook.theory.linear.eckart_young(x, 2)  # that of the principal components
    >>> round(history.loss[-1] / least, 4)
    1.0
    """
    parameters = trainable(objective)
    check_arguments(iterations=iterations, tolerance=tolerance)
    dtype = computed_in(objective)
    with recorded(), moved(objective, chosen(device, dtype)):
        x, target = gathered(data, dtype=dtype, device=parameters[0].device)
        # copies, in case something writes into them
        x = x.clone(memory_format=torch.contiguous_format)
        target = None if target is None else target.clone()
        low, high = (x if target is None else target).aminmax()
        extremes = float(low), float(high)
        warn_beyond_reach(objective, extremes, x[:1], target, stacklevel=4)
        history = History()
        with carried(history), explained():
            _minimise(objective, parameters, history, x, target, int(iterations), tolerance)
    return history


def _minimise(
    objective: nn.Module,
    parameters: list[nn.Parameter],
    history: History,
    x: Tensor,
    target: Tensor | None,
    iterations: int,
    tolerance: float,
) -> None:
    train(objective, at_rest(objective))
    optimiser = torch.optim.LBFGS(
        parameters,
        history_size=50,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        before = versions(x, target)
        total = objective(x, target).total
        check_unaltered(before, x, target)
        total.backward()
        return total

    try:
        if closure().item() != closure().item():
            raise ValueError(
                "got an objective that is random, expected a deterministic one: use fit"
            )
        after = math.inf
        for done in range(0, iterations, 20):
            started = time.perf_counter()
            optimiser.param_groups[0]["max_iter"] = min(20, iterations - done)
            optimiser.step(closure)
            with torch.no_grad():
                mean = Mean(len(history))
                mean.add(objective(x, target), len(x))
            history.append(mean.value(), {}, 1.0, time.perf_counter() - started)
            before, after = after, history.loss[-1]
            if before - after <= tolerance * abs(after):
                break
        else:
            warnings.warn(
                f"L-BFGS stopped after {iterations} iterations, before the loss, now {after:.10g}, "
                f"fell by less than {tolerance} of it: allow more iterations or a higher tolerance",
                # whoever called lbfgs, which is checked and in a context
                stacklevel=4,
            )
    finally:
        optimiser.zero_grad()
        objective.eval()
