"""A step of training as one CUDA graph, which ``aebook.fit`` makes of it, beside the step as it is.

Every variant is trained in both ways from the same seed, with a batch at the end that is smaller,
with settings that change, and from a checkpoint. It stops if any weight differs in any bit. Then
both ways take turns in epochs of 100 batches; the median of those after the third counts. The
loop by hand is captured too: gather, forward, backward, and a fused Adam with its rate in a tensor.

    python benchmarks/accelerator.py [--batches 128 512 2048] [--rounds 3]
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import torch
from measure import Row, arguments, in_turn, report, rounded
from torch import Tensor, nn

import aebook
from aebook import corruptions, distances, variants

WIDE = (784, 256, 32)
MAKE: dict[str, Callable[[], aebook.Objective]] = {
    "plain": lambda: variants.plain(WIDE),
    "tied": lambda: variants.plain(WIDE, tied=True),
    "denoising": lambda: variants.denoising(WIDE, corruptions.masking(0.3)),
    "salt and pepper": lambda: variants.denoising(WIDE, corruptions.salt_and_pepper(0.3)),
    "sparse, KL": lambda: variants.sparse(WIDE, 0.1),
    "sparse, L1": lambda: variants.sparse(WIDE, 0.1, kind="l1"),
    "k-sparse": lambda: variants.k_sparse((784, 256), 25),
    "contractive": lambda: variants.contractive(WIDE, 0.1, tied=False),
    "Hutchinson": lambda: variants.contractive(WIDE, 0.1, kind="hutchinson", tied=False),
    "variational": lambda: variants.variational(WIDE),
    "variational, σ": lambda: variants.variational(
        WIDE, distance=distances.Gaussian(kind="optimal")
    ),
    "binary": lambda: variants.binary(WIDE, kind="bernoulli"),
    "concrete": lambda: variants.concrete((784, 32, 256)),
    "convolutional": lambda: variants.plain(
        (
            nn.Sequential(
                nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(),
                nn.Linear(1352, 32),
            ),
            nn.Linear(32, 784),
        )
    ),
    "batch norm, dropout": lambda: variants.plain(
        (
            nn.Sequential(nn.Linear(784, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.1)),
            nn.Linear(256, 784),
        )
    ),
}  # fmt: skip


@contextlib.contextmanager
def as_it_is() -> Iterator[None]:
    """Within it no step is captured."""
    with patch("aebook.training.loop.possible", lambda *_: False):
        yield


def both(train: Callable[[], list[Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """What training gives, captured and as it is."""
    captured = train()
    with as_it_is():
        return captured, train()


def apart(first: list[Tensor], second: list[Tensor]) -> float:
    """The largest difference of weights."""
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


def change(objective: aebook.Objective, t: float) -> None:
    """Settings move: λ at every step, the k of top-k twice."""
    for name in objective.penalties:
        objective.set_weight(name, 0.1 * (1 - t / 2))
    if hasattr(objective.model.bottleneck, "set_k"):
        objective.model.bottleneck.set_k(30 - int(2 * t))


def weights(name: str, x: Tensor, way: str) -> list[Tensor]:
    """Weights and running statistics after three epochs."""
    torch.manual_seed(0)
    objective = MAKE[name]()
    options = {"batch_size": 512, "seed": 1, "progress": False, "device": "cuda"}
    if way == "settings":
        options |= {"anneal": change, "clip": 1.0, "validation": x[:600], "patience": 9}
    elif way == "bfloat16":
        options |= {"precision": torch.bfloat16}
    elif way == "weights":
        options |= {"sample_weight": torch.arange(1.0, len(x) + 1)}
    with tempfile.TemporaryDirectory() as folder:
        if way == "checkpoint":
            options |= {"checkpoint": Path(folder) / "run"}
            stop = {"callback": lambda objective, history: len(history) == 2}
            aebook.fit(objective, x, epochs=4, **options, **stop)
            torch.manual_seed(0)
            objective = MAKE[name]()
        aebook.fit(objective, x, epochs=4, **options)
    return [value.cpu().float() for value in objective.state_dict().values()]


def by_hand(x: Tensor, batch: int, epochs: int) -> float:
    """Seconds of an epoch of the loop by hand, captured."""
    device = torch.device("cuda")
    torch.manual_seed(0)
    model = MAKE["plain"]().model.to(device).train()
    rate = torch.tensor(0.01, device=device)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate, fused=True, capturable=True)
    x = x.to(device)
    chosen, total = torch.arange(batch, device=device), torch.zeros((), device=device)

    def step() -> None:
        b = x[chosen]
        loss = (model.decoder(model.encoder(b)) - b).square().sum(1).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        total.add_(loss.detach())

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        for part in torch.randperm(len(x), device=device).split(batch):
            chosen.copy_(part)
            graph.replay()
        total.item()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def epoch(name: str, x: Tensor, batch: int, epochs: int, **options: object) -> float:
    """Seconds of an epoch of ``fit``."""
    torch.manual_seed(0)
    settings = {"batch_size": batch, "device": "cuda", "progress": False, **options}
    history = aebook.fit(MAKE[name](), x, epochs=epochs + 3, **settings)
    return statistics.median(history.seconds[3:])


def compared(x: Tensor) -> list[str]:
    """Train all in both ways, and name those whose weights differ."""
    # of convolutions cuDNN has faster kernels that give other bits each time
    torch.backends.cudnn.deterministic = True
    different = []
    for name in MAKE:
        for way in ("plain", "settings", "bfloat16", "weights", "checkpoint"):
            try:
                off = apart(*both(lambda: weights(name, x, way)))  # noqa: B023
            except (RuntimeError, ValueError) as error:
                off = str(error).splitlines()[0]
            if off:
                different.append(f"{name}, {way}")
                print(f"{name}, {way}: weights apart by {off}", flush=True)
    print(f"{5 * len(MAKE) - len(different)} of {5 * len(MAKE)} runs equal to the bit", flush=True)
    return different


def main() -> None:
    """Compare weights, then seconds, and print a table."""
    options = arguments(__doc__, batches=[128, 512, 2048], rounds=3, epochs=5)
    if not torch.cuda.is_available():
        print("no GPU of NVIDIA here: nothing to measure")
        return
    device = torch.cuda.get_device_name()
    g = torch.Generator().manual_seed(0)
    different = compared(torch.rand(2_100, 784, generator=g))
    rows: list[Row] = []
    for batch in options.batches:
        x = torch.rand(100 * batch, 784, generator=g)
        for name in MAKE if batch == 512 else ("plain", "variational"):
            seconds: dict[str, list[float]] = {"as it is": [], "captured": [], "by hand": []}
            for number in range(options.rounds):
                for way in in_turn(seconds, number):
                    if way == "by hand":
                        if name == "plain":
                            seconds[way].append(by_hand(x, batch, options.epochs + 3))
                    elif way == "captured":
                        seconds[way].append(epoch(name, x, batch, options.epochs))
                    else:
                        with as_it_is():
                            seconds[way].append(epoch(name, x, batch, options.epochs))
            step = {w: 10 * statistics.median(s) for w, s in seconds.items() if s}
            ratio = step["captured"] / step["as it is"]
            rows.append({
                "objective": name, "batch": batch,
                **{f"{w}, ms a step": rounded(step[w]) if w in step else "" for w in seconds},
                "captured / as it is": rounded(ratio),
            })  # fmt: skip
            print(rows[-1], flush=True)
    report("accelerator", rows, options, device=device)
    if different:
        raise SystemExit(f"weights differ: {', '.join(different)}")


if __name__ == "__main__":
    main()
