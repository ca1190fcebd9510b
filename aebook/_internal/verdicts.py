"""Values that a step of training checks: at once, or, on a GPU, when they are read with others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Waiting", "deferred", "is_deferred", "judge"]

#: Takes numbers, and raises what is to be said of them.
Verdict = Callable[[list[float]], None]


class Waiting(NamedTuple):
    """Numbers on the device, (k,), and the verdict that waits for them."""

    values: Tensor
    verdict: Verdict


_waiting: ContextVar[list[Waiting] | None] = ContextVar("waiting", default=None)


@contextlib.contextmanager
def deferred(device: torch.device) -> Iterator[list[Waiting]]:
    """Within it, on a GPU, verdicts wait in the list: reading a value makes the host wait."""
    waiting: list[Waiting] = []
    token = _waiting.set(None if device.type == "cpu" else waiting)
    try:
        yield waiting
    finally:
        _waiting.reset(token)


def is_deferred() -> bool:
    """Whether verdicts wait."""
    return _waiting.get() is not None


def judge(values: Tensor, verdict: Verdict) -> list[float]:
    """Let a verdict be given on numbers, (k,), which are returned if they could be read.

    In compiled code, which reading would break in two, they are neither read nor judged.
    """
    if torch.compiler.is_compiling():
        return []
    waiting = _waiting.get()
    if waiting is not None:
        waiting.append(Waiting(values.detach(), verdict))
        return []
    read = values.tolist()
    verdict(read)
    return read
