"""Warnings that point at the line of whoever uses the package."""

from __future__ import annotations

import inspect
import warnings

__all__ = ["warn"]

#: Packages that stand between such a line and us.
BETWEEN = {"aebook", "contextlib", "joblib", "sklearn", "torch"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn the caller of the package, however many functions lie between."""
    level, frame = 1, inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
