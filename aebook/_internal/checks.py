"""Arguments that several functions take: their checks, and the way to NumPy."""

from __future__ import annotations

import importlib
import math
import numbers
from collections.abc import Collection
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "INTEGERS",
    "as_array",
    "check_arguments",
    "check_weights",
    "need",
    "number",
    "one_of",
    "whole",
    "whole_numbers",
]

#: What to do with integers where numbers are expected.
INTEGERS = (
    "of images divide the float by the largest possible value, bytes by 255 and 16 bits by 65535 "
    "(x.float() / 255); numbers of symbols need an encoder that begins with an nn.Embedding"
)


def as_array(values: Any) -> NDArray[Any]:
    """NumPy's view of an array, a tensor on any device, or a list."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A whole number as an int: 3, 3.0 and NumPy's 3, but no truth value."""
    fits = _is_number(value) and value == int(value) and value >= least
    if not fits or (most is not None and value > most):
        asked = f", {least} or more" if most is None else f" from {least} to {most}"
        raise ValueError(f"got {name}={value!r}, expected a whole number{asked}")
    return int(value)


def whole_numbers(name: str, values: Any, count: int) -> tuple[int, ...]:
    """``count`` or more whole numbers, each 1 or more."""
    try:
        checked = tuple(whole(name, value) for value in values)
    except (TypeError, ValueError):
        checked = ()
    if len(checked) < count:
        raise ValueError(
            f"got {name}={values!r}, expected at least {count} whole numbers, each 1 or more"
        )
    return checked


def number(name: str, value: Any, least: float | None = None, below: float | None = None) -> float:
    """A finite number as a float: ``least`` or more, or, without it, above 0."""
    fits = _is_number(value) and (value > 0 if least is None else value >= least)
    if not fits or (below is not None and value >= below):
        asked = " above 0" if least is None else f", {least} or more"
        asked += "" if below is None else f" and below {below}"
        raise ValueError(f"got {name}={value!r}, expected a finite number{asked}")
    return float(value)


def one_of(name: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse what is none of the choices."""
    if not any(value is choice or value == choice for choice in choices):
        *first, last = map(repr, choices)
        raise ValueError(f"got {name}={value!r}, expected {', '.join(first)} or {last}")


def check_weights(sample_weight: Any, samples: int) -> NDArray[np.float64]:
    """Weights of samples, (N,), float64: finite, 0 or more, not all zero."""
    try:
        weights = np.asarray(as_array(sample_weight), dtype=np.float64)
    except (TypeError, ValueError):
        weights = np.empty(0)
    fits = weights.shape == (samples,) and np.isfinite(weights).all()
    if not (fits and (weights >= 0).all() and (weights > 0).any()):
        given = f"shape {weights.shape}" if weights.size else f"type {type(sample_weight).__name__}"
        raise ValueError(
            f"got sample_weight of {given} for {samples} samples, expected one finite number each, "
            "0 or more, not all zero"
        )
    return weights


def check_arguments(**arguments: Any) -> None:
    """Refuse, by the name of an argument, a value that makes no sense for it; None is fine."""
    for name, value in arguments.items():
        if value is None:
            continue
        if name == "precision":
            one_of(name, value, (torch.bfloat16, torch.float16))
        elif name in ("lr", "clip", "tolerance"):
            number(name, value)
        else:
            whole(name, value, least=0 if name in ("epochs", "seed") else 1)


def need(module: str, package: str, extra: str) -> ModuleType:
    """Import a module of a package that an extra installs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'this needs {package}, which is not installed: pip install "aebook[{extra}]"'
        ) from error


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool | np.bool_)
        and math.isfinite(value)
    )
