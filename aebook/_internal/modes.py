"""The mode that the parts of a network are trained in."""

from __future__ import annotations

from torch import nn

__all__ = ["at_rest", "train"]


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
        if parameters and not child.training and not any(p.requires_grad for p in parameters):
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
