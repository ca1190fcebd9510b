"""Penalties Ω: each takes a :class:`aebook.core.Pass` and returns (B,), or a scalar.

A penalty joins an objective under a name and with a weight:
``Objective(model, penalties={"l2": (1e-3, weight_decay)})``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aebook.core import Pass

__all__ = ["weight_decay"]


def weight_decay(seen: Pass) -> Tensor:
    r"""Squared norm of the weights :math:`\sum_l \|W_l\|_F^2`, a scalar; biases are left alone.

    Unlike the ``weight_decay`` of an optimiser it is part of the loss, so its size is reported and
    a full-batch solver sees it too. A weight shared by encoder and decoder counts once.
    """
    weights = [p for p in seen.model.parameters() if p.dim() > 1]
    return torch.stack([w.square().sum() for w in weights]).sum()
