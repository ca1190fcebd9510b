"""The concrete autoencoder as a selector of features."""

from __future__ import annotations

import numbers
from typing import Literal

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from aebook import variants
from aebook._internal.checks import array, is_number, number, whole
from aebook._internal.warned import warn
from aebook.core import Autoencoder, Objective
from aebook.estimators.network import (
    KeepsTypes,
    NetworkEstimator,
    Samples,
    hidden_layers,
    matrix,
    rows,
    whole_or_not,
)
from aebook.training.temperature import annealing

__all__ = ["ConcreteFeatureSelector"]


class ConcreteFeatureSelector(KeepsTypes, SelectorMixin, NetworkEstimator):
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
        Passes over the data, in which the temperature falls from 10 to 0.01, all of them; in a
        quarter as many the decoder then goes on alone, with the features as they are selected.
        Few steps in all leave nodes undecided. 'auto' is that of
        :class:`AutoencoderTransformer`.
    early_stopping, validation_fraction, n_iter_no_change
        As in :class:`AutoencoderTransformer`, for the decoder alone: what a temperature that still
        falls will settle on is not known before.
    batch_size, lr, verbose, random_state, device
        As in :class:`AutoencoderTransformer`.

    Attributes
    ----------
    support_
        Mask of the selected features, (m,).
    confidence_
        Mean over nodes of the largest probability, from 1/m to 1.
    objective_, history_, scaler_, data_min_, data_max_, n_features_in_, feature_names_in_
        As in :class:`AutoencoderTransformer`; the history is that of the selection.

    Warns
    -----
    ConvergenceWarning
        If ``confidence_`` ends below 0.9.

    Examples
    --------
    >>> from aebook.estimators import ConcreteFeatureSelector
    >>> from sklearn.datasets import load_wine
    >>> wines = load_wine().data
    >>> selector = ConcreteFeatureSelector(3, epochs=2, random_state=0).fit(wines)
    >>> selector.transform(wines).shape, int(selector.support_.sum())
    ((178, 3), 3)
    """

    def __init__(
        self,
        n_features_to_select: int | float | None = None,
        *,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        scale: bool = True,
        epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        lr: float = 1e-2,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        verbose: int = False,
        random_state: int | RandomState | None = None,
        device: str | None = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.hidden_layer_sizes = hidden_layer_sizes
        self.scale = scale
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
    ) -> ConcreteFeatureSelector:
        """Train on samples (N, m), match nodes with features, and train the decoder on with these.

        ``sample_weight`` as in :meth:`AutoencoderTransformer.fit`.
        """
        self._start()
        x, w = self._weighed(X, sample_weight)
        k, hidden = self._count(x.shape[1]), hidden_layers(self.hidden_layer_sizes)
        self._begin(x, w, lambda m: variants.concrete((m, *hidden, k), output=None))
        s, (seen, held) = self._scaled(x), self._split(x.shape[0])
        s, w, rest = rows(s, seen), rows(w, seen), None if held is None else s[held]
        self.history_ = self._fit(self.objective_, s, w, anneal=annealing())

        model = self.objective_.model
        log_p = model.encoder.logits.detach().log_softmax(1).numpy()
        _, self._features = linear_sum_assignment(log_p, maximize=True)
        self.support_ = np.isin(np.arange(x.shape[1]), self._features)
        self.confidence_ = model.encoder.confidence
        imputation = Objective(Autoencoder(nn.Identity(), model.decoder))
        pairs = [None if part is None else (part[:, self._features], part) for part in (s, rest)]
        passes = -(-len(self.history_) // 4)
        self._fit(imputation, pairs[0], w, epochs=passes, validation=pairs[1])
        if self.confidence_ < 0.9:
            warn(
                f"the selector ended with a confidence of {self.confidence_:.3f}, expected 0.9 or "
                "more: allow more epochs, or raise lr",
                ConvergenceWarning,
            )
        return self

    def transform(self, X: Samples) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The selected features (N, k) of samples (N, m), in the order of the columns.

        Warns as :meth:`AutoencoderTransformer.transform` does, of these features.
        """
        x = self._samples(X, reset=False, dtype="numeric")[:, self.support_]
        self._warn_outside(x, self.support_)
        return x

    def inverse_transform(self, X: Samples) -> np.ndarray:
        """Samples (N, m), in the unit of the data, of which only those features (N, k) are known.

        The others are imputed by the decoder; those given come back as they were. Warns as
        :meth:`AutoencoderTransformer.transform` does.
        """
        check_is_fitted(self, "support_")
        given = matrix("features", X, accept_sparse=self.scaler_ is None)
        given = given.toarray() if sparse.issparse(given) else given
        chosen = np.flatnonzero(self.support_)
        array("features", given, f"(N, {len(chosen)})", advice="as transform returns them")
        self._warn_outside(given, chosen)
        x = np.zeros((len(given), len(self.support_)))
        x[:, chosen] = given
        z = self._scaled(x)[:, self._features]
        x = self._unscaled(self._applied(self.objective_.model.decode, z)).astype(given.dtype)
        x[:, chosen] = given
        return x

    def _count(self, m: int) -> int:
        name, k = "n_features_to_select", self.n_features_to_select
        if k is None or (is_number(k) and not isinstance(k, numbers.Integral)):
            return max(1, int(number(name, 0.5 if k is None else k, below=1) * m))
        return whole(name, k, most=m, advice="or a share above 0 and below 1, or None")

    def _get_support_mask(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        check_is_fitted(self, "support_")
        return self.support_
