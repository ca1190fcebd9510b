import functools
import math
import os
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import aebook
from aebook.training.checkpoints import read, write
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


def anneal(objective, t, *, stop_at=math.inf):
    if t >= stop_at:
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
def test_an_interrupted_run_ends_as_one_that_was_not(x, tmp_path, form, options, stop_at):
    path = tmp_path / "run.pt"
    options = {"epochs": 5, "validation": x.flip(0), "anneal": anneal, **OPTIONS[options]}
    if form == "tensor":
        options["batch_size"] = 16

    whole = make()
    expected = aebook.fit(whole, FORMS[form](x), checkpoint=tmp_path / "whole.pt", **options)

    broken = functools.partial(anneal, stop_at=stop_at)
    with pytest.raises(Interrupted):
        aebook.fit(make(), FORMS[form](x), checkpoint=path, **{**options, "anneal": broken})
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
    for name in ("objective", "optimizer", "scaler", "best", "random", "settings"):
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


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"lr": 0.1}, r"lr 0\.01 ≠ 0\.1"),
        ({"batch_size": 7}, r"batch_size 50 ≠ 7"),
        ({"seed": 3}, "seed 0 ≠ 3"),
        ({"clip": 1.0}, r"clip None ≠ 1\.0"),
        ({"optimizer": torch.optim.SGD}, "optimizer Adam ≠ SGD"),
        ({"schedule": constant}, "epochs 2 ≠ None; schedule one_cycle ≠ constant"),
        ({"schedule": cosine}, "schedule one_cycle ≠ cosine"),
        ({"precision": torch.bfloat16}, r"precision None ≠ torch\.bfloat16"),
        ({"data": torch.rand(40, 6)}, "samples 50 ≠ 40"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(x, tmp_path, changed, difference):
    path = tmp_path / "run.pt"
    aebook.fit(make(), x, epochs=2, checkpoint=path)
    content = path.read_bytes()
    data = changed.pop("data", x)
    with pytest.raises(ValueError, match=rf"belongs to another run \(.*{difference}.*another path"):
        aebook.fit(make(), data, epochs=2, checkpoint=path, **changed)
    assert path.read_bytes() == content


def test_a_checkpoint_of_another_model_is_refused(x, tmp_path):
    path = tmp_path / "run.pt"
    aebook.fit(make(), x, epochs=2, checkpoint=path)
    with pytest.raises(ValueError, match=r"(?s)belongs to another model.*size mismatch"):
        aebook.fit(make(width=4), x, epochs=2, checkpoint=path)


def test_settings_from_numpy_can_be_read_back(x, tmp_path):
    path = tmp_path / "run.pt"
    options = {
        "lr": np.float64(0.01),
        "batch_size": np.int64(16),
        "seed": np.int64(3),
        "clip": np.float32(0.5),
        "patience": np.int64(5),
        "schedule": lambda t: np.cos(t),
        "validation": x,
    }
    expected = aebook.fit(make(), x, epochs=3, **options)
    broken = functools.partial(anneal_nothing, stop_at=0.5)
    with pytest.raises(Interrupted):
        aebook.fit(make(), x, epochs=np.int64(3), checkpoint=path, anneal=broken, **options)
    history = aebook.fit(make(), x, epochs=np.int64(3), checkpoint=path, **options)
    assert losses(history) == losses(expected)
    assert type(history.learning_rate[0]) is float


def anneal_nothing(objective, t, *, stop_at):
    if t >= stop_at:
        raise Interrupted


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
    with pytest.raises(ValueError, match=r"run\.pt cannot be read as a checkpoint.*Delete it"):
        aebook.fit(make(), x, epochs=2, checkpoint=path)


@given(st.binary(max_size=64))
def test_garbage_is_refused_as_a_checkpoint(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("garbage") / "run.pt"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"run\.pt (cannot be read as a checkpoint|has the format)"
    ):
        read(path)


@pytest.mark.parametrize("content", [{"format": "aebook checkpoint 0"}, {"weights": 1}, [1, 2]])
def test_a_file_of_another_format_is_refused(tmp_path, content):
    path = tmp_path / "run.pt"
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"has the format .*, expected 'aebook checkpoint 1'"):
        read(path)


def test_code_in_a_file_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    path = tmp_path / "run.pt"
    torch.save({"format": "aebook checkpoint 1", "bomb": Bomb()}, path)
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        read(path)
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

    def half(state, file):
        file.write(content[: len(content) // 2])
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(type(error)):
            aebook.fit(make(), x, epochs=4, checkpoint=path, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    assert path.read_bytes() == content
    history = aebook.fit(make(), x, epochs=4, checkpoint=path, **options)
    assert losses(history) == losses(expected)


def test_what_is_written_is_read(tmp_path):
    state = {"a": torch.arange(3), "b": {"c": [1.5, None, "d"]}, "e": (1, 2)}
    write(tmp_path / "state.pt", state)
    found = read(tmp_path / "state.pt")
    assert found.pop("format") == "aebook checkpoint 1"
    assert equal(found, state)
