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

from aebook._internal.checks import unmasked

__all__ = ["is_table", "library", "read", "rows", "some"]

EXPECTED = (
    "expected numbers in a tensor, an array, a table, a sparse matrix, a pair "
    "(x, target) of these, a Dataset or a DataLoader"
)
#: Types without arithmetic, and those that hold their numbers.
WIDER = {
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
}
#: What is said of complex numbers.
COMPLEX = (
    "got complex numbers, expected real ones: give size and phase, or real and imaginary part, "
    "as in np.concatenate([x.real, x.imag], 1)"
)


def read(values: Any) -> Any:
    """A tensor of what was given, sharing its memory if it can, or what is read in parts."""
    if isinstance(values, Tensor):
        return _plain(values)
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
        if not all(hasattr(values, name) for name in ("shape", "dtype", "__getitem__")):
            raise ValueError(f"got {_name(values)} as data, {EXPECTED}")
        _check_numbers(values.dtype)
        return values
    _check_numbers(values.dtype)
    return values if isinstance(values, np.memmap) and values.ndim else _of_array(values)


def _plain(tensor: Tensor) -> Tensor:
    """A tensor without gradients, of a type that can be computed with."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else tensor.layout
        advice = "values, which a meta tensor has not"
        if not tensor.is_meta:
            advice = "a dense one: use x.dequantize() or x.to_dense(), or a sparse matrix of SciPy"
        raise ValueError(f"got a {kind} tensor, expected {advice}")
    if tensor.is_complex():
        raise ValueError(COMPLEX)
    if tensor.dtype in WIDER:
        return _within(tensor.detach().to(WIDER[tensor.dtype]))
    if tensor.is_floating_point() and tensor.element_size() == 1:
        return tensor.detach().float()
    return tensor.detach()


def _of_array(values: NDArray[Any]) -> Tensor:
    """A tensor of an array of numbers of any kind."""
    kind = values.dtype
    if kind.kind == "f" and kind.itemsize > 8:
        values = values.astype(np.float64)
    elif not kind.isnative:
        values = values.astype(kind.newbyteorder("="))
    elif not values.flags.writeable or any(stride < 0 for stride in values.strides):
        # torch takes no array that is read-only or runs backwards
        values = values.copy()
    return _plain(torch.from_numpy(np.asarray(values)))


def _of_table(table: Any) -> NDArray[Any]:
    """The numbers of a table of pandas or polars, (N, m), in floating point."""
    pandas = hasattr(table, "iloc")
    columns = [table.iloc[:, k] for k in range(table.shape[1])] if pandas else table.get_columns()
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


def _within(tensor: Tensor) -> Tensor:
    if tensor.numel() and int(tensor.amin()) < 0:
        raise ValueError("got integers of 2**63 or more, expected smaller ones")
    return tensor


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
    """Some rows of an array that is read in parts: every file format has slices."""
    order = np.sort(chosen)
    starts = np.flatnonzero(np.diff(order, prepend=-2) != 1)
    read = [
        np.asarray(values[int(run[0]) : int(run[-1]) + 1]) for run in np.split(order, starts[1:])
    ]
    return np.concatenate(read)[np.searchsorted(order, chosen)]
