"""The concrete autoencoder as a selector of features."""

from __future__ import annotations

import numbers
import warnings

import numpy as np
from numpy.random import RandomState
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from aebook import variants
from aebook.estimators.network import NetworkEstimator, Samples, hidden_layers
from aebook.training.temperature import annealing

__all__ = ["ConcreteFeatureSelector"]


class ConcreteFeatureSelector(SelectorMixin, NetworkEstimator):
    r"""The k features from which a decoder best imputes all: :math:`\min E \|x - D(x_S)\|^2`.

    Unsupervised. A concrete autoencoder (Balın, Abid & Zou 2019, :mod:`aebook.concrete`) has k
    nodes that each settle on a feature while a temperature falls. Nothing in its loss forbids two
    nodes the same feature; exactly k distinct ones are wanted here. So nodes and features are
    matched: of all choices of distinct features, the one with the largest product
    :math:`\prod_i P_i(j_i)` of the nodes' probabilities, which is the nodes' own wherever these
    differ (Kuhn 1955).

    Training finds a local optimum, which can be the same one from every seed. With ``scale=False``
    samples may be a sparse matrix.

    Parameters
    ----------
    n_features_to_select
        k, from 1 to the number of features m; or a share of them, above 0 and below 1. None: half
        of them. At least one is selected.
    hidden_layer_sizes
        Units of the decoder's hidden layers, from the reconstruction's side.
    scale
        As in :class:`AutoencoderTransformer`. Without, features of small variance are not missed.
    epochs
        Passes over the data, in which the temperature falls from 10 to 0.01. Few steps in all leave
        nodes undecided.
    batch_size, lr, random_state, device
        As in :class:`AutoencoderTransformer`.

    Attributes
    ----------
    support_
        Mask of the selected features, (m,).
    confidence_
        Mean over nodes of the largest probability, from 1/m to 1.
    objective_, history_, scaler_, n_features_in_, feature_names_in_
        As in :class:`AutoencoderTransformer`.

    Warns
    -----
    ConvergenceWarning
        If ``confidence_`` ends below 0.9.
    """

    def __init__(
        self,
        n_features_to_select: int | float | None = None,
        *,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        scale: bool = True,
        epochs: int = 200,
        batch_size: int = 32,
        lr: float = 1e-2,
        random_state: int | RandomState | None = None,
        device: str | None = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.hidden_layer_sizes = hidden_layer_sizes
        self.scale = scale
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state
        self.device = device

    def fit(self, X: Samples, y: None = None) -> ConcreteFeatureSelector:
        """Train on samples (N, m) and match nodes with features."""
        x = self._table(X, reset=True)
        k = self._count(x.shape[1])
        hidden = hidden_layers(self.hidden_layer_sizes)
        self._begin(x, lambda m: variants.concrete((m, *hidden, k), output=None))
        self._train(self._scaled(x), self.epochs, anneal=annealing())

        selector = self.objective_.model.encoder
        log_p = selector.logits.detach().log_softmax(1).numpy()
        _, features = linear_sum_assignment(log_p, maximize=True)
        self.support_ = np.isin(np.arange(x.shape[1]), features)
        self.confidence_ = selector.confidence
        if self.confidence_ < 0.9:
            warnings.warn(
                f"the selector ended with a confidence of {self.confidence_:.3f}, expected 0.9 or "
                "more: allow more epochs, or raise lr",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _count(self, m: int) -> int:
        k = 0.5 if self.n_features_to_select is None else self.n_features_to_select
        if isinstance(k, numbers.Real) and not isinstance(k, bool):
            if isinstance(k, numbers.Integral) and 1 <= k <= m:
                return int(k)
            if not isinstance(k, numbers.Integral) and 0 < k < 1:
                return max(1, int(k * m))
        raise ValueError(
            f"got n_features_to_select={k!r} with n_features = {m}, expected a whole number from "
            f"1 to {m}, a share between 0 and 1, or None"
        )

    def _get_support_mask(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        check_is_fitted(self, "support_")
        return self.support_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
