"""Random numbers that leave the caller's generators as they were."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["kept", "random_state", "seeded", "set_random_state"]

# PyTorch's generators are the whole process's: threads that draw from them take turns
_turn = threading.RLock()


def _renew() -> None:
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    # whoever holds it lives on in the parent alone
    os.register_at_fork(after_in_child=_renew)


@contextlib.contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """Put PyTorch's global generators back as they were; other threads wait meanwhile."""
    with _turn:
        before = random_state(device)
        try:
            yield
        finally:
            set_random_state(before, device)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global generators and afterwards put them back as they were.

    Threads take turns, so that each draws what it would draw alone.
    """
    with kept(device):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def random_state(device: torch.device) -> list[Tensor]:
    """States of PyTorch's global generators, on the CPU and on the device if it is a GPU."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


def set_random_state(states: list[Tensor], device: torch.device) -> None:
    """Put back what :func:`random_state` gave."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
