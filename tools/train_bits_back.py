"""Train the autoencoder of grey clothes that writes files, in aebook/applications/weights.

    python tools/train_bits_back.py              train three, print their scores, write the first
    python tools/train_bits_back.py FILE         write elsewhere

9,000 of the training images train, the last 1,000 validate. Everything random is seeded. It takes a
minute of one core for each of the three seeds. Weights are kept in half precision.
"""

import math
import sys
from pathlib import Path

import torch
from torch import Tensor

import aebook
from aebook.core import Objective
from aebook.distances import DiscretisedLogistic
from aebook.networks import mlp
from aebook.theory.likelihood import elbo
from aebook.training.schedules import one_cycle

FILE = Path(__file__).parents[1] / "aebook/applications/weights/bits-back-clothes.safetensors"


def trained(x: Tensor, seed: int, epochs: int = 40) -> Objective:
    """A variational autoencoder of images of bytes."""
    torch.manual_seed(seed)
    networks = mlp((784, 96, 32)), mlp((16, 96, 2 * 784), output=None)
    objective = aebook.variants.variational(networks, distance=DiscretisedLogistic())
    aebook.fit(
        objective,
        x,
        epochs=epochs,
        batch_size=64,
        lr=5e-3,
        schedule=one_cycle,
        seed=seed,
        device="cpu",
        progress=False,
    )
    return objective


def bits_a_pixel(objective: Objective, x: Tensor) -> float:
    """The bound, in bits."""
    return -elbo(objective, x, 10).mean().item() / math.log(2) / 784


def main() -> None:
    """Train, print the scores, save."""
    torch.set_num_threads(1)
    images = aebook.datasets.fashion_mnist().images
    test = aebook.datasets.fashion_mnist("test").images[:1000]
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    print("bits a pixel      validation   first 1,000 test images")
    for epochs, seed in ((20, 0), (40, 0), (40, 1), (40, 2)):
        objective = trained(images[:9000], seed, epochs)
        row = [bits_a_pixel(objective, part) for part in (images[9000:], test)]
        print(f"{epochs} epochs, seed {seed}   {row[0]:.3f}   {row[1]:.3f}", flush=True)
        if (epochs, seed) != (40, 0):
            continue
        aebook.save(objective.model.half(), path)
        objective.model.float()
        print(f"    in half precision: {bits_a_pixel(objective, test):.4f}")
        print(f"    {path.stat().st_size:,} bytes in {path}", flush=True)


if __name__ == "__main__":
    main()
