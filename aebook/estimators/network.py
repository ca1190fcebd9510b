"""What the estimators share: from a table to a trained objective."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.stats import betabinom, false_discovery_control
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from aebook import corruptions, variants
from aebook._internal import reading
from aebook._internal.checks import number, one_of, shown, whole
from aebook._internal.contract import taken
from aebook._internal.devices import named
from aebook._internal.randomness import seeded
from aebook._internal.warned import warn
from aebook.core import Objective
from aebook.data import Data, vectors
from aebook.distances import Gaussian, bernoulli
from aebook.inference import in_pieces
from aebook.training.history import History
from aebook.training.loop import fit
from aebook.training.schedules import constant

__all__ = [
    "KeepsTypes",
    "NetworkEstimator",
    "Samples",
    "VariantEstimator",
    "held_out",
    "hidden_layers",
    "matrix",
    "or_auto",
    "rows",
    "whole_or_not",
]

Method = TypeVar("Method", bound=Callable[..., Any])
Number = TypeVar("Number", int, float)

#: Samples (N, m) as a user gives them.
Samples = ArrayLike | Data
#: The same checked: an array, a ``csr_array`` or a ``csr_matrix``, which has no types.
Table = Any
#: Weights of samples, (N,), or None where all count alike.
Weights = np.ndarray | None
#: Numbers of rows, or None for all.
Rows = np.ndarray | None
#: Types that samples keep.
FLOATS: Any = (np.float64, np.float32)
#: Samples that pass through a network at once.
CHUNK = 4096
#: In how many calls samples of the same kind are called surprising, at most.
UNLIKELY = 0.01
#: The power by which tails of columns fall, or faster.
TAIL = 4
#: With so many samples or more, training stops early unless it is told not to.
MANY = 100

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


def whole_or_not(method: Method) -> Method:
    """A method that fits; where it fails, the estimator stays as it was, weights included."""

    @functools.wraps(method)
    def careful(self: NetworkEstimator, *args: Any, **named: Any) -> Any:
        # which goes on from the networks and the stream of random numbers that there are
        kept = copy.deepcopy(vars(self).get("_random_state"))
        before, objective = dict(vars(self)), vars(self).get("objective_")
        weights = None if objective is None else copy.deepcopy(objective.state_dict())
        try:
            return method(self, *args, **named)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            if weights is not None and objective is not None:
                objective.load_state_dict(weights)
                self._random_state = cast(RandomState, kept)
            raise

    return cast(Method, careful)


class NetworkEstimator(BaseEstimator):
    """The way from parameters, which each estimator lists for itself, to weights."""

    objective_: Objective
    history_: History
    scaler_: StandardScaler | None
    data_min_: np.ndarray
    data_max_: np.ndarray
    _seen: int
    #: Steps of training that are wanted where the number of epochs is left open.
    _steps = 2000
    # parameters of all
    scale: bool
    epochs: int | str
    batch_size: int | str
    lr: float
    early_stopping: bool | str
    validation_fraction: float
    n_iter_no_change: int
    verbose: int
    random_state: int | RandomState | None
    device: str | None

    def _start(self, first: bool = True) -> None:
        """Check the parameters that all have; at first, start a stream of random numbers."""
        one_of("scale", self.scale, (True, False))
        or_auto(whole, "epochs", self.epochs, least=0)
        or_auto(whole, "batch_size", self.batch_size)
        number("lr", self.lr)
        one_of("early_stopping", self.early_stopping, ("auto", True, False))
        number("validation_fraction", self.validation_fraction, below=1)
        whole("n_iter_no_change", self.n_iter_no_change)
        if not isinstance(self.verbose, bool):
            whole("verbose", self.verbose, least=0)
        if self.device is not None:
            named(self.device)
        try:
            given = check_random_state(
                # a truth value is no seed
                str(self.random_state) if isinstance(self.random_state, bool) else self.random_state
            )
        except ValueError as error:
            raise ValueError(
                f"got {shown('random_state', self.random_state)}, expected a seed from 0 to "
                f"2**32 - 1, a numpy.random.RandomState or None: {error}"
            ) from error
        if first:
            # a stream of its own, which successive calls of partial_fit go on drawing from
            own = given.randint(np.iinfo(np.int32).max)
            self._random_state = check_random_state(int(own))

    def _makings(self) -> dict[str, Any]:
        """What networks are made with, as text: parameters that only another fit can change."""
        names = ("scale", "n_components", "hidden_layer_sizes", "variant", "variant_params")
        names = [name for name in (*names, "activation", "output") if hasattr(self, name)]
        return {name: repr(getattr(self, name)) for name in names}

    def _check_makings(self) -> None:
        """Refuse to go on with parameters other than those that the networks were made with."""
        now = self._makings()
        if changed := [name for name, value in self._made_with.items() if now[name] != value]:
            first = changed[0]
            raise ValueError(
                f"got {first}={now[first]:.60} for networks that were made with "
                f"{first}={self._made_with[first]:.60}, expected the same: fit makes new ones, or "
                f"give it back by set_params({first}={self._made_with[first]:.60})"
            )

    def _begin(self, x: Table, w: Weights, make: Callable[[int], Objective]) -> None:
        """Learn the scaling of a table and build the networks for its number of features."""
        self.data_min_, self.data_max_ = _extremes(x)
        self._seen = x.shape[0]
        self.scaler_ = _scaler(x, w) if self.scale else None
        self._made_with = self._makings()
        with seeded(self._seed(), torch.device("cpu")):
            self.objective_ = make(x.shape[1]).double().eval()

    def _train(self, s: Table, w: Weights) -> None:
        """Train on scaled samples (N, m), but for some to stop early by if that is wanted."""
        seen, held = self._split(s.shape[0])
        validation = None if held is None else s[held]
        self.history_ = self._fit(
            self.objective_, rows(s, seen), rows(w, seen), validation=validation
        )

    def _pass(self, x: Table, w: Weights) -> None:
        """Pass once over more samples, from where the weights and the optimiser are."""
        low, high = _extremes(x)
        self.data_min_ = np.minimum(self.data_min_, low)
        self.data_max_ = np.maximum(self.data_max_, high)
        state = getattr(self, "_optimiser", None)
        self._seen += 0 if state is None else x.shape[0]
        self.history_ = self._fit(self.objective_, self._scaled(x), w, epochs=1, state=state)

    def _split(self, n: int) -> tuple[Rows, Rows]:
        """Which of N samples to train on, and which to stop early by: None for all, for none."""
        if not self._stops(n):
            return None, None
        if n == 1:
            raise ValueError(
                "got 1 sample with early_stopping=True, which holds some out: expected 2 or more"
            )
        return held_out(n, self.validation_fraction, self._random_state)

    def _stops(self, n: int) -> bool:
        """Whether training on N samples stops early."""
        return n >= MANY if self.early_stopping == "auto" else bool(self.early_stopping)

    def _fit(
        self,
        objective: Objective,
        data: Any,
        w: Weights,
        *,
        epochs: int | None = None,
        validation: Any = None,
        anneal: Callable[[Objective, float], None] | None = None,
        state: dict[str, Any] | None = None,
    ) -> History:
        """Train on scaled samples, or pairs of them; ``_optimiser`` is the optimiser's state."""
        made = []

        def adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
            optimiser = torch.optim.Adam(parameters, lr=lr)
            if state is not None:
                optimiser.load_state_dict(state)
                optimiser.param_groups[0]["lr"] = lr
            made.append(optimiser)
            return optimiser

        n = (data[0] if isinstance(data, tuple) else data).shape[0]
        size, passes = self._plan(n)
        options: dict[str, Any] = {} if w is None else {"sample_weight": w}
        if validation is not None:
            options |= {"validation": validation, "patience": int(self.n_iter_no_change)}
        # back and forth between the precisions, the weights stay the same to the bit
        objective.float()
        try:
            history = fit(
                objective,
                data,
                epochs=passes if epochs is None else epochs,
                batch_size=size,
                lr=self.lr,
                optimizer=adam,
                # constant, so that one epoch of fit is one partial_fit
                schedule=constant,
                anneal=anneal,
                device=self.device,
                seed=self._seed(),
                progress=bool(self.verbose),
                **options,
            )
        finally:
            objective.double()
        self._optimiser = made[0].state_dict()
        for moments in self._optimiser["state"].values():
            # a pickle from a machine with a GPU can be opened on one without
            moments.update({name: value.cpu() for name, value in moments.items()})
        return history

    def _plan(self, n: int) -> tuple[int, int]:
        """Batch size and epochs for N samples."""
        if self.batch_size == "auto":
            # of about the same size, so that no small one makes a step of its own
            size = -(-n // max(1, round(n / min(max(32, n // 50), 1024))))
        else:
            size = min(n, int(self.batch_size))
        steps = -(-n // size)
        auto = min(max(10, self._steps // steps), 100)
        return size, auto if self.epochs == "auto" else int(self.epochs)

    def _seed(self) -> int:
        return int(self._random_state.randint(np.iinfo(np.int32).max))

    def _table(self, X: Any, reset: bool) -> Table:
        """Samples (N, m) for the network, in float32, if they are in that, or else float64."""
        # set_params may have changed what networks were made with
        scaled = self.scale if reset else getattr(self, "scaler_", None) is not None
        if scaled and sparse.issparse(X):
            raise reading.Refused(
                "got a sparse matrix with scale=True, which would fill its zeros; expected "
                "scale=False, with a MaxAbsScaler before it if features differ in scale, or "
                "X.toarray()"
            )
        return self._samples(X, reset)

    def _samples(self, X: Any, reset: bool, **kinds: Any) -> Table:
        """Samples (N, m) with the columns of fit."""
        if not reset:
            check_is_fitted(self, "objective_")
        x = matrix("X", X, estimator=self, **kinds)
        try:
            # names of columns, and how many
            columns: Any = X if reading.is_table(X) else x
            validate_data(self, columns, reset=reset, skip_check_array=True)
        except (TypeError, ValueError) as error:
            raise reading.Refused(
                f"got {shown('X', X)}, expected the columns of fit, each with a name: {error}"
            ) from error
        return x

    def _weighed(
        self, X: Any, sample_weight: ArrayLike | None, reset: bool = True
    ) -> tuple[Table, Weights]:
        """The same with weights; what has none is left out, as if it had not been given."""
        x = self._table(X, reset)
        if sample_weight is None:
            return x, None
        w = reading.check_weights(sample_weight, x.shape[0])
        return x[w > 0], w[w > 0]

    def _inside(self, X: Any) -> Table:
        """Samples to transform, with a warning if they are not of the kind that was seen."""
        x = self._table(X, reset=False)
        self._warn_outside(x)
        return x

    def _warn_outside(self, x: Table, columns: Any = ...) -> None:
        least, most = self.data_min_[columns], self.data_max_[columns]
        # and a hair for what was rounded
        hair = 1e-6 * np.maximum(np.abs(least), np.abs(most))
        low, high = _extremes(x)
        count, chance = np.zeros(len(least), int), np.ones(len(least))
        for j in np.flatnonzero((low < least - hair) | (high > most + hair)):
            column = x[:, [j]].toarray()[:, 0] if sparse.issparse(x) else x[:, j]
            beyond = np.maximum(least[j] - column.astype(np.float64), column - most[j])
            beyond = np.sort(beyond[beyond > hair[j]])[::-1]
            count[j] = len(beyond)
            chance[j] = _chance(beyond, most[j] - least[j], x.shape[0], self._seen)
        # whatever columns have to do with each other (Benjamini & Yekutieli 2001)
        outside = np.flatnonzero(false_discovery_control(chance, method="by") < UNLIKELY)
        if not len(outside):
            return
        names = getattr(self, "feature_names_in_", np.arange(len(self.data_min_)))[columns]
        first = outside[0]
        which = ", ".join(repr(name) for name in names[outside[:5]].tolist())
        more = f" and {len(outside) - 5} more" if len(outside) > 5 else ""
        warn(
            f"columns {which}{more} have values outside the range seen in fit, too far or too many "
            f"for samples of the same kind: {names[first]!s} was from {least[first]:.4g} to "
            f"{most[first]:.4g} and is now from {low[first]:.4g} to {high[first]:.4g}, outside in "
            f"{count[first]} of {x.shape[0]} samples; what the network makes of them is a guess"
        )

    def _scaled(self, x: Table) -> Table:
        """What the network sees of samples (N, m), in float64."""
        x = x.astype(np.float64)
        return x if self.scaler_ is None else self.scaler_.transform(x, copy=False)

    def _unscaled(self, s: np.ndarray) -> np.ndarray:
        """In the units of the data what the network gave, (N, m)."""
        return s if self.scaler_ is None else self.scaler_.inverse_transform(s)

    def _applied(self, function: Callable[[Tensor], Tensor], x: Table) -> np.ndarray:
        """A part of the model applied to samples (N, m), a few thousand at a time."""
        return in_pieces(self.objective_, x, CHUNK, function).numpy()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.scale
        return tags


class VariantEstimator(NetworkEstimator):
    """The same for those whose objective is a variant, by its name."""

    n_components: int | None
    hidden_layer_sizes: tuple[int, ...]
    variant: str
    variant_params: dict[str, Any] | None
    activation: str | None
    output: str

    def _given(
        self, X: Samples, sample_weight: ArrayLike | None, first: bool = True
    ) -> tuple[Table, Weights]:
        """Samples and weights to train on; parameters are checked."""
        self._start(first)
        if not first:
            self._check_makings()
        x, w = self._weighed(X, sample_weight, reset=first)
        return _unit_interval(x, self.output, self.scale), w

    def _learn(self, x: Table, w: Weights) -> None:
        """Build the networks and train them."""
        self._begin(x, w, self._objective)
        self._train(self._scaled(x), w)

    def _objective(self, m: int) -> Objective:
        """The objective that plain values describe, for m features."""
        make = _named("variant", self.variant, VARIANTS)
        options = _plain(self.variant_params)
        final = _named("output", self.output, OUTPUTS)
        p = self.n_components
        # a quarter of them, rounded up
        code = -(-m // 4) if p is None else whole("n_components", p)
        widths = (m, *hidden_layers(self.hidden_layer_sizes), code)
        if self.variant == "linear":
            if final is not None or self.activation is not None:
                raise ValueError(
                    f"got activation={self.activation!r} and output={self.output!r} with "
                    "variant='linear', expected None and 'linear'"
                )
        else:
            options["output"] = final
            if self.activation is not None:
                options["activation"] = _named("activation", self.activation, ACTIVATIONS)
        try:
            if self.variant == "denoising":
                corrupt = _named("corruption", options.pop("corruption", "gaussian"), CORRUPTIONS)
                options["corruption"] = corrupt(options.pop("level", 0.3))
            if self.variant == "variational":
                # the likelihood that goes with the output
                options["distance"] = Gaussian(kind="optimal") if final is None else bernoulli
            return make(widths, **options)
        except TypeError as error:
            raise ValueError(
                f"got variant_params={self.variant_params!r} with variant={self.variant!r}: "
                f"{error}; expected the parameters of aebook.variants.{self.variant} that are "
                "plain values"
            ) from error


class KeepsTypes(TransformerMixin):
    """A transformer that gives float32 for float32, and float64 for all else."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def or_auto(check: Callable[..., Number], name: str, value: Any, **limits: Any) -> Number | None:
    """What a check makes of a number; None for 'auto'."""
    if isinstance(value, str) and value == "auto":
        return None
    try:
        return check(name, value, **limits)
    except ValueError as error:
        raise ValueError(f"{error}, or 'auto'") from None


def matrix(name: str, values: Any, **options: Any) -> Any:
    """Samples or codes, whatever :func:`aebook.fit` takes, as scikit-learn takes them."""
    values = vectors(values).numpy() if isinstance(values, Dataset | DataLoader) else values
    return reading.matrix(name, values, **{"dtype": FLOATS, **options})


def rows(values: Any, chosen: Rows) -> Any:
    """Rows of a table or of weights; None for all of them."""
    return values if values is None or chosen is None else values[chosen]


def held_out(n: int, share: float, random: RandomState) -> tuple[np.ndarray, np.ndarray]:
    """N samples divided at random, both in order: most of them, and a share held out, 1 or more."""
    order = random.permutation(n)
    count = min(max(1, round(share * n)), n - 1)
    return np.sort(order[count:]), np.sort(order[:count])


def hidden_layers(sizes: Any) -> tuple[int, ...]:
    """Sizes of hidden layers, from one number or a sequence of them."""
    try:
        if isinstance(sizes, Mapping | AbstractSet | Iterator):
            raise TypeError("it has no order, or only once")
        given: tuple[Any, ...] = (sizes,) if np.isscalar(sizes) else tuple(sizes)
        return tuple(whole("hidden_layer_sizes", size) for size in given)
    except (TypeError, ValueError):
        raise ValueError(
            f"got hidden_layer_sizes={sizes!r}, expected whole numbers, each 1 or more, like "
            "(64,); () for none"
        ) from None


def _unit_interval(x: Table, output: str, scale: bool) -> Table:
    """Refuse samples that a sigmoid output cannot reproduce; clip what rounding left outside."""
    if not isinstance(output, str) or output != "sigmoid":
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
    one_of(what, name, known)
    return known[name]


def _plain(params: dict[str, Any] | None) -> dict[str, Any]:
    options = dict(taken("variant_params", params, dict | None) or {})
    for name, value in options.items():
        if not isinstance(value, bool | int | float | str | tuple | list | None | np.generic):
            raise ValueError(
                f"got a {type(value).__name__} as variant_params[{name!r}], expected a plain "
                "value: modules and functions would carry weights from one clone to the next"
            )
    return options


def _chance(beyond: np.ndarray, width: float, new: int, seen: int) -> float:
    """How likely samples of the same kind leave the range as often and as far, at most.

    Of ``new`` samples, as many are outside the range of those that were seen as a beta-binomial
    variable says, whatever their distribution. Outside c times the range are a share c^-TAIL of
    these, where tails fall as that power or faster.

    Parameters
    ----------
    beyond
        How far values are outside, the farthest first.
    width
        That of the range.
    """
    # the largest, the two largest, the four largest, ..., each with a part of the chance
    k = 2 ** np.arange(int(np.log2(len(beyond))) + 1)
    parts = np.arange(1, len(k) + 1) * np.arange(2, len(k) + 2)
    with np.errstate(divide="ignore", over="ignore"):
        scarce = np.minimum((1 + beyond[k - 1] / width) ** TAIL, 1e12)
    chances = betabinom.sf(k - 1, new, 2, max(seen - 1, 1) * scarce)
    return float(min(1.0, (parts * chances).min()))


def _scaler(x: Table, w: Weights) -> StandardScaler:
    """The scaling of columns whose squares are numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaler = StandardScaler().fit(x, sample_weight=w)
    # which the checker takes for a number or nothing
    variances: Any = scaler.var_
    if not np.isfinite(variances).all():
        low, high = _extremes(x)
        raise ValueError(
            f"got values from {low.min():.4g} to {high.max():.4g}, expected such as can be "
            "squared, up to 1e150 or so: divide them by a number, or scale them and give "
            "scale=False"
        )
    return scaler


def _extremes(x: Table) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest value of each column, (m,), float64."""
    both = x.min(axis=0), x.max(axis=0)
    low, high = ((e.toarray().ravel() if sparse.issparse(e) else e) for e in both)
    return low.astype(np.float64), high.astype(np.float64)
