"""How it is trained and used: in which mode, with gradients, on a copy; what an error has along."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = [
    "at_rest",
    "carried",
    "check_unaltered",
    "in_evaluation",
    "recorded",
    "train",
    "unshared",
    "versions",
    "works_in_place",
]

# how many put a module into evaluation mode, in whatever thread, and the mode before the first
_modes: weakref.WeakKeyDictionary[nn.Module, tuple[int, bool]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _renew() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # whoever holds it lives on in the parent alone
    os.register_at_fork(after_in_child=_renew)


@contextlib.contextmanager
def in_evaluation(network: nn.Module) -> Iterator[None]:
    """Within it a network is in evaluation mode; the last who leaves puts the modes back."""
    modules = list(network.modules())
    with _lock:
        for module in modules:
            count, mode = _modes.get(module, (0, module.training))
            _modes[module] = count + 1, mode
        network.eval()
    try:
        yield
    finally:
        with _lock:
            for module in modules:
                count, mode = _modes.pop(module)
                if count > 1:
                    _modes[module] = count - 1, mode
                else:
                    module.training = mode


def unshared(network: nn.Module, x: Tensor) -> Tensor:
    """What a network may be given: a copy of x if parts of it work in place, else x itself.

    Parameters
    ----------
    network
        A part that says ``inplace``, as PyTorch's do, writes over what it takes.
    x
        What the network sees, and others after it.
    """
    return x.clone() if works_in_place(network) else x


def works_in_place(network: nn.Module) -> bool:
    """Whether a part of a network says so."""
    # at each step, so by the shortest way
    return vars(network).get("inplace", False) or any(
        map(works_in_place, filter(None, network._modules.values()))
    )


def versions(*batch: Tensor | None) -> list[int]:
    """How often each part of a batch has been written to."""
    return [part._version for part in batch if part is not None and not part.is_inference()]


def check_unaltered(before: list[int], *batch: Tensor | None) -> None:
    """Refuse who has written into a batch: the loss would be that of what was written."""
    if versions(*batch) != before:
        raise ValueError(
            "got a model, a distance or a penalty that changes its input in place, with which the "
            "result would then be compared; expected new tensors: x.relu() for x.relu_(), no out=, "
            "or x = x.clone() first"
        )


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
