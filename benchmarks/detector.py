"""``AutoencoderDetector`` beside PyOD's autoencoder, each with its defaults, on a large table.

Samples near a surface of three dimensions in twenty, float32; five in a hundred are off it.
Both are told that share and train on all of them. Time is that of ``fit`` and of scores of all
samples, which PyOD's ``fit`` computes; the area under the ROC curve is that of these scores.

    OMP_NUM_THREADS=1 python benchmarks/detector.py [--samples 1000000] [--rounds 1]

``pip install -e '.[bench]'`` brings PyOD.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from measure import Row, arguments, clock, in_turn, report, rounded
from sklearn.metrics import roc_auc_score

from aebook.estimators import AutoencoderDetector

CONTAMINATION = 0.05


def table(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples (N, 20), float32, and which of them are outliers."""
    random = np.random.default_rng(seed)
    inner, outer = random.normal(size=(3, 40)), random.normal(size=(40, 20))
    surface = np.tanh(random.normal(size=(n, 3)) @ inner) @ outer
    odd = random.random(n) < CONTAMINATION
    off = np.where(odd, 1.0, 0.3)[:, None] * random.normal(size=surface.shape)
    return (surface + off).astype(np.float32), odd


def with_aebook(x: np.ndarray, seed: int) -> np.ndarray:
    """The errors of this package's detector."""
    detector = AutoencoderDetector(contamination=CONTAMINATION, random_state=seed, device="cpu")
    return -detector.fit(x).score_samples(x)


def with_pyod(x: np.ndarray, seed: int) -> np.ndarray:
    """The errors of PyOD's."""
    from pyod.models.auto_encoder import AutoEncoder

    detector = AutoEncoder(contamination=CONTAMINATION, random_state=seed, verbose=0)
    return detector.fit(x).decision_scores_


CONTESTANTS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "AutoencoderDetector": with_aebook,
    "PyOD": with_pyod,
}


def main() -> None:
    """Let both train, and print a table."""
    options = arguments(__doc__, samples=1_000_000, rounds=1)
    # the first steps of a process are slow, whoever makes them
    for train in CONTESTANTS.values():
        train(table(1000, 0)[0], 0)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    for number in range(options.rounds):
        x, odd = table(options.samples, number)
        for name in in_turn(CONTESTANTS, number):
            started = clock()
            errors = CONTESTANTS[name](x, number)
            found[name].append((clock() - started, float(roc_auc_score(odd, errors))))
    rows: list[Row] = [
        {
            "contestant": name,
            "samples": options.samples,
            "seconds": rounded(float(np.median([seconds for seconds, _ in each]))),
            "area": rounded(float(np.median([area for _, area in each]))),
        }
        for name, each in found.items()
    ]
    report("detector", rows, options, pyod=version("pyod"))


if __name__ == "__main__":
    main()
