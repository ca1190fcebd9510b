r"""Compressors compared: bits a pixel in real bytes, PSNR, and the distance between two curves.

The Bjøntegaard delta of two curves is the mean distance of their interpolations over what they have
in common: for :func:`bd_rate` of the logarithms of the rate at the same quality, in percent, for
:func:`bd_psnr` of the quality at the same rate, in dB (Bjøntegaard 2001).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator, PPoly

from aebook._internal.checks import array, as_array, check_image, one_of, shown
from aebook._internal.contract import checked
from aebook.metrics import psnr

__all__ = [
    "Curve",
    "bd_psnr",
    "bd_rate",
    "bits_per_pixel",
    "curve",
    "pareto",
    "pillow",
]

Method = Literal["pchip", "akima", "cubic"]


class Curve(NamedTuple):
    """Rates and the qualities that they buy, one entry a setting, rates rising."""

    rate: NDArray[np.float64]
    """Bits a pixel, or any other unit of rate."""
    quality: NDArray[np.float64]
    """PSNR in dB, or any other measure that is better when it is higher."""


@checked
def bits_per_pixel(data: bytes, image: NDArray[Any]) -> float:
    """Eight times the bytes, headers and all, over the number of pixels.

    Parameters
    ----------
    data
        The file.
    image
        What it stands for, (H, W) or (H, W, C): channels are not counted, only places.

    Examples
    --------
    >>> from aebook.applications.compression.rate_distortion import bits_per_pixel
    >>> bits_per_pixel(bytes(100), np.zeros((20, 10, 3)))  # 800 bits for 200 pixels
    4.0
    """
    check_image("image", image.shape)
    height, width = image.shape[:2]
    return 8 * len(data) / (height * width)


@checked
def pillow(format: str, **options: Any) -> tuple[Callable[..., bytes], Callable[..., Any]]:
    """A codec of Pillow as a pair of functions, from images to bytes and back.

    Parameters
    ----------
    format
        ``"JPEG"``, ``"JPEG2000"``, ``"WEBP"`` or another that Pillow writes.
    **options
        What Pillow's ``save`` takes for that format, such as ``quality=50``. JPEG 2000 has its
        transform of colours unless ``mct=0``, as its own tools write it; Pillow leaves it out.

    Returns
    -------
    tuple of callables
        Images are uint8, (H, W), (H, W, 3) or, with alpha last and if the format has a place for
        it, (H, W, 4). What the format cannot hold is refused with a ValueError.

    Examples
    --------
    >>> from aebook.applications.compression.rate_distortion import pillow
    >>> compress, decompress = pillow("PNG")
    >>> image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    >>> np.array_equal(decompress(compress(image)), image)  # PNG loses nothing
    True
    """
    from PIL import Image

    Image.init()
    if format.upper() not in Image.SAVE:
        raise ValueError(f"got format={format!r}, expected one that Pillow writes, such as 'JPEG'")
    if format.upper() == "JPEG2000":
        options = {"mct": 1, **options}

    def compress(image: NDArray[np.uint8]) -> bytes:
        image = _picture(image, 3, 4)
        buffer = io.BytesIO()
        try:
            Image.fromarray(image).save(buffer, format, **options)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"Pillow cannot write an image of shape {image.shape} as {format} ({error}): leave "
                "out what the format has no place for, image[..., :3] for alpha"
            ) from error
        return buffer.getvalue()

    def decompress(data: bytes) -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return np.asarray(image if image.mode in ("L", "RGBA") else image.convert("RGB"))

    return compress, decompress


@checked
def curve(image: NDArray[np.uint8], codecs: list[Any]) -> Curve:
    """Bits a pixel and PSNR of an image, compressed and decompressed by each of several codecs.

    Parameters
    ----------
    image
        uint8, (H, W) or (H, W, C).
    codecs
        Pairs of functions as :func:`pillow` makes them, or objects with methods ``compress`` and
        ``decompress`` such as :class:`aebook.applications.compression.bitstream.Codec`.

    Examples
    --------
    >>> from aebook.applications.compression.rate_distortion import curve, pillow
    >>> image = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    >>> rate, quality = curve(image, [pillow("JPEG", quality=q) for q in (90, 50, 10)])
    >>> (np.diff(rate) > 0).tolist(), (np.diff(quality) > 0).tolist()  # both rise
    ([True, True], [True, True])
    """
    image = _picture(image, 3)
    points = []
    for codec in codecs:
        if not (isinstance(codec, tuple) or hasattr(codec, "decompress")):
            raise ValueError(
                f"got {shown('codec', codec)}, expected a pair of functions or a Codec: pillow "
                "makes the one"
            )
        there, back = codec if isinstance(codec, tuple) else (codec.compress, codec.decompress)
        data = there(image)
        points.append((bits_per_pixel(data, image), psnr(back(data), image)))
    return Curve(*np.array(sorted(points), np.float64).reshape(-1, 2).T)


@checked
def pareto(*curves: Curve) -> Curve:
    """What is worth using of several curves: each point that no other beats at its rate or below.

    Parameters
    ----------
    *curves
        One curve or more, for instance of one format with different options.

    Examples
    --------
    >>> from aebook.applications.compression.rate_distortion import Curve, pareto
    >>> rate, quality = np.array([1.0, 2.0, 3.0]), np.array([30.0, 29.0, 35.0])
    >>> pareto(Curve(rate, quality)).rate.tolist()  # two bits bought less than one
    [1.0, 3.0]
    """
    points = sorted((r, -q) for each in curves for r, q in zip(*each, strict=True))
    kept: list[tuple[float, float]] = []
    for rate, negative in points:
        if not kept or -negative > kept[-1][1]:
            kept.append((rate, -negative))
    return Curve(*np.array(kept, np.float64).reshape(-1, 2).T)


@checked
def bd_rate(anchor: Curve, test: Curve, method: Method = "pchip") -> float:
    """How many percent more bits the test needs than the anchor, at the same quality, on average.

    Parameters
    ----------
    anchor, test
        A :class:`Curve` or a pair (rate, quality), in any order of points. Quality has to rise
        with rate; :func:`pareto` leaves out points for which it does not.
    method
        ``"pchip"``: piecewise cubic and monotone, as the standards' own spreadsheets. ``"akima"``:
        piecewise cubic, a little closer to what lies between the points (Herglotz et al. 2022).
        ``"cubic"``: one cubic polynomial through all, as in 2001.

    Returns
    -------
    float
        -20 means: the test needs a fifth less. Over the qualities that both have.

    Examples
    --------
    >>> from aebook.applications.compression.rate_distortion import bd_rate
    >>> quality = np.array([30.0, 33.0, 36.0, 39.0])
    >>> rate = np.array([0.5, 1.0, 1.5, 2.0])
    >>> round(bd_rate((rate, quality), (2 * rate, quality)), 6)  # twice as many bits
    100.0
    """
    (r1, q1), (r2, q2) = _ordered(anchor, "anchor"), _ordered(test, "test")
    mean = _mean_difference(q1, np.log(r1), q2, np.log(r2), method, "qualities")
    return float(100 * np.expm1(mean))


@checked
def bd_psnr(anchor: Curve, test: Curve, method: Method = "pchip") -> float:
    """By how many dB the test is better than the anchor, at the same rate, on average.

    Parameters
    ----------
    anchor, test, method
        As in :func:`bd_rate`.

    Examples
    --------
    >>> from aebook.applications.compression.rate_distortion import bd_psnr
    >>> quality = np.array([30.0, 33.0, 36.0, 39.0])
    >>> rate = np.array([0.5, 1.0, 1.5, 2.0])
    >>> round(bd_psnr((rate, quality), (rate, quality + 1)), 6)
    1.0
    """
    (r1, q1), (r2, q2) = _ordered(anchor, "anchor"), _ordered(test, "test")
    return _mean_difference(np.log(r1), q1, np.log(r2), q2, method, "rates")


def _ordered(given: Any, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rate, quality = (np.asarray(as_array(values), np.float64) for values in given)
    if rate.ndim != 1 or rate.shape != quality.shape or len(rate) < 4:
        raise ValueError(
            f"got rates of shape {rate.shape} and qualities of shape {quality.shape} as the "
            f"{name}, expected four points or more"
        )
    if not (np.isfinite(rate).all() and np.isfinite(quality).all() and (rate > 0).all()):
        raise ValueError(f"got a {name} with values that are not finite, or rates not above 0")
    order = np.argsort(rate)
    rate, quality = rate[order], quality[order]
    if not ((np.diff(rate) > 0).all() and (np.diff(quality) > 0).all()):
        raise ValueError(
            f"got a {name} whose quality does not rise with its rate, expected that it does: "
            "use pareto(...)"
        )
    return rate, quality


def _mean_difference(
    x1: NDArray[np.float64],
    y1: NDArray[np.float64],
    x2: NDArray[np.float64],
    y2: NDArray[np.float64],
    method: str,
    what: str,
) -> float:
    """The mean of curve 2 minus curve 1 over the x that both have."""
    low, high = max(x1[0], x2[0]), min(x1[-1], x2[-1])
    if not low < high:
        raise ValueError(
            f"got two curves that have no {what} in common, expected some: give more settings"
        )
    areas = [_interpolated(x, y, method).integrate(low, high) for x, y in ((x1, y1), (x2, y2))]
    return float((areas[1] - areas[0]) / (high - low))


def _interpolated(x: NDArray[np.float64], y: NDArray[np.float64], method: str) -> PPoly:
    if method == "pchip":
        return PchipInterpolator(x, y)
    if method == "akima":
        return Akima1DInterpolator(x, y)
    if method == "cubic":
        # in powers of the distance from the first point, as PPoly counts
        return PPoly(np.polyfit(x - x[0], y, 3)[:, None], [x[0], x[-1]])
    raise ValueError(f"got method={method!r}, expected 'pchip', 'akima' or 'cubic'")


def _picture(image: Any, *channels: int) -> NDArray[np.uint8]:
    """An image of bytes, grey or of so many channels."""
    image = as_array(image)
    check_image("image", image.shape)
    array("image", image, of="uint8")
    if image.ndim == 3:
        one_of("channels", image.shape[2], channels)
    return image
