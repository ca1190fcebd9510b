"""Measure how many new ordinary samples a detector calls outliers, where 5 % were promised.

    python tools/false_alarms.py

Three ways to a network and a threshold, on the same samples:

all     the threshold from scores of tenths of the samples, each by a network trained on the others,
        and a network that is then trained on all: this the detector does
tenths  the same threshold, and a network that is trained on nine of them
half    one network trained on a half, and the threshold from the other half

For each table and number of samples: the share of new ordinary samples called outliers, and
how well scores tell outliers from them, the area under the ROC curve; means over draws of the
samples, with standard errors over these. A star marks a share that is more than three of them away
from what was promised. A quarter of an hour on one core.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.metrics import roc_auc_score

from aebook.estimators import AutoencoderDetector
from aebook.metrics import threshold

PROMISED = 0.05
DRAWS = {35: 16, 100: 8, 200: 8, 300: 6, 1000: 4, 2000: 3}
FEATURES, RANK, NEW = 20, 3, 2000
WAYS = ("all", "tenths", "half")

Samples = np.ndarray


def noise(n: int, random: np.random.Generator, spread: float = 1.0) -> Samples:
    """Samples without any structure; outliers have a larger spread."""
    return spread * random.normal(size=(n, FEATURES))


def low_rank(n: int, random: np.random.Generator, spread: float = 0.1) -> Samples:
    """Samples near a plane of three dimensions; outliers are farther from it."""
    plane = np.random.default_rng(0).normal(size=(RANK, FEATURES))
    return random.normal(size=(n, RANK)) @ plane + noise(n, random, spread)


def draws(n: int) -> Iterator[tuple[str, Samples, Samples, Samples]]:
    """Name of the table, N samples, new ordinary ones, and outliers, time and again."""
    for name, loaded, odd in (("benign tumours", load_breast_cancer, 0), ("wine", load_wine, 2)):
        x, y = loaded(return_X_y=True)
        ordinary = x[y != odd]
        if n > 0.8 * len(ordinary):
            continue
        for seed in range(DRAWS[n]):
            some = ordinary[np.random.default_rng(seed).permutation(len(ordinary))]
            yield name, some[:n], some[n:], x[y == odd]
    for name, make, spread in (("noise", noise, 1.3), ("low rank", low_rank, 0.15)):
        for seed in range(DRAWS[n]):
            random = np.random.default_rng(seed)
            new = make(NEW, random), make(NEW, random, spread)
            yield name, make(n, random), *new


def measured(x: Samples, new: Samples, odd: Samples, seed: int) -> list[tuple[float, float]]:
    """The share of false alarms and the area, by each of the ways."""
    every = AutoencoderDetector(contamination=PROMISED, random_state=seed, device="cpu")
    plain = clone(every).set_params(novelty=False, early_stopping=len(x) >= 100)
    every.fit(x)
    most = clone(plain).fit(x[: -(len(x) // 10)])
    part = clone(plain).fit(x[::2])
    scores = np.sqrt(-part.score_samples(x[1::2]))
    quantile = min(1 - PROMISED, len(scores) / (len(scores) + 1))
    limit = -(threshold(scores, quantile=quantile, interpolate=True) ** 2)
    truth = np.repeat([1, 0], [len(new), len(odd)])
    found = []
    for detector, offset in ((every, every.offset_), (most, every.offset_), (part, limit)):
        ordinary, other = detector.score_samples(new), detector.score_samples(odd)
        area = roc_auc_score(truth, np.append(ordinary, other))
        found.append((float(np.mean(ordinary < offset)), float(area)))
    return found


def main() -> None:
    """Measure, and print a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", choices=DRAWS, default=list(DRAWS))
    torch.set_num_threads(1)
    print("table             N  draws" + "".join(f"  {way:>6}: alarms, area    " for way in WAYS))
    for n in parser.parse_args().samples:
        found: dict[str, list] = {}
        for name, *given in draws(n):
            seed = len(found.setdefault(name, []))
            found[name].append(measured(*given, seed=seed))
        for name, each in found.items():
            means = np.mean(each, axis=0)
            errors = np.std(each, axis=0, ddof=1) / np.sqrt(len(each))
            said = [
                f"  {100 * share:5.1f} ± {100 * error:3.1f} %"
                f"{'*' if abs(share - PROMISED) > 3 * error else ' '} {area:.3f} ± {off:.3f}"
                for (share, area), (error, off) in zip(means, errors, strict=True)
            ]
            print(f"{name:14} {n:5} {len(each):5} {''.join(said)}", flush=True)


if __name__ == "__main__":
    main()
