r"""Finding things in photographs: a score of small windows, applied everywhere and at every size.

A detector of faces, or of anything that was learnt from small images of one size, looks at one
window. To find them in a photograph, the photograph is shrunk step by step, and at each size every
window is scored:

.. math:: S_s(i, j) = f\bigl(\text{window of side } h \text{ at } (i, j) \text{ of } x / s\bigr)

The score f is any function of images (N, h, w), and the higher it is, the more the window looks
like what is sought. Of windows that overlap the best is kept.

>>> best = detections(photograph, score, (25, 25), scales=(2, 3, 4))[0]
>>> photograph[best.top : best.bottom, best.left : best.right]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from torch.nn.functional import interpolate

from aebook._internal.checks import array, as_array, check_arguments, number
from aebook._internal.contract import Numbers, checked, taken

__all__ = ["Window", "detections", "overlap", "score_map", "standardised", "windows"]

#: Windows scored at once.
CHUNK = 4096

Score = Callable[[NDArray[np.float64]], ArrayLike]


class Window(NamedTuple):
    """A part of a photograph, in its pixels, and its score."""

    top: int
    """First row."""
    left: int
    """First column."""
    bottom: int
    """The row after the last."""
    right: int
    """The column after the last."""
    score: float
    """The higher, the more it looks like what is sought."""


@checked
def windows(
    image: ArrayLike, size: tuple[int, int], *, scale: float = 1.0, stride: int = 1
) -> NDArray[np.float64]:
    r"""All windows of one size, as a view that takes no memory.

    The image is shrunk by ``scale``, smoothed as it is, and windows of ``size`` are taken from it,
    so that each shows ``scale`` times that size of the image.

    Parameters
    ----------
    image
        Grey values, (H, W), finite.
    size
        Height and width (h, w) of a window.
    scale
        How many pixels of the image make one of the window; with less than 1 it is enlarged.
    stride
        Pixels of the shrunk image between neighbouring windows, 1 or more.

    Returns
    -------
    ndarray
        (R, C, h, w), read-only. The first pixel of window (i, j) is (i · stride, j · stride) of the
        shrunk image, which is (i · stride · H / H', j · stride · W / W') of the image if
        (H', W') is the size of the shrunk one. ``.reshape(-1, h, w)`` copies them into a list.

    Raises
    ------
    ValueError
        If the shrunk image is smaller than a window.

    Examples
    --------
    >>> from aebook.applications.detection import windows
    >>> windows(np.zeros((60, 80)), (25, 25), stride=5).shape
    (8, 12, 25, 25)
    """
    check_arguments(stride=stride)
    small = _shrunk(image, scale)
    if any(have < need for have, need in zip(small.shape, size, strict=True)):
        raise ValueError(
            f"got an image that is {small.shape} at scale {scale}, smaller than windows of "
            f"{tuple(size)}; expected at least that size: use a smaller scale"
        )
    return sliding_window_view(small, size)[:: int(stride), :: int(stride)]


@checked
def score_map(
    image: ArrayLike,
    score: Score,
    size: tuple[int, int],
    *,
    scale: float = 1.0,
    stride: int = 1,
) -> NDArray[np.float64]:
    r"""The score of every window of one size.

    Parameters
    ----------
    image, size, scale, stride
        As in :func:`windows`.
    score
        From windows (N, h, w), float64, to N scores.

    Returns
    -------
    ndarray
        (R, C), one score a window, laid out as :func:`windows` does.

    Raises
    ------
    ValueError
        If the shrunk image is smaller than a window, or the scores are not one finite number a
        window.

    Examples
    --------
    >>> from aebook.applications.detection import score_map
    >>> image = np.eye(3)
    >>> score_map(image, lambda windows: windows.sum((1, 2)), (2, 2))
    array([[2., 1.],
           [1., 2.]])
    """
    views = windows(image, size, scale=scale, stride=stride)
    rows = [
        _scores(score, part.reshape(-1, *size))
        for part in np.array_split(views, _pieces(views.shape))
    ]
    return np.concatenate(rows).reshape(views.shape[:2])


@checked
def detections(
    image: ArrayLike,
    score: Score,
    size: tuple[int, int],
    *,
    scales: Sequence[float] = (1.0,),
    stride: int = 2,
    shared: float = 0.3,
    limit: int = 10,
) -> list[Window]:
    r"""The best windows of all sizes, none of which overlaps a better one by much.

    Parameters
    ----------
    image, score, size, stride
        As in :func:`score_map`. Scores of all sizes must be comparable.
    scales
        Sizes to look at, as factors of ``size``; those for which the image is too small are left
        out.
    shared
        The largest :func:`overlap` that two windows may have, from 0 to 1.
    limit
        How many to return at most, 1 or more.

    Returns
    -------
    list of Window
        The best first.

    Raises
    ------
    ValueError
        If the image is smaller than a window at every scale.

    Examples
    --------
    >>> from aebook.applications.detection import detections
    >>> image = np.zeros((20, 20))
    >>> image[6:11, 8:13] = 1.0
    >>> detections(image, lambda windows: windows.mean((1, 2)), (5, 5), limit=1)
    [Window(top=6, left=8, bottom=11, right=13, score=1.0)]
    """
    check_arguments(limit=limit)
    number("shared", shared, least=0, most=1)
    image = as_array(image)
    boxes, scores = [], []
    for scale in scales:
        small = _shrunk(image, scale).shape
        if small[0] < size[0] or small[1] < size[1]:
            continue
        mapped = score_map(image, score, size, scale=scale, stride=stride)
        ratio = np.array(image.shape) / small
        corners = np.indices(mapped.shape).reshape(2, -1).T * int(stride)
        boxes.append(np.hstack([corners * ratio, (corners + np.array(size)) * ratio]))
        scores.append(mapped.ravel())
    if not boxes:
        raise ValueError(
            f"got an image of {image.shape} that is smaller than windows of {tuple(size)} at every "
            f"scale of {list(scales)}; expected at least that size: add smaller ones"
        )
    boxes, scores = np.concatenate(boxes).round().astype(int), np.concatenate(scores)
    best: list[Window] = []
    for place in np.argsort(-scores, kind="stable"):
        window = Window(*boxes[place].tolist(), score=float(scores[place]))
        if all(overlap(window, other) <= shared for other in best):
            best.append(window)
        if len(best) == limit:
            break
    return best


@checked
def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    r"""What two windows share, :math:`|A \cap B| / |A \cup B|`, from 0 to 1.

    Parameters
    ----------
    a, b
        Windows, or any (top, left, bottom, right).

    Examples
    --------
    >>> from aebook.applications.detection import overlap
    >>> overlap((0, 0, 4, 4), (0, 2, 4, 4))  # the right half of the first
    0.5
    """
    if len(a) < 4 or len(b) < 4:
        raise ValueError(f"got windows {a} and {b}, expected (top, left, bottom, right) each")
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    common = max(height, 0) * max(width, 0)
    areas = [(w[2] - w[0]) * (w[3] - w[1]) for w in (a, b)]
    if min(areas) <= 0:
        raise ValueError(f"got windows {tuple(a)[:4]} and {tuple(b)[:4]}, expected some area")
    return common / (sum(areas) - common)


@checked
def standardised(images: ArrayLike, *, floor: float = 0.02) -> NDArray[np.float64]:
    r"""Each image by itself without its brightness and contrast, as a row.

    :math:`(x - \bar x) / \max(s, \text{floor})` with the mean and the deviation s of its pixels. A
    window of a photograph may be bright or dark; what is in it should not depend on that.

    Parameters
    ----------
    images
        (N, h, w) or (N, m), finite.
    floor
        The least deviation that counts as contrast, above 0: flatter images stay small, so that
        their noise is not blown up. The default suits grey values from 0 to 1.

    Returns
    -------
    ndarray
        (N, h · w).

    Examples
    --------
    >>> from aebook.applications.detection import standardised
    >>> standardised([[0.0, 1.0], [0.2, 0.4]])  # neither brightness nor contrast is left
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    x = as_array(images).astype(np.float64)
    array("images", x, "(N, h, ...)")
    floor = number("floor", floor)
    x = x.reshape(len(x), -1)
    x = x - x.mean(1, keepdims=True)
    return x / np.maximum(x.std(1, keepdims=True), floor)


def _shrunk(image: ArrayLike, scale: float) -> NDArray[np.float64]:
    """The image at 1 / scale of its size, each pixel an average of those that it stands for."""
    image = as_array(image).astype(np.float64)
    array("image", image, "(H, W)", advice="turn colours into grey first, image.mean(-1)")
    scale = number("scale", scale)
    if scale == 1:
        return image
    size = [max(1, round(side / scale)) for side in image.shape]
    pixels = torch.from_numpy(image)[None, None]
    return interpolate(pixels, size=size, mode="bilinear", antialias=True)[0, 0].numpy()


def _scores(score: Score, windows: NDArray[np.float64]) -> NDArray[np.float64]:
    values = as_array(taken("what score gave", score(windows), Numbers)).astype(np.float64)
    array("scores", values, f"({len(windows)},)", advice="one a window")
    return values


def _pieces(shape: Sequence[int]) -> int:
    """How many groups of rows of windows hold about CHUNK windows each."""
    return max(1, min(shape[0], round(shape[0] * shape[1] / CHUNK)))
