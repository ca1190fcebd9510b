"""What is trained put to use: a few messages at a time, in memory that does not grow with them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from aebook._internal.checks import whole
from aebook.data import Data, batched

__all__ = ["evaluating", "in_pieces"]


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and each of its parts back into the mode it was in.

    Parameters
    ----------
    network
        A part that was frozen in evaluation mode, a ``BatchNorm`` say, is so afterwards.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def in_pieces(
    network: nn.Module, x: Data, chunk: int, function: Callable[[Tensor], Tensor]
) -> Tensor:
    """Apply a function to a few messages at a time, in evaluation mode, without gradients.

    Parameters
    ----------
    network
        What the function computes with: its device and type are those of the pieces, and it is
        put into evaluation mode meanwhile.
    x
        Messages, whatever :func:`aebook.fit` takes; targets are left out.
    chunk
        How many at a time.
    function
        Takes a piece, (B, ...), and returns one entry a message, (B, ...).

    Returns
    -------
    Tensor
        (N, ...), on the network's device.

    Raises
    ------
    ValueError
        If the network has weights that are not finite.
    """
    chunk = whole("chunk", chunk)
    if not all(p.isfinite().all() for p in network.parameters()):
        raise ValueError("the model has weights that are NaN or infinite, expected finite ones")
    weight = next(network.parameters())
    kind = {"dtype": weight.dtype, "device": weight.device}
    with evaluating(network), torch.no_grad():
        pieces = batched(x, None, shuffle=False, default=chunk, **kind)
        return torch.cat([function(piece) for piece, _ in pieces])
