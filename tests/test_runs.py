"""Tests of what a run leaves alone, what it gives back when it ends early, and of its callback."""

import itertools
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import aebook
from aebook import Autoencoder, Objective, variants
from aebook._internal.randomness import kept, seeded
from aebook.core import settings
from aebook.distances import Gaussian
from aebook.inference import evaluating
from aebook.training.schedules import constant

# the truths below are about bits, so they hold on one device
pytestmark = pytest.mark.usefixtures("on_the_cpu")

X = torch.rand(50, 6, generator=torch.Generator().manual_seed(1))


def deep(rate=0.3):
    """An encoder with everything that training mode wakes."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(rate), nn.Linear(5, 3)
    )


def flags(module):
    return [part.training for part in module.modules()]


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def shrunk(seen):
    return seen.code.square().sum(1)


def penalised(weight=1.0):
    torch.manual_seed(0)
    model = Autoencoder(nn.Linear(6, 3), nn.Linear(3, 6))
    return Objective(model, penalties={"size": (weight, shrunk)})


# Modes


def test_an_objective_leaves_the_modes_of_its_model():
    for mode in (True, False):
        model = Autoencoder(deep(), nn.Linear(3, 6)).train(mode)
        model.encoder[1].train(not mode)
        before = flags(model)
        objective = Objective(model, distance=Gaussian(kind="optimal"))
        assert flags(model) == before
        assert objective.training is mode
        # beside a model that is used, a σ that is measured in training stays
        assert objective.distance.training is mode


def rested():
    """A frozen encoder in evaluation mode, and a decoder with dropout of its own."""
    torch.manual_seed(0)
    model = Autoencoder(deep(), nn.Sequential(nn.Linear(3, 6), nn.Dropout(0.2)))
    model.encoder.requires_grad_(False).eval()
    return Objective(model)


def test_a_frozen_part_in_evaluation_mode_rests_in_training():
    objective, seen = rested(), []
    objective.model.encoder[3].register_forward_hook(
        lambda module, inputs, output: seen.append(torch.equal(inputs[0], output))
    )
    objective.model.decoder[1].register_forward_pre_hook(
        lambda module, _: seen.append(module.training)
    )
    before = state(objective.model.encoder)
    aebook.fit(objective, X, epochs=3, batch_size=16, validation=X)
    assert equal(state(objective.model.encoder), before)
    # dropout of the frozen part does nothing, and that of the decoder something, but in validation
    assert all(seen[::2])
    assert sum(seen[1::2]) == 3 * 4
    assert not any(flags(objective))


def test_a_part_that_is_frozen_and_not_at_rest_is_trained_on_as_before():
    objective = rested()
    objective.model.encoder.train()
    before = state(objective.model.encoder)
    aebook.fit(objective, X, epochs=1)
    after = state(objective.model.encoder)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }


def test_what_has_no_parameters_rests_with_what_it_stands_in():
    """After a run everything is in evaluation mode; dropout is back in the next one."""
    torch.manual_seed(0)
    objective = Objective(Autoencoder(nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)), mirrored()))
    on = []
    objective.model.encoder[1].register_forward_pre_hook(lambda part, _: on.append(part.training))
    for _ in range(2):
        aebook.fit(objective, X, epochs=1, batch_size=50)
    assert on == [True, True]


def mirrored():
    return nn.Linear(3, 6)


def test_lbfgs_leaves_a_frozen_part_at_rest():
    objective = rested().double()
    objective.model.decoder[1].p = 0.0
    before = state(objective.model.encoder)
    aebook.lbfgs(objective, X.double(), iterations=40, tolerance=1.0)
    assert equal(state(objective.model.encoder), before)


def test_evaluation_wakes_nothing():
    objective = rested().train()
    objective.model.encoder.eval()
    objective.model.encoder[4].train()
    before, kept = flags(objective), state(objective)
    aebook.evaluate(objective, X)
    aebook.applications.anomaly.reconstruction_error(objective, X)
    assert flags(objective) == before
    assert equal(state(objective), kept)


def test_threads_may_use_one_model_in_training_mode():
    model = Autoencoder(deep(0.5), nn.Linear(3, 6)).train()
    model.encoder[1].eval()
    before, found, expected = flags(model), state(model), aebook.encode(model, X)
    together = threading.Barrier(8, timeout=3600)  # only lest it hang for ever

    def use(chunk):
        together.wait()
        for call in (aebook.encode, aebook.reconstruct) * 10:
            code = call(model, X, chunk=chunk)
            if call is aebook.encode:
                assert torch.allclose(code, expected)
            aebook.evaluate(Objective(model), X[:8])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(20, 28)))
    assert flags(model) == before
    assert equal(state(model), found)


def test_the_last_who_leaves_puts_the_modes_back():
    model = Autoencoder(deep(), nn.Linear(3, 6)).train()
    model.encoder[1].eval()
    before = flags(model)
    # each order in which three come and go, with one who has a part of it alone
    for order in itertools.permutations((model, model, model.encoder)):
        users = [evaluating(part) for part in order]
        for user in users:
            user.__enter__()
        for number in range(3):
            assert not any(flags(model.encoder))
            users[number].__exit__(None, None, None)
        assert flags(model) == before
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert flags(model) == before


# Batches of one


class Flow(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(X[:33])


@pytest.mark.parametrize(
    "data", [X[:33], torch.utils.data.DataLoader(X[:33], batch_size=16), (X[:33], X[:33])]
)
def test_a_last_batch_of_one_joins_the_one_before_where_batches_are_normalised(data):
    objective, sizes = Objective(Autoencoder(deep(), nn.Linear(3, 6))), []
    objective.model.encoder.register_forward_pre_hook(lambda _, seen: sizes.append(len(seen[0])))
    size = {} if isinstance(data, torch.utils.data.DataLoader) else {"batch_size": 16}
    aebook.fit(objective, data, epochs=2, **size)
    assert sizes == 2 * [16, 17]


class Sizes(torch.utils.data.IterableDataset):
    """Batches of these sizes."""

    def __init__(self, sizes):
        self.sizes = sizes

    def __iter__(self):
        return iter(torch.rand(sum(self.sizes), 6).split(self.sizes))


@given(st.lists(st.integers(2, 4), min_size=1), st.booleans())
def test_no_batch_but_a_last_one_of_one_joins_another(sizes, single):
    objective, seen = Objective(Autoencoder(deep(), nn.Linear(3, 6))), []
    objective.model.encoder.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    stream = Sizes([*sizes, *[1] * single])
    aebook.fit(objective, torch.utils.data.DataLoader(stream, batch_size=None), epochs=1)
    assert seen == [*sizes[:-1], sizes[-1] + single]


@pytest.mark.parametrize("sizes", [[1], [1, 1], [1, 1, 1, 1], [3, 1, 3], [3, 1, 1], [1, 3]])
def test_other_batches_of_one_have_no_variance(sizes):
    objective = Objective(Autoencoder(deep(), nn.Linear(3, 6)))
    loader = torch.utils.data.DataLoader(Sizes(sizes), batch_size=None)
    with pytest.raises(ValueError, match=r"two samples or more in a batch"):
        aebook.fit(objective, loader, epochs=1)
    if set(sizes) == {1}:
        with pytest.raises(ValueError, match=r"two samples or more in a batch"):
            aebook.fit(objective, X[: len(sizes)], epochs=1, batch_size=1)


def test_images_have_a_variance_each():
    encoder = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))
    decoder = nn.Sequential(nn.Linear(3, 36), nn.Unflatten(1, (1, 6, 6)))
    seen = []
    encoder.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    images = torch.rand(5, 1, 6, 6)
    aebook.fit(Objective(Autoencoder(encoder, decoder)), images, epochs=1, batch_size=1)
    assert seen == [1] * 5


def test_without_normalisation_a_batch_of_one_is_a_batch():
    for objective in (penalised(), variants.binary((6, 3))):
        seen = []
        objective.model.encoder.register_forward_pre_hook(lambda _, x, s=seen: s.append(len(x[0])))
        history = aebook.fit(objective, X[:33], epochs=1, batch_size=16)
        assert math.isfinite(history.loss[0])
        assert seen in ([16, 16, 1], [])


# Settings


def test_settings_are_what_is_set_and_not_what_is_learnt():
    names = {
        "k-sparse": (variants.k_sparse((6, 9), 2), {"model.bottleneck.k"}),
        "variational": (
            variants.variational((6, 3), output=None, distance=Gaussian(0.5)),
            {"weight_kl", "distance.log_sigma"},
        ),
        "learned": (
            variants.variational((6, 3), output=None, distance=Gaussian(kind="learned")),
            {"weight_kl"},
        ),
        "concrete": (variants.concrete((6, 3)), {"model.encoder.temperature"}),
        "normalised": (variants.binary((6, 3)), set()),
    }
    for objective, expected in names.values():
        assert settings(objective).keys() == expected
        assert settings(objective).keys() <= objective.state_dict().keys()


def warm_up(objective, t):
    objective.set_weight("size", min(1.0, 2 * t))


def test_no_run_stops_while_settings_move_and_it_is_judged_by_the_final_ones():
    """With λ rising from 0 to 1 in the first half, the loss rises; patience must not mind."""
    options = {"epochs": 20, "validation": X, "lr": 1e-12, "optimizer": torch.optim.SGD}
    seen = []

    def look(objective, history):
        seen.append(objective.weight("size").item())

    objective = penalised()
    history = aebook.fit(objective, X, anneal=warm_up, patience=3, callback=look, **options)
    final = aebook.evaluate(penalised(1.0), X)["loss"]
    # every epoch by the loss at λ = 1, while training goes on with the λ of its step
    assert history.validation_loss == pytest.approx([final] * len(history), rel=1e-6)
    assert seen == pytest.approx([min(1.0, 2 * t / 20) for t in range(len(seen))])
    # at rest from epoch 11 on, and then three epochs more
    assert len(history) == 10 + 3
    assert objective.weight("size").item() == 1.0
    # without patience the record is of the settings as they were
    history = aebook.fit(penalised(), X, anneal=warm_up, **options)
    assert history.validation_loss[0] < 0.9 * final


def test_early_stopping_brings_back_weights_and_no_settings():
    def move(objective, t):
        objective.set_weight("size", 1 + t)
        objective.distance.log_sigma.fill_(-t)

    objective = penalised()
    objective.distance = Gaussian(1.0)
    objective.model.decoder.bias.requires_grad_(False)
    options = {"epochs": 8, "batch_size": 50, "validation": X, "patience": 50}
    weights = []
    history = aebook.fit(
        objective,
        X,
        schedule=lambda t: 1.0 if t < 0.3 else -1.0,
        optimizer=torch.optim.SGD,
        lr=1e-2,
        anneal=move,
        callback=lambda o, h: weights.append(o.model.encoder.weight.detach().clone()),
        **options,
    )
    assert history.best_epoch < 8
    assert torch.equal(objective.model.encoder.weight, weights[history.best_epoch - 1])
    assert objective.weight("size").item() == pytest.approx(1 + 7 / 8)
    assert objective.distance.log_sigma.item() == pytest.approx(-7 / 8)
    assert not objective.model.decoder.bias.requires_grad


# Runs that end early


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the disk is gone")])
def test_an_interruption_has_the_history_and_leaves_the_best_weights(error):
    weights = []

    def interrupt(objective, history):
        weights.append(state(objective))
        if len(history) == 5:
            raise error

    objective = penalised()
    with pytest.raises(type(error)) as caught:
        aebook.fit(
            objective,
            X,
            epochs=9,
            batch_size=50,
            validation=X,
            patience=9,
            schedule=lambda t: 1.0 if t < 0.3 else -1.0,
            optimizer=torch.optim.SGD,
            callback=interrupt,
        )
    history = caught.value.history
    assert len(history) == len(history.seconds) == 5
    assert history.best_epoch == 3
    assert equal(state(objective), weights[2])
    assert not objective.training


def test_a_loss_that_is_not_finite_has_the_history_and_leaves_the_best_weights():
    weights = []
    objective = penalised()
    with pytest.raises(FloatingPointError, match="epoch 4") as caught:
        aebook.fit(
            objective,
            X,
            epochs=9,
            batch_size=50,
            validation=X,
            patience=9,
            schedule=constant,
            anneal=lambda o, t: o.model.encoder.bias.data.fill_(math.nan) if 0.3 < t < 0.99 else 0,
            callback=lambda o, h: weights.append(state(o)),
        )
    history = caught.value.history
    assert len(history) == 3
    assert equal(state(objective), weights[history.best_epoch - 1])
    assert all(value.isfinite().all() for value in objective.state_dict().values())


def test_without_patience_an_interruption_keeps_the_weights_of_its_moment():
    def interrupt(objective, history):
        if len(history) == 2:
            raise KeyboardInterrupt

    objective, whole = penalised(), penalised()
    options = {"schedule": constant, "batch_size": 50}
    with pytest.raises(KeyboardInterrupt) as caught:
        aebook.fit(objective, X, epochs=9, callback=interrupt, **options)
    aebook.fit(whole, X, epochs=2, **options)
    assert equal(state(objective), state(whole))
    assert len(caught.value.history) == 2


# The callback


def test_the_callback_sees_each_epoch_in_evaluation_mode_and_changes_nothing():
    seen = []

    def look(objective, history):
        seen.append((objective.training, len(history), list(history.loss)))
        # random numbers of its own, and a run within the run
        torch.rand(3)
        torch.manual_seed(77)
        aebook.fit(penalised(), X, epochs=1)

    noisy = variants.denoising((6, 3), aebook.corruptions.gaussian(0.3))
    plain = variants.denoising((6, 3), aebook.corruptions.gaussian(0.3))
    plain.load_state_dict(noisy.state_dict())
    history = aebook.fit(noisy, X, epochs=3, batch_size=16, callback=look)
    expected = aebook.fit(plain, X, epochs=3, batch_size=16)
    assert history.loss == expected.loss
    assert equal(state(noisy), state(plain))
    assert seen == [(False, n, history.loss[:n]) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("answer", "epochs"), [(True, 2), (np.True_, 2), (False, 4), (np.False_, 4), (None, 4)]
)
def test_a_callback_that_returns_true_stops_the_run(answer, epochs):
    history = aebook.fit(
        penalised(), X, epochs=4, callback=lambda o, h: answer if len(h) == 2 else None
    )
    assert len(history) == epochs


@pytest.mark.parametrize("checkpoint", [None, "run"])
@pytest.mark.parametrize(
    "answer", [1, 0, 1.5, "stop", [3], torch.tensor(True), np.array(True), np.array([]), math.nan]
)
def test_what_a_callback_returns_is_a_truth_value_or_nothing(tmp_path, answer, checkpoint):
    path = checkpoint and tmp_path / checkpoint
    with pytest.raises(ValueError, match=r"got what the callback returned=.*expected True or F"):
        aebook.fit(penalised(), X, epochs=4, callback=lambda o, h: answer, checkpoint=path)


def test_a_run_that_a_callback_stopped_goes_on_from_its_checkpoint(tmp_path):
    options = {"epochs": 4, "batch_size": 16, "checkpoint": tmp_path / "run"}
    aebook.fit(penalised(), X, callback=lambda o, h: len(h) == 2, **options)
    objective, whole = penalised(), penalised()
    assert len(aebook.fit(objective, X, **options)) == 4
    aebook.fit(whole, X, **options | {"checkpoint": None})
    assert equal(state(objective), state(whole))


# Threads


def noisy(seed):
    torch.manual_seed(seed)
    return variants.denoising((6, 4, 3), aebook.corruptions.gaussian(0.3))


def test_runs_in_threads_are_those_of_one_thread_and_leave_the_callers_numbers():
    def run(objective, seed):
        aebook.fit(objective, X, epochs=3, batch_size=16, seed=seed, validation=X)
        return state(objective)

    expected = [run(noisy(seed), seed) for seed in range(6)]
    objectives = [noisy(seed) for seed in range(6)]
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, objectives, range(6)))
    assert all(map(equal, found, expected))
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_that_draw_take_turns():
    cpu, order = torch.device("cpu"), []

    def draw(seed):
        with seeded(seed, cpu):
            order.append(("in", seed))
            values = [torch.rand(()).item() for _ in range(200)]
            with seeded(seed + 1, cpu):  # and one may stand within another
                torch.rand(3)
            values += [torch.rand(()).item() for _ in range(200)]
            order.append(("out", seed))
        return values

    expected = [draw(seed) for seed in range(8)]
    order.clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(draw, range(8))) == expected
    assert [seed for _, seed in order[::2]] == [seed for _, seed in order[1::2]]


def in_a_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(timeout=3600)  # only lest it hang for ever


def estimate():
    return aebook.estimators.AutoencoderTransformer(1, epochs=1, random_state=0).fit(X)


WORK = {
    "evaluate": lambda: aebook.evaluate(noisy(1), X),
    "fit": lambda: aebook.fit(noisy(1), X, epochs=2),
    "an estimator": lambda: estimate().transform(X),
    "a fit whose callback has a thread": lambda: aebook.fit(
        noisy(1), X, epochs=2, callback=lambda o, h: in_a_thread(WORK["evaluate"]) and None
    ),
}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("outer", ["a run", "a run within a run"])
def test_a_callback_may_wait_for_a_thread_that_draws(work, outer):
    def look(objective, history):
        torch.rand(3)
        in_a_thread(WORK[work])
        torch.manual_seed(5)

    def run(objective, callback):
        aebook.fit(objective, X, epochs=2, batch_size=16, callback=callback)
        return state(objective)

    def within(objective, history):
        if len(history) == 1:
            assert equal(run(inner, look), expected)

    expected = run(noisy(0), None)
    objective, inner = noisy(0), noisy(0)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    assert equal(run(objective, look if outer == "a run" else within), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_runs_that_overlap_in_their_callbacks_leave_the_callers_numbers():
    """The first ends while the second, begun within it, still goes on."""
    begun, ended, second = threading.Event(), threading.Event(), []

    def hold(objective, history):
        begun.set()
        assert ended.wait(60)

    def start(objective, history):
        if not second:
            second.append(pool.submit(aebook.fit, later, X, epochs=2, callback=hold))
            assert begun.wait(60)

    first, later = noisy(0), noisy(1)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    with ThreadPoolExecutor(1) as pool:
        aebook.fit(first, X, epochs=3, callback=start)
        assert torch.equal(torch.get_rng_state(), before)
        ended.set()
        second[0].result()
    assert torch.equal(torch.get_rng_state(), before)
    for objective, seed, epochs in ((first, 0, 3), (later, 1, 2)):
        alone = noisy(seed)
        aebook.fit(alone, X, epochs=epochs)
        assert equal(state(objective), state(alone))


def test_threads_wait_for_a_run_that_is_not_in_its_callback():
    cpu, order = torch.device("cpu"), []

    def draw():
        with kept(cpu):
            order.append("other")

    with ThreadPoolExecutor(1) as pool, kept(cpu):
        done = pool.submit(draw)
        with pytest.raises(TimeoutError):
            done.result(timeout=0.05)
        order.append("first")
    assert order == ["first", "other"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork on POSIX")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*")
def test_a_process_that_is_forked_while_a_thread_draws_does_not_wait_for_it():
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with seeded(0, torch.device("cpu")):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    number = os.fork()
    if number == 0:
        with seeded(1, torch.device("cpu")):
            os._exit(7)
    _, status = os.waitpid(number, 0)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 7
