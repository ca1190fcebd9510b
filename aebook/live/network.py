"""A network as steps and numbers that a page can compute with.

A weight matrix is stored in one byte a number, with a scale of its own for each output; offsets
stay in four bytes. ``live.js`` beside this file computes the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from aebook.bottlenecks import Binary, Gaussian, TopK
from aebook.networks import Chain, Standardised, Transposed

__all__ = ["Packed", "packed"]


class Packed(NamedTuple):
    """What a page needs to compute a network."""

    steps: list[dict[str, Any]]
    """One dictionary a step, with its kind, its sizes and where its numbers begin."""
    numbers: bytes
    """Weights and offsets, one after the other, each at a multiple of four bytes."""
    outputs: tuple[int, ...]
    """Shape of one result."""


#: Activations by the name that the page knows, with their settings.
ACTIVATIONS: dict[type[nn.Module], tuple[str, Callable[[Any], list[float]]]] = {
    nn.ReLU: ("relu", lambda m: []),
    nn.Sigmoid: ("sigmoid", lambda m: []),
    nn.Tanh: ("tanh", lambda m: []),
    nn.LeakyReLU: ("leaky", lambda m: [m.negative_slope]),
    nn.ELU: ("elu", lambda m: [m.alpha]),
    nn.SiLU: ("silu", lambda m: []),
    nn.Softplus: ("softplus", lambda m: [m.beta, m.threshold]),
    Binary: ("step", lambda m: []),
}
# nothing is done by these when a network is used
_IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)


def packed(network: nn.Module, shape: tuple[int, ...], before: bytes = b"") -> Packed:
    """The steps of a network, as in evaluation, for inputs of a shape.

    Parameters
    ----------
    network
        Linear and convolutional layers, batch normalisation and activations, in a row.
    shape
        Of one input, without the batch.
    before
        Numbers of another network, after which these come.

    Raises
    ------
    ValueError
        If a layer has no counterpart in the page.

    Examples
    --------
    >>> from aebook.live.network import packed
    >>> found = packed(aebook.networks.mlp((4, 2)), (4,))
    >>> [step["kind"] for step in found.steps], len(found.numbers), found.outputs
    (['linear'], 24, (2,))
    """
    steps: list[dict[str, Any]] = []
    numbers = bytearray(before)
    for layer in _leaves(network):
        step, shape = _step(layer, shape, numbers)
        steps += [step] if step else []
    return Packed(steps, bytes(numbers), shape)


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The layers in a row, without the containers that they are in."""
    if _does(module, nn.Sequential, Chain):
        # not children(), which has a layer that stands twice once
        for child in cast(nn.Sequential, module):
            yield from _leaves(child)
    elif not isinstance(module, _IDLE):
        yield module


def _step(
    layer: Any, shape: tuple[int, ...], numbers: bytearray
) -> tuple[dict[str, Any] | None, tuple[int, ...]]:
    for cls, (name, settings) in ACTIVATIONS.items():
        if type(layer) is cls:
            return {"kind": name, "settings": settings(layer)}, shape
    if type(layer) is nn.Flatten:
        return None, (math.prod(shape),)
    if type(layer) is nn.Unflatten:
        return None, tuple(layer.unflattened_size)
    if type(layer) is TopK:
        k = layer.in_use(int(layer.k), shape[-1])
        return {"kind": "top", "k": k, "by": layer.by}, shape
    if type(layer) is Gaussian:
        return {"kind": "first", "count": shape[0] // 2}, (shape[0] // 2,)
    if _does(layer, nn.Linear) or isinstance(layer, Transposed):
        w = layer.source.weight.T if isinstance(layer, Transposed) else layer.weight
        sizes = {"kind": "linear", "inputs": w.shape[1], "outputs": w.shape[0]}
        return sizes | _weights(w, layer.bias, numbers), (*shape[:-1], w.shape[0])
    if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d, Standardised):
        return _normalised(layer, shape, numbers), shape
    if type(layer) in (nn.Conv2d, nn.ConvTranspose2d) and layer.groups == 1:
        return _convolution(layer, shape, numbers)
    raise ValueError(
        f"got a layer {type(layer).__name__}, which a page cannot compute, expected linear or "
        "convolutional layers and common activations"
    )


def _does(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether it computes what one of these does: a class made of one may do something else."""
    return type(module).forward in [kind.forward for kind in kinds]


def _normalised(layer: Any, shape: tuple[int, ...], numbers: bytearray) -> dict[str, Any]:
    if layer.running_mean is None:
        raise ValueError("got a normalisation that keeps no means, expected one that does")
    factor = 1 / (layer.running_var + layer.eps).sqrt()
    offset = -layer.running_mean * factor
    if layer.affine:
        factor, offset = factor * layer.weight, offset * layer.weight + layer.bias
    return {
        "kind": "affine",
        "channels": shape[0],
        "factor": _append(factor, numbers),
        "offset": _append(offset, numbers),
    }


def _convolution(
    layer: Any, shape: tuple[int, ...], numbers: bytearray
) -> tuple[dict[str, Any], tuple[int, ...]]:
    backwards = isinstance(layer, nn.ConvTranspose2d)
    if (
        layer.padding_mode != "zeros"
        or isinstance(layer.padding, str)
        or any(d != 1 for d in layer.dilation)
    ):
        raise ValueError("got a convolution with other than zeros around, expected a plain one")
    with torch.no_grad():
        example = torch.zeros(1, *shape, dtype=layer.weight.dtype, device=layer.weight.device)
        result = tuple(layer(example).shape[1:])
    # one row an output channel, in the order input channel, row, column
    w = layer.weight.transpose(0, 1) if backwards else layer.weight
    step = {
        "kind": "unconv" if backwards else "conv",
        "from": list(shape),
        "to": list(result),
        "size": list(layer.kernel_size),
        "stride": list(layer.stride),
        "padding": list(layer.padding),
    }
    return step | _weights(w.flatten(1), layer.bias, numbers), result


def _weights(w: Tensor, bias: Tensor | None, numbers: bytearray) -> dict[str, int]:
    """Where the bytes of a matrix begin, the scales of its rows, and its offsets."""
    w = w.detach().double()
    scale = w.abs().amax(1).clamp(min=1e-30) / 127
    levels = (w / scale[:, None]).round().to(torch.int8)
    bias = torch.zeros(len(w)) if bias is None else bias
    return {
        "scale": _append(scale, numbers),
        "bias": _append(bias, numbers),
        "weights": _append(levels, numbers),
    }


def _append(values: Tensor, numbers: bytearray) -> int:
    """Put numbers at the end; the byte at which they begin."""
    begin = len(numbers)
    if values.dtype != torch.int8:
        values = values.float()
    array = values.detach().cpu().numpy()
    numbers += array.astype(array.dtype.newbyteorder("<")).tobytes()
    numbers += bytes(-len(numbers) % 4)
    return begin
