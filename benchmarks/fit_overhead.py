"""What ``aebook.fit`` costs over the same loop written by hand.

Both train the same network, 784-256-32 and back, on the shipped Fashion-MNIST with fused Adam, the
images in memory and in the same order. They take turns in one process, so that whatever else the
machine does falls on both alike, and must end with the same weights to the bit. On one thread the
clock counts the processor's time, which other processes disturb less; on more it is the wall's.

    python benchmarks/fit_overhead.py [--rounds 9] [--sizes 64 128 256 1024 4096] [--threads 1]
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

import aebook

LR = 1e-3


def by_hand(objective: aebook.Objective, images: Tensor, epochs: int, batch_size: int) -> None:
    """Train with nothing that is not needed."""
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(objective.parameters(), lr=LR, fused=True)
    objective.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch_size):
            loss = objective(images[chosen]).total
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()


def with_fit(objective: aebook.Objective, images: Tensor, epochs: int, batch_size: int) -> None:
    """Train with the package."""
    aebook.fit(
        objective,
        images,
        epochs=epochs,
        batch_size=batch_size,
        lr=LR,
        device="cpu",
        progress=False,
    )


def clock() -> float:
    """Seconds of processor time on one thread, of wall time on more."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def compare(
    images: Tensor, batch_size: int, epochs: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds an epoch of each round, by hand and with fit; the two take turns in going first."""
    torch.manual_seed(0)
    start = aebook.variants.plain((784, 256, 32))
    seconds: dict[str, list[float]] = {"by_hand": [], "with_fit": []}
    for number in range(rounds):
        trained = {}
        order = [by_hand, with_fit] if number % 2 == 0 else [with_fit, by_hand]
        for train in order:
            objective = copy.deepcopy(start)
            started = clock()
            train(objective, images, epochs, batch_size)
            seconds[train.__name__].append((clock() - started) / epochs)
            trained[train.__name__] = objective.state_dict()
        for name, weight in trained["by_hand"].items():
            if not torch.equal(weight, trained["with_fit"][name]):
                raise SystemExit(f"{name} differs: these are not the same loop")
    return seconds["by_hand"], seconds["with_fit"]


def processor() -> str:
    """The name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Measure every batch size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 1024, 4096])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each round")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = aebook.datasets.fashion_mnist().images[: options.samples]

    print(f"{processor()}, {torch.get_num_threads()} thread(s), PyTorch {torch.__version__}, ")
    print(
        f"{len(images)} images, medians of {options.rounds} rounds of {options.epochs} epoch(s)\n"
    )
    print("| batch | by hand, s/epoch | fit, s/epoch | ratio of pairs | quartiles |")
    print("|---:|---:|---:|---:|---:|")
    # the first steps of a process are slow, whoever makes them
    compare(images[:2048], 128, 1, 1)
    for size in options.sizes:
        hand, fit = compare(images, size, options.epochs, options.rounds)
        ratios = [b / a for a, b in zip(hand, fit, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        print(
            f"| {size} | {statistics.median(hand):.3f} | {statistics.median(fit):.3f} "
            f"| {middle:.3f} | {low:.3f}–{high:.3f} |",
            flush=True,
        )
    print("\nThe weights were the same to the bit in every round.")


if __name__ == "__main__":
    main()
