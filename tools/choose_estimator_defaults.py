"""Measure rate, epochs and early stopping of the estimators: what their defaults were chosen on.

    python tools/choose_estimator_defaults.py                the grid, then the table
    python tools/choose_estimator_defaults.py --table FILE   a table from what was measured
    python tools/choose_estimator_defaults.py --only bent    those whose names have this in them

A detector is trained on ordinary samples of each table, with three seeds, and judged on others: by
their mean error, and by how well it tells them from the outliers, where the table has any. The
bent ones are made: three numbers behind twenty features, from 100 to 20,000 samples of training. A
setting's regret on a table is the ratio of its error to the lowest that any setting reached there,
less 1; good defaults have a small one on the mean of the tables, and no large one on any. Ten
minutes or so.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.metrics import roc_auc_score

from aebook import datasets
from aebook.estimators import AutoencoderDetector

RATES = (1e-3, 3e-3, 1e-2)
# epochs, and whether to stop early; the last is the default
LENGTHS = ((10, False), (30, False), (100, False), (200, False), (200, True), ("auto", "auto"))
SEEDS = (0, 1, 2)


def tables() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, ordinary samples and outliers of each, from small to large."""
    x, y = load_wine(return_X_y=True)
    yield "wine", x[y != 2], x[y == 2]
    x, y = load_breast_cancer(return_X_y=True)
    yield "breast cancer", x[y == 1], x[y == 0]
    x, _ = load_diabetes(return_X_y=True)
    yield "diabetes", x, x[:0]
    x, y = load_digits(return_X_y=True)
    yield "digits", x[y != 8], x[y == 8]
    for load in (datasets.satellite, datasets.shuttle):
        x, _, odd = load()
        yield load.__name__, x[~odd].numpy(), x[odd].numpy()
    yield from map(bent, (100, 1000, 20_000))


def bent(n: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Samples near a surface of three dimensions in twenty, and as many off it."""
    random = np.random.default_rng(n)
    inner, outer = random.normal(size=(3, 40)), random.normal(size=(40, 20))
    surface = np.tanh(random.normal(size=(2 * n, 3)) @ inner) @ outer
    x = surface + np.where(np.arange(2 * n) < 3 * n / 2, 0.3, 1.0)[:, None] * random.normal(
        size=surface.shape
    )
    return f"bent, {n}", x[: 3 * n // 2], x[3 * n // 2 :]


def measure(out: Path, only: str) -> list[dict]:
    """Train everything; keep each result as soon as it is there."""
    torch.set_num_threads(1)
    found = json.loads(out.read_text("utf8")) if out.exists() else []
    done = {(r["table"], *r["setting"], r["seed"]) for r in found}
    for name, ordinary, outliers in tables():
        if only not in name:
            continue
        for lr, (epochs, stop), seed in itertools.product(RATES, LENGTHS, SEEDS):
            if (name, lr, epochs, stop, seed) in done:
                continue
            x = ordinary[np.random.default_rng(seed).permutation(len(ordinary))]
            n = min(2 * len(ordinary) // 3, 20_000)
            options = {"lr": lr, "epochs": epochs, "early_stopping": stop, "random_state": seed}
            detector = AutoencoderDetector(novelty=False, device="cpu", **options).fit(x[:n])
            errors, odd = -detector.score_samples(x[n:]), outliers[:, 0]
            if len(outliers):
                odd = -detector.score_samples(outliers)
            truth = np.repeat([0, 1], [len(errors), len(odd)])
            found.append(
                {
                    "table": name,
                    "setting": [lr, epochs, stop],
                    "seed": seed,
                    "error": float(np.mean(errors)),
                    "auroc": roc_auc_score(truth, np.append(errors, odd)) if len(odd) else None,
                    "epochs_run": len(detector.history_),
                }
            )
            out.write_text(json.dumps(found), "utf8")
        print(name, file=sys.stderr, flush=True)
    return found


def show(found: list[dict]) -> None:
    """Print the settings in order of their mean regret, with the worst table of each."""
    means: dict[tuple, dict[str, float]] = {}
    for setting, table in itertools.product(
        sorted({tuple(r["setting"]) for r in found}, key=str),
        dict.fromkeys(r["table"] for r in found),
    ):
        same = [r for r in found if r["table"] == table and tuple(r["setting"]) == setting]
        means.setdefault(setting, {})[table] = float(np.mean([r["error"] for r in same]))
    best = {table: min(m[table] for m in means.values()) for table in next(iter(means.values()))}
    print("rate   epochs stops  mean   worst                 AUROC")
    for (lr, epochs, stop), errors in sorted(
        means.items(), key=lambda m: sum(m[1][table] / best[table] for table in best)
    ):
        regrets = {table: errors[table] / best[table] - 1 for table in best}
        worst = max(regrets, key=regrets.__getitem__)
        areas = [r["auroc"] for r in found if r["setting"] == [lr, epochs, stop] and r["auroc"]]
        print(
            f"{lr:<6} {epochs:<6} {stop!s:<6} {np.mean(list(regrets.values())):.3f}  "
            f"{regrets[worst]:6.3f} {worst:14} {np.mean(areas):.3f}"
        )


def main() -> None:
    """Measure, or read what was measured, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="what was measured before")
    parser.add_argument(
        "--out", type=Path, default=Path("estimators.json"), help="where to keep it"
    )
    parser.add_argument("--only", default="", help="which tables: a part of their names")
    given = parser.parse_args()
    show(
        json.loads(given.table.read_text("utf8")) if given.table else measure(given.out, given.only)
    )


if __name__ == "__main__":
    main()
