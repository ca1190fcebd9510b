"""What the contractive penalty costs: against ``vmap(jacrev)``, and against a plain step.

Encoder 784-512-64 at batch 256. All contenders take turns in one process, and the medians count.
The norm and its gradient, forward and backward, are timed: ``vmap(jacrev)``, the exact norm, one
gradient a code unit. A step of training is forward and backward of the whole objective: plain,
and with the estimate. On one thread the clock counts the processor's time, on more the wall's.

    OMP_NUM_THREADS=1 python benchmarks/contractive.py [--rounds 9] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

import aebook
from aebook.jacobian import _by_autograd, squared_norm


def clock() -> float:
    """Seconds of processor time on one thread, of wall time on more."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def by_jacrev(encoder: nn.Module, x: Tensor) -> Tensor:
    """The squared norm, (B,), from whole Jacobians."""
    jacobians = vmap(jacrev(lambda v: encoder(v[None])[0]))(x)
    return jacobians.square().sum((1, 2))


def interleaved(runs: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, float]:
    """Median seconds of each, forward and backward; the order turns round with every round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name in list(runs) if number % 2 else reversed(runs):
            started = clock()
            runs[name]().mean().backward()
            seconds[name].append(clock() - started)
    # the first round warms up
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def main() -> None:
    """Measure three encoders and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    x = aebook.datasets.fashion_mnist().images[:256]

    print(f"{torch.get_num_threads()} thread(s), PyTorch {torch.__version__}, milliseconds\n")
    print("| hidden, code | jacrev | exact | ratio | by unit | plain step | estimate | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    kinds = {
        "sigmoid, sigmoid": (nn.Sigmoid, nn.Sigmoid),
        "ReLU, sigmoid": (nn.ReLU, nn.Sigmoid),
        "SiLU, tanh": (nn.SiLU, nn.Tanh),
        "ReLU, linear": (nn.ReLU, None),
    }
    for label, (activation, code) in kinds.items():
        torch.manual_seed(0)
        plain = aebook.variants.plain((784, 512, 64), activation=activation, code=code)
        encoder = plain.model.encoder
        penalty = {"contractive": (0.1, aebook.penalties.contractive("hutchinson"))}
        estimating = aebook.Objective(plain.model, penalties=penalty)
        torch.testing.assert_close(squared_norm(encoder, x), by_jacrev(encoder, x))
        runs = {
            "jacrev": lambda encoder=encoder: by_jacrev(encoder, x),
            "exact": lambda encoder=encoder: squared_norm(encoder, x),
            "units": lambda encoder=encoder: _by_autograd(encoder, x, None),
        }
        t = interleaved(runs, options.rounds)
        steps = {
            "plain": lambda plain=plain: plain(x).total,
            "estimate": lambda estimating=estimating: estimating(x).total,
        }
        t |= interleaved(steps, 5 * options.rounds)
        t = {name: 1000 * value for name, value in t.items()}
        print(
            f"| {label} | {t['jacrev']:.0f} | {t['exact']:.0f} | {t['exact'] / t['jacrev']:.2f} "
            f"| {t['units']:.0f} | {t['plain']:.1f} | {t['estimate']:.1f} "
            f"| {t['estimate'] / t['plain']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
