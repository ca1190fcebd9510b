"""How scores are computed: a few messages at a time, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from aebook._internal.checks import check_arguments
from aebook.bottlenecks import Posterior
from aebook.core import Objective
from aebook.theory.likelihood import _draws, _posterior
from aebook.training.batches import Batches

__all__ = ["Shared", "finite", "in_pieces", "mean_distance", "with_posterior"]


class Shared(Posterior):
    """A posterior that draws with the same noise for all messages."""

    def sample(self) -> Tensor:
        """Draw z = μ + σ ε, the same ε for each message."""
        return self.mean + (self.log_variance / 2).exp() * torch.randn_like(self.mean[:1])


def in_pieces(
    objective: nn.Module, x: ArrayLike, chunk: int, score: Callable[[Tensor], Tensor]
) -> Tensor:
    """Apply a function to a few messages at a time, in evaluation mode, without gradients."""
    check_arguments(chunk=chunk)
    if not all(p.isfinite().all() for p in objective.parameters()):
        raise ValueError("the model has weights that are NaN or infinite, expected finite ones")
    weight = next(objective.parameters())
    kind = {"dtype": weight.dtype, "device": weight.device}
    was = objective.training
    objective.eval()
    try:
        with torch.no_grad():
            pieces = Batches(x, None, shuffle=False, default=int(chunk), **kind)
            return torch.cat([score(piece) for piece, _ in pieces])
    finally:
        objective.train(was)


def with_posterior(
    objective: Objective,
    x: ArrayLike,
    samples: int,
    seed: int,
    chunk: int,
    score: Callable[[Tensor, Posterior], Tensor],
) -> Tensor:
    """The same for a function of messages and posteriors, with the seed set for each piece."""
    check_arguments(seed=seed)

    def seeded_score(piece: Tensor) -> Tensor:
        with _posterior(objective, piece, samples, seed) as q:
            return finite(score(piece, Shared(*q)))

    return in_pieces(objective, x, chunk, seeded_score)


def finite(scores: Tensor) -> Tensor:
    """Rank highest what overflowed although weights and message are finite."""
    largest = torch.finfo(scores.dtype).max
    return scores.nan_to_num(nan=largest, posinf=largest)


def mean_distance(
    objective: Objective, x: Tensor, q: Posterior, samples: int, chunk: int
) -> Tensor:
    """The mean of -log p(x|z) over codes drawn from q, (B,)."""
    return sum(d.sum(0) for _, d in _draws(objective, q, x, samples, chunk)) / samples
