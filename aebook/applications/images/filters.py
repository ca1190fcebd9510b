r"""What denoised images before networks did: seven filters with one signature.

Each takes one noisy image and one strength, and gives the restored image. An image is an array or
tensor (H, W), or (H, W, C) with its channels last, floating point, nominally in [0, 1]; noise may
lead out of that. The result is a new array of the same shape, in double precision, not clipped.

They are thin: the work is done by SciPy, scikit-image and bm3d. All but :func:`gaussian`,
:func:`median` and :func:`switching_median` need ``aebook[restoration]``, and :func:`bm3d` an
extra of its own. What is right for the strength depends on images and noise;
:func:`aebook.applications.images.restoration.tune` chooses it.

Each raises a ValueError for an image of another kind or a strength that makes no sense.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from aebook._internal.checks import array, as_array, check_image, need, number, whole
from aebook._internal.contract import checked

__all__ = [
    "as_image",
    "bm3d",
    "gaussian",
    "median",
    "non_local_means",
    "switching_median",
    "total_variation",
    "wavelet",
]

Image = NDArray[np.float64]


@checked
def as_image(image: ArrayLike, name: str = "image") -> Image:
    """An image as an array (H, W) or (H, W, C) in double precision, if it is one.

    Parameters
    ----------
    image
        An array, a tensor or a list.
    name
        What it is called in the message of the error.

    Examples
    --------
    >>> from aebook.applications.images.filters import as_image
    >>> image = as_image(torch.zeros(4, 6))
    >>> image.shape, image.dtype
    ((4, 6), dtype('float64'))
    """
    values = as_array(image)
    check_image(name, values.shape)
    array(name, values, of="floating point", advice="for bytes, use image / 255")
    return values.astype(np.float64)


@checked
def gaussian(noisy: ArrayLike, width: float) -> Image:
    r"""The mean of the neighbours with weights :math:`e^{-\|i-j\|^2 / 2w^2}`.

    Parameters
    ----------
    noisy
        One image.
    width
        w in pixels, above 0.

    Examples
    --------
    >>> from aebook.applications.images.filters import gaussian
    >>> image = np.zeros((21, 21))
    >>> image[10, 10] = 1.0
    >>> gaussian(image, width=1.0)[10, 8:13].round(2).tolist()
    [0.02, 0.1, 0.16, 0.1, 0.02]
    """
    image = as_image(noisy)
    spread = (number("width", width),) * 2 + (0.0,) * (image.ndim - 2)
    return ndimage.gaussian_filter(image, spread)


@checked
def median(noisy: ArrayLike, size: int) -> Image:
    """The median of a square of neighbours.

    Parameters
    ----------
    noisy
        One image; a channel is filtered by itself.
    size
        Side of the square in pixels, an odd number.

    Examples
    --------
    >>> from aebook.applications.images.filters import median
    >>> image = np.zeros((5, 5))
    >>> image[2, 2] = 1.0
    >>> float(median(image, 3).max())  # a single speck is gone
    0.0
    """
    image = as_image(noisy)
    return ndimage.median_filter(image, _square(image, size))


@checked
def switching_median(noisy: ArrayLike, size: int) -> Image:
    """A median that knows salt and pepper: damaged pixels are 0 or 1, all others stay.

    A pixel at one of the extremes becomes the median of those in its square that are not, and the
    median of all of them if none is. A clean image may have pixels at 0 and 1 of its own; they are
    taken for damage.

    Parameters
    ----------
    noisy, size
        As for :func:`median`.

    Examples
    --------
    >>> from aebook.applications.images.filters import switching_median
    >>> image = np.linspace(0.1, 0.9, 25).reshape(5, 5)
    >>> damaged = image.copy()
    >>> damaged[2, 2] = 1.0
    >>> np.allclose(switching_median(damaged, 3), image)  # only that pixel, and that rightly
    True
    """
    image = as_image(noisy)
    square = _square(image, size)
    suspect = (image <= 0) | (image >= 1)
    size = int(size)
    half = size // 2
    margins = [(half, half)] * 2 + [(0, 0)] * (image.ndim - 2)
    padded = np.pad(np.where(suspect, np.nan, image), margins, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, square)[suspect]
    windows = windows.reshape(len(windows), size * size)
    restored, trusted = image.copy(), np.isfinite(windows)
    known = trusted.any(1)
    filled = ndimage.median_filter(image, square)[suspect]
    filled[known] = np.nanmedian(windows[known], axis=1) if known.any() else 0
    restored[suspect] = filled
    return restored


@checked
def wavelet(noisy: ArrayLike, sigma: float) -> Image:
    r"""Small wavelet coefficients shrunk to zero, averaged over shifts of the image.

    Thresholds are those of BayesShrink, one a subband (Chang, Yu & Vetterli 2000); the mean over 16
    shifts removes most of what the grid of the wavelets leaves (Coifman & Donoho 1995).

    Parameters
    ----------
    noisy
        One image.
    sigma
        Standard deviation of the noise, above 0.

    Examples
    --------
    >>> from aebook.applications.images.filters import wavelet
    >>> noisy = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((32, 32))
    >>> bool(wavelet(noisy, 0.1).std() < noisy.std() / 2)
    True
    """
    image, restoration = as_image(noisy), _skimage()
    need("pywt", "PyWavelets", "restoration")
    axis = -1 if image.ndim == 3 else None
    options = {"sigma": number("sigma", sigma), "rescale_sigma": False, "channel_axis": axis}
    # not cycle_spin of scikit-image, whose argument for one worker has two names
    shifts = [(i, j) for i in range(4) for j in range(4)]
    spun = [np.roll(image, shift, (0, 1)) for shift in shifts]
    done = [restoration.denoise_wavelet(turned, **options) for turned in spun]
    back = [np.roll(one, (-i, -j), (0, 1)) for one, (i, j) in zip(done, shifts, strict=True)]
    return np.mean(back, axis=0)


@checked
def total_variation(noisy: ArrayLike, weight: float) -> Image:
    r"""The u that minimises :math:`\frac12\|u - y\|^2 + w \sum_i \|\nabla u_i\|`.

    Flat regions with sharp edges (Rudin, Osher & Fatemi 1992; Chambolle 2004).

    Parameters
    ----------
    noisy
        One image, y.
    weight
        w, above 0, in the unit of the image.

    Examples
    --------
    >>> from aebook.applications.images.filters import total_variation
    >>> noisy = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((32, 32))
    >>> bool(total_variation(noisy, 0.2).std() < noisy.std() / 2)
    True
    """
    image, restoration = as_image(noisy), _skimage()
    axis = -1 if image.ndim == 3 else None
    return restoration.denoise_tv_chambolle(
        image, number("weight", weight), max_num_iter=200, channel_axis=axis
    )


@checked
def non_local_means(noisy: ArrayLike, sigma: float) -> Image:
    r"""The mean of pixels whose surroundings look alike, wherever near by they are.

    With 5 × 5 patches :math:`P_i, P_j` of n pixels, at most 13 apart, the weights are
    :math:`\exp(-\max(\|P_i - P_j\|^2 / n - 2σ^2, 0) / h^2)` and h is 0.8 σ (Buades, Coll & Morel
    2005).

    Parameters
    ----------
    noisy
        One image.
    sigma
        Standard deviation of the noise, above 0.

    Examples
    --------
    >>> from aebook.applications.images.filters import non_local_means
    >>> noisy = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((32, 32))
    >>> bool(non_local_means(noisy, 0.1).std() < noisy.std() / 2)
    True
    """
    image, restoration = as_image(noisy), _skimage()
    sigma = number("sigma", sigma)
    axis = -1 if image.ndim == 3 else None
    return restoration.denoise_nl_means(
        image, patch_size=5, patch_distance=13, h=0.8 * sigma, sigma=sigma, channel_axis=axis
    )


@checked
def bm3d(noisy: ArrayLike, sigma: float) -> Image:
    """Groups of similar patches, stacked and filtered together in three dimensions.

    BM3D (Dabov et al. 2007), the filter that networks were measured by for years. Runs on one
    thread, where it gives the same result every time. Needs ``aebook[bm3d]``, an extra of its own,
    since the licence of the package bm3d allows non-commercial use only.

    Parameters
    ----------
    noisy
        One image, at least 8 × 9. A colour image is filtered in a colour space of luminance and
        chroma, as in the paper.
    sigma
        Standard deviation of the noise, above 0.

    Examples
    --------
    >>> from aebook.applications.images.filters import bm3d
    >>> noisy = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((32, 32))
    >>> bool(bm3d(noisy, 0.1).std() < noisy.std() / 2)
    True
    """
    image, library = as_image(noisy), need("bm3d", "bm3d", "bm3d")
    # on a single patch the library ends the process
    if min(image.shape[:2]) < 8 or image.shape[:2] == (8, 8):
        raise ValueError(
            f"got an image of shape {image.shape}, expected at least 8 × 8 pixels, and more than "
            "one patch of that size"
        )
    profile = library.BM3DProfile()
    profile.num_threads = 1
    colour = image.ndim == 3 and image.shape[2] == 3
    function = library.bm3d_rgb if colour else library.bm3d
    return np.asarray(function(image, number("sigma", sigma), profile), np.float64).reshape(
        image.shape
    )


def _skimage() -> ModuleType:
    return need("skimage.restoration", "scikit-image", "restoration")


def _square(image: Image, size: int) -> tuple[int, ...]:
    if whole("size", size) % 2 == 0:
        raise ValueError(f"got size={size}, expected an odd number, 1 or more")
    return (size,) * 2 + (1,) * (image.ndim - 2)
