"""Optimisers: made from what the caller gives, and described for a checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aebook._internal.checks import shown
from aebook._internal.contract import taken

__all__ = ["made", "options", "set_rates"]


def made(
    optimizer: Callable[..., Optimizer],
    parameters: list[nn.Parameter],
    lr: float,
    device: torch.device,
) -> Optimizer:
    """An optimiser of single steps, as :func:`aebook.fit` needs it; refused by name if it is none.

    Examples
    --------
    >>> from aebook.training.optimisers import made
    >>> weights = [torch.nn.Parameter(torch.zeros(2))]
    >>> made(torch.optim.SGD, weights, 0.1, torch.device("cpu")).param_groups[0]["lr"]
    0.1
    """
    # one kernel for all parameters, where there is one
    fused = optimizer in (torch.optim.Adam, torch.optim.AdamW) and device.type in ("cpu", "cuda")
    extra: dict[str, Any] = {"fused": True} if fused else {}
    try:
        optimiser = taken("what optimizer gave", optimizer(parameters, lr=lr, **extra), Optimizer)
    except TypeError as error:
        raise ValueError(
            f"got {shown('optimizer', optimizer)}, expected what makes an optimiser of "
            f"(parameters, lr=lr), such as torch.optim.Adam: {error}"
        ) from error
    closure = inspect.signature(optimiser.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ValueError(
            f"got a {type(optimiser).__name__}, which asks for the loss several times a step; "
            "expected an optimiser of single steps: aebook.lbfgs is for L-BFGS"
        )
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    return optimiser


def options(optimiser: Optimizer) -> dict[str, Any]:
    """What an optimiser is, and what it does with how many parameters.

    Examples
    --------
    >>> from aebook.training.optimisers import made, options
    >>> weights = [torch.nn.Parameter(torch.zeros(2))]
    >>> options(made(torch.optim.SGD, weights, 0.1, torch.device("cpu")))["0"]["lr"]
    0.1
    """
    groups = {
        # the rate changes with the schedule
        str(number): {name: value for name, value in group.items() if name != "initial_lr"}
        | {"params": len(group["params"]), "lr": group["initial_lr"]}
        for number, group in enumerate(optimiser.param_groups)
    }
    # of one that somebody wrote, what it was given beside these
    own = {
        name: value
        for name, value in vars(optimiser).items()
        if isinstance(value, bool | int | float | str) and not name.startswith("_")
    }
    return {"class": type(optimiser), **own, **groups}


def set_rates(optimiser: Optimizer, factor: float) -> float:
    """Set the learning rates to their share of what they were made with; that of the first group.

    Examples
    --------
    >>> from aebook.training.optimisers import made, set_rates
    >>> weights = [torch.nn.Parameter(torch.zeros(2))]
    >>> set_rates(made(torch.optim.SGD, weights, 0.1, torch.device("cpu")), 0.5)
    0.05
    """
    for group in optimiser.param_groups:
        rate = group["initial_lr"] * factor
        if isinstance(group["lr"], Tensor):
            # where a captured step reads it
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
    return optimiser.param_groups[0]["initial_lr"] * factor
