"""Train the denoiser of photographs that ships with the package.

Data: nine photographs of scikit-image and scikit-learn, in grey, none of them used for testing; see
``aebook/applications/weights/README.md`` for their licences. One pass over 38,400 patches, damaged
by Gaussian noise of random strength: about two minutes on one core. The patches and the noise come
from fixed seeds.

    python tools/train_restoration.py [file]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import color, data, img_as_float, transform
from sklearn.datasets import load_sample_image

import aebook
from aebook.applications.images import cut, denoiser, random_level
from aebook.corruptions import gaussian

FILE = Path(__file__).parents[1] / "aebook/applications/weights/restoration-photographs.safetensors"
SIDE, PATCHES = 40, 38_400
TRAIN = ("brick", "gravel", "grass", "coins", "hubble_deep_field", "immunohistochemistry", "clock")
TEST = ("camera", "astronaut", "coffee", "chelsea")
LEVELS = (0.05, 0.1, 0.2)


def grey(image: NDArray) -> NDArray:
    """The luminance of an image, in [0, 1]."""
    image = img_as_float(image)
    return color.rgb2gray(image) if image.ndim == 3 else image


def photographs() -> list[NDArray]:
    """The photographs to learn from, at their own size and at six tenths of it."""
    images = [grey(getattr(data, name)()) for name in TRAIN]
    images += [grey(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    return images + [transform.rescale(image, 0.6, anti_aliasing=True) for image in images]


def score(model: aebook.Autoencoder, image: NDArray, sigma: float) -> float:
    """PSNR in dB of a whole image restored at once."""
    clean = torch.from_numpy(image.astype(np.float32))[None, None]
    torch.manual_seed(0)
    error = model(gaussian(sigma)(clean)).clamp(0, 1) - clean
    return float(-10 * error.square().mean().log10())


def main() -> None:
    """Train, save, print the scores."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    objective = aebook.Objective(denoiser(), random_level(gaussian, 0, 0.25))
    aebook.fit(
        objective,
        cut(photographs(), PATCHES, SIDE),
        epochs=1,
        batch_size=16,
        lr=5e-3,
        schedule=aebook.training.schedules.one_cycle,
    )
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    aebook.save(objective.model, path)
    print("PSNR in dB     " + "".join(f"{sigma:>8}" for sigma in LEVELS))
    for name in TEST:
        image = grey(getattr(data, name)())
        scores = [score(objective.model, image, sigma) for sigma in LEVELS]
        print(f"{name:15}" + "".join(f"{value:8.2f}" for value in scores))
    print(f"{path.stat().st_size:,} bytes in {path}")


if __name__ == "__main__":
    main()
