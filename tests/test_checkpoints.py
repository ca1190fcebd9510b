import argparse
import array
import collections
import datetime
import decimal
import enum
import functools
import json
import math
import operator
import os
import random
import subprocess
import sys
import threading
import types
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import aebook
from aebook.training.checkpoints import _SCHEMA, _apart, _together, read, write
from aebook.training.fingerprint import difference, fingerprint
from aebook.training.schedules import constant, cosine, one_cycle

# the truths below are about bits, so they hold on one device
pytestmark = pytest.mark.usefixtures("on_the_cpu")

N = 50


class Interrupted(Exception):
    """Stands for a power cut."""


@pytest.fixture
def x():
    return torch.rand(N, 6, generator=torch.Generator().manual_seed(1))


def noise(x):
    return x + 0.1 * torch.randn_like(x)


def make(width=5):
    """An objective with every kind of state: dropout, noise, a weight and a running variance."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Dropout(0.3), nn.Linear(width, 2))
    return aebook.Objective(
        aebook.Autoencoder(encoder, nn.Linear(2, 6)),
        corruption=noise,
        distance=aebook.distances.Gaussian(kind="optimal"),
        penalties={"code": (0.1, lambda seen: seen.code.square().sum(1))},
    )


class Power:
    """Cut at this fraction of training; a class, of which a fingerprint knows the name alone."""

    cut_at = math.inf


def anneal(objective, t):
    # with patience the final settings are asked for after each epoch
    if Power.cut_at <= t < 1:
        raise Interrupted
    objective.set_weight("code", 0.1 + t)


def losses(history):
    return {name: value for name, value in asdict(history).items() if name != "seconds"}


def equal(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def worsening(t):
    """Down the gradient for two of five epochs, and then up."""
    return 1.0 if t < 0.4 else -3.0


FORMS = {
    "tensor": lambda x: x,
    "loader": lambda x: DataLoader(TensorDataset(x), batch_size=16, shuffle=True),
}
OPTIONS = {
    "plain": {},
    "schedule": {"schedule": one_cycle, "lr": 1e-2, "clip": 1.0},
    "patience": {"patience": 3, "schedule": worsening, "lr": 1e-2, "optimizer": torch.optim.SGD},
    "half": {"precision": torch.float16},
    "momentum": {"optimizer": functools.partial(torch.optim.SGD, momentum=0.9)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", OPTIONS)
# the second is within an epoch
@pytest.mark.parametrize("stop_at", [0.2, 0.5])
def test_an_interrupted_run_ends_as_one_that_was_not(
    x, tmp_path, monkeypatch, form, options, stop_at
):
    path = tmp_path / "run.pt"
    options = {"epochs": 5, "validation": x.flip(0), "anneal": anneal, **OPTIONS[options]}
    if form == "tensor":
        options["batch_size"] = 16

    whole = make()
    expected = aebook.fit(whole, FORMS[form](x), checkpoint=tmp_path / "whole.pt", **options)

    # undoing all of it would bring back a GPU too
    with monkeypatch.context() as patch:
        patch.setattr(Power, "cut_at", stop_at)
        with pytest.raises(Interrupted):
            aebook.fit(make(), FORMS[form](x), checkpoint=path, **options)
    assert len(read(path)["history"]["learning_rate"]) == math.floor(stop_at * 5 + 1e-9)

    # another process would have other random numbers and a model with other weights
    torch.manual_seed(99)
    resumed = make()
    with torch.no_grad():
        for p in resumed.parameters():
            p.normal_()
    torch.rand(7)
    history = aebook.fit(resumed, FORMS[form](x), checkpoint=path, **options)

    assert losses(history) == losses(expected)
    if "patience" in options:
        # the best weights come from before the second interruption
        assert (history.best_epoch, len(history)) == (2, 5)
    assert equal(dict(resumed.state_dict()), dict(whole.state_dict()))
    ours, theirs = read(path), read(tmp_path / "whole.pt")
    for name in ("objective", "optimizer", "scaler", "best", "random", "settings", "t"):
        assert equal(ours[name], theirs[name]), name


def test_a_run_may_be_made_longer(x, tmp_path):
    whole, longer = make(), make()
    # where the rate does not hang on the length
    options = {"schedule": constant}
    expected = aebook.fit(whole, x, epochs=5, **options)
    options["checkpoint"] = tmp_path / "run.pt"
    aebook.fit(longer, x, epochs=2, **options)
    history = aebook.fit(make(), x, epochs=5, **options)
    assert losses(history) == losses(expected)


def test_a_finished_run_trains_no_more(x, tmp_path):
    path = tmp_path / "run.pt"
    first = make()
    expected = aebook.fit(first, x, epochs=3, checkpoint=path)
    content, steps = path.read_bytes(), []
    again = make()
    history = aebook.fit(
        again,
        x,
        epochs=3,
        checkpoint=path,
        optimizer=lambda *a, **k: count(torch.optim.Adam(*a, **k, fused=True), steps),
    )
    assert not steps
    assert history == expected
    assert equal(dict(again.state_dict()), dict(first.state_dict()))
    assert path.read_bytes() == content
    assert not again.training


def count(optimiser, steps):
    optimiser.register_step_post_hook(lambda *_: steps.append(1))
    return optimiser


def test_a_run_that_patience_ended_stays_ended_with_its_best_weights(x, tmp_path):
    options = {"epochs": 20, "validation": x, "patience": 2, "lr": 1e-30}
    path = tmp_path / "run.pt"
    first, again = aebook.variants.linear((6, 2)), aebook.variants.linear((6, 2))
    aebook.fit(first, x, checkpoint=path, **options)
    history = aebook.fit(again, x, checkpoint=path, **options)
    assert len(history) == history.best_epoch + 2 < 20
    assert equal(dict(again.state_dict()), dict(first.state_dict()))


def test_the_path_may_be_a_string_and_nothing_else_is_left_in_the_folder(x, tmp_path):
    aebook.fit(make(), x, epochs=3, checkpoint=str(tmp_path / "run.pt"))
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_a_schedule_that_is_a_partial_or_an_object_can_be_resumed(x, tmp_path):
    class Falling:
        def __call__(self, t):
            return 1 - t

    # a new process has them at other addresses
    for make_schedule in (lambda: functools.partial(max, 0.5), Falling):
        path = tmp_path / f"{make_schedule.__name__}.pt"
        for _ in range(2):
            aebook.fit(make(), x, epochs=1, checkpoint=path, schedule=make_schedule())


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -100])
def test_a_truncated_checkpoint_is_refused(x, tmp_path, keep):
    path = tmp_path / "run.pt"
    aebook.fit(make(), x, epochs=1, checkpoint=path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"run\.pt is no safetensors file.*: delete it"):
        aebook.fit(make(), x, epochs=2, checkpoint=path)


@given(st.binary(max_size=64))
def test_garbage_is_refused_as_a_checkpoint(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("garbage") / "run.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.pt is no safetensors file"):
        read(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small file with everything in it, and what it holds."""
    path = tmp_path_factory.mktemp("small") / "run.pt"
    torch.manual_seed(0)
    x, objective = torch.rand(4, 2), aebook.variants.sparse((2, 1), 0.5)
    aebook.fit(objective, x, epochs=2, validation=x, patience=2, checkpoint=path, device="cpu")
    return path.read_bytes(), read(path)


def test_a_flipped_bit_is_noticed_wherever_it_is(small):
    content, _ = small
    generator = np.random.default_rng(0)
    for position in generator.integers(0, 8 * len(content), 2000):
        altered = bytearray(content)
        altered[position // 8] ^= 1 << (position % 8)
        with pytest.raises(ValueError, match="run"):
            read(Path("run"), bytes(altered))


@pytest.mark.parametrize("field", _SCHEMA)
def test_a_file_with_a_right_checksum_and_other_contents_is_refused(small, tmp_path, field):
    path = tmp_path / "run.pt"
    _, state = small
    missing = {name: value for name, value in state.items() if name != field}
    for wrong in (missing, {**state, field: "x"}, {**state, "more": 1}):
        write(path, wrong)
        with pytest.raises(ValueError, match=r"run\.pt is no checkpoint of a run"):
            read(path)
    write(path, state)
    assert equal(read(path), state)


def test_histories_that_are_not_one_number_an_epoch_are_refused(small, tmp_path):
    _, state = small
    for change in ({"seconds": [1.0]}, {"terms": {"loss": ["a", "b"]}}, {"more": []}):
        write(tmp_path / "run.pt", {**state, "history": state["history"] | change})
        with pytest.raises(ValueError, match="is no checkpoint of a run"):
            read(tmp_path / "run.pt")


@pytest.mark.parametrize("name", ["objective", "best", "optimizer", "random"])
def test_tensors_of_another_size_are_refused_and_nothing_is_changed(x, tmp_path, name):
    """A fused optimiser would read and write beyond their ends."""
    path = tmp_path / "run.pt"
    options = {"epochs": 2, "validation": x, "patience": 5, "checkpoint": path}
    aebook.fit(make(), x, **options)
    state = read(path)

    def larger(value):
        if isinstance(value, dict):
            return {k: larger(v) for k, v in value.items()}
        if isinstance(value, list):
            return [larger(v) for v in value]
        is_weight = isinstance(value, torch.Tensor) and value.dim()
        return torch.cat((value, value)) if is_weight else value

    write(path, {**state, name: larger(state[name])})
    objective = make()
    with pytest.raises(ValueError, match="belongs to another model"):
        aebook.fit(objective, x, **options)
    assert equal(dict(objective.state_dict()), dict(make().state_dict()))


def test_models_and_checkpoints_are_told_apart(x, tmp_path):
    path = tmp_path / "run.pt"
    aebook.save(aebook.variants.linear((6, 2)).model, path)
    content = path.read_bytes()
    with pytest.raises(ValueError, match="is a model, expected a checkpoint"):
        aebook.fit(make(), x, epochs=1, checkpoint=path)
    assert path.read_bytes() == content
    aebook.fit(make(), x, epochs=1, checkpoint=tmp_path / "other.pt")
    with pytest.raises(ValueError, match="is a checkpoint of a run, expected a model"):
        aebook.load(tmp_path / "other.pt")


def test_a_pickle_is_never_opened(x, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    path = tmp_path / "run.pt"
    torch.save({"bomb": Bomb()}, path)
    with pytest.raises(ValueError, match=r"run\.pt is no safetensors file.*never opened"):
        aebook.fit(make(), x, epochs=1, checkpoint=path)
    assert not (tmp_path / "exploded").exists()


def test_a_folder_that_does_not_exist_is_refused_before_training(x, tmp_path):
    objective = make()
    with pytest.raises(
        ValueError, match=r"got checkpoint='.*nowhere/run\.pt', but its folder does"
    ):
        aebook.fit(objective, x, epochs=1, checkpoint=tmp_path / "nowhere" / "run.pt")
    assert equal(dict(objective.state_dict()), dict(make().state_dict()))


def test_a_folder_that_cannot_be_written_raises_and_frees_the_objective(x, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("aebook._internal.files.open", refuse, raising=False)
    objective = make()
    state = torch.get_rng_state()
    with pytest.raises(PermissionError, match="Permission denied"):
        aebook.fit(objective, x, epochs=1, checkpoint=tmp_path / "run.pt")
    assert not objective.training
    assert torch.equal(torch.get_rng_state(), state)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_halfway_leaves_the_last_checkpoint_whole(
    x, tmp_path, monkeypatch, error
):
    path = tmp_path / "run.pt"
    options = {"schedule": constant}
    expected = aebook.fit(make(), x, epochs=4, **options)
    aebook.fit(make(), x, epochs=2, checkpoint=path, **options)
    content = path.read_bytes()

    def fail(number):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(type(error)):
            aebook.fit(make(), x, epochs=4, checkpoint=path, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    assert path.read_bytes() == content
    history = aebook.fit(make(), x, epochs=4, checkpoint=path, **options)
    assert losses(history) == losses(expected)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text() | st.integers(), inner)
        ),
        max_leaves=10,
    )
)
def test_plain_values_and_tensors_come_back_as_they_were(value):
    tensors = {}
    whole = {"value": value, "weights": [torch.tensor(1.5), (torch.arange(3),)]}
    tree = json.loads(json.dumps(_apart(whole, "", tensors)))
    assert repr(_together(tree, tensors)) == repr(whole)


# Another run


def linear_schedule(t, end):
    return 1 - t * (1 - end)


class Falling:
    def __init__(self, rate):
        self._rate = rate

    def __call__(self, t):
        return 1 - self._rate * t


def closing_over(value):
    return lambda t: 1 - t * value


def annealing_to(value):
    return lambda objective, t: objective.set_weight("code", value * t)


def size(kind):
    return aebook.penalties.activity(kind)


def network(width=5, activation=nn.Tanh, dropout=0.3):
    return nn.Sequential(
        nn.Linear(6, width), activation(), nn.Dropout(dropout), nn.Linear(width, 2)
    )


def build(*, corruption=noise, distance=None, weight=0.1, penalty=None, double=False, **parts):
    torch.manual_seed(0)
    objective = aebook.Objective(
        aebook.Autoencoder(network(**parts), nn.Linear(2, 6), aebook.bottlenecks.TopK(1)),
        corruption,
        aebook.distances.Gaussian(0.5) if distance is None else distance,
        {"code": (weight, size("l1") if penalty is None else penalty)},
    )
    return objective.double() if double else objective


def frozen(part, scale=1.0):
    objective = build()
    for p in getattr(objective.model, part).requires_grad_(False).parameters():
        p.data *= scale
    return objective


def with_k(k):
    objective = build()
    objective.model.bottleneck.set_k(k)
    return objective


class Blocks(Sampler):
    def __init__(self, size):
        self.size = size

    def __iter__(self):
        return iter(torch.arange(N).split(self.size))

    def __len__(self):
        return -(-N // self.size)


class Scaled(Dataset):
    def __init__(self, factor, files=()):
        self.factor, self.files = factor, files

    def __len__(self):
        return N

    def __getitem__(self, k):
        return self.factor * X[k]


class InParts:
    """An array that is read in parts, as h5py has it."""

    def __init__(self, values):
        self.values = values.numpy()
        self.shape, self.dtype = self.values.shape, self.values.dtype

    def __getitem__(self, rows):
        return self.values[rows]


class Boosted(torch.optim.SGD):
    def __init__(self, parameters, lr, boost):
        super().__init__(parameters, lr=lr)
        self.boost = boost


def ten_times(batch):
    return torch.stack([10 * x for (x,) in batch])


CORRUPTION, DISTANCE = aebook.corruptions, aebook.distances
X = torch.rand(N, 6, generator=torch.Generator().manual_seed(1))
Y = X.clone()
Y[17, 3] += 1e-6
ADAMW = functools.partial(torch.optim.AdamW, weight_decay=0.0)
#: What one run is made with, what another, and what the refusal names.
OTHERS = {
    "λ": ({}, {"objective": lambda: build(weight=5.0)}, "weight_code 0.1.* ≠ 5.0"),
    "k": ({}, {"objective": lambda: with_k(2)}, "bottleneck.k 1 ≠ 2"),
    "σ": (
        {},
        {"objective": lambda: build(distance=DISTANCE.Gaussian(0.7))},
        "distance.log_sigma",
    ),
    "σ learnt": (
        {},
        {"objective": lambda: build(distance=DISTANCE.Gaussian(0.5, "learned"))},
        "objective.distance.kind fixed ≠ learned",
    ),
    "distance": (
        {},
        {"objective": lambda: build(distance=DISTANCE.squared_error)},
        "objective.distance .*squared_error",
    ),
    "corruption": (
        {},
        {"objective": lambda: build(corruption=CORRUPTION.masking(0.1))},
        "objective.corruption .*noise ≠ partial",
    ),
    "its argument": (
        {"objective": lambda: build(corruption=CORRUPTION.masking(0.1))},
        {"objective": lambda: build(corruption=CORRUPTION.masking(0.2))},
        "objective.corruption.p 0.1 ≠ 0.2",
    ),
    "its tensor": (
        {"objective": lambda: build(corruption=CORRUPTION.salt_and_pepper(0.1, X[0], X[0]))},
        {"objective": lambda: build(corruption=CORRUPTION.salt_and_pepper(0.1, X[1], X[1]))},
        r"objective.corruption.low Tensor .* ≠ Tensor",
    ),
    "penalty": (
        {},
        {"objective": lambda: build(penalty=size("l2"))},
        "penalties.code.kind l1 ≠ l2",
    ),
    "activation": (
        {},
        {"objective": lambda: build(activation=nn.ReLU)},
        "encoder.1 .*Tanh ≠ .*ReLU",
    ),
    "dropout": ({}, {"objective": lambda: build(dropout=0.4)}, r"encoder.2.p 0.3 ≠ 0.4"),
    "width": ({}, {"objective": lambda: build(width=4)}, "encoder.0.out_features 5 ≠ 4"),
    "type": ({}, {"objective": lambda: build(double=True)}, "float32.* ≠ .*float64"),
    "frozen": (
        {"objective": lambda: frozen("encoder")},
        {"objective": lambda: frozen("decoder")},
        "encoder.0.weight is trained False ≠ True",
    ),
    "frozen weights": (
        {"objective": lambda: frozen("encoder")},
        {"objective": lambda: frozen("encoder", 2.0)},
        "encoder.0.weight Parameter .* ≠ ",
    ),
    "lr": ({}, {"lr": 0.1}, r"lr 0\.01 ≠ 0\.1"),
    "batch": ({}, {"batch_size": 7}, "batch_size 50 ≠ 7"),
    "seed": ({}, {"seed": 3}, "seed 0 ≠ 3"),
    "clip": ({}, {"clip": 1.0}, r"clip None ≠ 1\.0"),
    "patience": ({"validation": X}, {"validation": X, "patience": 9}, "patience None ≠ 9"),
    "precision": ({}, {"precision": torch.bfloat16}, r"precision None ≠ torch\.bfloat16"),
    "optimiser": ({}, {"optimizer": torch.optim.SGD}, "optimizer.class .*Adam ≠ .*SGD"),
    "its option": (
        {"optimizer": ADAMW},
        {"optimizer": functools.partial(ADAMW, weight_decay=10.0)},
        r"optimizer.0.weight_decay 0\.0 ≠ 10\.0",
    ),
    "epochs": ({}, {"epochs": 3}, "epochs 2 ≠ 3"),
    "schedule": ({}, {"schedule": cosine}, "schedule .*one_cycle ≠ .*cosine"),
    "λ of t": (
        {"schedule": lambda t: 1.0},
        {"schedule": lambda t: 0.5},
        "schedule.code",
    ),
    "schedule's argument": (
        {"schedule": functools.partial(linear_schedule, end=0.0)},
        {"schedule": functools.partial(linear_schedule, end=0.5)},
        "schedule.end 0.0 ≠ 0.5",
    ),
    "schedule's closure": (
        {"schedule": closing_over(0.2)},
        {"schedule": closing_over(0.3)},
        "schedule.value 0.2 ≠ 0.3",
    ),
    "schedule's attribute": (
        {"schedule": Falling(0.2)},
        {"schedule": Falling(0.3)},
        "schedule._rate 0.2 ≠ 0.3",
    ),
    "anneal": (
        {"anneal": annealing_to(0.2)},
        {"anneal": annealing_to(0.3)},
        "anneal.value 0.2 ≠ 0.3",
    ),
    "anneal at all": ({"anneal": annealing_to(0.2)}, {}, "anneal .* ≠ None"),
    "data": ({}, {"data": Y}, "data.x Tensor .* ≠ Tensor"),
    "their number": ({}, {"data": X[:40]}, "samples 50 ≠ 40"),
    "targets": ({}, {"data": (X, Y)}, "data.target None ≠ Tensor"),
    "weights": ({}, {"sample_weight": torch.arange(1.0, N + 1)}, "data.weight None ≠ Tensor"),
    "data of a loader": (
        {"data": FORMS["loader"](X)},
        {"data": FORMS["loader"](Y)},
        "data.dataset.tensors.0 Tensor .* ≠ Tensor",
    ),
    "its order": (
        {"data": DataLoader(TensorDataset(X), 7)},
        {"data": DataLoader(TensorDataset(X), 7, shuffle=True)},
        "data.sampler .*SequentialSampler ≠ .*RandomSampler",
    ),
    "its collation": (
        {"data": DataLoader(TensorDataset(X), 7)},
        {"data": DataLoader(TensorDataset(X), 7, collate_fn=ten_times)},
        "data.collate_fn .* ≠ .*ten_times",
    ),
    "what its sampler draws from": (
        {"data": DataLoader(TensorDataset(X), 7, sampler=SubsetRandomSampler(range(20)))},
        {"data": DataLoader(TensorDataset(X), 7, sampler=SubsetRandomSampler(range(20, 40)))},
        "data.sampler.indices range.0, 20. ≠ range.20, 40",
    ),
    "how its sampler weighs": (
        {"data": DataLoader(TensorDataset(X), 7, sampler=WeightedRandomSampler([1.0] * N, N))},
        {"data": DataLoader(TensorDataset(X), 7, sampler=WeightedRandomSampler(range(N), N))},
        "data.sampler.weights Tensor .* ≠ Tensor",
    ),
    "its sampler of batches": (
        {"data": DataLoader(TensorDataset(X), batch_sampler=Blocks(10))},
        {"data": DataLoader(TensorDataset(X), batch_sampler=Blocks(25))},
        "data.batch_sampler.size 10 ≠ 25",
    ),
    "a list of samples": (
        {"data": DataLoader(TensorDataset(X), 7, sampler=[1, 2, 3])},
        {"data": DataLoader(TensorDataset(X), 7, sampler=[1, 2, 4])},
        "data.sampler.2 3 ≠ 4",
    ),
    "its last batch": (
        {"data": DataLoader(TensorDataset(X), 7)},
        {"data": DataLoader(TensorDataset(X), 7, drop_last=True)},
        "data.drop_last False ≠ True",
    ),
    "a data set's attribute": (
        {"data": Scaled(1.0)},
        {"data": Scaled(50.0)},
        "data.dataset.factor 1.0 ≠ 50.0",
    ),
    "a long list in it": (
        {"data": Scaled(1.0, list(range(1000)))},
        {"data": Scaled(1.0, [*range(999), -1])},
        "data.dataset.files list of 1000 .* ≠ list of 1000 ",
    ),
    "what is read in parts": (
        {"data": InParts(X)},
        {"data": InParts(1 - X)},
        "data.x.1 ndarray .* ≠ ndarray",
    ),
    "a loader for validation": (
        {"validation": FORMS["loader"](X)},
        {"validation": FORMS["loader"](Y)},
        "validation.dataset.tensors.0 Tensor .* ≠ Tensor",
    ),
    "optimiser's attribute": (
        {"optimizer": functools.partial(Boosted, boost=1.0)},
        {"optimizer": functools.partial(Boosted, boost=7.0)},
        r"optimizer.boost 1.0 ≠ 7.0",
    ),
    "their kind": ({}, {"data": FORMS["loader"](X)}, "data.* ≠ "),
    "validation": ({"validation": X}, {"validation": Y}, "validation.x Tensor .* ≠ Tensor"),
    "validation at all": ({}, {"validation": X}, "validation None ≠ "),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_is_refused_by_naming_what_differs(tmp_path, other):
    first, second, difference = OTHERS[other]
    path = tmp_path / "run.pt"

    def run(objective=build, data=X, **options):
        made = objective()
        options = {"epochs": 2, "device": "cpu"} | options
        return made, functools.partial(aebook.fit, made, data, checkpoint=path, **options)

    _, fit = run(**first)
    fit()
    content = path.read_bytes()
    objective, fit = run(**second)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(
        ValueError, match=rf"(?s)belongs to another run \(.*{difference}.*another path"
    ):
        fit()
    # neither of the two has been touched
    assert path.read_bytes() == content
    if "anneal" not in second:
        assert equal(dict(objective.state_dict()), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    # and the first goes on
    _, fit = run(**first)
    assert len(fit()) == 2


# What somebody else's classes hold


class Colour(enum.Enum):
    RED, BLUE = 1, 2


class Slotted:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k


class Own:
    """It says itself what it is."""

    def __init__(self, k):
        self.k, self.file = k, threading.Lock()

    def __getstate__(self):
        return {"k": self.k}


class Listed(list):
    def __init__(self, k):
        super().__init__()
        self.k = k


class Held:
    """It cannot be pickled."""

    def __init__(self, k):
        self.k = k

    def __reduce_ex__(self, protocol):
        raise TypeError


def one():
    yield


def other():
    yield


def closed_over(k):
    return lambda x: x * k


def teacher(k):
    """A network that nobody froze and nobody trains."""
    network = nn.BatchNorm1d(2)
    network.weight.data.fill_(k)
    return lambda x: network(x)


def normaliser(k):
    network = nn.BatchNorm1d(2)
    network.running_mean.fill_(k)
    return lambda x: network(x)


def table(k, **columns):
    return pd.DataFrame({"a": [1.0, k], "b": ["x", "y"], **columns})


#: Of 1 and of 2 each is another thing, and of 1 twice the same.
VALUES = {
    "path": lambda k: Path(f"data/{k}"),
    "namespace": lambda k: argparse.Namespace(k=k),
    "simple namespace": lambda k: types.SimpleNamespace(k=k),
    "method caller": lambda k: operator.methodcaller("mul", k),
    "item getter": lambda k: operator.itemgetter(k),
    "decimal": lambda k: decimal.Decimal(k),
    "array of Python": lambda k: array.array("f", [k]),
    "deque": lambda k: collections.deque([k], 3),
    "its length": lambda k: collections.deque([0], k),
    "counter": lambda k: collections.Counter({"a": k}),
    "chain of dicts": lambda k: collections.ChainMap({"a": k}),
    "bytearray": lambda k: bytearray([k]),
    "memory": lambda k: memoryview(bytes([k])),
    "date": lambda k: datetime.date(2020, 1, k),
    "duration": lambda k: datetime.timedelta(k),
    "enumeration": lambda k: Colour(k),
    "iterator": lambda k: iter([0, k]),
    "bound method of a built-in": lambda k: [k].index,
    "table": table,
    "table of text": lambda k: pd.DataFrame({"a": ["x", f"{k}"]}),
    "table's index": lambda k: pd.DataFrame({"a": [1.0, 2.0]}, index=[0, k]),
    "table of dates": lambda k: table(0, c=pd.to_datetime(["2020-01-01", f"2020-01-0{k}"])),
    "table of classes": lambda k: table(0, c=pd.Categorical(["p", f"q{k}"])),
    "its columns' names": lambda k: table(0).rename(columns={"a": k}),
    "column": lambda k: pd.Series([1.0, k]),
    "index": lambda k: pd.Index([0, k]),
    "array of objects": lambda k: np.array([0, k], dtype=object),
    "array of text": lambda k: np.array(["a", f"{k}"]),
    "array of dates": lambda k: np.array([f"2020-01-0{k}"], dtype="datetime64[D]"),
    "mask of an array": lambda k: np.ma.array([0, 0], mask=[k == 1, k == 2]),
    "sparse tensor": lambda k: (k * torch.eye(3)).to_sparse(),
    "tensor with a gradient": lambda k: torch.full((2,), float(k)).requires_grad_(),
    "bfloat16": lambda k: torch.full((2,), k, dtype=torch.bfloat16),
    "generator of PyTorch": lambda k: torch.Generator().manual_seed(k),
    "generator of NumPy": lambda k: np.random.default_rng(k),
    "old generator of NumPy": lambda k: np.random.RandomState(k),
    "generator of Python": lambda k: random.Random(k),
    "image": lambda k: Image.new("L", (2, 2), k),
    "number as a key": lambda k: {1: k, "1": 0},
    "type of a key": lambda k: {k if k == 1 else "1": 0},
    "object as a key": lambda k: {Path(f"{k}"): 0},
    "key that is empty": lambda k: {"": [k]},
    "function that keeps results": lambda k: functools.lru_cache(closed_over(k)),
    "decorated function": lambda k: torch.no_grad()(closed_over(k)),
    "vectorised function": lambda k: np.vectorize(closed_over(k)),
    "distribution": lambda k: torch.distributions.Normal(0.0, float(k)),
    "type of numbers": lambda k: np.dtype(f"f{4 * k}"),
    "slots": Slotted,
    "its own state": Own,
    "list with attributes": Listed,
    "what cannot be pickled": Held,
    "what only shows itself": lambda k: (one, other)[k - 1](),
    "network that is not trained here": teacher,
    "statistics of one": normaliser,
    "many": lambda k: collections.deque([*range(999), k]),
}


@pytest.mark.parametrize("kind", VALUES)
def test_what_classes_of_others_hold_is_known(kind):
    make, first = VALUES[kind], fingerprint(value=VALUES[kind](1))
    assert not difference(first, fingerprint(value=make(1)))
    assert difference(first, fingerprint(value=make(2)))
    # also where it stands in something else
    inside = fingerprint(value=[Falling(make(1))])
    assert difference(inside, fingerprint(value=[Falling(make(2))]))
    assert all(
        value is None or isinstance(value, bool | int | float | str) for value in first.values()
    )


def test_a_table_is_the_same_however_it_is_kept():
    """Columns that were put in one by one lie elsewhere, and an index notes what it was asked."""
    whole = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    parts = pd.DataFrame({"a": [1.0, 2.0]})
    parts["b"] = [3.0, 4.0]
    before = fingerprint(table=parts)
    assert not difference(fingerprint(table=whole), before)
    _ = parts.index.is_unique, parts.iloc[0], parts.loc[1], parts.to_numpy()
    assert fingerprint(table=parts) == before


# Data and parts that change as they are used


class Cached(Dataset):
    def __init__(self, factor=1.0):
        self.factor, self.cache = factor, {}

    def __len__(self):
        return N

    def __getitem__(self, k):
        if k not in self.cache:
            self.cache[k] = self.factor * X[k]
        return self.cache[k]


class Late(Cached):
    """The usual pattern of h5py: opened where it is first read."""

    file = None

    def __init__(self, factor=1.0):
        self.factor, self.file, self.reads = factor, None, 0

    def __getitem__(self, k):
        if self.file is None:
            self.file = [self.factor * X, threading.Lock()]
        self.reads += 1
        return self.file[0][k]


class Filled(Cached):
    """A cache that is there from the beginning, and empty."""

    def __init__(self, factor=1.0):
        self.factor, self.values = factor, np.full((N, 6), np.nan, np.float32)

    def __getitem__(self, k):
        if np.isnan(self.values[k, 0]):
            self.values[k] = self.factor * X[k].numpy()
        return self.values[k]


class Stating(Cached):
    """It changes in the middle of a run, and says that this is nothing."""

    def __init__(self, factor=1.0):
        self.factor, self.reads = factor, 0

    def __getitem__(self, k):
        self.reads += 1
        self.late = self.reads // (3 * N)
        return self.factor * X[k]

    def __getstate__(self):
        return {"factor": self.factor}


class Counting:
    """A corruption, and a schedule."""

    def __init__(self, factor=1.0):
        self.factor, self.calls = factor, 0

    def __call__(self, x):
        self.calls += 1
        return x * self.factor


MOVING = {
    "cache": lambda k: {"data": Cached(k)},
    "file": lambda k: {"data": Late(k)},
    "array": lambda k: {"data": Filled(k)},
    "state": lambda k: {"data": Stating(k)},
    "loader": lambda k: {"data": DataLoader(Late(k), 16)},
    "validation": lambda k: {"validation": Late(k)},
    "corruption": lambda k: {"objective": build(corruption=Counting(k))},
    "schedule": lambda k: {"schedule": Counting(k)},
}


@pytest.mark.parametrize("kind", MOVING)
@pytest.mark.parametrize("session", ["the same", "another"])
def test_a_run_goes_on_with_what_changes_as_it_is_used(tmp_path, kind, session):
    def run(epochs, path, **given):
        objective = given.pop("objective", None) or build()
        data = given.pop("data", X)
        options = {"epochs": epochs, "schedule": constant} | given
        if kind == "schedule":
            options["epochs"] = 4
        history = aebook.fit(objective, data, checkpoint=path, device="cpu", **options)
        return losses(history), objective.state_dict()

    expected = run(4, tmp_path / "whole", **MOVING[kind](1.0))
    given = MOVING[kind](1.0)
    run(2, tmp_path / "run", **given)
    if session == "another" or kind == "corruption":
        given = MOVING[kind](1.0)
    found = run(4, tmp_path / "run", **given)
    if kind != "corruption":
        assert equal(found, expected)
    # and what does not change is known as before
    with pytest.raises(ValueError, match=r"belongs to another run \(.*factor 1\.0 ≠ 0\.5"):
        run(4, tmp_path / "run", **MOVING[kind](0.5))


# Generators of one's own

GENERATORS = {
    "PyTorch": lambda: torch.Generator().manual_seed(3),
    "NumPy": lambda: np.random.default_rng(3),
    "Mersenne": lambda: np.random.Generator(np.random.MT19937(3)),
    "Philox": lambda: np.random.Generator(np.random.Philox(3)),
    "old NumPy": lambda: np.random.RandomState(3),
    "Python": lambda: random.Random(3),
}


def uniform(generator):
    if isinstance(generator, torch.Generator):
        return torch.rand((), generator=generator).item()
    return generator.random()


class Noisy(Dataset):
    def __init__(self, generator):
        self.generator = generator

    def __len__(self):
        return N

    def __getitem__(self, k):
        return X[k] * uniform(self.generator)


DRAWING = {
    "corruption": lambda g: (build(corruption=lambda x: x * uniform(g)), X),
    "data set": lambda g: (build(), Noisy(g)),
    "loader": lambda g: (build(), DataLoader(TensorDataset(X), 16, shuffle=True, generator=g)),
    "sampler": lambda g: (
        build(),
        DataLoader(X, 16, sampler=SubsetRandomSampler(range(40), generator=g)),
    ),
}


@pytest.mark.parametrize(
    ("part", "kind"),
    [(part, kind) for part in ("corruption", "data set") for kind in GENERATORS]
    + [("loader", "PyTorch"), ("sampler", "PyTorch")],
)
def test_generators_of_ones_own_go_on_too(tmp_path, part, kind):
    def run(epochs, path):
        objective, data = DRAWING[part](GENERATORS[kind]())
        options = {"schedule": constant, "validation": X, "device": "cpu"}
        history = aebook.fit(objective, data, epochs=epochs, checkpoint=path, **options)
        return losses(history), objective.state_dict()

    expected = run(4, tmp_path / "whole")
    run(2, tmp_path / "run")
    assert equal(run(4, tmp_path / "run"), expected)


STRENGTH = 1.0
LAYERS = types.ModuleType("layers")
LAYERS.settings = types.ModuleType("settings")
LAYERS.settings.strength, LAYERS.settings.again = 1.0, LAYERS
LAYERS.unused = 0.0


class Reading:
    def __call__(self, x):
        return x * STRENGTH


class ReadingModule(nn.Module):
    def forward(self, x):
        return x * STRENGTH


class Attribute:
    factor = 1.0

    def __call__(self, x):
        return x * self.factor


class AttributeModule(nn.Module):
    factor = 1.0

    def forward(self, x):
        return x * self.factor


class Decorated:
    @staticmethod
    def static():
        return 1.0

    @classmethod
    def of_class(cls):
        return 1.0

    @property
    def read(self):
        return 1.0

    @functools.cached_property
    def kept(self):
        return 1.0

    @functools.lru_cache  # noqa: B019
    def remembered(self):
        return 1.0


def two(self=None):
    return 2.0


def through_module(x):
    return x * LAYERS.settings.strength * LAYERS.settings.again.settings.strength


MOVED = {
    "a global of an object": (Reading, (None, "STRENGTH", 2.0)),
    "a global of a module": (ReadingModule, (None, "STRENGTH", 2.0)),
    "a class's attribute": (Attribute, (Attribute, "factor", 2.0)),
    "a module's class's attribute": (AttributeModule, (AttributeModule, "factor", 2.0)),
    "a static method": (Decorated, (Decorated, "static", staticmethod(two))),
    "a class method": (Decorated, (Decorated, "of_class", classmethod(two))),
    "a property": (Decorated, (Decorated, "read", property(two))),
    "a property that is kept": (Decorated, (Decorated, "kept", functools.cached_property(two))),
    "results that are kept": (Decorated, (Decorated, "remembered", functools.lru_cache(two))),
    "a module's global": (lambda: through_module, (LAYERS.settings, "strength", 2.0)),
}


@pytest.mark.parametrize("moved", MOVED)
def test_what_code_reads_is_known(monkeypatch, moved):
    made, (where, name, value) = MOVED[moved]
    before = fingerprint(thing=made())
    assert fingerprint(thing=made()) == before
    monkeypatch.setattr(sys.modules[__name__] if where is None else where, name, value)
    assert fingerprint(thing=made()) != before


def test_what_no_code_reads_says_nothing(monkeypatch):
    before = fingerprint(thing=through_module)
    monkeypatch.setattr(LAYERS, "unused", 1.0)
    assert fingerprint(thing=through_module) == before
    # an object's own stands before its class's
    thing = Attribute()
    thing.factor = 3.0
    assert fingerprint(thing=thing)["thing.factor"] == 3.0


@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward_pre", "full_backward"])
def test_hooks_are_known(kind):
    def hooked(factor):
        layer = nn.Linear(2, 2)
        getattr(layer, f"register_{kind}_hook")(lambda *seen: seen[-1][0] * factor)
        return fingerprint(layer=layer)

    assert hooked(1.0) == hooked(1.0)
    assert hooked(1.0) != hooked(2.0)


def test_fewer_epochs_than_there_are_are_refused(x, tmp_path):
    options = {"schedule": constant, "checkpoint": tmp_path / "run.pt"}
    aebook.fit(make(), x, epochs=3, **options)
    with pytest.raises(ValueError, match=r"got epochs=2, but the checkpoint .*run\.pt has 3"):
        aebook.fit(make(), x, epochs=2, **options)


def test_what_is_set_is_never_taken_from_a_checkpoint(x, tmp_path):
    """Not λ, where it is changed after the run, nor where an anneal has moved it since."""
    options = {"epochs": 4, "checkpoint": tmp_path / "run.pt", "anneal": anneal}
    objective = make()
    aebook.fit(objective, x, **options)
    assert objective.weight("code").item() == pytest.approx(0.1 + 3 / 4)
    # the anneal puts it where it was, wherever it is now
    objective.set_weight("code", 77.0)
    aebook.fit(objective, x, **options)
    assert objective.weight("code").item() == pytest.approx(0.1 + 3 / 4)
    names = {"weight_code"}
    state = read(tmp_path / "run.pt")
    assert state["settings"].keys() == names
    assert not names & state["objective"].keys()


def things():
    return {
        "objective": build(corruption=CORRUPTION.masking(0.1)),
        "trained": make(),
        "partial": functools.partial(anneal),
        "names": {"a", "b", "c", "d"},
        "function": lambda x: x in {"p", "q", "r"},
        "closure": closing_over(closing_over(0.5)),
        "thing": Falling(0.2),
        "type": Falling,
        "class": [Decorated(), AttributeModule(), Reading()],
        "module": through_module,
        "array": np.arange(9),
        "built-in": [max, np.cos, torch.tanh, torch.Generator()],
        **{name: make(1) for name, make in VALUES.items()},
    }


def test_a_new_process_finds_the_same_fingerprint():
    """Hashes of texts, addresses and orders of sets are others there."""
    code = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_checkpoints
print(json.dumps(test_checkpoints.fingerprint(**test_checkpoints.things())))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )
    assert json.loads(done.stdout) == fingerprint(**things())
    assert "0x" not in done.stdout


# One path, one run


def test_one_path_has_one_run(x, tmp_path):
    path = tmp_path / "run.pt"
    refused = []

    def again(objective, history):
        with pytest.raises(ValueError, match=r"run\.pt belongs to a run that is still going on"):
            aebook.fit(make(), x, epochs=2, checkpoint=path)
        refused.append(len(history))

    aebook.fit(make(), x, epochs=2, checkpoint=path, callback=again)
    assert refused == [1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.skipif(os.name != "posix", reason="hard links and locks of POSIX")
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_file_with_two_names_has_one_run(x, tmp_path, link):
    options = {"schedule": constant, "epochs": 3}
    aebook.fit(make(), x, checkpoint=tmp_path / "run", **options | {"epochs": 1})
    link(tmp_path / "run", tmp_path / "other")

    def again(objective, history):
        for name in ("run", "other"):
            with pytest.raises(ValueError, match=r"belongs to a run that is still going on"):
                aebook.fit(make(), x, checkpoint=tmp_path / name, **options)

    aebook.fit(make(), x, checkpoint=tmp_path / "run", callback=again, **options)
    assert {p.name for p in tmp_path.iterdir()} == {"run", "other"}
    # and when it has ended each is free
    for name in ("run", "other"):
        assert len(aebook.fit(make(), x, checkpoint=tmp_path / name, **options)) == 3


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="files that are none, on Linux")
def test_a_folder_that_holds_no_files_is_refused(x):
    for call in (
        lambda path: aebook.save(make().model, path),
        lambda path: aebook.fit(make(), x, epochs=1, checkpoint=path),
    ):
        with pytest.raises(ValueError, match=r"got path='?/proc/self/m.*expected"):
            call("/proc/self/mem")


@pytest.mark.skipif(os.name != "posix", reason="a killed process on POSIX")
def test_another_process_is_refused_and_one_that_was_killed_holds_nobody_up(x, tmp_path):
    path = tmp_path / "run.pt"
    code = f"""
import sys
from aebook._internal.files import locked
with locked({str(path)!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="belongs to a run that is still going on"):
            aebook.fit(make(), x, epochs=1, checkpoint=path)
        other.kill()
    aebook.fit(make(), x, epochs=1, checkpoint=path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


# The callback, where there is a checkpoint


def test_a_run_that_its_callback_stopped_stays_stopped_until_one_says_otherwise(x, tmp_path):
    asked = []

    def until(most):
        def stop(objective, history):
            asked.append(len(history))
            return len(history) >= most

        return stop

    def run(callback, **options):
        objective, asked[:] = make(), []
        options = {"epochs": 6, "schedule": constant, "checkpoint": tmp_path / "run"} | options
        history = aebook.fit(objective, x, callback=callback, **options)
        return losses(history), objective.state_dict()

    first = run(until(3))
    assert asked == [1, 2, 3]
    content = (tmp_path / "run").read_bytes()
    for _ in range(2):
        assert equal(run(until(3)), first)
        assert asked == [3]
    assert (tmp_path / "run").read_bytes() == content
    assert len(run(until(5))[0]["learning_rate"]) == 5
    assert asked == [3, 4, 5]
    # and with none it goes on, as one that was never stopped
    assert equal(run(None), run(None, checkpoint=None))


def set_weight(objective):
    objective.set_weight("code", 7.0)


def freeze(objective):
    objective.model.decoder.requires_grad_(False)


def drop(objective):
    objective.model.encoder[2].p = 0.9


def zero(objective):
    for p in objective.parameters():
        p.data.zero_()


def forget(objective):
    objective.distance.log_sigma.fill_(7.0)


CHANGES = {
    set_weight: "weight_code",
    freeze: "requires_grad of model.decoder.weight",
    drop: "model.encoder.2.p",
    zero: "model.encoder.0.weight",
    forget: "distance.log_sigma",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("before", [0, 2])
def test_a_callback_changes_nothing_that_a_checkpoint_would_miss(x, tmp_path, change, before):
    options = {"schedule": constant, "checkpoint": tmp_path / "run"}
    aebook.fit(make(), x, epochs=before, callback=lambda o, h: None, **options)
    with pytest.raises(
        ValueError, match=f"changed {CHANGES[change]}.*anneal.*leave out the ch"
    ) as e:
        aebook.fit(make(), x, epochs=4, callback=lambda o, h: change(o), **options)
    assert len(e.value.history) == before + 1
    # the epochs until then are kept, and the run goes on as if nothing had been
    resumed, whole = make(), make()
    aebook.fit(resumed, x, epochs=4, **options)
    aebook.fit(whole, x, epochs=4, schedule=constant)
    assert equal(resumed.state_dict(), whole.state_dict())
    # without a checkpoint it is the caller's affair
    aebook.fit(make(), x, epochs=2, schedule=constant, callback=lambda o, h: change(o))


def test_a_callback_may_look_as_it_likes(x, tmp_path):
    def look(objective, history):
        objective.train()
        objective(x)
        objective.eval()
        objective.unknown = float("nan")

    objective = build()
    objective.unknown = float("nan")
    objective.register_buffer("holes", torch.tensor([float("nan"), 1.0]))
    aebook.fit(objective, x, epochs=2, callback=look, checkpoint=tmp_path / "run")
