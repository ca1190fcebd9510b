"""Targets that a decoder cannot reach, whatever its weights are."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

from aebook._internal.modes import unshared
from aebook._internal.randomness import seeded
from aebook.core import Autoencoder
from aebook.inference import evaluating

__all__ = ["output_range", "warn_beyond_reach"]

#: The last operation of a decoder, and where its values lie.
RANGES = {
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
}
#: Operations that leave values as they are.
SHAPES = {"view", "reshapealias", "unsafeview", "squeeze", "unsqueeze", "permute", "transpose"}
SHAPES |= {"expand", "clone", "alias", "t", "tocopy", "select", "slice"}
#: Rounding, and what resampled data overshoots by without harm.
TOLERANCE = 1e-3


def output_range(decoder: nn.Module, code: Tensor) -> tuple[str, float, float] | None:
    """The last operation of a decoder, and the least and largest value that it gives.

    Read off the graph that PyTorch records, so that it is found in a chain of layers as well as in
    a ``forward`` of any other kind; None if it is none of the known ones.

    Parameters
    ----------
    decoder
        The decoder.
    code
        What it can take, (B, ...).

    Examples
    --------
    >>> from aebook.training.reach import output_range
    >>> decoder = aebook.networks.mlp((2, 8), output=torch.nn.Sigmoid)
    >>> output_range(decoder, torch.rand(5, 2))
    ('sigmoid', 0.0, 1.0)
    """
    with torch.enable_grad():
        code = code.detach().requires_grad_(code.is_floating_point())
        step = decoder(unshared(decoder, code)).grad_fn
    while step is not None:
        # SigmoidBackward0, UnsafeViewBackward0
        name = step.name().partition("Backward")[0].lower()
        if name not in SHAPES:
            return (name, *RANGES[name]) if name in RANGES else None
        step = step.next_functions[0][0]
    return None


def warn_beyond_reach(
    objective: nn.Module,
    extremes: tuple[float, float],
    x: Tensor,
    target: Tensor | None,
    *,
    stacklevel: int,
) -> bool:
    """Say that targets lie where the decoder cannot go; True if there was reason to.

    Parameters
    ----------
    objective
        What is trained.
    extremes
        The least and the largest value of the targets.
    x, target
        Some of the messages and targets, on the objective's device.
    stacklevel
        Who is told, as in :func:`warnings.warn`.
    """
    low, high = extremes
    model = next((part for part in objective.modules() if isinstance(part, Autoencoder)), None)
    # numbers of symbols are no values, and every decoder that is known here reaches [0, 1]
    values = (x if target is None else target).is_floating_point()
    if model is None or not values or (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        return False
    with evaluating(model), torch.no_grad(), seeded(0, x.device):
        found = output_range(model.decoder, model.encode(x))
    if found is not None:
        name, least, most = found
        room = TOLERANCE * (1 + max(abs(low), abs(high)))
        if low < least - room or high > most + room:
            where = f"in [{least:g}, {most:g}]" if math.isfinite(most) else f"{least:g} or more"
            warnings.warn(
                f"got targets from {low:.4g} to {high:.4g} and a decoder that ends in {name}, "
                f"whose values are {where}: it cannot reach them. Leave that out (output=None), or "
                "scale the data",
                stacklevel=stacklevel,
            )
            return True
    return False
