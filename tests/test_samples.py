"""Whatever draws samples draws them from the generator that it is given, and from no other."""

import pytest
import torch

import aebook
from aebook import bottlenecks
from aebook.applications import molecules
from aebook.theory import likelihood, score

LINES = ["CCO", "CCN", "CCC", "CO"]


def gaussians(generator=None):
    mixture = score.Mixture(torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), 0.3)
    return mixture.sample(5, generator)


def decoded(generator=None):
    return likelihood.sample(VAE.model, 5, generator)


def written(generator=None):
    return molecules.sample(TEXTS, ALPHABET, 5, generator=generator)


def by_decoder(generator=None):
    return TEXTS.decoder.sample(torch.ones(5, 3), generator=generator)


def by_counts(generator=None):
    return molecules.NGram(ALPHABET.encode(LINES), 2).sample(5, generator=generator)


def by_posterior(generator=None):
    return bottlenecks.Posterior(torch.zeros(5, 3), torch.ones(5, 3)).sample(generator)


def by_machine(generator=None):
    return MACHINE.gibbs(torch.ones(5, 6), 2, generator)


DRAWS = [gaussians, decoded, written, by_decoder, by_counts, by_posterior, by_machine]

torch.manual_seed(0)
MACHINE = aebook.boltzmann.RBM(6, 4)
VAE = aebook.variants.variational((6, 3)).eval()
ALPHABET = molecules.Alphabet.of(LINES)
LENGTH = ALPHABET.encode(LINES).shape[1]
TEXTS = molecules.variational(len(ALPHABET), 3, LENGTH, hidden=5).model.eval()


def same(a, b):
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("draw", DRAWS)
def test_samples_come_from_the_generator_given(draw):
    before = torch.get_rng_state()
    first, again = (draw(torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)
    others = [draw(torch.Generator().manual_seed(seed)) for seed in range(8, 16)]
    assert not all(same(first, other) for other in others)


@pytest.mark.parametrize("draw", DRAWS)
def test_without_one_they_come_from_pytorchs_own(draw):
    torch.manual_seed(3)
    first = draw()
    torch.manual_seed(3)
    assert same(first, draw())
    assert not all(same(first, draw()) for _ in range(8))
