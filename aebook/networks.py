"""Encoders and decoders: fully connected, convolutional, and the tied decoder.

Widths and channels are given from message to code; a decoder mirrors its encoder. Weights start
uniform with variance 2 / (inputs + outputs) and biases at zero (Glorot & Bengio 2010). A layer and
the one that mirrors it then start at the same scale, which PyTorch's default, a function of the
inputs alone, does not give.

Seeds: weights are drawn from PyTorch's global generator when a network is made. The same model
comes again with ``torch.manual_seed(s)`` before it is made, and ``seed=`` in :func:`aebook.fit`
for everything that is random in training.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aebook import processes
from aebook._internal.checks import INTEGERS, shown, tensors, whole, whole_numbers
from aebook._internal.contract import checked
from aebook._internal.modes import unshared

__all__ = ["Chain", "Standardised", "Transposed", "convolutional", "mlp", "tied_decoder"]

Activation = Callable[[], nn.Module]


class Chain(nn.Sequential):
    """Layers in a row, :math:`h_k = f_k(h_{k-1})`, that know the shape of what they take.

    Parameters
    ----------
    shape
        Shape of one input, without the batch: ``(784,)`` or ``(1, 28, 28)``.
    *layers
        The layers :math:`f_1, f_2, …` in order.

    Examples
    --------
    >>> from aebook.networks import Chain
    >>> chain = Chain((4,), torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> [tuple(h.shape) for h in chain.layers(torch.rand(5, 4))]
    [(5, 3), (5, 3)]
    """

    @checked
    def __init__(self, shape: Sequence[int], *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.shape = tuple(whole("shape", side) for side in shape)

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The output of the last layer."""
        return self.layers(x)[-1]

    def layers(self, x: Tensor) -> tuple[Tensor, ...]:
        """The outputs :math:`h_1, h_2, …` of all layers for a batch of shape ``(B, *shape)``."""
        self._check_shape(x)
        outputs = [x]
        try:
            for layer in self:
                outputs.append(layer(unshared(layer, outputs[-1])))
        except RuntimeError:
            # asking beforehand would cost as much as a small layer
            self._check_dtype(x)
            raise
        return tuple(outputs[1:])

    def __getitem__(self, index: int | slice) -> nn.Module:
        """A layer; for a slice, its layers in a row, which no longer check their input."""
        if isinstance(index, slice):
            return nn.Sequential(*list(self)[index])
        return super().__getitem__(index)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {"shape": self.shape}

    def check(self, x: Tensor) -> None:
        """Refuse a batch of another shape or type, which ``forward`` does too."""
        self._check_shape(x)
        self._check_dtype(x)

    def _check_shape(self, x: Tensor) -> None:
        tensors(x=x)
        if x.shape[1:] != self.shape or x.dim() == 0:
            expected = ", ".join(["batch", *map(str, self.shape)])
            raise ValueError(
                f"got a batch of shape {tuple(x.shape)}, expected ({expected}): "
                "reshape the data, or build the network for this shape"
            )

    def _check_dtype(self, x: Tensor) -> None:
        # a tied decoder without biases has no parameter of its own
        dtype = next((p.dtype for p in self.parameters()), x.dtype)
        if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
            advice = f"use x.to({dtype})" if x.is_floating_point() else INTEGERS
            raise ValueError(
                f"got a batch of dtype {x.dtype}, expected {dtype}: {advice}"
            ) from None


class Standardised(nn.BatchNorm1d):
    r"""Each unit shifted to mean 0 and scaled to variance 1, :math:`(h_j - μ_j) / σ_j`.

    In training by the mean and variance of the batch, in evaluation (and for a batch of one) by
    the running means of these (Ioffe & Szegedy 2015). Nothing is learned by gradients.

    Parameters
    ----------
    width
        Number of units.

    Examples
    --------
    >>> from aebook.networks import Standardised
    >>> Standardised(1)(torch.tensor([[1.0], [3.0]])).round(decimals=3).tolist()
    [[-1.0], [1.0]]
    """

    @checked
    def __init__(self, width: int) -> None:
        super().__init__(whole("width", width), affine=False)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {"width": self.num_features}

    def forward(self, h: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Standardised activities, (B, width)."""
        if self.training and processes.is_shared():
            return self._over_processes(h)
        if self.training and len(h) > 1:
            return super().forward(h)
        return F.batch_norm(h, self.running_mean, self.running_var, eps=self.eps)

    def _over_processes(self, h: Tensor) -> Tensor:
        """The same for a batch of which other processes have parts."""
        mean = processes.average(h.mean(0), len(h))
        variance = processes.average((h - mean).square().mean(0), len(h))
        samples = processes.total(len(h), h.device)
        momentum = cast(float, self.momentum)  # the default of BatchNorm1d, not None
        with torch.no_grad():
            self.get_buffer("num_batches_tracked").add_(1)
            self.get_buffer("running_mean").lerp_(mean, momentum)
            self.get_buffer("running_var").lerp_(variance * samples / (samples - 1), momentum)
        return (h - mean) / (variance + self.eps).sqrt()


@checked
def mlp(
    widths: Sequence[int],
    *,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = None,
    bias: bool = True,
) -> Chain:
    r"""Fully connected layers :math:`h_k = σ(W_k h_{k-1} + b_k)`.

    Parameters
    ----------
    widths
        Number of units from input to output, two or more: ``(784, 256, 32)`` is an encoder,
        ``(32, 256, 784)`` the decoder that mirrors it.
    activation
        σ of every layer but the last, as something that makes a module (``nn.ReLU``); None: linear.
    output
        The same for the last layer. A decoder of images in [0, 1] usually has ``nn.Sigmoid``.
    bias
        Whether layers have :math:`b_k`.

    Examples
    --------
    >>> from aebook.networks import mlp
    >>> encoder = mlp((784, 256, 32))
    >>> [tuple(layer.map.weight.shape) for layer in encoder]
    [(256, 784), (32, 256)]
    """
    widths = whole_numbers("widths", widths, count=2)
    kinds = [activation] * (len(widths) - 2) + [output]
    return Chain(
        widths[:1],
        *(
            _layer(nn.Linear(a, b, bias=bias), kind)
            for (a, b), kind in zip(pairwise(widths), kinds, strict=True)
        ),
    )


@checked
def tied_decoder(
    encoder: Chain,
    *,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = None,
    bias: bool = True,
) -> Chain:
    r"""Mirror of an :func:`mlp` encoder with its weights transposed, :math:`W'_k = W_{L+1-k}^\top`.

    Only the biases are the decoder's own. The weights belong to the encoder and are listed, saved
    and counted there.

    Parameters
    ----------
    encoder
        What :func:`mlp` made.
    activation, output, bias
        As in :func:`mlp`, for the decoder.

    Examples
    --------
    >>> from aebook.networks import mlp, tied_decoder
    >>> encoder = mlp((784, 256, 32))
    >>> decoder = tied_decoder(encoder, output=torch.nn.Sigmoid)
    >>> [tuple(own.shape) for own in decoder.parameters()]  # biases alone
    [(256,), (784,)]
    """
    firsts = [layer[0] for layer in encoder if isinstance(layer, nn.Sequential)]
    linears = [first for first in firsts if isinstance(first, nn.Linear)]
    if not linears or len(linears) < len(firsts):
        raise ValueError(
            "got an encoder of other layers, expected linear ones: a tied decoder needs an encoder "
            "made by mlp, only there W^T is defined"
        )
    linears = linears[::-1]
    kinds = [activation] * (len(linears) - 1) + [output]
    return Chain(
        (linears[0].out_features,),
        *(
            _layer(Transposed(linear, bias), kind)
            for linear, kind in zip(linears, kinds, strict=True)
        ),
    )


class Transposed(nn.Module):
    """The layer h ↦ Wᵀh + c with another layer's W.

    Parameters
    ----------
    source
        The layer with the weight W; it stays its owner.
    bias
        Whether there is a c, which starts at zero.

    Examples
    --------
    >>> from aebook.networks import Transposed
    >>> layer = torch.nn.Linear(3, 2)
    >>> h = torch.rand(5, 2)
    >>> torch.allclose(Transposed(layer, bias=False)(h), h @ layer.weight)
    True
    """

    @checked
    def __init__(self, source: nn.Linear, bias: bool) -> None:
        super().__init__()
        # in a tuple, so that the weight is registered once, by its owner
        self._source = (source,)
        zeros = torch.zeros(source.in_features, dtype=source.weight.dtype)
        self.bias = nn.Parameter(zeros.to(source.weight.device)) if bias else None

    @property
    def source(self) -> nn.Linear:
        """The layer whose weight this one has."""
        return self._source[0]

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {"bias": self.bias is not None}

    def forward(self, h: Tensor) -> Tensor:
        """Outputs (B, m) of activities (B, n)."""
        return F.linear(h, self.source.weight.T, self.bias)


@checked
def convolutional(
    shape: Sequence[int],
    channels: Sequence[int],
    code: int,
    *,
    activation: Activation = nn.ReLU,
    output: Activation | None = None,
    code_activation: Activation | None = None,
    posterior: bool = False,
) -> tuple[Chain, Chain]:
    r"""Convolutional encoder and the decoder that mirrors it.

    Every convolution (3 wide, or 3 × 3, stride 2) halves each side, rounded up; a linear layer
    makes the code. The decoder's transposed convolutions undo exactly these sizes, so any sides
    will do.

    Parameters
    ----------
    shape
        Channels, height and width of an image, for instance ``(1, 28, 28)``, or channels and
        length of a piece of a series, ``(1, 72)``.
    channels
        Number of channels after each convolution, for instance ``(32, 64)``.
    code
        Number of code units.
    activation, output
        As in :func:`mlp`; ``output`` ends the decoder.
    code_activation
        Of the code layer; None: a linear code. ``nn.Sigmoid`` for
        :func:`aebook.variants.sparse`.
    posterior
        Whether the encoder gives two numbers for each of the code, a mean and a log-variance, as
        :class:`aebook.bottlenecks.Gaussian` takes them.

    Returns
    -------
    tuple of Chain
        Encoder, (B, C, H, W) or (B, C, T) to (B, code), and decoder, the way back.

    Examples
    --------
    >>> from aebook.networks import convolutional
    >>> encoder, decoder = convolutional((1, 28, 28), (16, 32), 10, output=torch.nn.Sigmoid)
    >>> codes = encoder(torch.rand(5, 1, 28, 28))
    >>> codes.shape, decoder(codes).shape
    (torch.Size([5, 10]), torch.Size([5, 1, 28, 28]))
    >>> encoder, decoder = convolutional((1, 72), (8, 16), 6)  # 72 values of one variable
    >>> decoder(encoder(torch.rand(5, 1, 72))).shape
    torch.Size([5, 1, 72])
    """
    shape = whole_numbers("shape", shape, count=2)
    if len(shape) > 3:
        raise ValueError(
            f"got shape={shape}, expected (channels, height, width) or (channels, length)"
        )
    channels = whole_numbers("channels", channels, count=1)
    code = whole("code", code)

    convolution, transposed = (
        (nn.Conv1d, nn.ConvTranspose1d) if len(shape) == 2 else (nn.Conv2d, nn.ConvTranspose2d)
    )
    depths = (*shape[:1], *channels)
    sizes: list[tuple[int, ...]] = [shape[1:]]
    for _ in channels:
        sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
    inner = (depths[-1], *sizes[-1])
    flat = math.prod(inner)

    down = [
        _layer(convolution(a, b, 3, stride=2, padding=1), activation) for a, b in pairwise(depths)
    ]
    up = []
    for k in range(len(channels), 0, -1):
        # a transposed convolution of n rows gives 2n - 1, or 2n with one row of padding
        padding: Any = tuple(
            side - (2 * half - 1) for side, half in zip(sizes[k - 1], sizes[k], strict=True)
        )
        up.append(
            _layer(
                transposed(
                    depths[k], depths[k - 1], 3, stride=2, padding=1, output_padding=padding
                ),
                activation if k > 1 else output,
            )
        )
    last = nn.Sequential(
        nn.Flatten(), _layer(nn.Linear(flat, 2 * code if posterior else code), code_activation)
    )
    from_code = nn.Sequential(_layer(nn.Linear(code, flat), activation), nn.Unflatten(1, inner))
    encoder, decoder = Chain(shape, *down, last), Chain((code,), from_code, *up)
    return encoder, decoder


def _layer(
    map_: nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d | Transposed,
    activation: Activation | None,
) -> nn.Sequential:
    if not isinstance(map_, Transposed):
        nn.init.xavier_uniform_(map_.weight)
        if map_.bias is not None:
            nn.init.zeros_(map_.bias)
    parts: OrderedDict[str, nn.Module] = OrderedDict(map=map_)
    if activation is not None:
        parts["activation"] = _made(activation)
    return nn.Sequential(parts)


def _made(activation: Activation) -> nn.Module:
    try:
        module = activation()
    except TypeError as error:
        module = error
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"got {shown('activation', activation)}, expected what makes a module when it is "
            "called: nn.ReLU, or lambda: nn.LeakyReLU(0.2)"
        )
    return module
