"""What the contractive penalty costs: against ``vmap(jacrev)``, and against a plain step.

Encoder 784-512-64 at batch 256. All contenders take turns in one process, and the medians count.
The norm and its gradient, forward and backward, are timed: ``vmap(jacrev)``, the exact norm, one
gradient a code unit. A step of training is forward and backward of the whole objective: plain,
and with the estimate.

    OMP_NUM_THREADS=1 python benchmarks/contractive.py [--rounds 9]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from measure import arguments, medians, report, rounded, turns
from torch import Tensor, nn
from torch.func import jacrev, vmap

import aebook
from aebook.jacobian import by_autograd, squared_norm


def by_jacrev(encoder: nn.Module, x: Tensor) -> Tensor:
    """The squared norm, (B,), from whole Jacobians."""
    jacobians = vmap(jacrev(lambda v: encoder(v[None])[0]))(x)
    return jacobians.square().sum((1, 2))


def both(value: Callable[[], Tensor]) -> Callable[[], None]:
    """Forward and backward."""
    return lambda: value().mean().backward()


def main() -> None:
    """Measure four encoders and print a table."""
    options = arguments(__doc__, rounds=9)
    x = aebook.datasets.fashion_mnist().images[:256]
    kinds = {
        "sigmoid, sigmoid": (nn.Sigmoid, nn.Sigmoid),
        "ReLU, sigmoid": (nn.ReLU, nn.Sigmoid),
        "SiLU, tanh": (nn.SiLU, nn.Tanh),
        "ReLU, linear": (nn.ReLU, None),
    }
    rows = []
    for label, (activation, code) in kinds.items():
        torch.manual_seed(0)
        plain = aebook.variants.plain((784, 512, 64), activation=activation, code=code)
        encoder = plain.model.encoder
        penalty = {"contractive": (0.1, aebook.penalties.contractive("hutchinson"))}
        estimating = aebook.Objective(plain.model, penalties=penalty)
        torch.testing.assert_close(squared_norm(encoder, x), by_jacrev(encoder, x))
        norms = {
            "jacrev": both(lambda encoder=encoder: by_jacrev(encoder, x)),
            "exact": both(lambda encoder=encoder: squared_norm(encoder, x)),
            "units": both(lambda encoder=encoder: by_autograd(encoder, x, None)),
        }
        steps = {
            "plain": both(lambda plain=plain: plain(x).total),
            "estimate": both(lambda estimating=estimating: estimating(x).total),
        }
        ms = medians(turns(norms, options.rounds), 1e-3)
        ms |= medians(turns(steps, 5 * options.rounds), 1e-3)
        rows.append(
            {
                "hidden, code": label,
                "jacrev_ms": rounded(ms["jacrev"]),
                "exact_ms": rounded(ms["exact"]),
                "exact/jacrev": rounded(ms["exact"] / ms["jacrev"]),
                "by_unit_ms": rounded(ms["units"]),
                "plain_step_ms": rounded(ms["plain"]),
                "estimate_step_ms": rounded(ms["estimate"]),
                "estimate/plain": rounded(ms["estimate"] / ms["plain"]),
            }
        )
    report("contractive", rows, options)


if __name__ == "__main__":
    main()
