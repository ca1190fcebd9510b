"""Numbers that describe codes, reconstructions, scores and rankings after training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from aebook._internal.checks import array, as_array, check_image, counted, number, whole
from aebook._internal.contract import checked
from aebook._internal.reading import check_weights
from aebook.data import Data, messages

__all__ = [
    "PrecisionRecall",
    "aupro",
    "dead_units",
    "fvu",
    "l0",
    "mean_average_precision",
    "ms_ssim",
    "precision_at_k",
    "precision_recall",
    "psnr",
    "threshold",
]


@checked
def fvu(reconstruction: Data, target: Data) -> float:
    r"""Fraction of variance unexplained, :math:`\sum \|x - x'\|^2 / \sum \|x - \bar x\|^2`.

    Parameters
    ----------
    reconstruction, target
        The same shape (N, ...), N at least 2, in whatever form :func:`aebook.fit` takes; all are in
        memory at once, in double precision.

    Returns
    -------
    float
        0 for a perfect copy, 1 for the mean of the targets; more for anything worse.

    Examples
    --------
    >>> from aebook.metrics import fvu
    >>> x = torch.tensor([[0.0], [2.0], [4.0]])
    >>> fvu(x, x), fvu(torch.full((3, 1), 2.0), x), fvu(x / 2 + 1, x)
    (0.0, 1.0, 0.25)
    """
    again = _double(reconstruction)
    x = _double(target).to(again.device)
    array("reconstruction", again, f"{tuple(x.shape)}")
    counted("samples", len(x), least=2)
    variance = (x - x.mean(0)).square().sum()
    if variance == 0:
        raise ValueError("got targets that are all the same, expected some variance to explain")
    return float((x - again).square().sum() / variance)


@checked
def psnr(restored: ArrayLike, image: ArrayLike) -> float:
    r"""Peak signal-to-noise ratio of one image, :math:`-10 \log_{10} \frac1m \|x' - x\|^2`, in dB.

    Three decibels more are half the squared error.

    Parameters
    ----------
    restored, image
        The same shape, (H, W) or (H, W, C). Bytes, uint8, both of them: they are divided by 255.
        Or floating point, ``image`` in [0, 1] and ``restored`` clipped to that.

    Returns
    -------
    float
        Infinity if they are equal.

    Examples
    --------
    >>> from aebook.metrics import psnr
    >>> image = np.full((8, 8), 0.5)
    >>> round(psnr(image + 0.1, image), 2), psnr(image, image)
    (20.0, inf)
    """
    a, b = _pictures(restored, image)
    error = np.mean((a - b) ** 2)
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def _pictures(
    restored: ArrayLike, image: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two images of one shape in [0, 1], the first clipped to that."""
    a, b = as_array(restored), as_array(image)
    check_image("image", b.shape)
    array("restored", a, f"{b.shape}")
    if (a.dtype == np.uint8) != (b.dtype == np.uint8):
        raise ValueError(f"got {a.dtype} and {b.dtype}, expected bytes twice or neither: use / 255")
    peak = 255 if b.dtype == np.uint8 else 1
    a, b = a.astype(np.float64) / peak, b.astype(np.float64) / peak
    array("image", b, least=0, most=1, advice="bytes, or floating point: use / 255")
    return a.clip(0, 1), b


@checked
def ms_ssim(restored: ArrayLike, image: ArrayLike) -> float:
    r"""Structural similarity at five scales, :math:`l_5^{w_5} \prod_{j=1}^5 c_j^{w_j}`, up to 1.

    At each scale c compares contrast and structure, by variances and covariance in windows that
    a Gaussian of 1.5 pixels weighs; l compares brightness, at the coarsest alone. From one scale to
    the next, sides are halved. Closer to what people judge than the squared error (Wang, Simoncelli
    & Bovik 2003). Channels are compared apart and averaged.

    Parameters
    ----------
    restored, image
        As in :func:`psnr`, no side below 176.

    Returns
    -------
    float
        1 if they are equal. Often given as :math:`-10 \log_{10} (1 - \cdot)`, in dB.

    Examples
    --------
    >>> from aebook.metrics import ms_ssim
    >>> image = np.random.default_rng(0).random((176, 176))
    >>> round(ms_ssim(image, image), 6), ms_ssim(image / 2, image) < 0.9
    (1.0, True)
    """
    a, b = _pictures(restored, image)
    if min(a.shape[:2]) < 176:
        raise ValueError(
            f"got images of shape {a.shape}, expected sides of 176 or more: five scales of windows "
            "of 11 pixels need them"
        )
    x, y = (torch.from_numpy(np.atleast_3d(each)).permute(2, 0, 1).float() for each in (a, b))
    window = torch.exp(-(torch.arange(-5.0, 6) ** 2) / (2 * 1.5**2))
    window = (window / window.sum()).expand(5 * len(x), 1, -1)
    result = torch.ones(len(x))
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        # of each channel the means in all windows of 11 × 11 that lie inside
        moments = torch.cat([x, y, x * x, y * y, x * y])[None]
        for kernel in (window[..., None], window[:, :, None]):
            moments = functional.conv2d(moments, kernel, groups=len(window))
        p, q, pp, qq, pq = moments[0].chunk(5)
        similar = (2 * (pq - p * q) + 0.03**2) / (pp + qq - p * p - q * q + 0.03**2)
        if scale == 4:
            similar = similar * (2 * p * q + 0.01**2) / (p * p + q * q + 0.01**2)
        result *= similar.mean((1, 2)).clamp_min(0) ** weight
    return float(result.mean())


@checked
def l0(codes: Data) -> float:
    r"""Active units a sample, :math:`\frac1N \sum_n \#\{j : z_{nj} \ne 0\}`; codes are (N, p).

    Examples
    --------
    >>> from aebook.metrics import l0
    >>> l0(torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 3.0]]))  # one unit, and two
    1.5
    """
    return float((_matrix(codes) != 0).sum(1).double().mean())


@checked
def dead_units(codes: Data) -> int:
    r"""Units that no sample activates, :math:`\#\{j : z_{nj} = 0 \text{ for all } n\}`.

    Parameters
    ----------
    codes
        (N, p), all in memory at once. Take many and varied samples: a unit that is silent on ten
        of them may be rare and not dead.

    Examples
    --------
    >>> from aebook.metrics import dead_units
    >>> dead_units(torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 3.0]]))
    1
    """
    return int((_matrix(codes) == 0).all(0).sum())


def _matrix(codes: Data) -> Tensor:
    z = _double(codes)
    array("codes", z, "(N, p)")
    return z


def _double(values: Data) -> Tensor:
    home = values.device if isinstance(values, Tensor) else torch.device("cpu")
    return messages(values, dtype=torch.float64, device=home).double()


@checked
def threshold(
    scores: ArrayLike,
    *,
    contamination: float | None = None,
    quantile: float | None = None,
    sample_weight: ArrayLike | None = None,
    interpolate: bool = False,
) -> float:
    r"""The score above which a message is called an anomaly: ``score > threshold(...)``.

    One of two promises is chosen. With n scores in rising order, :math:`s_1 \le … \le s_n`:

    - ``contamination=c``: a share c *of these scores* lies above, as nearly as ties and whole
      numbers allow from below: :math:`s_{n - \lfloor cn \rfloor}`.
    - ``quantile=q``: a *new* ordinary message lies above with probability at most 1 - q:
      :math:`s_{\lceil q(n + 1) \rceil}`. It holds for any distribution, on average over the n
      scores, if the new message is exchangeable with those scored (Vovk, Gammerman & Shafer 2005).
      Scores of the training messages are not: the model has seen them. Use messages held out.

    Parameters
    ----------
    scores
        Scores, (n,), finite: a tensor or an array.
    contamination
        Share of anomalies among the messages scored, at least 0 and below 1.
    quantile
        Share of new ordinary messages to let pass, between 0 and 1; at most n / (n + 1).
    sample_weight
        How many messages each score stands for, (n,), 0 or more; only their ratios matter. The
        k-th in order then has the rank :math:`\sum_{i \le k} w_i` in place of k, w having mean 1.
    interpolate
        Go from one rank to the next: from :math:`s_k` to :math:`s_{k+1}` along a line on which
        :math:`1 / (n + 1 - k)` is straight. A new message then lies above with probability 1 - q,
        and not with the next possible one below, if the tail of the scores is exponential, and
        nearly so if it is not: with 35 scores and 1 - q = 0.05 the probability is from 0.048 to
        0.053 for Gaussian, lognormal, Pareto and uniform scores, and 0.028 without.

    Examples
    --------
    >>> from aebook.metrics import threshold
    >>> scores = np.arange(1.0, 11.0)
    >>> threshold(scores, contamination=0.2), threshold(scores, quantile=0.8)
    (8.0, 9.0)
    """
    values = as_array(scores)
    array("scores", values, "(n,)", advice="one a message")
    n, order = len(values), np.argsort(values)
    ranks = np.arange(1, n + 1)
    if sample_weight is not None:
        w = check_weights(sample_weight, n)
        ranks = np.cumsum(w[order] / w.mean())
    if contamination is not None and quantile is None:
        rank = n - number("contamination", contamination, least=0, below=1) * n
    elif quantile is not None and contamination is None:
        rank = number("quantile", quantile, below=1) * (n + 1)
        if rank - 1e-9 > n:
            raise ValueError(
                f"got quantile={quantile} for {n} scores, expected at most {n}/{n + 1}: no score "
                f"of {n} can promise that; give at least {math.ceil(1 / (1 - quantile)) - 1} scores"
            )
    else:
        raise ValueError("got neither or both of contamination and quantile, expected one of them")
    if interpolate:
        # with j of n scores above s_k, exponential ones, the next is 1 / j of their mean away
        return float(np.interp(1 / (n + 1 - rank), 1 / (n + 1 - ranks), values[order]))
    # a hair of rounding must not cost a whole rank: 0.29 · 100 = 28.999…
    return float(values[order][min(np.searchsorted(ranks, rank - 1e-9), n - 1)])


@checked
def aupro(maps: ArrayLike, masks: ArrayLike, *, limit: float = 0.3) -> float:
    r"""Per-region overlap of a map of scores, averaged over false alarms up to a limit.

    Pixels whose score is above a threshold, A, are called defective. With the defective regions
    :math:`C_1, …, C_K`, connected components of the masks, and N, the pixels outside all of them,

    .. math::

        \mathrm{PRO} = \frac1K \sum_{k=1}^K \frac{|A \cap C_k|}{|C_k|} \qquad
        f = \frac{|A \cap N|}{|N|} \qquad
        \mathrm{AUPRO} = \frac1l \int_0^l \mathrm{PRO}(f)\, df

    while the threshold falls. Every region weighs the same, however few pixels it has; in the AUROC
    of pixels a large one counts for many small ones (Bergmann et al. 2021). Between thresholds, and
    where scores tie, the curve is straight.

    Parameters
    ----------
    maps
        Scores of pixels, (n, H, W) of n images, the higher the more anomalous. One threshold holds
        for all images.
    masks
        The same shape, ones where there is a defect and zeros elsewhere. Defective pixels that
        touch, at a corner too, are one region.
    limit
        The highest rate of false alarms l, above 0 and at most 1.

    Returns
    -------
    float
        From 0 to 1; l / 2 for a blind map, 0.15 with the usual limit.

    Examples
    --------
    >>> from aebook.metrics import aupro
    >>> masks = np.zeros((1, 8, 8), int)
    >>> masks[0, :2, :4] = masks[0, 7, 7] = 1  # a region of eight pixels and one of a single one
    >>> scores = masks.astype(float)
    >>> aupro(scores, masks)
    1.0
    >>> scores[0, 7, 7] = -1  # eight of nine pixels are still found, but one region of two
    >>> aupro(scores, masks)
    0.5
    """
    scores, defective = as_array(maps), as_array(masks)
    array("maps", scores, "(n, H, W)")
    scores = scores.astype(np.float64)
    array("masks", defective, f"{scores.shape}")
    defective = _truths("masks", defective)
    limit = number("limit", limit, most=1)
    # neighbours in the plane, eight of them, and none in the next image
    joined = np.pad(np.ones((1, 3, 3)), ((1, 1), (0, 0), (0, 0)))
    labelled: Any = ndimage.label(defective, joined)
    regions, count = labelled
    if not count or defective.all():
        raise ValueError("got masks that are all 0 or all 1, expected defects and pixels without")
    # what each pixel adds to either axis when the threshold falls below its score
    sizes = np.bincount(regions.ravel())
    share = np.where(defective, 1 / (count * sizes[regions]), 0)
    order = np.argsort(-scores, axis=None, kind="stable")
    ranked = scores.ravel()[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    overlap, alarms = (
        np.append(0, added.ravel()[order].cumsum()[last]) for added in (share, ~defective)
    )
    rate = alarms / sizes[0]
    # the curve ends on its way to the first point that is at the limit or beyond
    end = np.searchsorted(rate, limit)
    height = np.interp(limit, rate[end - 1 : end + 1], overlap[end - 1 : end + 1])
    area = np.trapezoid(np.append(overlap[:end], height), np.append(rate[:end], limit))
    return float(area / limit)


@checked
def precision_at_k(
    relevant: NDArray[Any] | Tensor, k: int, distances: NDArray[Any] | Tensor | None = None
) -> float:
    r"""Relevant among the first k, :math:`\frac1Q \sum_q \frac1k \sum_{i \le k} \mathrm{rel}_{qi}`.

    Hamming distances are small whole numbers, so many entries tie, and what stands among the first
    k depends on the order of ties. With ``distances`` the result is the expected value over all
    orders of ties, each equally likely (McSherry & Najork 2008).

    Parameters
    ----------
    relevant
        (Q, N), zeros and ones: whether entry n is relevant to query q. Without ``distances`` the
        entries stand in the order of the ranking, best first.
    k
        From 1 to N.
    distances
        (Q, N), of the same entries in any order; the smallest is ranked first.

    Returns
    -------
    float
        From 0 to 1. A query without relevant entries counts, as 0.

    Examples
    --------
    >>> from aebook.metrics import precision_at_k
    >>> relevant = np.array([[1, 0, 0, 1]])
    >>> precision_at_k(relevant, 2), precision_at_k(relevant, 2, distances=np.zeros((1, 4)))
    (0.5, 0.5)
    >>> precision_at_k(relevant, 1), precision_at_k(relevant, 1, distances=np.zeros((1, 4)))
    (1.0, 0.5)
    """
    relevant, distances = _rankings(relevant, distances)
    k = whole("k", k, most=relevant.shape[1])
    if distances is None:
        return float(relevant[:, :k].mean())
    last = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    before, tied = distances < last, distances == last
    # of the places that are left, the tied share them evenly
    places = k - before.sum(1)
    hits = (relevant & before).sum(1) + places * (relevant & tied).sum(1) / tied.sum(1)
    return float(hits.mean() / k)


@checked
def mean_average_precision(
    relevant: NDArray[Any] | Tensor,
    distances: NDArray[Any] | Tensor | None = None,
    total: NDArray[Any] | Tensor | None = None,
) -> float:
    r"""The mean over queries of the average precision of their rankings.

    .. math::

        \mathrm{AP} = \frac1R \sum_i \mathrm{rel}_i \, \frac1i \sum_{j \le i} \mathrm{rel}_j

    with R relevant entries. With ``distances`` it is the expected value over all orders of ties
    (McSherry & Najork 2008): of n tied entries behind s others, with r relevant among these n and
    t among those s,

    .. math::

        \frac rn \sum_{i=1}^{n} \frac{1}{s + i} \left(t + 1 + (i - 1) \frac{r - 1}{n - 1}\right)

    Parameters
    ----------
    relevant, distances
        As in :func:`precision_at_k`.
    total
        R of each query, (Q,), where a ranking leaves out relevant entries; else they are counted.

    Returns
    -------
    float
        From 0 to 1. Queries without any relevant entry have no average precision and are left out.

    Raises
    ------
    ValueError
        If that leaves none.

    Examples
    --------
    >>> from aebook.metrics import mean_average_precision
    >>> mean_average_precision(np.array([[1, 0, 0, 1]]))  # 1/1 and 2/4, halved
    0.75
    """
    relevant, distances = _rankings(relevant, distances)
    found = relevant.sum(axis=1)
    totals = found if total is None else as_array(total)
    counts = totals.dtype.kind in "iu" or (totals == np.floor(totals)).all()
    if totals.shape != found.shape or not counts or not (totals >= found).all():
        raise ValueError(
            f"got total of shape {totals.shape} for {len(found)} queries, expected one whole "
            "number each that is not below the number of relevant entries in the ranking"
        )
    asked = _with_relevant(totals)
    places = np.arange(relevant.shape[1])
    sums = []
    for sizes, hits in _ties(relevant[asked], None if distances is None else distances[asked]):
        firsts, before = np.cumsum(sizes) - sizes, np.cumsum(hits) - hits
        # one relevant entry more for each place among the tied, if all others are relevant
        slope = (hits - 1) / np.maximum(sizes - 1, 1)
        so_far = np.repeat(before + 1 - slope * firsts, sizes) + np.repeat(slope, sizes) * places
        sums.append((np.repeat(hits / sizes, sizes) * so_far / (places + 1)).sum())
    return float(np.mean(np.array(sums) / totals[asked]))


class PrecisionRecall(NamedTuple):
    """Precision and recall at the radii 0, 1, 2, ..., up to the largest distance."""

    precision: NDArray[np.float64]
    """Of the queries that find anything within the radius; NaN where none does."""
    recall: NDArray[np.float64]
    """Of all queries; it never falls."""
    answered: NDArray[np.float64]
    """The share of queries that find anything within the radius."""


@checked
def precision_recall(
    distances: NDArray[Any] | Tensor, relevant: NDArray[Any] | Tensor
) -> PrecisionRecall:
    r"""Precision and recall of what lies within each Hamming radius r, averaged over queries.

    With :math:`A_q(r)` the entries within r of query q and :math:`R_q` those relevant to it,

    .. math::

        P(r) = \operatorname*{mean}_{q:\, A_q(r) \ne \emptyset} \frac{|A_q(r) \cap R_q|}{|A_q(r)|}
        \qquad
        R(r) = \operatorname*{mean}_{q} \frac{|A_q(r) \cap R_q|}{|R_q|}

    Every query weighs the same, however many entries it finds. One that finds nothing has no
    precision; at small radii P may come from few queries, and ``answered`` says from how many. To
    count nothing found as a precision of 0, multiply the two.

    Parameters
    ----------
    distances
        (Q, N), whole numbers, 0 or more and less than a million: the result has one entry for each
        radius up to the largest.
    relevant
        (Q, N), zeros and ones. Queries without any relevant entry are left out.

    Examples
    --------
    >>> from aebook.metrics import precision_recall
    >>> distances, relevant = np.array([[0, 1, 1, 3]]), np.array([[1, 1, 0, 0]])
    >>> precision, recall, answered = precision_recall(distances, relevant)
    >>> precision.round(2).tolist(), recall.tolist()  # at the radii 0 to 3
    ([1.0, 0.67, 0.67, 0.5], [0.5, 1.0, 1.0, 1.0])
    """
    relevant, distances = _rankings(relevant, distances)
    # as many numbers as there are bits in a code: one place is kept for each
    advice = "for others there is sklearn.metrics.precision_recall_curve"
    array("distances", distances, of="integers", least=0, most=10**6 - 1, advice=advice)
    asked, distances = _with_relevant(relevant.sum(axis=1)), distances.astype(np.int64)
    bins = int(distances.max()) + 1
    precisions, recalls = np.zeros(bins), np.zeros(bins)
    answered = np.zeros(bins, np.int64)
    for near, right in zip(distances[asked], relevant[asked], strict=True):
        within = np.bincount(near, minlength=bins).cumsum()
        hits = np.bincount(near[right], minlength=bins).cumsum()
        precisions += hits / np.maximum(within, 1)
        recalls += hits / hits[-1]
        answered += within > 0
    precision = np.full(bins, np.nan)
    np.divide(precisions, answered, out=precision, where=answered > 0)
    queries = np.count_nonzero(asked)
    return PrecisionRecall(precision, recalls / queries, answered / queries)


def _ties(
    relevant: NDArray[np.bool_], distances: NDArray[Any] | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The ranking of each query as groups of ties: how many entries, how many relevant ones."""
    for query, right in enumerate(relevant):
        if distances is None:
            yield np.ones(len(right), np.int64), right.astype(np.int64)
            continue
        order = np.argsort(distances[query], kind="stable")
        ranked = distances[query][order]
        firsts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        sizes = np.diff(firsts, append=len(right))
        yield sizes, np.add.reduceat(right[order].astype(np.int64), firsts)


@overload
def _rankings(relevant: Any, distances: None) -> tuple[NDArray[np.bool_], None]: ...
@overload
def _rankings(
    relevant: Any, distances: NDArray[Any] | Tensor
) -> tuple[NDArray[np.bool_], NDArray[Any]]: ...
def _rankings(relevant: Any, distances: Any) -> tuple[NDArray[np.bool_], NDArray[Any] | None]:
    """Both as arrays of the same shape (Q, N), if they are."""
    relevant = as_array(relevant)
    array("relevant", relevant, "(Q, N)", finite=False)
    if distances is not None:
        distances = as_array(distances)
        array("distances", distances, f"{relevant.shape}")
    return _truths("relevant", relevant), distances


def _truths(name: str, values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise ValueError(f"got {name} with values other than 0 and 1, expected booleans")
    return values.astype(bool)


def _with_relevant(totals: NDArray[Any]) -> NDArray[np.bool_]:
    if not (totals > 0).any():
        raise ValueError("got no query with a relevant entry, expected at least one")
    return totals > 0
