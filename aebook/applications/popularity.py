r"""Popularity of posts: features from a stack of autoencoders, and the care that time asks for.

How many people will pass a post on is to be told before it appears. Counts are heavy-tailed, so it
is their logarithm that is predicted; and an account grows, so it is predicted relative to what was
usual of late:

.. math:: y = \log(1 + c) - \operatorname{median}_{\text{last } n} \log(1 + c)

What was usual comes from :func:`running_median`, which looks only at posts old enough for their
counts to be known. The test lies later than the training, :func:`time_split`. Features are the
codes of a stacked denoising autoencoder, :func:`stacked_features`; any regressor or classifier
takes them from there. How far a score can be trusted, :func:`block_bootstrap` says.

>>> train, test = time_split(times, (0.8, 0.2))
>>> encode = stacked_features(x[train])
>>> model = Ridge(100).fit(encode(x[train]), y[train])
>>> block_bootstrap(r2_score, y[test], model.predict(encode(x[test])))
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from aebook._internal.checks import (
    array,
    as_array,
    as_many,
    check_arguments,
    counted,
    number,
    whole,
)
from aebook._internal.contract import checked, taken
from aebook._internal.randomness import seeded
from aebook.corruptions import masking
from aebook.data import Data, like, vectors
from aebook.inference import in_pieces
from aebook.networks import Activation
from aebook.training.greedy import layerwise
from aebook.training.loop import fit
from aebook.variants import denoising

__all__ = ["Interval", "block_bootstrap", "running_median", "stacked_features", "time_split"]

#: Standard deviations beyond which a feature is cut off: what drifts must not run away.
LIMIT = 4.0
#: A fifth of the features is hidden from the encoder.
MASKING = masking(0.2)


class Interval(NamedTuple):
    """A score and the interval around it; unpacks as ``value, low, high``."""

    value: float
    """On the data as they are."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""


@checked
def time_split(
    times: ArrayLike, shares: Sequence[float] = (0.6, 0.2, 0.2), *, gap: float = 0.0
) -> list[NDArray[np.int64]]:
    r"""Consecutive parts, each later than the one before: nothing is learnt from the future.

    Part k ends a ``gap`` before part k + 1 begins, because the count of a post is not known the
    moment it appears. What falls into a gap belongs to no part. Posts of the same moment stay
    together.

    Parameters
    ----------
    times
        When each post appeared, (N,), in any unit and any order.
    shares
        Share of the posts in each part, earliest first: positive, with sum 1.
    gap
        In the unit of ``times``, 0 or more.

    Returns
    -------
    list of ndarray
        For each part the indices of its posts, in the order of time.

    Raises
    ------
    ValueError
        If a part would be empty.

    Examples
    --------
    >>> from aebook.applications.popularity import time_split
    >>> [part.tolist() for part in time_split([5, 1, 4, 2, 3], (0.6, 0.4))]
    [[1, 3, 4], [2, 0]]
    """
    times, parted = _vector(times, "times"), np.asarray(shares, dtype=float)
    if parted.ndim != 1 or not (parted > 0).all() or abs(parted.sum() - 1) > 1e-9:
        raise ValueError(f"got shares={parted.tolist()}, expected positive numbers with sum 1")
    number("gap", gap, least=0)
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    cuts = np.floor(np.cumsum(parted[:-1]) * len(times) + 1e-9).astype(int)
    # posts of the same moment go to the later part
    starts = [0, *np.searchsorted(ordered, ordered[np.minimum(cuts, len(times) - 1)])]
    ends = [*np.searchsorted(ordered, ordered[starts[1:]] - gap, side="right"), len(times)]
    ends[:-1] = np.minimum(ends[:-1], starts[1:])
    parts = [order[start:end] for start, end in zip(starts, ends, strict=True)]
    if not all(map(len, parts)):
        raise ValueError(
            f"got {len(times)} posts for shares={parted.tolist()} and gap={gap}, which leaves "
            f"parts of {[len(part) for part in parts]}, expected none of 0: give more posts or a "
            "smaller gap"
        )
    return parts


@checked
def running_median(
    values: ArrayLike, times: ArrayLike, n: int, *, delay: float = 0.0
) -> NDArray[np.float64]:
    r"""For each post the median of the last n that were old enough when it appeared.

    :math:`\operatorname{median}\{v_j : t_j < t_i - \text{delay}\}`, of which the last n count. The
    forecast that any model has to beat, and the level that a prediction is relative to.

    Parameters
    ----------
    values
        (N,), logarithms of counts for instance.
    times
        When each post appeared, (N,), in any unit and any order.
    n
        How many posts to look back on, 1 or more; fewer at the start.
    delay
        How old a post must be, in the unit of ``times``, before its count is known. With 0, the
        count that a post will have in the end is used for one that follows at once, which no one
        could have done.

    Returns
    -------
    ndarray
        (N,), in the order of ``values``; NaN where no post is old enough.

    Examples
    --------
    >>> from aebook.applications.popularity import running_median
    >>> running_median([1, 2, 6, 10], times=[0, 1, 2, 3], n=2)
    array([nan, 1. , 1.5, 4. ])
    """
    values, times = _vector(values, "values"), _vector(times, "times")
    check_arguments(n=n)
    as_many(values=len(values), times=len(times))
    number("delay", delay, least=0)
    order = np.argsort(times, kind="stable")
    ordered, past = times[order], values[order]
    known = np.searchsorted(ordered, ordered - delay, side="left")
    medians = np.full(len(values), np.nan)
    medians[order] = [
        np.median(past[max(0, end - int(n)) : end]) if end else np.nan for end in known
    ]
    return medians


@checked
def stacked_features(
    x: Data,
    widths: Sequence[int] = (64, 32),
    *,
    corruption: Callable[[Tensor], Tensor] = MASKING,
    activation: Activation = nn.ReLU,
    epochs: int = 20,
    fine_tune: int = 20,
    lr: float = 1e-2,
    seed: int = 0,
) -> Callable[[Data], Any]:
    r"""Train a stacked denoising autoencoder on features; return the map to its code.

    :math:`z = f_K(\dots f_1((x - \bar x) / s))`. Layers are trained one after another, each to
    restore what the one below gives from a corrupted copy (Vincent et al. 2010), and then all
    together. No count is looked at. Means :math:`\bar x` and deviations s are those of ``x``;
    standardised features are cut off at ±4, so that one that drifts does not run away. A masked
    feature is set to 0, its mean.

    Parameters
    ----------
    x
        Features of the posts to learn from, (N, m), on any scales, in whatever form
        :func:`aebook.fit` takes: the training part only.
    widths
        Units of each layer, the code last.
    corruption
        T, of the input of every layer in the first stage and of the features in the second.
    activation
        Of all layers, the code included.
    epochs
        Passes over the data for each layer; with 0 all is trained together from the start.
    fine_tune
        Passes for all together; with 0 the layers stay as each was trained.
    lr, seed
        As in :func:`aebook.fit`; the seed is that of the weights, too.

    Returns
    -------
    callable
        From features (M, m) to codes (M, widths[-1]), of the kind that the features come in and
        in double precision.

    Examples
    --------
    >>> from aebook.applications.popularity import stacked_features
    >>> x = np.random.default_rng(0).random((100, 6))
    >>> encode = stacked_features(x, (4, 2), epochs=1, fine_tune=1)
    >>> encode(x).shape
    (100, 2)
    """
    raw = vectors(x).numpy()
    counted("posts", len(raw), least=2)
    check_arguments(seed=seed, epochs=epochs)
    scaler = StandardScaler().fit(raw)

    def standardised(features: Data) -> Tensor:
        scaled = np.clip(scaler.transform(vectors(features).numpy()), -LIMIT, LIMIT)
        return torch.from_numpy(scaled).float()

    with seeded(int(seed), torch.device("cpu")):
        objective = denoising(
            (raw.shape[1], *widths), corruption, activation=activation, code=activation, output=None
        )
    options = {"lr": lr, "seed": seed, "progress": False}
    layerwise(objective, standardised(raw), epochs=epochs, **options)
    fit(objective, standardised(raw), epochs=fine_tune, **options)
    model = objective.model

    def encode(features: Data) -> Any:
        return like(features, in_pieces(model, standardised(features), 4096, model.encode).double())

    return encode


@checked
def block_bootstrap(
    metric: Callable[..., float],
    *arrays: ArrayLike,
    block: int = 100,
    samples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    r"""A metric of consecutive posts with an interval that allows for their likeness in time.

    Neighbours in time have like counts and like errors, so that N posts say less than N
    independent ones. Blocks of consecutive posts are drawn in place of single ones, with
    replacement and in a circle, until there are N again, and the metric is computed on each such
    sample (Künsch 1989; Politis & Romano 1992). The interval runs between quantiles. A sample for
    which the metric has no value, as the area under a ROC curve without one of the classes, is
    drawn again.

    Parameters
    ----------
    metric
        Of the arrays: ``sklearn.metrics.r2_score``, or a difference of two models' scores,
        ``lambda y, a, b: r2_score(y, a) - r2_score(y, b)``, in which what both have in common
        drops out.
    *arrays
        What the metric takes, each (N, ...), all in the order of time.
    block
        Posts in a block, 1 to N: about as many as are alike. With 1 it is the ordinary bootstrap.
    samples
        How many samples to draw.
    level
        Share of the samples between the ends of the interval, between 0 and 1.
    seed
        Seed of the draws.

    Returns
    -------
    Interval
        The metric of the arrays themselves, and the ends.

    Raises
    ------
    ValueError
        If an argument is not as described, or the metric has no value for the arrays themselves or
        for more than half of the samples.

    Examples
    --------
    >>> from aebook.applications.popularity import block_bootstrap
    >>> block_bootstrap(np.mean, np.ones(200))  # of what never varies
    Interval(value=1.0, low=1.0, high=1.0)
    """
    values = [np.atleast_1d(as_array(each)) for each in arrays]
    check_arguments(samples=samples, seed=seed)
    counted("arrays", len(values))
    as_many(**{f"entries of array {n}": len(each) for n, each in enumerate(values)})
    size = len(values[0])
    block = whole("block", block, most=size)
    level = number("level", level, below=1)
    value = taken("metric of the arrays themselves", metric(*values), float)
    rng = np.random.default_rng(seed)
    drawn, without = [], 0
    while len(drawn) < samples:
        starts = rng.integers(size, size=-(-size // block))
        rows = ((starts[:, None] + np.arange(block)) % size).ravel()[:size]
        score = _value(metric, [each[rows] for each in values])
        if math.isfinite(score):
            drawn.append(score)
        else:
            without += 1
        if without > samples:
            raise ValueError(
                f"got a metric that has no value for {without} of {without + len(drawn)} samples, "
                "expected one for most: a class that is so rare, or comes in so few blocks, is in "
                "none of them. Give more posts or a smaller block"
            )
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _value(metric: Callable[..., float], arrays: list[NDArray[Any]]) -> float:
    """The metric of a sample, NaN where it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(metric(*arrays))
        except ValueError:
            # it had a value for all posts together, so the arguments are not to blame
            return math.nan


def _vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    vector = as_array(values).astype(np.float64)
    array(name, vector, "(N,)", advice="one a post")
    return vector
