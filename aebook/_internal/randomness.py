"""Random numbers that leave the caller's generators as they were."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Generator",
    "aside",
    "kept",
    "random_state",
    "seeded",
    "set_random_state",
    "set_state_of",
    "state_of",
]

#: What random numbers are drawn from, beside the generators of the whole process.
Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random

# PyTorch's generators are the whole process's: threads that draw from them take turns
_turn = threading.RLock()
# what the thread whose turn it is found when it took it, once for each time
_found: tuple[tuple[list[Tensor], torch.device], ...] = ()


def _renew() -> None:
    global _turn, _found
    _turn, _found = threading.RLock(), ()


if hasattr(os, "register_at_fork"):
    # whoever holds it lives on in the parent alone
    os.register_at_fork(after_in_child=_renew)


@contextlib.contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """Put PyTorch's global generators back as they were; other threads wait meanwhile."""
    global _found
    with _turn:
        before, outside = random_state(device), _found
        _found = (*outside, (before, device))
        try:
            yield
        finally:
            _found = outside
            set_random_state(before, device)


@contextlib.contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """Within :func:`kept`, give up the turn and afterwards go on with the same numbers.

    For a function of the caller's, which may wait for a thread that draws. It finds the generators
    as they were when the first of the turns was taken.
    """
    global _found
    turn, held, own = _turn, _found, random_state(device)
    set_random_state(*held[0])
    _found = ()
    for _ in held:
        turn.release()
    try:
        yield
    finally:
        for _ in held:
            turn.acquire()
        _found = held
        set_random_state(own, device)


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


def state_of(generator: Generator) -> Any:
    """The state of a generator, as tensors and plain values; None of one that has none."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return _plain(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return _plain(generator.get_state(legacy=False))
    return None if isinstance(generator, random.SystemRandom) else generator.getstate()


def set_state_of(generator: Generator, state: Any) -> None:
    """Put back what :func:`state_of` gave."""
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    elif state is not None:
        generator.setstate(state)


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _plain(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state
