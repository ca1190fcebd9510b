"""``torch.compile`` and bfloat16 in ``aebook.fit``, beside what no compiler can save.

Each objective is trained in four ways that take turns: as it is, compiled, in bfloat16, and both.
The time of an epoch is the median of those after the first; what the first takes longer is the
compilation, which the cache of an earlier run would hide, so this one starts with an empty one. The
products of matrices that a step cannot do without are timed alone, with the same library: compiling
leaves them as they are, so their share of an epoch bounds what it can gain.

    OMP_NUM_THREADS=1 python benchmarks/compiled.py [--rounds 3] [--batches 64 1024]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable

import torch
from measure import Row, arguments, in_turn, report, rounded, turns
from torch import Tensor, nn

import aebook

WIDE, NARROW = (784, 256, 32), (36, 64, 32, 8)
MAKE: dict[str, Callable[[], aebook.Objective]] = {
    "plain": lambda: aebook.variants.plain(WIDE),
    "denoising": lambda: aebook.variants.denoising(WIDE, aebook.corruptions.masking(0.3)),
    "sparse": lambda: aebook.variants.sparse(WIDE, 0.1),
    "k-sparse": lambda: aebook.variants.k_sparse((784, 256), 25),
    "contractive": lambda: aebook.variants.contractive(WIDE, 0.1, code=nn.Sigmoid),
    "variational": lambda: aebook.variants.variational(WIDE),
    "plain, 36 columns": lambda: aebook.variants.plain(NARROW),
    "variational, 36 columns": lambda: aebook.variants.variational(NARROW),
}
WAYS = {
    "as it is": {},
    "compiled": {"compile": True},
    "bfloat16": {"precision": torch.bfloat16},
    "both": {"compile": True, "precision": torch.bfloat16},
}


def products(objective: aebook.Objective, x: Tensor, batch: int) -> Callable[[], None]:
    """The products of matrices of an epoch, forward and backward, and nothing else."""
    layers = [m for m in objective.modules() if isinstance(m, nn.Linear)]
    weights = [layer.weight.detach() for layer in layers]
    inputs = [torch.rand(batch, w.shape[1]) for w in weights]
    gradients = [torch.rand(batch, w.shape[0]) for w in weights]

    def epoch() -> None:
        for _ in range(len(x) // batch):
            for number, (w, h, g) in enumerate(zip(weights, inputs, gradients, strict=True)):
                h @ w.T
                g.T @ h
                # no gradient is asked of the data
                if number:
                    g @ w

    return epoch


def measure(name: str, x: Tensor, batch: int, epochs: int, rounds: int) -> list[Row]:
    """All ways of training one objective."""
    make = MAKE[name]
    (width,) = make().model.encoder.shape
    x = x[:, :width].contiguous()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    compilation: dict[str, float] = {}
    loss: dict[str, float] = {}
    for number in range(rounds):
        for way in in_turn(WAYS, number):
            torch.manual_seed(0)
            options = {"epochs": 1 + epochs, "batch_size": batch, "device": "cpu"}
            with warnings.catch_warnings():
                # PyTorch's own, of deprecations inside it
                warnings.simplefilter("ignore")
                history = aebook.fit(make(), x, progress=False, **options, **WAYS[way])
            typical = statistics.median(history.seconds[1:])
            seconds[way].append(typical)
            compilation.setdefault(way, history.seconds[0] - typical)
            loss[way] = history.loss[-1]
    floor = statistics.median(turns({"": products(make(), x, batch)}, 5)[""])
    best = {way: statistics.median(values) for way, values in seconds.items()}
    return [
        {
            "objective": name,
            "batch": batch,
            "way": way,
            "seconds": rounded(best[way]),
            "speedup": rounded(best["as it is"] / best[way]),
            "compilation": rounded(max(0.0, compilation[way])) if "compile" in WAYS[way] else 0.0,
            "products": rounded(floor / best["as it is"]),
            "loss": rounded(loss[way]),
        }
        for way in WAYS
    ]


def main() -> None:
    """Measure every objective at every batch size."""
    options = arguments(__doc__, rounds=3, batches=[64, 1024], epochs=4, samples=8192)
    x = aebook.datasets.fashion_mnist().images[: options.samples]
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for name in MAKE:
            for batch in options.batches:
                print(f"{name}, batch {batch} ...", file=sys.stderr)
                rows += measure(name, x, batch, options.epochs, options.rounds)
    report("compiled", rows, options)


if __name__ == "__main__":
    main()
