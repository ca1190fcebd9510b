"""What was given as data, whatever it is, as numbers: a tensor, or what is read in parts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from aebook._internal.checks import COMPLEX, as_array, plain_tensor, shown, unmasked

__all__ = [
    "Refused",
    "as_numbers",
    "as_tensor",
    "check_weights",
    "is_table",
    "library",
    "matrix",
    "read",
    "rows",
    "some",
]

EXPECTED = (
    "expected numbers in a tensor, an array, a table, a sparse matrix, a pair "
    "(x, target) of these, a Dataset or a DataLoader"
)


class Refused(ValueError, TypeError):
    """A ValueError, as everywhere in this package, and a TypeError where scikit-learn wants one."""


def read(values: Any) -> Any:
    """A tensor of what was given, sharing its memory if it can, or what is read in parts."""
    if isinstance(values, Tensor):
        return plain_tensor(values)
    if sparse.issparse(values):
        _check_numbers(values.dtype)
        if values.ndim != 2:
            raise ValueError(f"got a sparse array of shape {values.shape}, expected two dimensions")
        matrix = sparse.csr_array(values)
        # counts are measurements, not numbers of symbols
        return matrix if matrix.dtype.kind == "f" else matrix.astype(np.float64)
    if isinstance(values, list | tuple):
        raise ValueError(_advice_for_list(values))
    if is_table(values):
        values = _of_table(values)
    elif hasattr(values, "to_numpy"):
        values = _of_column(values)
    elif isinstance(values, np.generic):
        values = np.asarray(values)
    values = unmasked(values)
    if not isinstance(values, np.ndarray):
        if not _in_parts(values):
            raise ValueError(f"got {_name(values)} as data, {EXPECTED}")
        _check_sides(values)
        _check_numbers(values.dtype)
        return values
    _check_numbers(values.dtype)
    return values if isinstance(values, np.memmap) and values.ndim else _of_array(values)


def as_numbers(values: Any) -> Any:
    """All of it in an array: of whatever is read, or of lists; a sparse matrix as it is.

    Text and times, of which NumPy makes numbers unasked, are refused.
    """
    if sparse.issparse(values):
        return values
    if isinstance(values, str | bytes):
        raise ValueError(f"got {_name(values)} as data, {EXPECTED}")
    if is_table(values):
        values = _of_table(values)
    elif hasattr(values, "to_numpy"):
        values = _of_column(values)
    elif _in_parts(values):
        _check_sides(values)
        _check_numbers(values.dtype)
        values = _slice(values, 0, values.shape[0]) if len(values.shape) else values
    array = as_array(values)
    if array.dtype.kind not in "fiubcO":
        _check_numbers(array.dtype)
    unasked = str | bytes | np.datetime64 | np.timedelta64
    entries = array.flat if array.dtype == object else ()
    if wrong := next((entry for entry in entries if isinstance(entry, unasked)), None):
        raise ValueError(
            f"got {wrong!r:.60} among the entries, expected numbers: encode text, and write times "
            "as numbers"
        )
    return array


def as_tensor(values: Any) -> Tensor:
    """A tensor with its gradients, or one of an array; Python's numbers are of the default type."""
    if isinstance(values, Tensor):
        tiny = values.is_floating_point() and values.element_size() == 1
        return values.float() if tiny else values
    if isinstance(values, list | tuple | int | float):
        return torch.as_tensor(values)
    return read(as_numbers(values))


def matrix(name: str, values: Any, *, accept_sparse: Any = "csr", **options: Any) -> Any:
    """A matrix of finite numbers, dense or sparse, as scikit-learn takes it."""
    from sklearn import utils

    # scikit-learn leaves it without types, and a checker would guess them from the defaults
    check_array: Any = utils.check_array
    given = as_numbers(values)
    try:
        return check_array(given, input_name=name, accept_sparse=accept_sparse, **options)
    except (TypeError, ValueError) as error:
        raise Refused(
            f"got {shown(name, values)}, expected a matrix (N, m) of finite numbers: {error}"
        ) from error


def check_weights(sample_weight: Any, samples: int) -> NDArray[np.float64]:
    """Weights of samples, (N,), float64: finite, 0 or more, not all zero."""
    why = ""
    try:
        given = as_numbers(sample_weight)
        weights = np.empty(0) if given.dtype.kind == "c" else given.astype(np.float64)
    except (TypeError, ValueError) as error:
        weights, why = np.empty(0), f": {error}"
    if weights.shape != (samples,) or not samples:
        said = f"shape {weights.shape}" if weights.size else f"type {type(sample_weight).__name__}"
        said = f"of {said}"
    elif (weights >= 0).all() and 0 < weights.max() < np.inf:
        # a common factor does nothing, but for sums that overflow or vanish
        moderate = 1e-100 < weights.max() < 1e100
        return weights if moderate else weights / weights.max()
    else:
        said = f"from {weights.min():.4g} to {weights.max():.4g}"
    raise ValueError(
        f"got sample_weight {said} for {samples} samples, expected one finite number each, 0 or "
        f"more, not all zero{why}"
    )


def _of_array(values: NDArray[Any]) -> Tensor:
    """A tensor of an array of numbers of any kind."""
    kind = values.dtype
    if kind.kind == "f" and kind.itemsize > 8:
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float64)
        if np.isinf(narrow).any() and np.isfinite(values).all():
            raise ValueError(
                f"got {kind} numbers up to {np.abs(values).max():.4g}, expected what float64 can "
                f"hold, up to {np.finfo(np.float64).max:.4g}: divide by a number"
            )
        values = narrow
    elif not kind.isnative:
        values = values.astype(kind.newbyteorder("="))
    elif not values.flags.writeable or any(stride < 0 for stride in values.strides):
        # torch takes no array that is read-only or runs backwards
        values = values.copy()
    return plain_tensor(torch.from_numpy(np.asarray(values)))


def _in_parts(values: Any) -> bool:
    """Whether it is an array of another kind, which has slices."""
    other = not isinstance(values, Tensor | np.ndarray | np.generic)
    return other and all(hasattr(values, name) for name in ("shape", "dtype", "__getitem__"))


def _of_table(table: Any) -> NDArray[Any]:
    """The numbers of a table of pandas or polars, (N, m), in floating point."""
    pandas = hasattr(table, "iloc")
    columns = [table.iloc[:, k] for k in range(table.shape[1])] if pandas else table.get_columns()
    if not columns:
        raise ValueError("got a table without columns, expected at least one")
    named = list(zip(table.columns, columns, strict=True))
    wrong = [f"{name!r} ({c.dtype})" for name, c in named if not _is_number(c.dtype)]
    if wrong:
        raise ValueError(
            f"got a table with the columns {some(wrong)}, expected numbers: encode text and "
            f"categories, {'pandas.get_dummies(table)' if pandas else 'table.to_dummies()'}, write "
            "times as numbers, or leave these columns out"
        )
    missing = [repr(name) for name, column in named if _missing(column)]
    if missing:
        raise ValueError(
            f"got a table with NaN or missing values in the columns {some(missing)}; expected "
            f"finite ones: fill them, {'table.fillna' if pandas else 'table.fill_null'}(value), or "
            "leave these rows out"
        )
    kinds = {getattr(column.dtype, "kind", "") for column in columns}
    if kinds == {"f"} and all(isinstance(column.dtype, np.dtype) for column in columns):
        return table.to_numpy()
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def _of_column(column: Any) -> Any:
    """The array of a series of pandas or polars, or of anything else with ``to_numpy``."""
    if not hasattr(column, "dtype") or not (hasattr(column, "isna") or hasattr(column, "is_null")):
        return column.to_numpy()
    if not _is_number(column.dtype):
        raise ValueError(
            f"got a column {column.name!r} of {column.dtype}, expected numbers: number the "
            "classes, pandas.factorize(column)[0], or leave it out"
        )
    if _missing(column):
        raise ValueError(
            f"got NaN or missing values in the column {column.name!r}; expected finite ones: fill "
            "them or leave these rows out"
        )
    values = column.to_numpy()
    # older versions of pandas make objects of nullable numbers
    kind = getattr(column.dtype, "kind", "f")
    return (
        values if values.dtype != object else values.astype({"b": bool, "f": float}.get(kind, int))
    )


def _missing(column: Any) -> bool:
    return bool((column.isna() if hasattr(column, "isna") else column.is_null()).any())


def is_table(values: Any) -> bool:
    """Whether it is a table of pandas or polars."""
    return hasattr(values, "to_numpy") and hasattr(values, "columns")


def library(table: Any) -> Any:
    """The package that a table is of, also where its class is derived."""
    names = [kind.__module__.partition(".")[0] for kind in type(table).__mro__]
    return sys.modules[next(name for name in names if name in ("pandas", "polars"))]


def _is_number(dtype: Any) -> bool:
    """Whether a column holds numbers or truth values; NumPy's, pandas' and polars' types."""
    if (kind := getattr(dtype, "kind", None)) is not None:
        return kind in "fiub"
    return str(dtype) == "Boolean" or dtype.is_numeric()


def _check_numbers(dtype: Any) -> None:
    """Refuse an array by its type, before anything is read."""
    kind = getattr(dtype, "kind", "f")
    if kind == "c":
        raise ValueError(COMPLEX)
    if kind not in "fiub":
        what = {
            "O": "objects: if they are numbers, use x.astype(float)",
            "V": "records: numpy.lib.recfunctions.structured_to_unstructured(x) makes columns",
            "M": "times: subtract the first and divide by np.timedelta64(1, 's')",
            "m": "durations: divide by np.timedelta64(1, 's')",
        }.get(kind, "text: encode it")
        raise ValueError(f"got an array of {dtype}, expected numbers; these are {what}")


def _advice_for_list(values: Sequence[Any]) -> str:
    first = values[0] if values else None
    got = f"got a {type(values).__name__} of {len(values)}"
    if isinstance(values, list) and len(values) == 2 and isinstance(first, Tensor | np.ndarray):
        return (
            f"{got} as data, expected one array or a pair, which is a tuple (x, target): make it a "
            "tuple, or one array of two messages by np.stack or torch.stack"
        )
    by = "np.array(x)"
    if isinstance(first, str):
        return f"{got} str as data, expected numbers; these are text: encode it"
    if isinstance(first, Tensor):
        by = "torch.stack(x)"
    elif isinstance(first, np.ndarray):
        by = "np.stack(x)"
    return f"{got} {_name(first)} as data, expected one tensor or array, (samples, ...): use {by}"


def some(names: list[str]) -> str:
    """The first of many names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _name(values: Any) -> str:
    kind = type(values)
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package in ("builtins", "__main__") else f"{package}.{kind.__name__}"


def rows(values: Any, chosen: NDArray[np.int64]) -> NDArray[Any]:
    """Some rows of what is read in parts, dense."""
    if sparse.issparse(values):
        return values[chosen].toarray()
    if isinstance(values, np.ndarray):
        return np.array(values[chosen])
    # every file format has slices
    order = np.sort(chosen)
    starts = np.flatnonzero(np.diff(order, prepend=-2) != 1)
    parts = [_slice(values, int(r[0]), int(r[-1]) + 1) for r in np.split(order, starts[1:])]
    return np.concatenate(parts)[np.searchsorted(order, chosen)]


def _slice(values: Any, start: int, stop: int) -> NDArray[Any]:
    """Rows of an array of another kind, which have to be what its shape says."""
    part = as_array(values[start:stop])
    expected = (stop - start, *values.shape[1:])
    if part.shape != expected or part.dtype.kind not in "fiub":
        raise ValueError(
            f"got an array of shape {part.shape} and {part.dtype} from x[{start}:{stop}] of a "
            f"{_name(values)} of shape {tuple(values.shape)}, expected numbers of shape {expected}"
        )
    return part


def _check_sides(values: Any) -> None:
    """Refuse an array of another kind of which not all sides are known."""
    shape = values.shape
    known = isinstance(shape, list | tuple) and all(
        isinstance(side, int | np.integer) and side >= 0 for side in shape
    )
    if not known:
        raise ValueError(
            f"got a {_name(values)} of shape {shape!r:.60}, expected whole numbers of rows and "
            "columns: read what it holds, np.asarray(x), or give a Dataset with a length"
        )
