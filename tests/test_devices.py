"""Devices; what needs a GPU is skipped where there is none."""

import functools
import gc
import pickle
import shutil

import numpy as np
import pandas
import pytest
import torch
from torch import nn

import aebook
from aebook import estimators, metrics, variants
from aebook._internal.devices import chosen, has_room, moved, named
from aebook.applications.anomaly import (
    likelihood_regret,
    mahalanobis,
    negative_elbo,
    reconstruction_error,
)
from aebook.applications.retrieval import SemanticHasher
from aebook.boltzmann import RBM, pretrain
from aebook.data import Form
from aebook.theory import likelihood, linear, score
from aebook.training.schedules import constant

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
M = 6
X = torch.rand(100, M, generator=torch.Generator().manual_seed(0))
BITS = X.round()
ALONE = {"epochs": 3, "batch_size": 32, "progress": False}


@pytest.mark.parametrize("choice", ["cuda", "mps", "cpu"])
def test_the_device_is_a_gpu_if_there_is_one(choice, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: choice == "cuda")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: choice == "mps")
    assert chosen(None, torch.float32).type == choice
    assert chosen("cpu", torch.float32).type == "cpu"
    # the one GPU without double precision
    assert chosen(None, torch.float64).type == ("cpu" if choice == "mps" else choice)


def test_a_gpu_without_a_number_is_the_current_one(monkeypatch):
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert named("cuda") == torch.device("cuda", 3)
    assert named("cuda:1") == torch.device("cuda", 1)
    assert named("cpu") == torch.device("cpu")


def test_data_stay_where_they_are_if_they_would_take_half_of_what_is_free(monkeypatch):
    cuda, share = torch.device("cuda", 0), [1.0]
    for name, told in {
        "mem_get_info": lambda device: (700, 4000),
        "memory_allocated": lambda device: 1000,
        # 300 of them are kept, and free
        "memory_reserved": lambda device: 1300,
        "get_per_process_memory_fraction": lambda device: share[0],
    }.items():
        monkeypatch.setattr(torch.cuda, name, told, raising=False)
    assert has_room(500, cuda)
    assert not has_room(501, cuda)
    share[0] = 0.35
    assert has_room(200, cuda)
    assert not has_room(201, cuda)
    mps = torch.device("mps")
    # torch 2.4 does not tell it: nothing large is moved there whole
    monkeypatch.delattr(torch.mps, "recommended_max_memory", raising=False)
    assert not has_room(1, mps)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 3000, raising=False)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 2000)
    assert has_room(500, mps)
    assert not has_room(501, mps)
    assert has_room(10**18, torch.device("cpu"))


@pytest.mark.parametrize(("device", "waits"), [("cpu", True), ("cuda", False), ("mps", False)])
def test_what_comes_to_the_cpu_has_come_before_it_is_read(device, waits, monkeypatch):
    asked = []

    def to(self, *given, non_blocking=False, **others):
        asked.append((torch.device(given[0]).type, non_blocking))
        return self

    monkeypatch.setattr(torch.Tensor, "to", to)
    Form(torch.float32, torch.device(device)).move(torch.zeros(1))
    assert asked == [(device, not waits)]


def test_a_network_comes_back_whatever_happens():
    network, there = nn.Linear(2, 2), torch.device("meta")
    with pytest.raises(RuntimeError, match="on purpose"), moved(network, torch.device("cpu")):
        raise RuntimeError("on purpose")
    assert network.weight.device.type == "cpu" != there.type


# On a GPU


def on(device, make=variants.plain, *args, **options):
    torch.manual_seed(0)
    return make((M, 8, 2), *args, **options).to(device)


def devices(network):
    return {tensor.device.type for tensor in network.state_dict().values()}


class Watched(nn.Module):
    """An activation that keeps a list of where it was computed."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def forward(self, x):
        self.seen.add(x.device.type)
        return x.relu()


def watched(device):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(M, 2), Watched())
    objective = aebook.Objective(aebook.Autoencoder(encoder, nn.Linear(2, M))).to(device)
    return objective, encoder[1].seen


@needs_gpu
def test_what_trains_chooses_the_gpu_and_comes_back():
    for train in (
        lambda objective: aebook.fit(objective, X, **ALONE),
        lambda objective: aebook.fit(objective, X, device="cuda", validation=X, **ALONE),
        lambda objective: aebook.lbfgs(objective, X, tolerance=10.0),
    ):
        objective, seen = watched("cpu")
        train(objective)
        assert seen == {"cuda"}
        assert devices(objective) == {"cpu"}
    objective, seen = watched("cpu")
    aebook.fit(objective, X, device="cpu", **ALONE)
    assert seen == {"cpu"}
    objective, seen = watched("cuda")
    aebook.fit(objective, X.numpy(), **ALONE)
    assert seen == devices(objective) == {"cuda"}


@needs_gpu
def test_machines_choose_the_gpu_and_come_back(monkeypatch):
    seen, contrast = set(), RBM.contrast
    monkeypatch.setattr(
        RBM, "contrast", lambda self, v, w: seen.update(devices(self)) or contrast(self, v, w)
    )
    rbm = RBM(M, 2)
    rbm.fit(X, epochs=1)
    assert (seen, devices(rbm)) == ({"cuda"}, {"cpu"})
    # a stack is where its data are
    for data in (X, X.cuda()):
        for machine in pretrain((M, 4, 2), data, epochs=1):
            assert devices(machine) == {data.device.type}
    rbm.cuda()
    assert torch.allclose(rbm.free_energy(X.cuda()).cpu(), rbm.cpu().free_energy(X), atol=1e-5)


@needs_gpu
@pytest.mark.parametrize("home", ["cpu", "cuda"])
def test_what_is_computed_after_training_is_where_the_model_is(home):
    for compute in (
        lambda objective, x: aebook.encode(objective.model, x),
        lambda objective, x: aebook.reconstruct(objective.model, x, chunk=7),
        lambda objective, x: aebook.evaluate(objective, x),
        reconstruction_error,
        lambda objective, x: mahalanobis(objective, x, X),
        lambda objective, x: SemanticHasher(objective.model, x).bits(x),
    ):
        for data in (X, X.cuda(), X.numpy(), pandas.DataFrame(X.numpy())):
            objective, seen = watched(home)
            found = compute(objective, data)
            assert seen == devices(objective) == {home}
            # as it came
            if not isinstance(found, dict | np.ndarray):
                assert type(found).__name__ in (type(data).__name__, "Series")
            if isinstance(found, torch.Tensor):
                assert found.device == data.device


@needs_gpu
def test_scores_on_a_gpu_are_those_on_the_cpu():
    for make, data in ((variants.variational, BITS), (variants.plain, X)):
        scores = [reconstruction_error, functools.partial(mahalanobis, reference=data)]
        if make is variants.variational:
            # with many samples, since the noise of a GPU is another
            scores = [
                functools.partial(negative_elbo, samples=500),
                functools.partial(likelihood_regret, steps=2, samples=200),
                functools.partial(likelihood.importance_weighted_bound, samples=500),
            ]
        for given in scores:
            here = given(on("cpu", make).eval(), x=data)
            there = given(on("cuda", make).eval(), x=data)
            assert here.device.type == there.device.type == "cpu"
            exact = make is variants.plain
            torch.testing.assert_close(
                there, here, rtol=1e-3 if exact else 0.1, atol=1e-4 if exact else 0.1
            )


EXACT = {
    "plain": variants.plain,
    "tied": functools.partial(variants.plain, tied=True),
    "linear": lambda widths: variants.linear((M, 2)),
    "contractive": functools.partial(variants.contractive, weight=0.1),
    "k_sparse": functools.partial(variants.k_sparse, k=2),
    "sparse decode": functools.partial(variants.k_sparse, k=1, sparse_decode=True),
    "sparse": functools.partial(variants.sparse, weight=0.1),
}
NOISY = {
    "hutchinson": functools.partial(variants.contractive, weight=0.1, kind="hutchinson"),
    "denoising": functools.partial(variants.denoising, corruption=aebook.corruptions.masking(0.3)),
    "salt and pepper": functools.partial(
        variants.denoising, corruption=aebook.corruptions.salt_and_pepper(0.3)
    ),
    "variational": variants.variational,
    "binary": variants.binary,
    "concrete": variants.concrete,
}


@needs_gpu
@pytest.mark.parametrize("name", EXACT)
def test_losses_and_gradients_on_a_gpu_are_those_on_the_cpu(name):
    found = []
    for device in ("cpu", "cuda"):
        objective = on(device, EXACT[name]).double()
        loss = objective(X.double().to(device))
        loss.total.backward()
        gradients = [p.grad.cpu() for p in objective.parameters() if p.grad is not None]
        found.append([loss.total.detach().cpu(), *gradients])
    torch.testing.assert_close(found[1], found[0])


@needs_gpu
@pytest.mark.parametrize("name", [*EXACT, *NOISY])
def test_the_same_seed_gives_the_same_weights_on_a_gpu(name):
    make, data = {**EXACT, **NOISY}[name], BITS if name == "variational" else X
    found = []
    for seed in (0, 0, 1):
        objective = on("cpu", make)
        before = torch.cuda.get_rng_state()
        history = aebook.fit(objective, data, seed=seed, **ALONE)
        assert torch.equal(torch.cuda.get_rng_state(), before)
        assert np.isfinite(history.loss).all()
        found.append(torch.cat([p.detach().flatten() for p in objective.parameters()]))
        # whatever somebody else draws in between
        torch.rand(3, device="cuda")
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@needs_gpu
def test_an_array_larger_than_the_free_memory_is_moved_a_batch_at_a_time():
    # 200 MB of data, and about half as much memory
    x = np.random.default_rng(0).random((50_000, 1000), np.float32)
    objective = variants.plain((1000, 8))
    aebook.fit(objective, x[:100], epochs=1)
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    try:
        room = torch.cuda.memory_reserved() + 100 * 2**20
        torch.cuda.set_per_process_memory_fraction(room / total)
        with pytest.raises(torch.OutOfMemoryError):
            torch.from_numpy(x).cuda()
        torch.cuda.reset_peak_memory_stats()
        options = {"epochs": 1, "batch_size": 1000, "progress": False}
        aebook.fit(objective, x, validation=x, **options)
        aebook.fit(objective, torch.from_numpy(x), **options)
        RBM(1000, 4).fit(x, epochs=1)
        objective.cuda()
        codes, loss = aebook.encode(objective.model, x), aebook.evaluate(objective, x)["loss"]
        errors = reconstruction_error(objective, x)
        assert torch.cuda.max_memory_allocated() < room
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (codes.shape, errors.shape) == ((50_000, 8), (50_000,))
    assert loss == pytest.approx(errors.mean(), rel=1e-3)


@needs_gpu
@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_a_run_goes_on_where_it_began_and_nowhere_else(first, tmp_path):
    """Other noise, other rounding: on another device it would be another run."""
    path, options = tmp_path / "run.ckpt", {**ALONE, "epochs": 4, "schedule": constant}
    denoising = NOISY["denoising"]
    whole = on("cpu", denoising)
    aebook.fit(whole, X, device=first, **options)
    aebook.fit(on("cpu", denoising), X, device=first, checkpoint=path, **options | {"epochs": 2})
    other = {"cpu": "cuda", "cuda": "cpu"}[first]
    untouched = on("cpu", denoising)
    expected = [p.clone() for p in untouched.parameters()]
    with pytest.raises(ValueError, match=f"another run .*device .*{first}.* ≠ .*{other}"):
        aebook.fit(untouched, X, device=other, checkpoint=path, **options)
    assert all(map(torch.equal, untouched.parameters(), expected))
    resumed = on("cpu", denoising)
    aebook.fit(resumed, X, device=first, checkpoint=path, **options)
    assert all(map(torch.equal, resumed.parameters(), whole.parameters()))


@needs_gpu
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_mixed_precision_on_a_gpu(precision):
    plain, mixed = on("cpu"), on("cpu")
    expected = aebook.fit(plain, X, **ALONE)
    found = aebook.fit(mixed, X, precision=precision, **ALONE)
    assert {p.dtype for p in mixed.parameters()} == {torch.float32}
    assert found.loss == pytest.approx(expected.loss, rel=0.05)
    assert not torch.equal(mixed.model.encoder[0].map.weight, plain.model.encoder[0].map.weight)


@needs_gpu
@pytest.mark.skipif(shutil.which("cc") is None, reason="torch.compile needs a compiler of C")
def test_compiled_training_on_a_gpu():
    found = []
    for compiled in (False, True):
        objective = on("cpu", NOISY["denoising"])
        aebook.fit(objective, X, compile=compiled, **ALONE)
        found.append(torch.cat([p.detach().flatten() for p in objective.parameters()]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4)


@needs_gpu
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", estimators.__all__)
def test_estimators_train_on_the_gpu_and_are_kept_on_the_cpu(name):
    kind = getattr(estimators, name)
    options = {"epochs": 2, "hidden_layer_sizes": (4,), "random_state": 0}
    x = X.numpy()
    gc.collect()  # what earlier tests left, lest it go meanwhile
    torch.cuda.reset_peak_memory_stats()
    idle = torch.cuda.max_memory_allocated()
    made = kind(**options).fit(x)
    assert torch.cuda.max_memory_allocated() > idle
    assert devices(made.objective_) == {"cpu"}
    kept = pickle.dumps(made)
    assert b"cuda" not in kept
    again, cpu = pickle.loads(kept), kind(device="cpu", **options).fit(x)
    for method in ("score_samples", "encode", "transform"):
        if hasattr(made, method):
            found = getattr(made, method)(x)
            np.testing.assert_array_equal(getattr(again, method)(x), found)
            assert found.dtype == getattr(cpu, method)(x).dtype
            break
    if hasattr(made, "partial_fit"):
        again.partial_fit(x)
    if name == "AutoencoderTransformer":
        # nothing random, and hardly other rounding
        np.testing.assert_allclose(made.transform(x), cpu.transform(x), rtol=1e-2, atol=1e-3)


@needs_gpu
def test_models_go_to_files_from_any_device_to_any(tmp_path):
    for here in ("cpu", "cuda"):
        model = on(here).model
        aebook.save(model, tmp_path / "model.safetensors")
        for there in ("cpu", "cuda"):
            found = aebook.load(tmp_path / "model.safetensors", device=there)
            assert devices(found) == {there}
            for name, value in found.state_dict().items():
                assert torch.equal(value.cpu(), model.state_dict()[name].cpu())


@needs_gpu
def test_theory_and_measures_take_what_is_on_a_gpu():
    for compute in (
        lambda x: linear.principal_components(x, 2).variances,
        lambda x: linear.eckart_young(x, 2),
        lambda x: score.linear_denoiser(x, 0.1).matrix,
        lambda x: score.Mixture(x[:3], 0.5).log_density(x),
        lambda x: metrics.fvu(x * 0.9, x),
        lambda x: metrics.dead_units(x),
        lambda x: metrics.l0(x),
        lambda x: aebook.jacobian.squared_norm(on(x.device).model.encoder, x),
    ):
        here, there = (torch.as_tensor(compute(x)).detach().cpu() for x in (X, X.cuda()))
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)
    objective = variants.linear((M, 2)).double()
    history = aebook.lbfgs(objective, X.cuda())
    assert history.loss[-1] == pytest.approx(linear.eckart_young(X, 2), rel=1e-4)
