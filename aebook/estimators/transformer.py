"""The autoencoder as a transformer: samples to codes, and back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils.validation import check_is_fitted

from aebook._internal.checks import array
from aebook.estimators.network import (
    KeepsTypes,
    Samples,
    VariantEstimator,
    matrix,
    whole_or_not,
)
from aebook.metrics import fvu

__all__ = ["AutoencoderTransformer"]


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, KeepsTypes, VariantEstimator):
    r"""Codes of an autoencoder, :math:`z = b(E_φ(x))`, and reconstructions :math:`D_θ(z)`.

    A nonlinear relative of ``sklearn.decomposition.PCA``. Codes have no order and no fixed
    scale, and another seed gives others. Float32 comes out as float32, all else as float64. With
    ``scale=False`` samples may be a sparse matrix, which is made dense a batch at a time.

    Parameters
    ----------
    n_components
        Code units p, 1 or more. None: a quarter of the features, rounded up. (All of them, as None
        means to PCA, could be copied, and nothing would be learnt.)
    hidden_layer_sizes
        Units of the encoder's hidden layers; the decoder mirrors them. ``()``: none.
    variant
        The objective, by its name in :mod:`aebook.variants`: ``"plain"``, ``"linear"``,
        ``"denoising"``, ``"sparse"``, ``"k_sparse"``, ``"contractive"`` or ``"variational"``, whose
        likelihood is Gaussian with σ fitted, or Bernoulli for a sigmoid output.
    variant_params
        Further parameters of that function, plain values: ``{"k": 5}`` for ``"k_sparse"``,
        ``{"weight": 0.1}`` for ``"sparse"`` and ``"contractive"``, which need them;
        ``{"beta": 4.0}`` for ``"variational"``. For ``"denoising"`` the ``corruption``
        (``"gaussian"``, ``"masking"`` or ``"salt_and_pepper"``) and its ``level``, the σ or p of
        :mod:`aebook.corruptions`; by default Gaussian noise of 0.3, in units of the scaled
        features.
    activation
        Of hidden layers: ``"relu"``, ``"elu"``, ``"gelu"``, ``"sigmoid"``, ``"softplus"`` or
        ``"tanh"``. None: what the variant has by default, for most ``"relu"``.
    output
        ``"linear"``, or for data in [0, 1] with ``scale=False`` also ``"sigmoid"``.
    scale
        Whether to shift and scale each feature to mean 0 and variance 1 before all else. Without,
        features of large variance dominate the loss, and training fails on large numbers.
    epochs
        Passes of ``fit`` over the data, 0 or more, or fewer where it stops early.
        'auto' is as many as make 2,000 steps, from 10 to 100.
    batch_size
        Samples a step; all of them if there are fewer. The last batch of an epoch may be smaller.
        'auto' is a fiftieth of the samples, from 32 to 1,024.
    lr
        Learning rate of Adam.
    early_stopping
        Whether to hold out a share of the samples, stop when the loss on them has not fallen for
        ``n_iter_no_change`` epochs, and return to the weights with which it was lowest.
        'auto' does so with 100 samples or more.
    validation_fraction
        The share held out, above 0 and below 1; one sample at least.
    n_iter_no_change
        Epochs of patience, 1 or more.
    verbose
        Whether to show progress: True, or any number above 0.
    random_state
        Seed of the weights, the order of samples and the noise; None draws it from NumPy.
    device
        Where to train, for instance ``"cpu"``; by default a GPU if there is one.

    Attributes
    ----------
    objective_
        The trained :class:`aebook.Objective`, in float64 on the CPU. It sees scaled features.
    history_
        The :class:`aebook.History` of the last call of ``fit`` or ``partial_fit``.
    scaler_
        The ``sklearn.preprocessing.StandardScaler``, or None.
    data_min_, data_max_
        The range of each column in training, (m,).
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    Rate, epochs and early stopping were compared by the errors on held-out samples of two tables
    of some hundred samples, wines and tumours, with three seeds
    (``tools/choose_estimator_defaults.py``). With a rate of 0.003 and early stopping an error is
    above the lowest that any setting reached by 5 % on average and 7 % at most; without it by 18 %
    and 21 % after 200 epochs, 7 % and 8 % after 100.

    Examples
    --------
    >>> from aebook.estimators import AutoencoderTransformer
    >>> from sklearn.datasets import load_wine
    >>> wines = load_wine().data
    >>> transformer = AutoencoderTransformer(2, epochs=2, random_state=0).fit(wines)
    >>> transformer.transform(wines).shape, transformer.score(wines) < 1
    ((178, 2), True)
    """

    def __init__(
        self,
        n_components: int | None = 2,
        *,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        variant: str = "plain",
        variant_params: dict[str, Any] | None = None,
        activation: str | None = None,
        output: str = "linear",
        scale: bool = True,
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
    ) -> AutoencoderTransformer:
        """Build the networks and train them on samples (N, m), N at least 1.

        ``sample_weight`` (N,), 0 or more, says how much each sample counts: in the scaling and, as
        a weighted mean, in the loss. What has the weight 0 is left out.
        """
        self._learn(*self._given(X, sample_weight))
        return self

    @whole_or_not
    def partial_fit(
        self, X: Samples, y: None = None, sample_weight: ArrayLike | None = None
    ) -> AutoencoderTransformer:
        """Pass once over more samples (N, m); the first call builds the networks.

        Weights and the optimiser's moments go on from where they were, also after ``fit``. The
        scaling is that of the first call, whose samples should be typical. Parameters that make
        the networks must be those of the first call; the others, ``lr`` say, may have changed.
        """
        first = not hasattr(self, "objective_")
        x, w = self._given(X, sample_weight, first)
        if first:
            self._begin(x, w, self._objective)
        self._pass(x, w)
        return self

    def transform(self, X: Samples) -> np.ndarray:
        """Codes (N, p) of samples (N, m).

        Warns, once a call, of columns that leave the range seen in training farther or oftener
        than samples of the same kind would in one call of a hundred, whatever columns have to do
        with each other (Benjamini & Yekutieli 2001). How often is known for every distribution:
        a new value is outside the range of n with the chance 2 / (n + 1). How far is bounded for
        tails that fall as :math:`x^{-4}` or faster. With six columns and 60 samples of training a
        single value warns from 2.2 widths of the range outside, one value among 60 new samples from
        7.8, and a single sample that is outside in all six columns from 1.1.

        Of 1,000 calls with new samples of the same kind (6 columns; 1, 3, 30 or n of them after n =
        35, 100 or 500; 250 calls after 2,000) at most one warned for columns that are Gaussian,
        uniform, exponential or Student's t with 5 degrees of freedom, 8 with 3. Heavier tails warn
        more: 26 if lognormal, 448 if Cauchy. A column that never changed in training must not
        change.
        """
        x = self._inside(X)
        return self._applied(self.objective_.model.encode, self._scaled(x)).astype(x.dtype)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Samples (N, m), in the unit of the data, that codes (N, p) stand for."""
        check_is_fitted(self, "objective_")
        z = matrix("codes", X, accept_sparse=False)
        array("codes", z, f"(N, {self._n_features_out})", advice="as transform returns them")
        x = self._applied(self.objective_.model.decode, z.astype(np.float64))
        return self._unscaled(x).astype(z.dtype)

    def score(self, X: Samples, y: None = None) -> float:
        r"""Explained variance :math:`1 - \sum \|x - x'\|^2 / \sum \|x - \bar x\|^2`, at most 1.

        Of scaled features, which weigh alike; of samples (N, m) that are not all the same, N at
        least 2. A perfect copy has 1, the mean of the samples 0: see :func:`aebook.metrics.fvu`.
        """
        s = self._scaled(self._inside(X))
        x = self._applied(self.objective_.model.reconstruct, s)
        s = s.toarray() if sparse.issparse(s) else s
        return 1 - fvu(torch.from_numpy(x), torch.from_numpy(s))

    @property
    def _n_features_out(self) -> int:
        # not n_components, which set_params may have changed since
        return self.objective_.model.decoder.shape[0]
