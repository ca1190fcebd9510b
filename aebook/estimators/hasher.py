"""The binary autoencoder as a transformer: samples to bits."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags

from aebook import variants
from aebook._internal.checks import whole
from aebook.estimators.network import NetworkEstimator, Samples, hidden_layers, whole_or_not
from aebook.hashing import SemanticHasher

__all__ = ["SemanticHashTransformer"]


class SemanticHashTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetworkEstimator):
    r"""Bits of a binary autoencoder's code, :math:`1[E_φ(x)_j > t_j]`.

    Samples with like contents get codes that differ in few bits (Salakhutdinov & Hinton 2009). The
    thresholds :math:`t_j` are medians over the samples of ``fit``, so that every bit divides them
    in half: see :class:`aebook.hashing.SemanticHasher`. With
    ``scale=False`` samples may be a sparse matrix, such as the words of texts.

    Parameters
    ----------
    n_bits
        p, 1 or more.
    hidden_layer_sizes
        As in :class:`AutoencoderTransformer`.
    kind, sigma
        What stands for the step in training, see :class:`aebook.bottlenecks.Binary`.
    scale, epochs, batch_size, lr, early_stopping, validation_fraction, n_iter_no_change, verbose
        As in :class:`AutoencoderTransformer`.
    random_state, device
        As in :class:`AutoencoderTransformer`.

    Attributes
    ----------
    hasher_
        The :class:`aebook.hashing.SemanticHasher`. It sees scaled features.
    objective_, history_, scaler_, data_min_, data_max_, n_features_in_, feature_names_in_
        As in :class:`AutoencoderTransformer`.

    Examples
    --------
    >>> from aebook.estimators import SemanticHashTransformer
    >>> from sklearn.datasets import load_wine
    >>> wines = load_wine().data
    >>> hasher = SemanticHashTransformer(8, epochs=2, random_state=0).fit(wines)
    >>> hasher.transform(wines).mean(0).tolist()  # each bit divides the 178 in half
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """

    def __init__(
        self,
        n_bits: int = 32,
        *,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        kind: Literal["straight_through", "bernoulli", "noise"] = "straight_through",
        sigma: float = 1.0,
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
        self.n_bits = n_bits
        self.hidden_layer_sizes = hidden_layer_sizes
        self.kind = kind
        self.sigma = sigma
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
    ) -> SemanticHashTransformer:
        """Train on samples (N, m) and set the thresholds, medians in terms of the weights too.

        ``sample_weight`` as in :meth:`AutoencoderTransformer.fit`.
        """
        self._start()
        bits, hidden = whole("n_bits", self.n_bits), hidden_layers(self.hidden_layer_sizes)
        x, w = self._weighed(X, sample_weight)
        options = {"kind": self.kind, "sigma": self.sigma, "output": None}
        self._begin(x, w, lambda m: variants.binary((m, *hidden, bits), **options))
        s = self._scaled(x)
        self._train(s, w)
        self.hasher_ = SemanticHasher(self.objective_.model, s, w)
        # a hair above the median: activities have variance 1, and the sample at the median stays
        # on its side however its activity is rounded
        self.hasher_.thresholds += 1e-9
        return self

    def transform(self, X: Samples) -> np.ndarray:
        """Bits (N, p), boolean, of samples (N, m).

        Warns as :meth:`AutoencoderTransformer.transform` does.
        """
        s = self._scaled(self._inside(X))
        return self.hasher_.bits(s)

    def encode(self, X: Samples) -> np.ndarray:
        """The same packed, eight bits a byte, uint8 (N, ⌈p / 8⌉): codes for a ``FaissIndex``."""
        s = self._scaled(self._inside(X))
        return self.hasher_.encode(s)

    @property
    def _n_features_out(self) -> int:
        return len(self.hasher_.thresholds)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # what comes out is boolean
        tags.transformer_tags.preserves_dtype = []
        return tags
