"""What the processes of tests/test_processes.py do; run by torchrun, one job a run.

torchrun --nproc-per-node 2 tests/parallel_worker.py JOB FOLDER
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

import aebook
from aebook import processes, variants
from aebook.bottlenecks import Gaussian, Posterior
from aebook.recurrent import PADDING, Decoder, Encoder
from aebook.training import checkpoints

N = 13  # not a multiple of the number of processes
X = torch.rand(N, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
WORDS = torch.randint(2, 7, (N, 4), generator=torch.Generator().manual_seed(2))


def repeatable(like, **options):
    """Noise that is a function of the value alone: the same however a batch is divided."""
    return (like.detach() * 1e3 + 0.1).sin().abs()


def gaussian_noise(like, **options):
    return (like.detach() * 1e3 + 0.1).sin()


def sample(posterior, generator=None):
    return posterior.mean + (posterior.log_variance / 2).exp() * gaussian_noise(posterior.mean)


def recurrent():
    model = aebook.Autoencoder(Encoder(7, 6, hidden=5), Decoder(7, 3, 5, hidden=5), Gaussian())
    return aebook.Objective(
        model,
        distance=partial(aebook.distances.categorical, ignore=PADDING),
        penalties={"kl": (0.5, aebook.penalties.kl_to_prior)},
    )


def convolutional():
    parts = aebook.networks.convolutional((1, 2, 3), (4,), 3)
    return aebook.Objective(
        aebook.Autoencoder(nn.Sequential(nn.Unflatten(1, (1, 2, 3)), *parts[0]), parts[1]),
        distance=lambda y, x: (y.flatten(1) - x).square().sum(1),
        penalties={"decay": (0.01, aebook.penalties.weight_decay)},
    )


def optimal_sigma():
    return variants.variational(
        (6, 5, 3), output=None, distance=aebook.distances.Gaussian(kind="optimal")
    )


OBJECTIVES = {
    "plain": lambda: variants.plain((6, 5, 3)),
    "tied": lambda: variants.plain((6, 5, 3), tied=True),
    "linear": lambda: variants.linear((6, 2)),
    "k-sparse": lambda: variants.k_sparse((6, 9), 3),
    "k-sparse, gathered": lambda: variants.k_sparse((6, 9), 3, sparse_decode=True),
    "sparse, kl": lambda: variants.sparse((6, 5, 9), 0.7),
    "sparse, l2": lambda: variants.sparse((6, 9), 3.0, kind="l2"),
    "sparse, over units": lambda: variants.sparse((6, 9), 0.7, over="units"),
    "denoising": lambda: variants.denoising((6, 5, 3), aebook.corruptions.gaussian(0.3)),
    "contractive": lambda: variants.contractive((6, 3), 0.1),
    "concrete": lambda: variants.concrete((6, 5, 3)),
    "variational": lambda: variants.variational((6, 5, 3)),
    "variational, optimal sigma": optimal_sigma,
    "binary": lambda: variants.binary((6, 5, 3)),
    "importance weighted": lambda: aebook.theory.likelihood.ImportanceWeighted(
        variants.variational((6, 5, 3)), 3
    ),
    "convolutional": convolutional,
    "recurrent": recurrent,
}


def data(name):
    return WORDS if name == "recurrent" else X


def one_step(name):
    """Weights and buffers after one step down the gradient of the whole batch, and the loss."""
    torch.manual_seed(0)
    objective = OBJECTIVES[name]().double()
    sgd = partial(torch.optim.SGD)
    history = aebook.fit(
        objective, data(name), epochs=1, batch_size=N, optimizer=sgd, lr=0.5, validation=data(name)
    )
    return {
        "state": {k: v.clone() for k, v in objective.state_dict().items()},
        "terms": history.terms,
        "validation": history.validation_terms,
    }


def without_chance(function, *arguments):
    """Call with noise that does not depend on how a batch is divided."""
    before = torch.randn_like, torch.rand_like, Posterior.sample
    torch.randn_like, torch.rand_like = gaussian_noise, repeatable
    Posterior.sample = sample
    try:
        return function(*arguments)
    finally:
        torch.randn_like, torch.rand_like, Posterior.sample = before


def gathered(value):
    with processes.together():
        return processes.gather(value)


def gradients(folder):
    members = processes.group()
    found = {name: without_chance(one_step, name) for name in OBJECTIVES}
    everywhere = gathered({n: f["state"] for n, f in found.items()})
    for name in OBJECTIVES:
        for state in everywhere[1:]:
            for key, value in state[name].items():
                assert torch.equal(value, everywhere[0][name][key]), (name, key)
    if members.rank == 0:
        torch.save(found, folder / "gradients.pt")


def noise(members):
    """Each process corrupts with noise of its own; the weights are the same all the same."""
    drawn = []

    def corrupt(x):
        drawn.append(torch.rand(()).item())
        return x

    torch.manual_seed(members.rank)  # even if the caller's weights are not
    objective = variants.denoising((6, 3), corrupt).double()
    aebook.fit(objective, X, epochs=3, batch_size=4)
    draws = gathered(drawn)
    assert len(set(draws[0]) & set(draws[1])) == 0
    weights = gathered([p.detach() for p in objective.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


class Rows(Dataset):
    def __init__(self, seen):
        self.seen = seen

    def __len__(self):
        return N

    def __getitem__(self, index):
        self.seen.append(index)
        return X[index]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


def sources(members):
    """Every form of data trains, all of it, in equally many steps; a bare loader is refused."""
    seen = []
    objective = variants.linear((6, 2)).double()
    aebook.fit(objective, Rows(seen), epochs=2, batch_size=4)
    everywhere = gathered(seen)
    assert sorted(everywhere[0] + everywhere[1]) == sorted(2 * list(range(N)))
    assert everywhere[0][:7] != sorted(everywhere[0][:7])
    aebook.fit(objective, Stream(), epochs=2, batch_size=4, validation=Stream())
    sampler = DistributedSampler(X, shuffle=True)
    aebook.fit(objective, DataLoader(X, batch_size=3, sampler=sampler), epochs=2)
    with pytest.raises(ValueError, match="DistributedSampler"):
        aebook.fit(objective, DataLoader(X, batch_size=3), epochs=1)
    # a part of a batch has statistics of its own
    model = aebook.Autoencoder(nn.Linear(6, 2), nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6)))
    with pytest.raises(ValueError, match=r"got a BatchNorm1d at model\.decoder\.1 in 2 processes"):
        aebook.fit(aebook.Objective(model).double(), X, epochs=1)
    model.decoder[1].eval().requires_grad_(False)
    aebook.fit(aebook.Objective(model).double(), X, epochs=1, batch_size=4)


class Interrupted(Exception):
    pass


class Power:
    """Cut at this fraction of training; a class, of which a fingerprint knows the name alone."""

    cut_at = 2.0


def stop(objective, t):
    if t >= Power.cut_at:
        raise Interrupted


def resumable(objective, path, at=2.0):
    Power.cut_at = at
    return aebook.fit(
        objective,
        X,
        epochs=4,
        batch_size=5,
        validation=X,
        checkpoint=path,
        anneal=stop,
    )


def resume(folder):
    """An interrupted run ends as one that was not, on each process, with one file written."""
    members, writes = processes.group(), []
    write = checkpoints.write
    checkpoints.write = lambda *arguments: (writes.append(1), write(*arguments))

    def run(path, at=2.0):
        torch.manual_seed(0)
        objective = variants.denoising((6, 5, 3), aebook.corruptions.gaussian(0.1)).double()
        history = resumable(objective, folder / path, at)
        return objective.state_dict(), history.loss, history.validation_loss

    expected = run("whole.pt")
    assert len(writes) == (4 if members.rank == 0 else 0)
    with pytest.raises(Interrupted):
        run("run.pt", at=0.6)
    state, *losses = run("run.pt")
    assert losses == list(expected[1:])
    assert all(torch.equal(state[k], v) for k, v in expected[0].items())


def together(folder):
    gradients(folder)
    noise(processes.group())
    sources(processes.group())
    resume(folder)


def killed(folder):
    """One process dies in the middle."""
    members = processes.group()

    def anneal(objective, t):
        if members.rank == 1 and t >= 0.5:
            os.kill(os.getpid(), signal.SIGKILL)

    aebook.fit(variants.linear((6, 2)).double(), X, epochs=4, batch_size=4, anneal=anneal)
    (folder / "survived").touch()


if __name__ == "__main__":
    torch.set_num_threads(1)
    # the environment hides the GPUs of NVIDIA; those of Apple have no float64
    torch.backends.mps.is_available = lambda: False
    {"together": together, "killed": killed}[sys.argv[1]](Path(sys.argv[2]))
