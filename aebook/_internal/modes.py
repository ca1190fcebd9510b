"""How it is trained: in which mode, with gradients, and what an error brings along."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["at_rest", "carried", "recorded", "train"]


@contextlib.contextmanager
def recorded() -> Iterator[None]:
    """Within it gradients are recorded, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextlib.contextmanager
def carried(history: object) -> Iterator[None]:
    """What ends a run within it, Ctrl-C or a loss that is not finite, has the history with it."""
    try:
        yield
    except BaseException as error:
        error.history = history  # pyright: ignore[reportAttributeAccessIssue]
        raise


def at_rest(network: nn.Module) -> dict[nn.Module, bool]:
    """The parts that training leaves as they are, with their flags.

    These are modules in evaluation mode none of whose parameters is trained, and all within them.
    What has no parameters belongs to what it stands in: dropout within a frozen encoder rests,
    beside it not. But normalisation without parameters has statistics of its own, and rests if it
    is in evaluation mode where what it stands in is not.

    Parameters
    ----------
    network
        What is going to be trained.
    """
    found: dict[nn.Module, bool] = {}
    for child in network.children():
        parameters = list(child.parameters())
        own = parameters or (isinstance(child, _BatchNorm) and network.training)
        if own and not child.training and not any(p.requires_grad for p in parameters):
            found |= {module: module.training for module in child.modules()}
        else:
            found |= at_rest(child)
    return found


def train(network: nn.Module, resting: dict[nn.Module, bool]) -> None:
    """Put a network into training mode, but for what rests.

    Parameters
    ----------
    network
        What is trained.
    resting
        What :func:`at_rest` gave before.
    """
    network.train()
    for module, flag in resting.items():
        module.training = flag
