"""How scores are computed: each message as if it were alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from aebook._internal.checks import check_arguments
from aebook.bottlenecks import Posterior
from aebook.core import Objective
from aebook.data import Data, like
from aebook.inference import in_pieces
from aebook.theory.likelihood import draws, posterior_of

__all__ = ["Shared", "finite", "mean_distance", "with_posterior"]


class Shared(Posterior):
    """A posterior that draws with the same noise for all messages."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw z = μ + σ ε, the same ε for each message."""
        noise = torch.empty_like(self.mean[:1]).normal_(generator=generator)
        return self.mean + (self.log_variance / 2).exp() * noise


def with_posterior(
    objective: Objective,
    x: Data,
    samples: int,
    seed: int,
    chunk: int,
    score: Callable[[Tensor, Posterior], Tensor],
) -> Any:
    """Scores from a function of targets and posteriors, with the seed set for each piece."""
    check_arguments(seed=seed)

    def seeded_score(piece: Tensor, target: Tensor) -> Tensor:
        with posterior_of(objective, piece, samples, seed, target) as q:
            return finite(score(target, Shared(*q)))

    return like(x, in_pieces(objective, x, chunk, seeded_score, targets=True))


def finite(scores: Tensor) -> Tensor:
    """Rank highest what overflowed although weights and message are finite."""
    largest = torch.finfo(scores.dtype).max
    return scores.nan_to_num(nan=largest, posinf=largest)


def mean_distance(
    objective: Objective, x: Tensor, q: Posterior, samples: int, chunk: int
) -> Tensor:
    """The mean of -log p(x|z) over codes drawn from q, (B,)."""
    distances = (d.sum(0) for _, d in draws(objective, q, x, samples, chunk))
    return cast(Tensor, sum(distances)) / samples
