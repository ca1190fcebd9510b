"""Dense against sparse decode of k-sparse codes: the decoder alone, and a whole step of training.

The two take turns in one process, so that whatever else the machine does falls on both alike; the
table shows medians. On one thread the clock counts the processor's time. Both must give the same
outputs and gradients.

    python benchmarks/sparse_decode.py [--units 4096 16384 65536] [--k 32] [--rounds 9]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from measure import arguments, medians, report, rounded, turns
from torch import Tensor, nn

import aebook
from aebook.sparse import SparseLinear


def decoders(codes: Tensor, m: int) -> tuple[dict[str, Callable[[], object]], ...]:
    """Forward, and forward with backward, of two decoders with the same weights."""
    sparse = SparseLinear(codes.shape[1], m)
    dense = nn.Linear(codes.shape[1], m)
    with torch.no_grad():
        dense.weight.copy_(sparse.weight.T)
        dense.bias.copy_(sparse.bias)

    def run(layer: nn.Module) -> list[Tensor]:
        z = codes.detach().requires_grad_()
        out = layer(z)
        grads = torch.autograd.grad(out.square().sum(), [z, *layer.parameters()])
        return [out.detach(), *grads]

    (out, dz, dw, db), expected = run(sparse), run(dense)
    expected[1] *= codes != 0  # what the top k passes on
    for found, value in zip((out, dz, dw.T, db), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-3 * float(value.abs().max()))
    pair = {"dense": dense, "sparse": sparse}
    forward = {name: lambda layer=layer: decode(layer, codes) for name, layer in pair.items()}
    return forward, {name: lambda layer=layer: run(layer) for name, layer in pair.items()}


@torch.no_grad()
def decode(layer: nn.Module, codes: Tensor) -> Tensor:
    """Forward alone, as after training."""
    return layer(codes)


def steps(x: Tensor, n: int, k: int) -> dict[str, Callable[[], object]]:
    """One step of training, encoder and top-k included."""
    made = {}
    for name, sparse_decode in (("dense", False), ("sparse", True)):
        torch.manual_seed(0)
        objective = aebook.variants.k_sparse((x.shape[1], n), k, sparse_decode=sparse_decode)
        optimiser = torch.optim.Adam(objective.parameters(), lr=1e-3, fused=True)

        def step(objective: aebook.Objective = objective, optimiser: object = optimiser) -> None:
            objective(x).total.backward()
            optimiser.step()
            optimiser.zero_grad()

        made[name] = step
    return made


def main() -> None:
    """Measure every width and print a table."""
    options = arguments(__doc__, units=[4096, 16384, 65536], k=32, outputs=784, batch=128, rounds=9)
    torch.manual_seed(0)
    x = torch.rand(options.batch, options.outputs)
    rows = []
    for n in options.units:
        codes = aebook.bottlenecks.TopK(options.k)(torch.randn(options.batch, n))
        forward, both = decoders(codes, options.outputs)
        for what, work in (
            ("decoder, forward", forward),
            ("decoder, forward + backward", both),
            ("step of training with Adam", steps(x, n, options.k)),
        ):
            ms = medians(turns(work, options.rounds), 1e-3)
            rows.append(
                {
                    "units": n,
                    "what": what,
                    "dense_ms": rounded(ms["dense"]),
                    "sparse_ms": rounded(ms["sparse"]),
                    "dense/sparse": rounded(ms["dense"] / ms["sparse"]),
                }
            )
    report("sparse_decode", rows, options)


if __name__ == "__main__":
    main()
