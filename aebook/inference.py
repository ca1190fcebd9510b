"""What is trained put to use: a few messages at a time, in memory that does not grow with them.

>>> objective = aebook.variants.plain((784, 256, 32))
>>> history = aebook.fit(objective, images, epochs=10)
>>> codes = aebook.encode(objective.model, images)
>>> again = aebook.decode(objective.model, codes)

Whatever :func:`aebook.fit` takes is encoded and reconstructed, by a model as it is, without
corruption and in evaluation mode, and the results are of the kind that the data came in: a tensor
for a tensor, on its device; a table with its index for a table; an array for any other array or a
matrix; a tensor for a ``Dataset`` or ``DataLoader``, in the order of the data set even if the
loader shuffles. Every score of a message does the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from aebook._internal.checks import whole
from aebook._internal.contract import checked, explained, taken
from aebook._internal.modes import check_unaltered, in_evaluation, versions
from aebook.core import Autoencoder
from aebook.data import Data, Form, batched, like

__all__ = ["decode", "encode", "evaluating", "in_pieces", "reconstruct"]

#: Tables and arrays come back as they were.
Kind = TypeVar("Kind", Tensor, np.ndarray)


@overload
def encode(model: Autoencoder, data: Kind, *, chunk: int = 2048) -> Kind: ...
@overload
def encode(model: Autoencoder, data: Data, *, chunk: int = 2048) -> Any: ...
def encode(model: Autoencoder, data: Data, *, chunk: int = 2048) -> Any:
    r"""Codes :math:`z = b(E_φ(x))` of messages in whatever form.

    Parameters
    ----------
    model
        A trained autoencoder, on any device.
    data
        Messages, whatever :func:`aebook.fit` takes; of pairs the messages.
    chunk
        How many at a time.

    Returns
    -------
    Tensor, ndarray or table
        (N, ...), one code a message, of the kind that the data came in. The columns of a table
        are z0, z1, ...

    Raises
    ------
    ValueError
        If the data are not as described, the model has weights that are not finite, or what it
        makes of finite data is not, or is not one code a message.

    Examples
    --------
    >>> objective = aebook.variants.plain((8, 2))
    >>> aebook.encode(objective.model, torch.rand(5, 8)).shape
    torch.Size([5, 2])
    >>> type(aebook.encode(objective.model, np.random.rand(5, 8))).__name__
    'ndarray'
    """
    return like(data, in_pieces(_checked(model), data, chunk, model.encode))


@overload
def decode(model: Autoencoder, codes: Kind, *, chunk: int = 2048) -> Kind: ...
@overload
def decode(model: Autoencoder, codes: Data, *, chunk: int = 2048) -> Any: ...
def decode(model: Autoencoder, codes: Data, *, chunk: int = 2048) -> Any:
    r"""Reconstructions :math:`D_θ(z)` of codes in whatever form.

    Parameters
    ----------
    model, chunk
        As in :func:`encode`.
    codes
        Codes, (N, ...), in any form in which messages may come.

    Returns
    -------
    Tensor, ndarray or table
        (N, ...), of the kind that the codes came in. The columns of a table are x0, x1, ...

    Examples
    --------
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.ReLU())
    >>> aebook.decode(model, torch.tensor([[1.0, -2.0]]))
    tensor([[1., 0.]])
    """
    return like(codes, in_pieces(_checked(model), codes, chunk, model.decode), "x")


@overload
def reconstruct(model: Autoencoder, data: Kind, *, chunk: int = 2048) -> Kind: ...
@overload
def reconstruct(model: Autoencoder, data: Data, *, chunk: int = 2048) -> Any: ...
def reconstruct(model: Autoencoder, data: Data, *, chunk: int = 2048) -> Any:
    r"""Reconstructions :math:`x' = D_θ(b(E_φ(x)))` of messages in whatever form.

    Parameters
    ----------
    model, data, chunk
        As in :func:`encode`.

    Returns
    -------
    Tensor, ndarray or table
        (N, ...), of the kind that the data came in. A table keeps its columns.

    Examples
    --------
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.ReLU())
    >>> aebook.reconstruct(model, torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
    tensor([[1., 0.],
            [3., 4.]])
    """
    return like(data, in_pieces(_checked(model), data, chunk, model.reconstruct), "x")


@checked
def in_pieces(
    network: nn.Module,
    data: Data,
    chunk: int,
    function: Callable[..., Tensor],
    *,
    targets: bool = False,
) -> Tensor:
    """Apply a function to a few messages at a time, in evaluation mode, without gradients.

    Parameters
    ----------
    network
        What the function computes with: its device and type are those of the pieces, and it is
        put into evaluation mode meanwhile.
    data
        Messages, whatever :func:`aebook.fit` takes.
    chunk
        How many at a time.
    function
        Takes a piece, (B, ...), and returns one entry a message, (B, ...).
    targets
        Whether it is called with the targets too, which are the messages where there are none;
        else they are left out.

    Returns
    -------
    Tensor
        (N, ...), in the order of the data; on the device of a tensor, else on the CPU.

    Raises
    ------
    ValueError
        If the network has weights that are not finite, or results are not or are not one a message.

    Examples
    --------
    >>> from aebook.inference import in_pieces
    >>> network = torch.nn.Linear(4, 2)
    >>> x = torch.rand(10, 4)
    >>> in_pieces(network, x, 3, lambda piece: network(piece).square().sum(1)).shape
    torch.Size([10])
    """
    chunk, form = whole("chunk", chunk), Form.of(network)
    if not all(p.isfinite().all() for p in network.parameters()):
        raise ValueError("the model has weights that are NaN or infinite, expected finite ones")
    x = data[0] if isinstance(data, tuple) and data else data
    home = x.device if isinstance(x, Tensor) else torch.device("cpu")
    reading: Any = {"shuffle": False, "ordered": True, "resident": False}
    with explained(), evaluating(network), torch.no_grad():
        pieces = batched(data, None, default=chunk, **reading, **form._asdict())
        # what is done does not wait on the device for what is to come
        results = torch.cat([_applied(function, piece, targets).to(home) for piece in pieces])
    if not all(part.isfinite().all() for part in results.split(chunk)):
        raise ValueError(
            "what the model makes of these data is NaN or infinite, though its weights and data "
            "are finite, expected finite results: scale the data as those of training, or look for "
            "a layer that divides, takes a logarithm or grows without bound"
        )
    return results


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and each of its parts back into the mode it was in.

    Several threads may do so with one network: the first notes the modes, the last puts them back.

    Parameters
    ----------
    network
        A part that was frozen in evaluation mode, a ``BatchNorm`` say, is so afterwards.

    Examples
    --------
    >>> from aebook.inference import evaluating
    >>> network = torch.nn.Dropout()
    >>> with evaluating(network):
    ...     print(network.training, network(torch.ones(3)))
    False tensor([1., 1., 1.])
    >>> network.training
    True
    """
    with in_evaluation(network):
        yield


def _applied(function: Callable[..., Tensor], piece: Any, targets: bool) -> Tensor:
    x, target = piece
    before = versions(x, target)
    result = function(*(x, x if target is None else target) if targets else (x,))
    check_unaltered(before, x, target)
    return _each(result, len(x))


def _each(result: Any, count: int) -> Tensor:
    """Results that are one a message."""
    result = taken("what the model gave", result, Tensor)
    if not result.ndim or len(result) != count:
        raise ValueError(
            f"got results of shape {tuple(result.shape)} for {count} messages, expected one entry "
            f"a message, ({count}, ...): the model mixes or leaves out messages"
        )
    return result


def _checked(model: Any) -> Autoencoder:
    return taken("model", model, Autoencoder)
