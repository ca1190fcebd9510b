"""Arguments that several functions take: their checks, and the way to NumPy."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["as_array", "check_arguments"]


def as_array(values: Any) -> NDArray[Any]:
    """NumPy's view of an array, a tensor on any device, or a list."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def check_arguments(**arguments: Any) -> None:
    """Refuse, by the name of an argument, a value that makes no sense for it; None is fine."""
    for name, value in arguments.items():
        if value is None:
            continue
        finite = isinstance(value, numbers.Real) and math.isfinite(value)
        if name == "precision":
            if value not in (torch.bfloat16, torch.float16):
                raise ValueError(
                    f"got precision={value!r}, expected torch.bfloat16 or torch.float16"
                )
        elif name in ("lr", "clip", "tolerance"):
            if not finite or value <= 0:
                raise ValueError(f"got {name}={value!r}, expected a finite number above 0")
        else:
            least = 0 if name in ("epochs", "seed") else 1
            if not finite or value != int(value) or value < least:
                raise ValueError(f"got {name}={value!r}, expected a whole number, {least} or more")
