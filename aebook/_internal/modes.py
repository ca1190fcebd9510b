"""Training and evaluation mode, without the flags of a module's parts getting lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

__all__ = ["at_rest", "evaluating"]


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Within it, a network is in evaluation mode; afterwards each part has its own flag again.

    ``network.train(was)`` would wake a part that somebody had put to rest: the running statistics
    of a frozen layer, or its dropout.

    Parameters
    ----------
    network
        Any module.
    """
    flags = _flags(network)
    network.eval()
    try:
        yield
    finally:
        for module, flag in flags.items():
            module.training = flag


def at_rest(network: nn.Module) -> dict[nn.Module, bool]:
    """The parts that training leaves as they are, with their flags.

    These are modules in evaluation mode none of whose parameters is trained, and all within them.
    What has no parameters belongs to what it stands in: dropout within a frozen encoder rests,
    beside it not.

    Parameters
    ----------
    network
        What is going to be trained.
    """
    found: dict[nn.Module, bool] = {}
    for child in network.children():
        parameters = list(child.parameters())
        frozen = parameters and not any(p.requires_grad for p in parameters)
        found |= _flags(child) if frozen and not child.training else at_rest(child)
    return found


def _flags(network: nn.Module) -> dict[nn.Module, bool]:
    return {module: module.training for module in network.modules()}
