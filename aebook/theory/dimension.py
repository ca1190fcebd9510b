r"""Intrinsic dimension: how many numbers a message needs, estimated from distances to neighbours.

Let n points be drawn from a density on a manifold of d dimensions. Where the density is constant
over a point and its k nearest neighbours, at distances :math:`r_1 < … < r_k`, the ratios of these
depend on d alone: :math:`d \log(r_k / r_j)` for j < k are k - 1 draws of an exponential variable of
mean 1, in order. In particular :math:`μ = r_2 / r_1` has the Pareto distribution
:math:`P(μ > t) = t^{-d}`.

What varies within a neighbourhood is not seen: noise adds dimensions once neighbours are as near
as the noise is large. What is not constant over it biases: edges and curvature mostly lower the
estimate, the more so the larger d is and the fewer points there are, since neighbours are then far
away. Above about ten dimensions read it as a lower bound, and look how it moves with n and k.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from aebook._internal.checks import whole
from aebook._internal.contract import checked
from aebook.data import Data, messages

__all__ = ["IntrinsicDimension", "maximum_likelihood", "two_nn"]


class IntrinsicDimension(NamedTuple):
    """An estimate of the dimension and how far chance may have moved it."""

    dimension: float
    """The estimate of d, above 0; in general not a whole number."""
    standard_error: float
    """How far the estimate of another such sample would be, by chance, not bias."""
    samples: int
    """Points that it is from, without repetitions."""


@checked
def two_nn(x: Data) -> IntrinsicDimension:
    r"""Dimension from two neighbours, :math:`\hat d = n / \sum_i \log(r_{i2} / r_{i1})`.

    The maximum of the likelihood of the ratios :math:`μ_i = r_{i2} / r_{i1}` (Facco et al. 2017,
    who read the same number off a plot of their distribution), and
    :func:`maximum_likelihood` with k = 2. No estimate looks at a smaller neighbourhood: it has the
    least bias from edges, curvature and uneven density, the largest standard error, and is the
    first to take noise for dimensions.

    Parameters
    ----------
    x
        As in :func:`maximum_likelihood`.

    Examples
    --------
    >>> from aebook.theory.dimension import two_nn
    >>> x = torch.rand(500, 2) @ torch.randn(2, 10)  # a plane in ten dimensions
    >>> round(two_nn(x).dimension)
    2
    """
    return maximum_likelihood(x, 2)


@checked
def maximum_likelihood(x: Data, k: int = 10) -> IntrinsicDimension:
    r"""Dimension from k neighbours, :math:`\hat d = n(k-1) / \sum_i\sum_{j<k} \log(r_{ik}/r_{ij})`.

    For one point this is the estimate of Levina & Bickel 2004. Of those of several points one
    averages the inverses, as the likelihood of all wants it (MacKay & Ghahramani 2005): the mean
    of the estimates themselves is too large by the factor (k - 1) / (k - 2).

    Parameters
    ----------
    x
        Points (n, ...), whatever :func:`aebook.fit` takes; each is flattened, and all are in memory
        at once, in double precision. Repeated ones count
        once: a repetition is at distance 0, which no density gives. Distances are Euclidean, so the
        unit of each coordinate counts, but a common factor or a rotation does not.
    k
        Neighbours of each point, from 2 to the number of distinct points less 1.

    Returns
    -------
    IntrinsicDimension
        The estimate, its standard error, and the number of distinct points. Neighbours share
        neighbours, so the n sums are not independent; taken for independent they would give
        :math:`d / \sqrt{n(k-1)}`, too small by up to a third. Here two points' sums count as
        correlated by the share of their neighbourhoods that is common to both. On cubes and spheres
        of 1 to 10 dimensions that is within a fifth of the spread over fresh samples.

    Raises
    ------
    ValueError
        If x or k is not as described, or if all points have their neighbours at one distance, as
        on a grid.

    Examples
    --------
    >>> from aebook.theory.dimension import maximum_likelihood
    >>> x = torch.rand(500, 2) @ torch.randn(2, 10)  # a plane in ten dimensions
    >>> dimension, standard_error, samples = maximum_likelihood(x)
    >>> round(dimension), samples
    (2, 500)
    """
    x = _points(x)
    n = len(x)
    whole("k", k, least=2, most=n - 1, advice="change k, or give more points that differ")
    near = NearestNeighbors(n_neighbors=k).fit(x).kneighbors(return_distance=False)
    # differences keep the digits that the search may lose between points close together
    r = np.stack([np.linalg.norm(x - x[other], axis=1) for other in near.T])
    if not r.all():
        raise ValueError(
            "got points that differ by less than double precision resolves, expected none: "
            "round the data, and such points count as one"
        )
    log_r = np.log(r)
    sums = k * log_r.max(0) - log_r.sum(0)
    # equal distances differ in their last digits
    if sums.max() < 1e-9:
        raise ValueError(
            f"got {n} points with their {k} nearest neighbours at one distance, as on a grid; "
            "expected points drawn from a density: add noise of the size of the grid's step"
        )
    dimension = (k - 1) / sums.mean()

    # for each point, the deviations of those that have it in their neighbourhood, themselves too
    deviations = sums - sums.mean()
    gathered = deviations + np.bincount(near.ravel(), np.repeat(deviations, k), minlength=n)
    standard_error = dimension * np.sqrt((gathered**2).sum() / (k + 1)) / sums.sum()
    return IntrinsicDimension(float(dimension), float(standard_error), n)


def _points(data: Data) -> np.ndarray:
    """Distinct points in float64, (n, m), about their mean, with entries up to 1 in size."""
    points = messages(data, dtype=torch.float64, device=torch.device("cpu")).flatten(1)
    x = np.unique(points.double().numpy(), axis=0)
    x -= x.mean(0)
    return x / (np.abs(x).max() or 1.0)
