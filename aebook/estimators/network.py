"""What the estimators share: from a table to a trained objective."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from aebook import corruptions, variants
from aebook._internal.checks import check_arguments
from aebook._internal.randomness import seeded
from aebook.core import Objective
from aebook.distances import Gaussian, bernoulli
from aebook.inference import in_pieces
from aebook.training.history import History
from aebook.training.loop import fit
from aebook.training.schedules import constant

__all__ = [
    "NetworkEstimator",
    "Samples",
    "hidden_layers",
    "make_objective",
    "unit_interval",
]

#: Samples (N, m) as a user gives them.
Samples = ArrayLike | sparse.sparray | sparse.spmatrix
#: The same checked: an array, a ``csr_array`` or a ``csr_matrix``, which has no types.
Table = Any
#: Types that samples keep.
FLOATS: Any = (np.float64, np.float32)
#: Samples that pass through a network at once.
CHUNK = 4096

ACTIVATIONS = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
OUTPUTS = {"linear": None, "sigmoid": nn.Sigmoid}
CORRUPTIONS = {
    "gaussian": corruptions.gaussian,
    "masking": corruptions.masking,
    "salt_and_pepper": corruptions.salt_and_pepper,
}
VARIANTS = {
    "contractive": variants.contractive,
    "denoising": variants.denoising,
    "k_sparse": variants.k_sparse,
    "linear": variants.linear,
    "plain": variants.plain,
    "sparse": variants.sparse,
    "variational": variants.variational,
}


class NetworkEstimator(BaseEstimator):
    """The way from parameters, which each estimator lists for itself, to weights."""

    objective_: Objective
    history_: History
    scaler_: StandardScaler | None
    # parameters of all
    scale: bool
    epochs: int
    batch_size: int
    lr: float
    random_state: int | RandomState | None
    device: str | None

    def _begin(self, x: Table, make: Callable[[int], Objective]) -> None:
        """Learn the scaling of a table and build the networks for its number of features."""
        check_arguments(epochs=self.epochs, batch_size=self.batch_size, lr=self.lr)
        # a stream of its own, which successive calls of partial_fit go on drawing from
        own = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        self._random_state = check_random_state(int(own))
        self.scaler_ = StandardScaler().fit(x) if self.scale else None
        with seeded(self._seed(), torch.device("cpu")):
            self.objective_ = make(x.shape[1]).double().eval()

    def _train(
        self,
        s: Table,
        epochs: int,
        *,
        anneal: Callable[[Objective, float], None] | None = None,
        state: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Train on scaled samples (N, m), from a state of the optimiser to the one returned."""
        made = []

        def adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
            optimiser = torch.optim.Adam(parameters, lr=lr)
            if state is not None:
                optimiser.load_state_dict(state)
                optimiser.param_groups[0]["lr"] = lr
            made.append(optimiser)
            return optimiser

        # back and forth between the precisions, the weights stay the same to the bit
        self.objective_.float()
        try:
            self.history_ = fit(
                self.objective_,
                s,
                epochs=epochs,
                batch_size=min(self.batch_size, s.shape[0]),
                lr=self.lr,
                optimizer=adam,
                # constant, so that one epoch of fit is one partial_fit
                schedule=constant,
                anneal=anneal,
                device=self.device,
                seed=self._seed(),
                progress=False,
            )
        finally:
            self.objective_.double()
        after = made[0].state_dict()
        for moments in after["state"].values():
            # a pickle from a machine with a GPU can be opened on one without
            moments.update({name: value.cpu() for name, value in moments.items()})
        return after

    def _seed(self) -> int:
        return int(self._random_state.randint(np.iinfo(np.int32).max))

    def _table(self, X: Any, reset: bool) -> Table:
        """Samples (N, m) in float32, if that is what they are in, or else float64."""
        if not reset:
            check_is_fitted(self, "objective_")
        if self.scale and sparse.issparse(X):
            raise TypeError(
                "got a sparse matrix with scale=True, which would fill its zeros: give "
                "scale=False, with a MaxAbsScaler before it if features differ in scale, or "
                "X.toarray()"
            )
        kinds: dict[str, Any] = {"dtype": FLOATS, "accept_sparse": "csr"}
        return validate_data(self, X, reset=reset, **kinds)

    def _scaled(self, x: Table) -> Table:
        """What the network sees of samples (N, m), in float64."""
        x = x.astype(np.float64)
        return x if self.scaler_ is None else self.scaler_.transform(x, copy=False)

    def _applied(self, function: Callable[[Tensor], Tensor], x: Table) -> np.ndarray:
        """A part of the model applied to samples (N, m), a few thousand at a time."""
        return in_pieces(self.objective_, x, CHUNK, function).numpy()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.scale
        return tags


def make_objective(
    variant: str,
    widths: tuple[int, ...],
    *,
    variant_params: dict[str, Any] | None,
    activation: str | None,
    output: str,
) -> Objective:
    """The objective that plain values describe."""
    make = _named("variant", variant, VARIANTS)
    options = _plain(variant_params)
    final = _named("output", output, OUTPUTS)
    if variant == "linear":
        if final is not None or activation is not None:
            raise ValueError(
                f"got activation={activation!r} and output={output!r} with variant='linear', "
                "expected None and 'linear'"
            )
    else:
        options["output"] = final
        if activation is not None:
            options["activation"] = _named("activation", activation, ACTIVATIONS)
    try:
        if variant == "denoising":
            corrupt = _named("corruption", options.pop("corruption", "gaussian"), CORRUPTIONS)
            options["corruption"] = corrupt(options.pop("level", 0.3))
        if variant == "variational":
            # the likelihood that goes with the output
            options["distance"] = Gaussian(kind="optimal") if final is None else bernoulli
        return make(widths, **options)
    except TypeError as error:
        raise ValueError(
            f"got variant_params={variant_params!r} with variant={variant!r}: {error}; expected "
            f"the parameters of aebook.variants.{variant} that are plain values"
        ) from error


def hidden_layers(sizes: Any) -> tuple[int, ...]:
    """Sizes of hidden layers, from one number or a sequence of them."""
    try:
        given: tuple[Any, ...] | None = (sizes,) if np.isscalar(sizes) else tuple(sizes)
        whole = tuple(int(size) for size in given)
    except (TypeError, ValueError, OverflowError):
        given, whole = None, ()
    if whole != given or any(size < 1 for size in whole):
        raise ValueError(
            f"got hidden_layer_sizes={sizes!r}, expected whole numbers, each 1 or more, like "
            "(64,); () for none"
        )
    return whole


def unit_interval(x: Table, output: str, scale: bool) -> Table:
    """Refuse samples that a sigmoid output cannot reproduce; clip what rounding left outside."""
    if output != "sigmoid":
        return x
    if scale:
        raise ValueError(
            "got output='sigmoid' with scale=True: standardised features leave [0, 1]; "
            "give scale=False for data in [0, 1], or output='linear'"
        )
    if x.min() < -1e-6 or x.max() > 1 + 1e-6:
        raise ValueError(
            f"got output='sigmoid' for values from {x.min():.4g} to {x.max():.4g}, expected "
            "values in [0, 1]: scale them with MinMaxScaler(clip=True), or give output='linear'"
        )
    if sparse.issparse(x):
        x = x.copy()
        x.data = x.data.clip(0, 1)
        return x
    return x.clip(0, 1)


def _named(what: str, name: Any, known: dict[str, Any]) -> Any:
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"got {what}={name!r}, expected one of {', '.join(map(repr, known))}")
    return known[name]


def _plain(params: dict[str, Any] | None) -> dict[str, Any]:
    if params is not None and not isinstance(params, dict):
        raise ValueError(f"got variant_params={params!r}, expected a dict or None")
    options = dict(params or {})
    for name, value in options.items():
        if not isinstance(value, bool | int | float | str | tuple | list | None | np.generic):
            raise ValueError(
                f"got a {type(value).__name__} as variant_params[{name!r}], expected a plain "
                "value: modules and functions would carry weights from one clone to the next"
            )
    return options
