"""Train the variational autoencoder of SMILES that ships in aebook/applications/weights.

    python tools/train_molecules.py                 train, print the scores, write the weights
    python tools/train_molecules.py --check         only print the scores of those that ship
    python tools/train_molecules.py --without-code --output lm.safetensors
                                                    the same decoder as a language model

Data: 200,000 training molecules of MOSES, those whose SMILES have the smallest SHA-256, of which
the shipped 25,000 are the first eighth; from the wheel of molsets 0.3.1, which is downloaded with
pip or given with --molsets. Three passes, batches of molecules of about the same length.

Time: about a quarter of an hour on one core, ten minutes without a code. Memory: 3 GB. The same
weights on the same processor; on another, sums are rounded in another order.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from builders.molecules import digest, moses
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

import aebook
from aebook.applications import pretrained
from aebook.applications.molecules import Alphabet, NGram, language_model, sample, variational
from aebook.applications.molecules.measures import (
    activations,
    canonical,
    cosine,
    distances,
    fingerprints,
    fragments,
    frechet,
    nearest,
    passes,
    properties,
    scaffolds,
    score,
)
from aebook.datasets import molecules
from aebook.datasets.verified import sha256

WEIGHTS = Path(__file__).resolve().parents[1] / "aebook/applications/weights/molecules.safetensors"

COUNT = 200_000
CODE, HIDDEN, BETA = 64, 192, 0.2
LENGTH = 56  # symbols, the end included; the longest of all of MOSES needs fewer
EPOCHS, BATCH, RATE = 3, 128, 4e-3


class SimilarLengths(Sampler):
    """Batches of messages of about the same length, in a mixed order."""

    def __init__(self, lengths: Tensor, size: int, among: int = 50) -> None:
        self.lengths, self.size, self.among = lengths, size, among

    def __len__(self) -> int:
        """How many batches."""
        return -(-len(self.lengths) // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        """Sort a few batches' worth at a time, and mix the batches."""
        batches = []
        for some in torch.randperm(len(self.lengths)).split(self.size * self.among):
            batches += some[self.lengths[some].argsort(stable=True)].split(self.size)
        return (batches[n].tolist() for n in torch.randperm(len(batches)).tolist())


def cut(batch: list[tuple[Tensor]]) -> Tensor:
    """Stack messages without the padding that they share."""
    x = torch.stack([message for (message,) in batch]).long()
    return x[:, : int((x != 0).sum(1).max())]


def training_set(wheel: Path | None, alphabet: Alphabet) -> list[str]:
    """Return the molecules of the smallest hashes that the alphabet can write."""
    lines = sorted(moses(wheel, ("train",))["train"], key=digest)[:COUNT]
    known = set(alphabet.symbols)
    return [smiles for smiles in lines if known.issuperset(alphabet.split(smiles))]


def rising(objective: aebook.Objective, t: float) -> None:
    """Let β rise slowly for a third of the time, while the code is taken up, then faster."""
    objective.set_weight("kl", float(np.interp(t, (0, 1 / 3, 2 / 3), (0, BETA / 3, BETA))))


def untrained(alphabet: Alphabet, code: bool, seed: int) -> aebook.Objective:
    """Return the autoencoder, or its decoder with no code."""
    torch.manual_seed(seed)
    if code:
        return variational(len(alphabet), CODE, LENGTH, hidden=HIDDEN, beta=BETA)
    return language_model(len(alphabet), LENGTH, hidden=HIDDEN)


def train(
    objective: aebook.Objective,
    smiles: list[str],
    alphabet: Alphabet,
    checkpoint: Path | None,
    seed: int,
) -> None:
    """Train on some molecules; validated on a thousand of those that ship for testing."""
    # bytes: an eighth of the memory
    x = alphabet.encode(smiles, LENGTH).to(torch.uint8)
    loader = DataLoader(
        TensorDataset(x), batch_sampler=SimilarLengths((x != 0).sum(1), BATCH), collate_fn=cut
    )
    history = aebook.fit(
        objective,
        loader,
        epochs=EPOCHS,
        validation=alphabet.encode(molecules("test")[-1000:], LENGTH),
        lr=RATE,
        schedule=aebook.training.schedules.one_cycle,
        anneal=rising if objective.penalties else None,
        clip=5.0,
        seed=seed,
        checkpoint=checkpoint,
    )
    print(history)


def report(objective: aebook.Objective, alphabet: Alphabet, known: list[str]) -> None:
    """Print how well a model does on the shipped test molecules and from the prior, and a rival."""
    test, model = molecules("test")[:2000], objective.model
    x = alphabet.encode(test, LENGTH)
    terms = aebook.evaluate(objective, x)
    exact = sum(a == b for a, b in zip(alphabet.decode(model.reconstruct(x)), test, strict=True))
    print(f"test: {terms}, exactly reconstructed {exact / len(test):.3f}")
    messages, held = alphabet.encode(known), alphabet.encode(molecules("test")[-1000:])
    best, gram = -np.inf, None
    for order in (10, 11, 12, 13):  # one after the other, since each takes a gigabyte
        candidate = NGram(messages, order, len(alphabet))
        likelihood = float(candidate.log_likelihood(held).mean())
        if likelihood > best:
            best, gram = likelihood, candidate
    likelihood = float(gram.log_likelihood(x).mean())
    print(f"{gram.order}-gram model of the same molecules: log p = {likelihood:.1f} nats")
    generator = torch.Generator().manual_seed(0)
    for name, written in (
        ("model", sample(model, alphabet, 10_000, generator=generator)),
        (f"{gram.order}-gram", alphabet.decode(gram.sample(10_000))),
    ):
        # all but one in some thousands are canonical as they are
        print(f"10,000 samples, {name}: {score(written, set(known))}")
        apart = distances(properties(written[:3000]), properties(test))
        print("distances to the test set:", {key: round(value, 3) for key, value in apart.items()})
        found = [line for line in canonical(written) if line][:2000]
        for split in ("test", "test_scaffolds"):
            like = likeness(found, molecules(split)[: len(found)])
            print(f"{len(found)} valid ones and as many of {split}:", like)
        print(f"pass the filters: {passes(found).mean():.3f}")


def likeness(found: list[str], test: list[str]) -> dict[str, float]:
    """Return how like test molecules some molecules are, piece by piece and as a whole."""
    measured = {
        "FCD": frechet(activations(found), activations(test)),
        "nearest": nearest(fingerprints(found), fingerprints(test)),
        "fragments": cosine(fragments(found), fragments(test)),
        "scaffolds": cosine(scaffolds(found), scaffolds(test)),
    }
    return {name: round(value, 3) for name, value in measured.items()}


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="train nothing")
    parser.add_argument("--molsets", type=Path, metavar="WHEEL", help="the wheel of molsets 0.3.1")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="where a run can go on")
    parser.add_argument("--output", type=Path, default=WEIGHTS, metavar="FILE")
    parser.add_argument("--without-code", action="store_true", help="train a language model")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (0)")
    options = parser.parse_args()
    if options.without_code and (options.check or options.output == WEIGHTS):
        parser.error("--without-code needs another --output, and nothing like it ships to --check")
    torch.set_num_threads(1)
    alphabet = Alphabet.of(molecules())
    smiles = training_set(options.molsets, alphabet)
    objective = untrained(alphabet, not options.without_code, options.seed)
    if options.check:
        objective.model.load_state_dict(pretrained.load("molecules").state_dict())
    else:
        train(objective, smiles, alphabet, options.checkpoint, options.seed)
        aebook.save(objective.model, options.output)
        data = options.output.read_bytes()
        print(f"{options.output.name}: {len(data):,} bytes, SHA-256 {sha256(data)}")
    report(objective.eval(), alphabet, smiles)
    return 0


if __name__ == "__main__":
    sys.exit(main())
