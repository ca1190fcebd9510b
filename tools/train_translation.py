"""Train the translators that ship in aebook/applications/weights.

    python tools/train_translation.py                          train all, one after the other
    python tools/train_translation.py english-french           only those named
    python tools/train_translation.py --check                  only score those that ship
    python tools/train_translation.py --seed 2 --output FOLDER others of the same kind

Data: the training split of aebook.datasets.segments, 8,504 pairs; nothing is downloaded. BLEU and
chrF are those of the test split, greedy, first with the weights as trained, then as stored.

Weights are stored as float8_e4m3fn, one byte each; to calculate with them,
`aebook.applications.pretrained.load(name).float()`.

Time: two to six minutes each on one core. Memory: 1 GB. The same weights on the same processor; on
another, sums are rounded in another order.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

import aebook
from aebook.applications import pretrained
from aebook.applications.translation import Translator, Vocabulary, scores
from aebook.applications.translation.hanzi import compose, decompose
from aebook.datasets import Segments, segments
from aebook.datasets.verified import sha256

WEIGHTS = Path(__file__).resolve().parents[1] / "aebook/applications/weights"

BATCH, RATE = 64, 5e-3


class Recipe(NamedTuple):
    """Languages ("parts" is Chinese in parts), symbols of each, epochs, sizes, and seed."""

    source: str
    target: str
    symbols: tuple[int, int]
    epochs: int
    sizes: dict[str, int | bool]
    seed: int = 0


SMALL = {"hidden": 80, "code": 80, "embedding": 32}
LARGE = {"hidden": 96, "code": 96, "embedding": 32}
CODE = {**LARGE, "code": 128, "attention": False, "bidirectional": False}
RECIPES = {
    "english-french": Recipe("english", "french", (800, 800), 20, LARGE),
    "english-french-code": Recipe("english", "french", (800, 800), 20, CODE),
    "english-french-forward": Recipe("english", "french", (800, 800), 12, CODE),
    "english-french-backward": Recipe(
        "english", "french", (800, 800), 12, {**CODE, "reverse": True}
    ),
    "chinese-english": Recipe("chinese", "english", (1200, 800), 12, SMALL),
    "parts-english": Recipe("parts", "english", (1200, 800), 12, SMALL),
    "chinese-english-again": Recipe("chinese", "english", (1200, 800), 12, SMALL, seed=1),
    "parts-english-again": Recipe("parts", "english", (1200, 800), 12, SMALL, seed=1),
    "english-chinese": Recipe("english", "chinese", (800, 1200), 12, SMALL),
    "english-parts": Recipe("english", "parts", (800, 1200), 12, SMALL),
}


def texts(split: Segments, language: str) -> list[str]:
    """The texts of one language, or the Chinese in parts."""
    if language == "parts":
        return [decompose(text) for text in split.chinese]
    return getattr(split, language)


def untrained(recipe: Recipe) -> Translator:
    """A translator with the vocabularies of the training texts."""
    train = segments()
    source, target = (
        Vocabulary(texts(train, language), size)
        for language, size in zip(recipe[:2], recipe.symbols, strict=True)
    )
    return Translator(source, target, **recipe.sizes)


def train(recipe: Recipe, seed: int, checkpoint: Path | None) -> Translator:
    """Train from the beginning, or on from a checkpoint."""
    torch.manual_seed(seed)
    translator = untrained(recipe)
    train = segments()
    history = aebook.fit(
        translator.objective(),
        translator.batches(texts(train, recipe.source), texts(train, recipe.target), size=BATCH),
        epochs=recipe.epochs,
        lr=RATE,
        schedule=aebook.training.schedules.one_cycle,
        clip=5.0,
        seed=seed,
        checkpoint=checkpoint,
        device="cpu",
        progress=False,
    )
    print(f"  {history}")
    return translator


def score(translator: Translator, recipe: Recipe, what: str) -> None:
    """Print the scores of the test split."""
    test = segments("test")
    references = texts(test, recipe.target)
    written = translator.translate(texts(test, recipe.source))
    chinese = recipe.target in ("chinese", "parts")
    if recipe.target == "parts":
        written, references = [compose(text) for text in written], test.chinese
    bleu, chrf, _ = scores(written, references, chinese=chinese)
    print(f"  {what}: BLEU {bleu:.1f}, chrF {chrf:.1f}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--check", action="store_true", help="only score those that ship")
    parser.add_argument("--seed", type=int, help="in place of those of the recipes")
    parser.add_argument("--output", type=Path, default=WEIGHTS, metavar="FOLDER")
    parser.add_argument("--checkpoints", type=Path, metavar="FOLDER", help="to go on from")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(RECIPES):
        parser.error(f"no recipe for {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    for name in options.names or RECIPES:
        recipe, path = RECIPES[name], options.output / f"{name}.safetensors"
        print(name, flush=True)
        if not options.check:
            folder = options.checkpoints
            seed = recipe.seed if options.seed is None else options.seed
            translator = train(recipe, seed, folder and folder / f"{name}.checkpoint")
            score(translator, recipe, "as trained")
            aebook.save(translator.model.to(torch.float8_e4m3fn), path)
            data = path.read_bytes()
            print(f"  {path.name}: {len(data):,} bytes, SHA-256 {sha256(data)}")
        model = pretrained.load(name) if options.check else aebook.load(path)
        stored = untrained(recipe)
        stored.model.load_state_dict(model.state_dict())
        score(stored, recipe, "as stored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
