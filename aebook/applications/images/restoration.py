r"""Restoring images: what an autoencoder needs around it to denoise a photograph.

A denoising autoencoder returns :math:`x' = D_θ(E_φ(y))` for a damaged :math:`y = T(x)`. Here is a
network for images of any size, the noise to train it with, a way to restore an image piece by
piece, and the scores. The filters that it has to beat are in
:mod:`aebook.applications.images.filters`; to make images larger there is
:mod:`aebook.applications.images.superresolution`.

>>> noise = random_level(aebook.corruptions.gaussian, 0, 0.25)
>>> objective = aebook.Objective(denoiser(), noise)
>>> history = aebook.fit(objective, patches, epochs=10, batch_size=16, lr=5e-3)
>>> restored = by_patches(objective.model, photograph)

``patches`` are clean, (N, 1, H, W); ``photograph`` is noisy, (H, W). Needs ``aebook[restoration]``
for the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from aebook._internal.checks import array, as_many, check_arguments, counted, need, whole
from aebook._internal.contract import checked, taken
from aebook.applications.images.filters import as_image
from aebook.core import Autoencoder
from aebook.metrics import psnr

__all__ = ["by_patches", "cut", "denoiser", "passing_on", "psnr", "random_level", "ssim", "tune"]

Parameter = TypeVar("Parameter")


@checked
def denoiser(channels: int = 1, width: int = 16, depth: int = 4) -> Autoencoder:
    r"""A convolutional autoencoder for images of any size, which starts as the identity.

    Encoder and decoder are ``depth`` convolutions each, 3 × 3, with ReLU between them; the code has
    ``width`` numbers a pixel, so nothing is squeezed: only the noise keeps it from copying. It has
    no biases, so :math:`r(cy) = c\,r(y)` for c > 0, and works for noise stronger or weaker than it
    was trained with (Mohan et al. 2020). Before training the first channels of each layer pass on
    the image: the network returns an image without negative values as it is, and learns to depart
    from that.

    Parameters
    ----------
    channels
        1 for grey images, 3 for colour.
    width
        Channels between the convolutions, ``channels`` or more.
    depth
        Convolutions of the encoder, and of the decoder. A pixel is restored from the square of
        4 · depth + 1 pixels around it.

    Examples
    --------
    >>> from aebook.applications.images import denoiser
    >>> model, x = denoiser(), torch.rand(1, 1, 20, 30)
    >>> torch.allclose(model.reconstruct(x), x, atol=1e-6)  # before training the identity
    True
    """
    layers, half = passing_on(channels, width, depth), 2 * depth
    return Autoencoder(nn.Sequential(*layers[:half]), nn.Sequential(*layers[half:]))


@checked
def passing_on(channels: int, width: int, depth: int, factor: int = 1) -> list[nn.Module]:
    """The layers of :func:`denoiser`: at the start they return the image, each pixel r² times.

    Parameters
    ----------
    channels, width, depth
        As there.
    factor
        r, 1 or more: the last convolution has r² channels for each of the image's.

    Examples
    --------
    >>> from aebook.applications.images import passing_on
    >>> network = torch.nn.Sequential(*passing_on(1, width=4, depth=2))
    >>> x = torch.rand(1, 1, 5, 5)
    >>> torch.allclose(network(x), x, atol=1e-6)
    True
    """
    check_arguments(channels=channels, width=width, depth=depth, factor=factor)
    whole("width", width, least=channels)
    widths = (channels, *(width,) * (2 * depth - 1), channels * factor**2)
    layers: list[nn.Module] = []
    for n, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        copies = factor**2 if n == 2 * depth else 1
        with torch.no_grad():
            passed = convolution.weight[: copies * channels].zero_()
            for k in range(copies * channels):
                passed[k, k // copies, 1, 1] = 1
        layers += [convolution, nn.ReLU()]
    return layers[:-1]


@checked
def random_level(
    corruption: Callable[[float], Callable[[Tensor], Tensor]], low: float, high: float
) -> Callable[[Tensor], Tensor]:
    r"""A corruption whose level is drawn anew for each message, uniformly from low to high.

    A network trained with it is *blind*: it has to find out from the message how bad the damage is.

    Parameters
    ----------
    corruption
        Makes a corruption from a level: ``aebook.corruptions.gaussian``, ``salt_and_pepper``, or
        ``lambda p: salt_and_pepper(p, 0, 1)``.
    low, high
        The range of levels.

    Examples
    --------
    >>> from aebook.applications.images import random_level
    >>> noise = random_level(aebook.corruptions.gaussian, 0.1, 0.5)
    >>> deviations = noise(torch.zeros(100, 784)).std(1)
    >>> bool(deviations.min() > 0.05), bool(deviations.max() < 0.6), bool(deviations.std() > 0.05)
    (True, True, True)
    """
    if not low <= high:
        raise ValueError(f"got low={low} and high={high}, expected low <= high")
    for level in (low, high):
        # refuses a level that makes no sense, before training does
        taken("what corruption gave", corruption(level), Callable[[Tensor], Tensor])

    def corrupt(x: Tensor) -> Tensor:
        levels = (low + (high - low) * torch.rand(len(x))).tolist()
        pieces = [corruption(level)(x[n : n + 1]) for n, level in enumerate(levels)]
        return torch.cat(pieces) if pieces else x

    return corrupt


@checked
def cut(images: Sequence[ArrayLike], count: int, size: int, *, seed: int = 0) -> Tensor:
    """Square patches to train with, from random places, turned and mirrored at random.

    Parameters
    ----------
    images
        Images, each (H, W) or each (H, W, C), of any sizes from ``size`` up. Equally many patches
        come from each.
    count
        How many patches.
    size
        Side of a patch in pixels.
    seed
        Of the places and turns.

    Returns
    -------
    Tensor
        (count, C, size, size) in single precision, C = 1 for grey images.

    Examples
    --------
    >>> from aebook.applications.images import cut
    >>> photographs = [np.zeros((40, 60, 3)), np.ones((50, 30, 3))]
    >>> cut(photographs, count=10, size=16).shape
    torch.Size([10, 3, 16, 16])
    """
    check_arguments(count=count, size=size, seed=seed)
    arrays = [as_image(image, f"image {n}") for n, image in enumerate(images)]
    if not arrays or len({array.shape[2:] for array in arrays}) > 1:
        raise ValueError("got no images or some grey and some in colour, expected all of one kind")
    if min(min(array.shape[:2]) for array in arrays) < size:
        raise ValueError(
            f"got an image smaller than the patches, expected {size} × {size} pixels or more"
        )
    g, patches = np.random.default_rng(seed), []
    for n in range(count):
        image = arrays[n % len(arrays)]
        i, j = (g.integers(side - size + 1) for side in image.shape[:2])
        patch = np.rot90(image[i : i + size, j : j + size], int(g.integers(4)))
        patches.append(patch[:, ::-1] if g.integers(2) else patch)
    stacked = np.stack(patches).astype(np.float32).reshape(count, size, size, -1)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


@checked
def by_patches(
    function: Callable[[Tensor], Tensor],
    image: ArrayLike,
    size: int = 64,
    overlap: int = 16,
    *,
    channels: Literal["together", "apart"] = "together",
    chunk: int = 32,
) -> NDArray[np.float32]:
    r"""Restore an image of any size by a function of patches, without seams.

    .. math:: x'_i = \sum_k w_{ki} \, f(P_k y)_i \Big/ \sum_k w_{ki}

    Patches :math:`P_k y` overlap. The weight w of a pixel falls linearly towards the edge of its
    patch, so where one patch ends another has taken over. If f is the identity, so is the result.

    Parameters
    ----------
    function
        From patches (N, C, size, size) to restored patches, r times as large: an autoencoder or
        any other map of tensors, in single precision. r is 1 for denoising.
    image
        (H, W) or (H, W, C), of any size; a smaller one than a patch is continued by reflection.
    size
        Side of a patch in pixels.
    overlap
        By how many pixels neighbours overlap at least, from 0, which leaves seams, to size - 1.
    channels
        ``"apart"`` restores the channels one by one, with C = 1, for a function of grey patches.
    chunk
        Patches at once; memory grows with it.

    Returns
    -------
    ndarray
        (r H, r W) or (r H, r W, C), single precision.

    Examples
    --------
    >>> from aebook.applications.images import by_patches
    >>> image = np.random.default_rng(0).random((100, 70))
    >>> np.allclose(by_patches(lambda patches: patches, image), image, atol=1e-6)  # no seams
    True
    """
    check_arguments(size=size, chunk=chunk)
    overlap = whole("overlap", overlap, least=0, most=size - 1)
    array = as_image(image)
    if channels == "apart" and array.ndim == 3:
        planes = np.moveaxis(array, 2, 0)
        done = [by_patches(function, plane, size, overlap, chunk=chunk) for plane in planes]
        return np.stack(done, axis=-1)

    height, width = array.shape[:2]
    margins = [(0, max(0, size - side)) for side in array.shape[:2]] + [(0, 0)] * (array.ndim - 2)
    padded = np.pad(array, margins, mode="symmetric").astype(np.float32)
    padded = np.moveaxis(padded.reshape(*padded.shape[:2], -1), 2, 0)
    corners = [
        (i, j)
        for i in _starts(padded.shape[1], size, overlap)
        for j in _starts(padded.shape[2], size, overlap)
    ]
    total = weights = ramp = np.empty(0)
    factor = 1
    for first in range(0, len(corners), chunk):
        some = corners[first : first + chunk]
        patches = np.stack([padded[:, i : i + size, j : j + size] for i, j in some])
        with torch.no_grad():
            restored = taken("what function gave", function(torch.from_numpy(patches)), Tensor)
            restored = restored.detach().cpu().double().numpy()
        if first == 0:
            factor = _factor(restored.shape, patches.shape)
            ramp = _ramp(factor * size, factor * overlap)
            total = np.zeros((restored.shape[1], *(factor * n for n in padded.shape[1:])))
            weights = np.zeros(total.shape[1:])
        for (i, j), patch in zip(some, restored, strict=True):
            there = np.s_[factor * i : factor * (i + size), factor * j : factor * (j + size)]
            total[:, *there] += ramp * patch
            weights[there] += ramp
    blended = np.moveaxis(total / weights, 0, 2)[: factor * height, : factor * width]
    return (blended if array.ndim == 3 else blended[..., 0]).astype(np.float32)


@checked
def ssim(restored: ArrayLike, clean: ArrayLike) -> float:
    r"""Structural similarity of one image, with the Gaussian windows of Wang et al. 2004.

    The mean over the image of

    .. math:: \frac{(2 μ_x μ_{x'} + c_1)(2 σ_{xx'} + c_2)}
              {(μ_x^2 + μ_{x'}^2 + c_1)(σ_x^2 + σ_{x'}^2 + c_2)}

    with means, variances and covariance of 11 × 11 pixels; the mean over channels for colour.

    Parameters
    ----------
    restored, clean
        As for :func:`aebook.metrics.psnr`, at least 11 × 11 pixels.

    Returns
    -------
    float
        At most 1, which means equal.

    Examples
    --------
    >>> from aebook.applications.images import ssim
    >>> image = np.random.default_rng(0).random((32, 32))
    >>> round(ssim(image, image), 6), ssim(image / 2, image) < 1
    (1.0, True)
    """
    a, b = _pair(restored, clean)
    if min(a.shape[:2]) < 11:
        raise ValueError(f"got images of shape {a.shape}, expected at least 11 × 11 pixels")
    metrics = need("skimage.metrics", "scikit-image", "restoration")
    return float(
        metrics.structural_similarity(
            b,
            a,
            data_range=1,
            channel_axis=2 if a.ndim == 3 else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


@checked
def tune(
    method: Callable[[ArrayLike, Parameter], ArrayLike],
    grid: Iterable[Parameter],
    noisy: Sequence[ArrayLike],
    clean: Sequence[ArrayLike],
    score: Callable[[ArrayLike, ArrayLike], float] = psnr,
) -> Parameter:
    """The strength with which a method does best on validation images.

    Parameters
    ----------
    method
        Takes an image and a strength, as those of :mod:`aebook.applications.images.filters` do.
    grid
        The strengths to try. If the best is the first or last, try a wider grid.
    noisy, clean
        The same number of images. Not those on which the method will be judged.
    score
        Takes a restored and a clean image; higher is better. The mean over the images counts.

    Examples
    --------
    >>> from aebook.applications.images import filters, tune
    >>> clean = np.full((16, 16), 0.5)
    >>> noisy = clean + 0.1 * np.random.default_rng(0).standard_normal((16, 16))
    >>> tune(filters.median, (1, 3, 5), [noisy], [clean])  # a flat image: the widest is best
    5
    """
    strengths = list(grid)
    counted("strengths", len(strengths))
    counted("noisy images", len(noisy))
    as_many(noisy=len(noisy), clean=len(clean))

    def mean(strength: Parameter) -> float:
        pairs = zip(noisy, clean, strict=True)
        scores = [score(method(one, strength), other) for one, other in pairs]
        return float(np.mean(taken("what score gave", scores, Sequence[float])))

    return max(strengths, key=mean)


def _starts(side: int, size: int, overlap: int) -> list[int]:
    """Where patches begin along a side: in equal steps, and flush with the end."""
    return [*range(0, side - size, size - overlap), side - size]


def _ramp(size: int, overlap: int) -> NDArray[np.float64]:
    """The weights of a patch's pixels: above 0, and 1 from ``overlap`` pixels on."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 1
    line = np.minimum(distance / (overlap + 1), 1)
    return np.outer(line, line)


def _factor(restored: tuple[int, ...], patches: tuple[int, ...]) -> int:
    factor = restored[-1] // patches[-1] if len(restored) == 4 else 0
    side = factor * patches[-1]
    if factor < 1 or (restored[0], *restored[2:]) != (patches[0], side, side):
        raise ValueError(
            f"the function made {restored} of patches {patches}, expected (N, C, r size, r size) "
            "with a whole number r"
        )
    return factor


def _pair(restored: ArrayLike, clean: ArrayLike) -> tuple[NDArray, NDArray]:
    a, b = as_image(restored, "restored"), as_image(clean, "clean")
    array("restored", a, f"{b.shape}")
    array("clean", b, least=0, most=1, advice="for bytes, use image / 255")
    return a.clip(0, 1), b
