"""Measure rate, schedule and batch of `aebook.fit` over a grid: what its defaults were chosen on.

    python tools/choose_defaults.py                     the grid, then the table
    python tools/choose_defaults.py --epochs 30 --batches 64    fewer settings, longer runs
    python tools/choose_defaults.py --table FILE        a table from what was measured

Every variant is trained on 4,000 messages and judged by its loss on 1,000 others of the training
split, for each setting of the grid; half an hour or so. A setting's regret on a task is
the ratio of its loss to the lowest that any setting of the grid reached on it in as many epochs,
less 1. Good defaults have a small regret on the mean of the tasks, and no large one on any.
"""

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import aebook
from aebook import variants
from aebook.corruptions import gaussian, masking
from aebook.training import annealing, schedules

RATES = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
SCHEDULES = ("constant", "cosine", "one_cycle")
BATCHES = (64, 128, 256)
TRAIN, HELD_OUT = 4000, 1000


def pictures() -> Tensor:
    """Clothes in [0, 1]."""
    images, _ = aebook.datasets.fashion_mnist()
    return images[: TRAIN + HELD_OUT]


def table() -> Tensor:
    """Satellite readings, each feature at mean 0 and variance 1."""
    numbers = aebook.datasets.satellite().features
    numbers = numbers[torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0))]
    numbers = numbers[: TRAIN + HELD_OUT]
    return (numbers - numbers[:TRAIN].mean(0)) / numbers[:TRAIN].std(0)


def counts() -> tuple[Tensor, Tensor]:
    """Words in definitions, and their shares."""
    from sklearn.feature_extraction.text import CountVectorizer

    texts = aebook.datasets.glosses().texts[: TRAIN + HELD_OUT]
    counter = CountVectorizer(stop_words="english", max_features=1000)
    seen = torch.from_numpy(counter.fit_transform(texts).toarray().astype(np.float32))
    return seen.log1p(), seen / seen.sum(1, keepdim=True).clamp_min(1)


def tasks() -> Iterator[tuple]:
    """Name, data, objective and annealing of each."""
    images, numbers, words = pictures(), table(), counts()
    plain = variants.plain
    yield "plain", images, lambda: plain((784, 256, 32)), None
    yield "plain, narrow", images, lambda: plain((784, 128, 16)), None
    yield "plain, deep", images, lambda: plain((784, 512, 256, 64, 16)), None
    yield "linear", images, lambda: variants.linear((784, 32)), None
    yield "tied", images, lambda: plain((784, 256, 32), tied=True), None
    yield "denoising", images, lambda: variants.denoising((784, 256, 64), gaussian(0.3)), None
    yield "contractive", images, lambda: variants.contractive((784, 128), 0.1), None
    yield "k-sparse", images, lambda: variants.k_sparse((784, 256), 25), None
    yield "KL sparse", images, lambda: variants.sparse((784, 256), 1.0), None
    yield "variational", images, lambda: variants.variational((784, 256, 10)), None
    yield "binary", images, lambda: variants.binary((784, 256, 32)), None
    yield "concrete", images, lambda: variants.concrete((784, 128, 30)), annealing()
    yield "table", numbers, lambda: plain((36, 24, 6), output=None), None
    yield (
        "table, denoising",
        numbers,
        lambda: variants.denoising((36, 64, 12), masking(0.2), output=None),
        None,
    )
    distance = aebook.distances.categorical
    yield "counts", words, lambda: plain((1000, 64), output=None, distance=distance), None


def parts(data: Tensor | tuple[Tensor, ...], rows: slice) -> Any:
    """The same rows of data, or of both members of a pair."""
    return tuple(part[rows] for part in data) if isinstance(data, tuple) else data[rows]


def measure(
    out: Path, lengths: list[int], rates: list[float], names: list[str], batches: list[int]
) -> list[dict]:
    """Train everything; keep each result as soon as it is there."""
    torch.set_num_threads(1)
    found = json.loads(out.read_text("utf8")) if out.exists() else []
    done = {(r["task"], r["epochs"], r["lr"], r["schedule"], r["batch_size"]) for r in found}
    for name, data, make, anneal in tasks():
        train, held_out = parts(data, slice(TRAIN)), parts(data, slice(TRAIN, None))
        for epochs, lr, schedule, size in itertools.product(lengths, rates, names, batches):
            if (name, epochs, lr, schedule, size) in done:
                continue
            torch.manual_seed(0)
            objective = make()
            options = {"lr": lr, "schedule": getattr(schedules, schedule), "batch_size": size}
            try:
                aebook.fit(
                    objective, train, epochs=epochs, anneal=anneal, progress=False, **options
                )
                loss = aebook.evaluate(objective, held_out)["loss"]
            except FloatingPointError:
                loss = math.inf
            row = {"task": name, "epochs": epochs, "loss": loss}
            found.append({**row, **options, "schedule": schedule})
        out.write_text(json.dumps(found), "utf8")
        print(name, file=sys.stderr, flush=True)
    return found


def show(found: list[dict]) -> None:
    """Print the settings in order of their mean regret, with the worst task of each."""
    best: dict[tuple, float] = {}
    for r in found:
        key = r["task"], r["epochs"]
        best[key] = min(best.get(key, math.inf), r["loss"])
    regrets: dict[tuple, dict] = {}
    for r in found:
        key = r["task"], r["epochs"]
        setting = r["schedule"], r["lr"], r["batch_size"]
        regrets.setdefault(setting, {})[key] = r["loss"] / best[key] - 1
    print("schedule   rate   batch   mean   worst")
    for setting, regret in sorted(regrets.items(), key=lambda item: sum(item[1].values())):
        (task, epochs), worst = max(regret.items(), key=lambda item: item[1])
        schedule, lr, size = setting
        mean = sum(regret.values()) / len(regret)
        print(f"{schedule:10} {lr:<6} {size:<5} {mean:6.3f} {worst:7.3f}  {task}, {epochs} epochs")


def main() -> None:
    """Measure, or read what was measured, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="what was measured before")
    parser.add_argument("--out", type=Path, default=Path("defaults.json"), help="where to keep it")
    parser.add_argument("--epochs", type=int, nargs="+", default=[8])
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--schedules", nargs="+", default=SCHEDULES)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    given = parser.parse_args()
    if given.table:
        show(json.loads(given.table.read_text("utf8")))
    else:
        settings = given.epochs, given.rates, given.schedules, given.batches
        show(measure(given.out, *settings))


if __name__ == "__main__":
    main()
