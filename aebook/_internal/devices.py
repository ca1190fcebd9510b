"""Where it is computed: the choice of a device, the way there and back, and what fits on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

__all__ = ["chosen", "computed_in", "has_room", "moved", "named"]


def named(device: str | torch.device) -> torch.device:
    """The device of that name, if it is there."""
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"got device={str(device)!r}, expected one that is there, such as 'cpu', 'cuda' or "
            f"'mps': {str(error).splitlines()[0]}"
        ) from error
    if found.type == "cuda" and found.index is None:
        # PyTorch's functions of random states and memory ask for its number
        found = torch.device("cuda", torch.cuda.current_device())
    return found


def chosen(device: str | torch.device | None, dtype: torch.dtype) -> torch.device:
    """The device that was asked for; by default a GPU if there is one that computes in the type."""
    if device is not None:
        found = named(device)
        if found.type == "meta":
            raise ValueError("got device='meta', expected one that is there, with numbers on it")
        return found
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    # float64 is the one type that mps has not
    mps = torch.backends.mps.is_available() and dtype != torch.float64
    return torch.device("mps" if mps else "cpu")


def computed_in(network: nn.Module) -> torch.dtype:
    """The floating-point type of a network's weights, if numbers are computed in it."""
    weights = [p for p in network.parameters() if p.is_floating_point() or p.is_complex()]
    found = next((p.dtype for p in weights), torch.get_default_dtype())
    if any(p.is_meta for p in weights):
        raise ValueError("got a model on the device 'meta', expected one that has numbers")
    if found not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise ValueError(
            f"got a model of type {found}, expected float32 or another type that is computed in: "
            "model.float()"
        )
    return found


@contextlib.contextmanager
def moved(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Move to a device and, whatever happens, back."""
    home = next(network.parameters()).device
    network.to(device)
    try:
        yield
    finally:
        network.to(home)


def has_room(size: int, device: torch.device) -> bool:
    """Whether so many bytes of data leave half of a device's free memory to what is computed."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        used = torch.cuda.memory_allocated(device)
        # what PyTorch keeps of tensors that are gone is free too; torch 2.4 does not tell the share
        # of the memory that the process may take
        free += torch.cuda.memory_reserved(device) - used
        if tells := getattr(torch.cuda, "get_per_process_memory_fraction", None):
            free = min(free, tells(device) * total - used)
    elif device.type == "mps":
        # torch 2.4 does not tell how much there is
        if (tells := getattr(torch.mps, "recommended_max_memory", None)) is None:
            return False
        free = tells() - torch.mps.driver_allocated_memory()
    else:
        return True
    return 2 * size <= free
