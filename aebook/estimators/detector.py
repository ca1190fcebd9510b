"""The autoencoder as a detector of outliers."""

from __future__ import annotations

import math
import numbers
from typing import Any, Literal, cast

import numpy as np
from numpy.random import RandomState
from sklearn.base import OutlierMixin

from aebook._internal.checks import check_arguments
from aebook.applications.anomaly.scores import reconstruction_error, threshold
from aebook.core import Objective
from aebook.estimators.network import (
    NetworkEstimator,
    Samples,
    Table,
    hidden_layers,
    make_objective,
    unit_interval,
)

__all__ = ["AutoencoderDetector"]


class AutoencoderDetector(OutlierMixin, NetworkEstimator):
    r"""Outliers are what an autoencoder reconstructs badly: score :math:`-\|x' - x\|^2`.

    The error is that of scaled features, summed. As everywhere in scikit-learn, and other than in
    :mod:`aebook.applications.anomaly.scores`, a higher score is a more ordinary sample. With
    ``scale=False`` samples may be a sparse matrix.

    Parameters
    ----------
    n_components
        Code units, 1 or more. None: a quarter of the features, rounded up. With as many as there
        are features everything can be copied, and nothing stands out.
    hidden_layer_sizes, variant, variant_params, activation, output, scale
        As in :class:`AutoencoderTransformer`.
    contamination
        Share of outliers among the samples of ``fit``, above 0 and at most 0.5: that share of
        them, rounded down, is called outliers. ``"auto"``: what lies beyond Tukey's fence,
        :math:`\|x' - x\| > Q_3 + 1.5\,(Q_3 - Q_1)` with the quartiles of the samples of ``fit``.
        Of samples whose errors are Gaussian, in two dimensions or more, that is one in a hundred or
        fewer.
    epochs, batch_size, lr, random_state, device
        As in :class:`AutoencoderTransformer`.

    Attributes
    ----------
    offset_
        Score below which a sample is an outlier.
    objective_, history_, scaler_, n_features_in_, feature_names_in_
        As in :class:`AutoencoderTransformer`.
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
        epochs: int = 100,
        batch_size: int = 32,
        lr: float = 3e-3,
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
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state
        self.device = device

    def fit(self, X: Samples, y: None = None) -> AutoencoderDetector:
        """Train on samples (N, m), most of them ordinary, and set the threshold."""
        c = self.contamination
        share = (
            isinstance(c, numbers.Real) and not isinstance(c, bool) and 0 < cast(float, c) <= 0.5
        )
        if not (share or (isinstance(c, str) and c == "auto")):
            raise ValueError(
                f"got contamination={c!r}, expected 'auto' or a number above 0 and at most 0.5"
            )
        x = self._table(X, reset=True)
        x = unit_interval(x, self.output, self.scale)
        self._begin(x, self._objective)
        self._train(self._scaled(x), self.epochs)

        errors = -self._scores(x)
        if share:
            limit = threshold(errors, contamination=cast(float, c))
        else:
            low, high = np.quantile(np.sqrt(errors), [0.25, 0.75])
            limit = (high + 1.5 * (high - low)) ** 2
        # a hair above: the sample at the limit stays on its side however its error is rounded
        self.offset_ = -float(limit) * (1 + 1e-9)
        return self

    def score_samples(self, X: Samples) -> np.ndarray:
        """Scores (N,) of samples (N, m), float64, at most 0; the lower, the more anomalous."""
        return self._scores(self._table(X, reset=False))

    def decision_function(self, X: Samples) -> np.ndarray:
        """``score_samples(X) - offset_``, (N,), float64: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Samples) -> np.ndarray:
        """-1 for outliers, 1 for all others, (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _scores(self, x: Table) -> np.ndarray:
        # the squared error, whatever distance the network was trained with
        judge = Objective(self.objective_.model)
        return -reconstruction_error(judge, self._scaled(x)).numpy()

    def _objective(self, m: int) -> Objective:
        check_arguments(n_components=self.n_components)
        p = math.ceil(m / 4) if self.n_components is None else int(self.n_components)
        return make_objective(
            self.variant,
            (m, *hidden_layers(self.hidden_layer_sizes), p),
            variant_params=self.variant_params,
            activation=self.activation,
            output=self.output,
        )
