"""Train the compressors that ship in aebook/applications/weights, and the priors of their rival.

    python tools/train_compression.py                       train, print the scores, write the files
    python tools/train_compression.py --debian FOLDER       with the packages unpacked there already
    python tools/train_compression.py --out FOLDER          write elsewhere
    python tools/train_compression.py --steps 80 140        only these
    python tools/train_compression.py --rival               only the priors of the fixed transform

Photographs come from Debian's packages lomiri-wallpapers-16.04, lomiri-wallpapers-20.04 and
mate-backgrounds, obtained with `apt-get download` into a temporary folder (73 MB); each is compared
with its SHA-256. The drawings among them are left out. 22 photographs train, 4 others validate. The
copyright files of the packages give a licence for each: CC0, CC BY 4.0, CC BY-SA 3.0 or 4.0 in the
first two, GPL 2 or later in the last.

The model of step 48/255 starts as a cosine transform; the others start from its file, or from that
of their neighbour. Each is trained with noise as the price, and then keeps its encoder while
decoder and prior learn what the whole numbers are. Everything random is seeded. It takes some ten
minutes of one core.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from builders.sources import debian
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

import aebook
from aebook.applications import pretrained
from aebook.applications.compression import Codec, transform_coder
from aebook.applications.compression.rate_distortion import bits_per_pixel
from aebook.core import Autoencoder, Objective
from aebook.datasets.verified import sha256
from aebook.metrics import psnr
from aebook.training.schedules import one_cycle

#: The first 16 digits of the SHA-256 of each photograph.
PHOTOGRAPHS = {
    "lomiri-wallpapers-16.04": {
        "Bridge_by_Sander_Klootwijk": "bd86b081f9975e2b",
        "Dragonfly_by_Bolly": "af5af17841009732",
        "Picture_0B_by_freespace": "c8c0ab18e48d9e04",
        "Picture_1A_by_freespace": "89e86af38d04daae",
        "Wine_by_Jakkub_Mede": "d2e96e6d4da40dd8",
        "aitzgorri_by_Aitzol_Berasategi": "66268e7b48f8854d",
        "free_by_Peter_Nerlich": "85a5453c2fed514c",
        "friends_by_Aitzol_Berasategi": "cc40e313c74e421e",
        "greentock_by_Peter_Nerlich": "e7b20e2db9dcd6e2",
        "life_by_Aitzol_Berasategi": "4c119350ead80201",
        "picosdeeuropa_by_Aitzol_Berasategi": "414d0072b2f6f2c5",
        "seeding_by_Clements_Engelhardt": "a5634d1ab5e41a35",
        "sunset_by_Aitzol_Berasategi": "474dab6a4b9f94dc",
    },
    "lomiri-wallpapers-20.04": {
        "Kleiber_by_Lukas_Baubkus": "6572410c09f4492c",
    },
    "mate-backgrounds": {
        "Aqua": "5c30118205982da4",
        "Blinds": "f7aac0dcc2e06d04",
        "Dune": "8a67c2cb0be8c46b",
        "FreshFlower": "972b0a0c4e5e3fa9",
        "Garden": "d3095ee09d425ef2",
        "GreenMeadow": "8fa0de0aa4089f73",
        "LadyBird": "e35a9a4126ef969c",
        "RainDrops": "3e4ea9671c28c90a",
        "Storm": "77ca53077831d323",
        "TwoWings": "665e5abf8a539907",
        "Wood": "19c78500ac00a622",
        "YellowFlower": "254da96256acb7ad",
    },
}
FOLDERS = {
    "lomiri-wallpapers-16.04": "usr/share/backgrounds",
    "lomiri-wallpapers-20.04": "usr/share/backgrounds",
    "mate-backgrounds": "usr/share/backgrounds/mate/nature",
}
VALIDATION = (
    "Garden",
    "Kleiber_by_Lukas_Baubkus",
    "Picture_0B_by_freespace",
    "life_by_Aitzol_Berasategi",
)
#: Longest sides to which photographs are reduced, which removes what JPEG left in them.
SIDES = (1280, 720, 400)

#: Steps in 1/255: each model starts from the one named, and trains for so many crops.
PLAN = ((48, None, 56_000), (28, 48, 8_000), (80, 48, 8_000), (140, 80, 8_000))
FINISH = 4_000


class Crops(Dataset):
    """Crops of 128 × 128 pixels at random places of random photographs, (3, 128, 128) in [0, 1].

    Parameters
    ----------
    images
        For each photograph its reductions, uint8 (H, W, 3).
    count
        How many crops.
    seed
        Seed of the choice.
    """

    def __init__(self, images: list[list[np.ndarray]], count: int, seed: int) -> None:
        self.images, self.count, self.seed = images, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        """One crop, the same for the same index."""
        g = np.random.default_rng((self.seed, index))
        image = self.images[g.integers(len(self.images))][g.choice(3, p=(0.5, 0.35, 0.15))]
        y, x = (g.integers(side - 127) for side in image.shape[:2])
        crop = image[y : y + 128, x : x + 128]
        if g.random() < 0.5:
            crop = crop[:, ::-1]
        if g.random() < 0.25:
            crop = crop.transpose(1, 0, 2)
        return torch.from_numpy(crop.transpose(2, 0, 1).copy()).float() / 255


def photographs(unpacked: Path | None) -> dict[str, list[np.ndarray]]:
    """The reductions of each photograph, by its name."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for package, digests in PHOTOGRAPHS.items():
            if unpacked:
                root = unpacked / package
            else:
                inside = Path(folder) / package
                inside.mkdir()
                root = debian(package, inside)
            for name, digest in digests.items():
                path = root / FOLDERS[package] / f"{name}.jpg"
                if not sha256(path.read_bytes()).startswith(digest):
                    sys.exit(f"{path} is not the file expected")
                found[name] = reductions(path)
    return found


def reductions(path: Path) -> list[np.ndarray]:
    """A photograph at several sizes, uint8 (H, W, 3)."""
    image = Image.open(path).convert("RGB")
    sizes = [
        tuple(max(128, round(s * side / max(image.size))) for s in image.size) for side in SIDES
    ]
    return [np.asarray(image.resize(size, Image.Resampling.LANCZOS)) for size in sizes]


def begun(step: int, source: int | None, folder: Path, start: Tensor) -> Objective:
    """The objective of a step in grey levels, as it is before training."""
    if source is None:
        return transform_coder(step / 255, start)
    objective = transform_coder(step / 255)
    weights = safetensors.torch.load_file(folder / f"compression-{source}.safetensors")
    for part in ("encoder", "decoder"):
        del weights[f"{part}.step"]
    objective.model.load_state_dict(weights, strict=False)
    # the priors mean the same numbers in another unit
    prior, ratio = objective.model.bottleneck, source / step
    with torch.no_grad():
        prior.means.mul_(ratio)
        prior.log_scales.add_(float(np.log(ratio)))
    return objective


def train(objective: Objective, images: list[list[np.ndarray]], crops: int, seed: int) -> None:
    """All of it, and then decoder and prior on the whole numbers of an encoder that stays."""
    options = {"epochs": 1, "batch_size": 8, "schedule": one_cycle, "progress": False}
    aebook.fit(objective, Crops(images, crops, seed), lr=2e-3, seed=seed, **options)
    objective.model.encoder.requires_grad_(False)
    aebook.fit(objective, Crops(images, FINISH, seed + 1), lr=1e-3, seed=seed, **options)
    objective.model.encoder.requires_grad_(True)


def rival(step: int, images: list[list[np.ndarray]], start: Tensor) -> Objective:
    """The fixed transform: nothing but its priors is trained."""
    objective = transform_coder(step / 255, start, hidden=1, kept=(64, 64))
    objective.model.encoder.requires_grad_(False)
    objective.model.decoder.requires_grad_(False)
    options = {"epochs": 1, "batch_size": 8, "schedule": one_cycle, "progress": False}
    aebook.fit(objective, Crops(images, FINISH // 2, 99), lr=3e-2, **options)
    return objective


def write(model: Autoencoder, path: Path) -> None:
    """Write a model in half precision, and say what it is."""
    aebook.save(model.half(), path)
    print(path.name, path.stat().st_size, sha256(path.read_bytes()), flush=True)


def score(model: Autoencoder, name: str, held: list[np.ndarray]) -> None:
    """Print real bits a pixel and PSNR of each validation photograph."""
    codec = Codec(model)
    for photograph, image in zip(VALIDATION, held, strict=True):
        data = codec.compress(image)
        rate, quality = bits_per_pixel(data, image), psnr(codec.decompress(data), image)
        print(f"{name:10} {photograph:28} {rate:.3f} bpp {quality:.2f} dB", flush=True)


def main() -> None:
    """Train, score on the validation photographs in real bytes, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--debian", type=Path, help="folder with one folder a package, unpacked")
    weights = Path(pretrained.__file__).parent / "weights"
    parser.add_argument("--out", type=Path, default=weights, help="folder for the files")
    parser.add_argument("--steps", type=int, nargs="*", help="default: all")
    parser.add_argument("--rival", action="store_true", help="only the fixed transform's priors")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = photographs(given.debian)
    held = [found.pop(name)[1] for name in VALIDATION]
    images = list(found.values())
    start = torch.stack([Crops(images, 128, 0)[k] for k in range(128)])

    for number, (step, source, crops) in enumerate(PLAN):
        if given.rival or (given.steps and step not in given.steps):
            continue
        torch.manual_seed(0)
        objective = begun(step, source, given.out, start)
        train(objective, images, crops, 10 * number + 1)
        write(objective.model, given.out / f"compression-{step}.safetensors")
        score(objective.model, f"step {step}", held)
    for step, *_ in PLAN if given.rival or not given.steps else ():
        objective = rival(step, images, start)
        model = Autoencoder(nn.Identity(), nn.Identity(), objective.model.bottleneck)
        write(model, given.out / f"compression-cosine-{step}.safetensors")
        score(objective.model, f"cosine {step}", held)


if __name__ == "__main__":
    main()
