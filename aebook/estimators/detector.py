"""The autoencoder as a detector of outliers."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import OutlierMixin
from sklearn.model_selection import KFold
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from aebook._internal.checks import number, one_of
from aebook._internal.reading import is_table
from aebook.data import like
from aebook.estimators.network import (
    Samples,
    Table,
    VariantEstimator,
    Weights,
    or_auto,
    rows,
    whole_or_not,
)
from aebook.metrics import threshold

__all__ = ["AutoencoderDetector"]

#: Of so many parts networks are trained on all but one.
FOLDS = 10
#: Scores that are enough to set a threshold by.
SCORES = 1000


def _of_training(detector: AutoencoderDetector) -> bool:
    if detector.novelty:
        raise AttributeError(
            "fit_predict is not there with novelty=True, whose threshold is one for new samples: "
            "for outliers among the samples of fit give novelty=False"
        )
    return True


class AutoencoderDetector(OutlierMixin, VariantEstimator):
    r"""Outliers are what an autoencoder reconstructs badly: score :math:`-\|x' - x\|^2`.

    The error is that of scaled features, summed. As everywhere in scikit-learn, and other than in
    :mod:`aebook.applications.anomaly`, a higher score is a more ordinary sample. With
    ``scale=False`` samples may be a sparse matrix.

    A network has learnt its own samples by heart, more or less, and reconstructs new ones worse,
    the ordinary ones too. So the threshold is taken from scores of samples that the network that
    gave them had not seen: tenths, each scored by a network that is trained on all the others,
    until there are 1,000 scores (Vovk 2015). Then the network is trained on all samples, in the
    same way. From 10,000 samples on one tenth is enough, and the network that was trained on the
    others is the one that is kept: a second one would double the time. A new sample of the same
    kind then has about the chance that was promised of being called an outlier: on benign tumours,
    wines, noise and samples near a plane, with 35 and 100 of them and 5 % promised, the mean over
    draws was within three standard errors of that, and the network of all told outliers as well as
    one of nine tenths (``tools/false_alarms.py``).

    Parameters
    ----------
    n_components
        Code units, 1 or more. None: a quarter of the features, rounded up. With as many as there
        are features everything can be copied, and nothing stands out.
    hidden_layer_sizes, variant, variant_params, activation, output, scale
        As in :class:`AutoencoderTransformer`.
    contamination
        Share of *new, ordinary* samples that is called outliers, on average over the samples of
        ``fit``; above 0 and at most 0.5. It takes 1 / c - 1 samples to set such a threshold.
        With ``"auto"``, what lies beyond Tukey's fence,
        :math:`\|x' - x\| > Q_3 + 1.5\,(Q_3 - Q_1)` with the quartiles of the same scores. Of
        samples whose errors are Gaussian, in two dimensions or more, that is one in a hundred or
        fewer; with heavier tails it is more.
    novelty
        As in ``sklearn.neighbors.LocalOutlierFactor``. With False the threshold is one for the
        samples of ``fit`` and no others: of these, a share ``contamination``, rounded down, is
        called outliers, and ``fit_predict`` says which.
    epochs, batch_size, lr, early_stopping, validation_fraction, n_iter_no_change, verbose
        As in :class:`AutoencoderTransformer`.
    random_state, device
        As in :class:`AutoencoderTransformer`.

    Attributes
    ----------
    offset_
        Score below which a sample is an outlier.
    calibration_scores_
        The scores from which it was taken, of samples that the network that gave them had not seen;
        with ``novelty=False`` those of the samples of ``fit``.
    objective_, history_, scaler_, data_min_, data_max_, n_features_in_, feature_names_in_
        As in :class:`AutoencoderTransformer`.

    Examples
    --------
    >>> from aebook.estimators import AutoencoderDetector
    >>> from sklearn.datasets import load_wine
    >>> wines = load_wine().data
    >>> detector = AutoencoderDetector(2, epochs=1, random_state=0).fit(wines)
    >>> detector.predict(10 * wines[:3])  # wines ten times as strong
    array([-1, -1, -1])
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        variant: str = "plain",
        variant_params: dict[str, Any] | None = None,
        activation: str | None = None,
        output: str = "linear",
        scale: bool = True,
        contamination: float | Literal["auto"] = "auto",
        novelty: bool = True,
        epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        lr: float = 3e-3,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        verbose: int = False,
        random_state: int | RandomState | None = None,
        device: str | None = None,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.variant = variant
        self.variant_params = variant_params
        self.activation = activation
        self.output = output
        self.scale = scale
        self.contamination = contamination
        self.novelty = novelty
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    @whole_or_not
    def fit(
        self, X: Samples, y: None = None, sample_weight: ArrayLike | None = None
    ) -> AutoencoderDetector:
        """Train on samples (N, m), most of them ordinary, and set the threshold.

        ``sample_weight`` as in :meth:`AutoencoderTransformer.fit`; in the threshold, a weight is
        how many samples one stands for.
        """
        x, w = self._given(X, sample_weight)
        if self.novelty:
            errors, w = self._unseen(x, w)
        else:
            self._learn(x, w)
            errors = self._errors(x)
        self._set_offset(errors, w)
        return self

    @whole_or_not
    def partial_fit(
        self, X: Samples, y: None = None, sample_weight: ArrayLike | None = None
    ) -> AutoencoderDetector:
        """Pass once over more samples (N, m); the first call builds the networks.

        The samples are scored before they are trained on, and the last 1,000 such scores, or all of
        this call if it has more, set the threshold; those of ``fit`` are the first, if there was
        one. It follows the network with some delay: while this still learns fast, fewer samples
        than promised are called outliers, and while 1 / ``contamination`` are not there yet, those
        beyond all scores. With ``novelty=False`` the scores are those of this call's samples after
        the pass. Scaling and weights are as in :meth:`AutoencoderTransformer.partial_fit`.
        """
        first = not hasattr(self, "objective_")
        x, w = self._given(X, sample_weight, first)
        if first:
            self._begin(x, w, self._objective)
            self._window = np.empty(0), np.empty(0)
        before = self._errors(x)
        self._pass(x, w)
        if self.novelty:
            keep = max(SCORES, len(before))
            errors = np.append(self._window[0], before)[-keep:]
            ones = np.ones(len(before)) if w is None else w
            w = np.append(self._window[1], ones)[-keep:]
        else:
            errors = self._errors(x)
        self._set_offset(errors, w)
        return self

    @available_if(_of_training)
    def fit_predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, X: Samples, y: None = None, **kwargs: Any
    ) -> np.ndarray:
        """-1 for the outliers among the samples of ``fit``, 1 for all others, (N,)."""
        return super().fit_predict(X, y, **kwargs)

    def score_samples(self, X: Samples) -> np.ndarray:
        """Scores (N,) of samples (N, m), float64, at most 0; the lower, the more anomalous."""
        return -self._errors(self._table(X, reset=False))

    def decision_function(self, X: Samples) -> np.ndarray:
        """``score_samples(X) - offset_``, (N,), float64: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Samples) -> np.ndarray:
        """-1 for outliers, 1 for all others, (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X: Samples) -> Any:
        """Each feature's part :math:`(x'_j - x_j)^2` of the error, (N, m), float64.

        In units of scaled features; a row's sum is the score with the sign turned. Of a table a
        table, with its index and columns.
        """
        parts = self._applied(self._parts, self._scaled(self._table(X, reset=False)))
        return _like(X, parts)

    def reconstruct(self, X: Samples) -> Any:
        """Reconstructions (N, m) of samples (N, m), in the unit of the data; of a table a table."""
        x = self._table(X, reset=False)
        s = self._applied(self.objective_.model.reconstruct, self._scaled(x))
        return _like(X, self._unscaled(s).astype(x.dtype))

    def _unseen(self, x: Table, w: Weights) -> tuple[np.ndarray, Weights]:
        """Score samples by networks that have not seen them, and train: errors and weights."""
        n, c = x.shape[0], self._share()
        # two quartiles or one quantile
        least = 3 if c is None else max(2, math.ceil(1 / c - 1 - 1e-9))
        if n < least:
            raise ValueError(
                f"got {n} sample{'s' * (n > 1)} for contamination={self.contamination!r}, expected "
                f"at least {least} to set a threshold by: give more, or novelty=False"
            )
        parts = list(KFold(min(FOLDS, n), shuffle=True, random_state=self._seed()).split(x))
        # one part may be enough, and the network of all is as good as that of the others
        alone = len(parts[0][1]) >= max(SCORES, least)
        errors, scored = np.empty(0), np.empty(0, int)
        for seen, unseen in parts:
            network = self
            if not alone:
                # as clone makes it, which would copy what is no parameter before that is refused
                network = type(self)(**self.get_params(deep=False))
                # trained as on all of them
                network.set_params(
                    random_state=self._seed(), early_stopping=self._stops(n)
                )._start()
            network._learn(x[seen], rows(w, seen))
            errors = np.append(errors, network._errors(x[unseen]))
            scored = np.append(scored, unseen)
            if len(errors) >= max(SCORES, least):
                break
        if not alone:
            self._learn(x, w)
        return errors, rows(w, scored)

    def _set_offset(self, errors: np.ndarray, w: Weights) -> None:
        """The threshold of errors, for new samples or for these."""
        self._window = errors, np.ones(len(errors)) if w is None else w
        self.calibration_scores_ = -errors
        # of lengths, which are spread more evenly than squares
        sizes, c = np.sqrt(errors), self._share()
        if c is None:
            method = "linear" if w is None else "inverted_cdf"
            low, high = np.quantile(sizes, [0.25, 0.75], weights=w, method=method)
            limit = high + 1.5 * (high - low)
        elif self.novelty:
            # while there are too few, the largest
            n = len(sizes)
            quantile = min(1 - c, n / (n + 1))
            limit = threshold(sizes, quantile=quantile, sample_weight=w, interpolate=True)
        else:
            limit = threshold(sizes, contamination=c, sample_weight=w)
        # a hair above: the sample at the limit stays on its side however its error is rounded
        self.offset_ = -float(limit**2) * (1 + 1e-9)

    def _share(self) -> float | None:
        """The share of outliers, or None for the fence."""
        return or_auto(number, "contamination", self.contamination, most=0.5)

    def _start(self, first: bool = True) -> None:
        super()._start(first)
        one_of("novelty", self.novelty, (True, False))
        self._share()

    def _errors(self, x: Table) -> np.ndarray:
        return self._applied(lambda s: self._parts(s).sum(1), self._scaled(x))

    def _parts(self, s: Tensor) -> Tensor:
        # the squared error, whatever distance the network was trained with; what overflows counts
        # as the largest, and so that a sum over all features does not
        largest = torch.finfo(s.dtype).max / s.shape[1]
        parts = (self.objective_.model.reconstruct(s) - s).square()
        return parts.nan_to_num(nan=largest).clamp(max=largest)


def _like(X: Any, values: np.ndarray) -> Any:
    """A table with the index and columns of a table; else the array."""
    return like(X, torch.from_numpy(values), "x") if is_table(X) else values
