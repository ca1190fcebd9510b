r"""Making images larger: the definition of smaller, interpolation, and autoencoders with a target.

A small image is taken for the block means of a large one, :math:`y = Ax`. A network is trained
with pairs (y, x); in :func:`aebook.fit` y is the message and x the target:

>>> small = downsample(images)
>>> objective = aebook.Objective(upscaler())
>>> history = aebook.fit(objective, (small, images), epochs=10, batch_size=16, lr=5e-3)
>>> large = consistent(objective.model.reconstruct(new), new)

Images are tensors or arrays: one is (H, W) or, with its channels last, (H, W, C), and many are
(N, C, H, W), as networks take them. A photograph of any size can be fed by pieces:
:func:`aebook.applications.images.restoration.by_patches`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from aebook._internal.checks import array, check_image, whole
from aebook._internal.contract import checked
from aebook._internal.reading import as_numbers, as_tensor
from aebook.applications.images.restoration import passing_on
from aebook.core import Autoencoder

__all__ = ["consistent", "coupled", "downsample", "upsample", "upscaler"]


@checked
def downsample(x: ArrayLike, factor: int = 2) -> Tensor:
    r"""The means of blocks, :math:`(Ax)_{ij} = \frac{1}{r^2} \sum_{0 \le a, b < r} x_{ri+a, rj+b}`.

    As a sensor with larger pixels would see it. Papers on super-resolution often use bicubic
    filtering in its place; results for one are not results for the other.

    Parameters
    ----------
    x
        (H, W), (H, W, C) or (N, C, H, W), floating point; both sides are multiples of the factor.
    factor
        r, 1 or more.

    Examples
    --------
    >>> from aebook.applications.images import downsample
    >>> downsample(torch.arange(16.0).reshape(4, 4))
    tensor([[ 2.5000,  4.5000],
            [10.5000, 12.5000]])
    """
    x, factor = _planes(_images(x)), whole("factor", factor)
    if x.shape[-2] % factor or x.shape[-1] % factor:
        raise ValueError(
            f"got images of {x.shape[-2]} × {x.shape[-1]} pixels, expected sides that are "
            f"multiples of {factor}: crop them first"
        )
    blocks = x.unflatten(-1, (-1, factor)).unflatten(-3, (-1, factor))
    return _planes(blocks.mean((-3, -1)), back=True)


@checked
def upsample(
    y: ArrayLike,
    factor: int = 2,
    kind: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic",
) -> Tensor:
    r"""Interpolation, by Pillow, in the geometry of :func:`downsample`.

    Parameters
    ----------
    y
        (H, W), (H, W, C) or (N, C, H, W), floating point.
    factor
        r, 1 or more.
    kind
        Which kernel: cubic (a = -1/2), Lanczos with three lobes, linear, or none, so that pixels
        are repeated, :math:`r^2 A^\top y`.

    Returns
    -------
    Tensor
        Of the same kind, r H × r W. Cubic and Lanczos kernels overshoot: values may leave [0, 1] a
        little.

    Examples
    --------
    >>> from aebook.applications.images import upsample
    >>> upsample(torch.tensor([[1.0, 2.0]]), kind="nearest")
    tensor([[1., 1., 2., 2.],
            [1., 1., 2., 2.]])
    """
    from PIL import Image

    y, factor = _planes(_images(y)), whole("factor", factor)
    if kind == "nearest":
        return _planes(y.repeat_interleave(factor, -1).repeat_interleave(factor, -2), back=True)
    height, width = factor * y.shape[-2], factor * y.shape[-1]
    resample = Image.Resampling[kind.upper()]
    planes = y.detach().cpu().float().reshape(-1, *y.shape[-2:]).numpy()
    large = [np.asarray(Image.fromarray(p).resize((width, height), resample)) for p in planes]
    enlarged = torch.from_numpy(np.stack(large)).reshape(*y.shape[:-2], height, width)
    return _planes(enlarged.to(y), back=True)


@checked
def consistent(x: ArrayLike, y: ArrayLike) -> Tensor:
    r"""The image nearest to x whose block means are y: :math:`x + r^2 A^\top(y - Ax)`.

    The truth :math:`x^*` has :math:`Ax^* = y` too. The step is the orthogonal projection on all
    images that have, so it brings any estimate nearer to the truth, or leaves it:
    :math:`\|x - x^*\|^2` falls by :math:`r^2 \|y - Ax\|^2` exactly.

    Parameters
    ----------
    x
        Large images, r H × r W: see :func:`downsample`.
    y
        The small ones, H × W, of the same kind.

    Examples
    --------
    >>> from aebook.applications.images import consistent, downsample
    >>> small, guess = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 8, 8)
    >>> torch.allclose(downsample(consistent(guess, small)), small, atol=1e-6)
    True
    """
    x, y = _images(x), _images(y)
    large, small = _planes(x).shape, _planes(y).shape
    factor = large[-1] // small[-1]
    if large != (*small[:-2], factor * small[-2], factor * small[-1]) or factor < 1:
        raise ValueError(
            f"got large images of shape {tuple(x.shape)} for small ones of {tuple(y.shape)}, "
            "expected r times the height and width, and the same images and channels"
        )
    return x + upsample(y.to(x) - downsample(x, factor), factor, "nearest")


@checked
def upscaler(channels: int = 1, width: int = 24, depth: int = 3, factor: int = 2) -> Autoencoder:
    r"""A convolutional autoencoder from images to images r times as large, of any size.

    All convolutions, 3 × 3 with ReLU between them and without biases, work on the small image. The
    last makes :math:`r^2` numbers a pixel and channel, which become r × r pixels (Shi et al. 2016).
    It starts as the repetition of pixels, as
    :func:`aebook.applications.images.restoration.denoiser` starts as the identity.

    Parameters
    ----------
    channels
        1 for grey images, 3 for colour.
    width
        Channels between the convolutions, ``channels`` or more.
    depth
        Convolutions of the encoder, and of the decoder.
    factor
        r, 1 or more.

    Examples
    --------
    >>> from aebook.applications.images import upsample, upscaler
    >>> model, small = upscaler(), torch.rand(1, 1, 10, 15)
    >>> large = model.reconstruct(small)  # before training each pixel is repeated
    >>> torch.allclose(large, upsample(small, kind="nearest"), atol=1e-6)
    True
    """
    layers, half = passing_on(channels, width, depth, factor), 2 * depth
    decoder = nn.Sequential(*layers[half:], nn.PixelShuffle(factor))
    return Autoencoder(nn.Sequential(*layers[:half]), decoder)


@checked
def coupled(low: Autoencoder, high: Autoencoder, link: nn.Module) -> Autoencoder:
    r"""Two autoencoders and a map between their codes: :math:`x' = D_H(f(b_L(E_L(y))))`.

    One autoencoder knows small images, the other large ones; the link takes a code of the first to
    one of the second (Zeng et al. 2017). The parts are shared, not copied: :func:`aebook.fit` on
    ``aebook.Objective(coupled(...))`` trains them on.

    Parameters
    ----------
    low
        An autoencoder of small images, of which the encoder and bottleneck are used.
    high
        An autoencoder of large images, of which the decoder is used.
    link
        From codes of the one to codes of the other, for instance ``nn.Linear(p, q)``.

    Examples
    --------
    >>> from aebook.applications.images import coupled
    >>> low, high = aebook.variants.plain((16, 3)).model, aebook.variants.plain((64, 5)).model
    >>> coupled(low, high, torch.nn.Linear(3, 5)).reconstruct(torch.rand(10, 16)).shape
    torch.Size([10, 64])
    """
    return Autoencoder(nn.Sequential(low.encoder, low.bottleneck, link), high.decoder)


def _images(x: ArrayLike) -> Tensor:
    x = as_tensor(x if isinstance(x, Tensor) else as_numbers(x))
    if x.dim() != 4:
        check_image("images", x.shape)
    elif 0 in x.shape[1:] or x.shape[3] <= 4 < x.shape[1]:
        raise ValueError(
            f"got images of shape {tuple(x.shape)}, expected (N, C, H, W): for channels last use "
            "x.permute(0, 3, 1, 2) or np.moveaxis(x, 3, 1)"
        )
    array("images", x, of="floating point", advice="for bytes, use x / 255")
    return x


def _planes(x: Tensor, *, back: bool = False) -> Tensor:
    """One image (H, W, C) as (C, H, W), and back; all others end in H and W as they are."""
    return x.movedim(*((0, -1) if back else (-1, 0))) if x.dim() == 3 else x
