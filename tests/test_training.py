import copy
import inspect
import math
import random
import shutil
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import aebook
from aebook import Autoencoder, Objective
from aebook.distances import Gaussian, bernoulli
from aebook.networks import mlp
from aebook.training.schedules import constant, cosine, one_cycle

# the truths below are about bits, so they hold on one device
pytestmark = pytest.mark.usefixtures("on_the_cpu")

N = 50


@pytest.fixture
def x():
    return torch.rand(N, 6, generator=torch.Generator().manual_seed(1))


def make(seed=0, **parts):
    torch.manual_seed(seed)
    model = Autoencoder(mlp((6, 5, 2)), mlp((2, 5, 6), output=nn.Sigmoid))
    return Objective(model, **parts)


def noise(x):
    return x + 0.1 * torch.randn_like(x)


def with_dropout():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 2))
    return Objective(Autoencoder(encoder, nn.Linear(2, 6)))


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def by_hand(
    objective, x, epochs, batch_size, *, lr=1e-2, seed=0, rate=one_cycle, clip=None, target=None
):
    """The loop that fit stands for, with nothing of the package but the objective."""
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(objective.parameters(), lr=lr, fused=True)
    losses = []
    steps = math.ceil(len(x) / batch_size)
    objective.train()
    for epoch in range(epochs):
        order = torch.randperm(len(x))
        total = 0.0
        for step in range(steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            batch = x[chosen]
            optimiser.param_groups[0]["lr"] = lr * rate((epoch + step / steps) / epochs)
            optimiser.zero_grad()
            loss = objective(batch, None if target is None else target[chosen]).total
            loss.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(objective.parameters(), clip)
            optimiser.step()
            total += loss.item() * len(batch)
        losses.append(total / len(x))
    return losses


# The loop


@pytest.mark.parametrize("batch_size", [16, 50, 7])
def test_fit_is_the_loop_by_hand_to_the_bit(x, batch_size):
    ours, theirs = make(), make()
    history = aebook.fit(ours, x, epochs=3, batch_size=batch_size)
    losses = by_hand(theirs, x, 3, batch_size)
    assert same(ours, theirs)
    assert history.loss == pytest.approx(losses, rel=1e-6)


def test_fit_with_noise_schedule_clipping_and_targets_is_the_loop_by_hand_to_the_bit(x):
    target = x.flip(1)
    ours, theirs = make(corruption=noise), make(corruption=noise)
    options = {"lr": 3e-2, "seed": 5, "clip": 0.5}
    aebook.fit(ours, (x, target), epochs=3, batch_size=16, schedule=cosine, **options)
    by_hand(theirs, x, 3, 16, rate=cosine, target=target, **options)
    assert same(ours, theirs)


def test_fit_learns_what_can_be_learnt():
    # data on a plane, which a linear autoencoder of two units reconstructs
    x = torch.rand(128, 2) @ torch.rand(2, 6)
    objective = aebook.variants.linear((6, 2))
    history = aebook.fit(objective, x, epochs=150, batch_size=16, lr=5e-2, schedule=one_cycle)
    assert history.loss[-1] < 1e-3 * x.var(0).sum()


def test_gradients_from_before_do_not_enter_the_first_step(x):
    fresh, used = make(), make()
    used(x).total.backward()
    aebook.fit(fresh, x, epochs=1)
    aebook.fit(used, x, epochs=1)
    assert same(fresh, used)


def test_parameters_that_are_frozen_stay(x):
    objective = make()
    objective.model.encoder.requires_grad_(False)
    before = copy.deepcopy(objective)
    aebook.fit(objective, x, epochs=2)
    assert same(objective.model.encoder, before.model.encoder)
    assert not same(objective.model.decoder, before.model.decoder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_objective_is_trained_in_its_own_precision(x, dtype):
    objective = make().to(dtype)
    aebook.fit(objective, x.double(), epochs=1)
    assert {p.dtype for p in objective.parameters()} == {dtype}


def test_no_epochs_change_nothing(x):
    objective = make()
    history = aebook.fit(objective, x, epochs=0, validation=x)
    assert same(objective, make())
    assert len(history) == 0
    assert not objective.training


# Forms of data


class Rows(Dataset):
    def __init__(self, *tensors):
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, index):
        parts = tuple(t[index] for t in self.tensors)
        return parts if len(parts) > 1 else parts[0]


class Stream(IterableDataset):
    def __init__(self, x):
        self.x = x

    def __iter__(self):
        yield from self.x


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.numpy(),
        lambda x: x.double().numpy(),
        lambda x: x.double(),
        TensorDataset,
        lambda x: (x, x),
        lambda x: (x.numpy(), x),
        lambda x: TensorDataset(x, x),
        lambda x: x.clone().requires_grad_(),
        lambda x: x.T.contiguous().T,
    ],
)
def test_every_form_of_data_in_memory_gives_the_same_weights(x, form):
    expected, objective = make(), make()
    aebook.fit(expected, x, epochs=2, batch_size=16)
    aebook.fit(objective, form(x), epochs=2, batch_size=16)
    assert same(objective, expected)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: DataLoader(TensorDataset(x), batch_size=16),
        lambda x: DataLoader(TensorDataset(x, x), batch_size=16),
        lambda x: DataLoader(Rows(x), batch_size=16),
        lambda x: DataLoader(Rows(x.numpy()), batch_size=16),
        lambda x: DataLoader(Stream(x), batch_size=16),
        lambda x: DataLoader(list(x), batch_size=16),
    ],
)
def test_a_loader_keeps_its_own_order_in_every_form(x, form):
    expected, objective = make(), make()
    optimiser = torch.optim.Adam(expected.parameters(), fused=True)
    for _ in range(2):
        for batch in x.split(16):
            optimiser.zero_grad()
            expected(batch).total.backward()
            optimiser.step()
    aebook.fit(objective, form(x), epochs=2, lr=1e-3, schedule=constant)
    assert same(objective, expected)


def test_a_stream_is_batched_as_asked(x):
    expected, objective = make(), make()
    loader = DataLoader(TensorDataset(x), batch_size=16)
    # the rate of a stream stays as it is, by default: nobody knows when it will end
    aebook.fit(expected, loader, epochs=2, schedule=constant)
    aebook.fit(objective, Stream(x), epochs=2, batch_size=16)
    assert same(objective, expected)


def test_a_dataset_is_shuffled_and_seen_whole_in_each_epoch(x):
    seen = []
    objective = make(corruption=lambda x: seen.append(x) or x)
    aebook.fit(objective, Rows(x), epochs=2, batch_size=16)
    first, second = torch.cat(seen).split(N)
    assert not torch.equal(first, second)
    for epoch in (first, second):
        assert not torch.equal(epoch, x)
        assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, x.tolist()))


def test_data_is_not_changed(x):
    kept = x.clone()
    array = x.numpy().copy()
    aebook.fit(make(corruption=lambda x: x.mul_(2)), x, epochs=1)
    aebook.fit(make(), array, epochs=1)
    assert torch.equal(x, kept)
    assert np.array_equal(array, kept.numpy())


# Reported losses


def test_an_uneven_last_batch_counts_for_its_samples(x):
    # 16 + 16 + 16 + 2; at this rate the weights stay as they are
    objective = make()
    expected = objective.per_sample(x)["distance"].double().mean().item()
    history = aebook.fit(objective, x, epochs=1, batch_size=16, lr=1e-12)
    assert history.loss[0] == pytest.approx(expected, rel=1e-6)
    wrong = torch.stack([objective(batch).total for batch in x.split(16)]).mean().item()
    assert abs(wrong / expected - 1) > 1e-4


def test_terms_are_reported_by_name_and_sum_to_the_loss(x):
    penalties = {"code": (0.5, lambda seen: seen.code.square().sum(1))}
    history = aebook.fit(make(penalties=penalties), x, epochs=3, validation=x)
    for terms in (history.terms, history.validation_terms):
        assert list(terms) == ["loss", "distance", "code"]
        np.testing.assert_allclose(terms["loss"], np.add(terms["distance"], terms["code"]))


def test_more_batches_than_are_read_at_once_are_all_counted():
    x = torch.rand(600, 6)
    objective = make()
    history = aebook.fit(objective, x, epochs=1, batch_size=1, lr=1e-12)
    assert history.loss[0] == pytest.approx(objective(x).total.item(), rel=1e-5)


def test_validation_is_at_the_weights_after_the_epoch_and_changes_nothing(x):
    held_out = torch.rand(20, 6)
    with_validation, without = make(), make()
    history = aebook.fit(with_validation, x, epochs=3, validation=held_out)
    aebook.fit(without, x, epochs=3)
    assert same(with_validation, without)
    expected = without(held_out).total.item()
    assert history.validation_loss[-1] == pytest.approx(expected, rel=1e-6)
    assert len(history.validation_loss) == 3


def test_validation_is_in_evaluation_mode_with_the_same_noise_each_time(x):
    # the weights stay as they are, so only noise could change the loss
    noisy = aebook.fit(make(corruption=noise), x, epochs=3, validation=x, lr=1e-30)
    assert len(set(noisy.validation_loss)) == 1
    assert len(set(noisy.loss)) == 3
    dropped = aebook.fit(with_dropout(), x, epochs=2, validation=x, lr=1e-30)
    assert dropped.validation_loss[0] == pytest.approx(with_dropout().eval()(x).total.item())


@pytest.mark.parametrize(
    "form", [lambda x: x, lambda x: (x, x), Rows, lambda x: DataLoader(Rows(x), 7, shuffle=True)]
)
def test_validation_takes_every_form_of_data(x, form):
    expected = aebook.fit(make(), x, epochs=2, validation=x).validation_loss
    actual = aebook.fit(make(), x, epochs=2, validation=form(x)).validation_loss
    assert actual == pytest.approx(expected, rel=1e-6)


def test_evaluate_is_the_mean_over_the_samples_and_leaves_the_mode(x):
    penalties = {"code": (0.5, lambda seen: seen.code.square().sum(1))}
    objective = make(penalties=penalties)
    terms = aebook.evaluate(objective, x, batch_size=16)
    expected = {k: v.mean().item() for k, v in objective.per_sample(x).items()}
    assert terms == pytest.approx({"loss": sum(expected.values()), **expected}, rel=1e-6)
    assert objective.training
    assert all(p.grad is None for p in objective.parameters())


def test_evaluate_has_fixed_noise_and_leaves_the_callers(x):
    objective = make(corruption=noise)
    state = torch.get_rng_state()
    first = aebook.evaluate(objective, x)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert aebook.evaluate(objective, x) == first
    assert aebook.evaluate(objective, x, seed=1) != first


# Schedules, annealing, clipping


@pytest.mark.parametrize("schedule", [constant, cosine, one_cycle, lambda t: 1 - t])
def test_the_rate_is_the_schedule_at_the_fraction_of_training_done(x, schedule):
    history = aebook.fit(make(), x, epochs=4, batch_size=16, lr=0.01, schedule=schedule)
    # the rate of the last of four steps in each epoch
    expected = [0.01 * schedule((epoch + 3 / 4) / 4) for epoch in range(4)]
    assert history.learning_rate == pytest.approx(expected, rel=1e-12)


def test_anneal_sees_the_fraction_of_training_done_before_each_step(x):
    seen = []

    def anneal(objective, t):
        seen.append(t)
        objective.set_weight("code", t)

    objective = make(penalties={"code": (1.0, lambda seen: torch.ones(len(seen.x)))})
    history = aebook.fit(objective, x, epochs=3, batch_size=16, anneal=anneal)
    assert seen == pytest.approx([k / 12 for k in range(12)], abs=1e-12)
    # the penalty is 1, so its term is the weight, averaged over 16, 16, 16 and 2 samples
    expected = [
        np.average([(4 * e + s) / 12 for s in range(4)], weights=[16, 16, 16, 2]) for e in range(3)
    ]
    assert history.terms["code"] == pytest.approx(expected, rel=1e-6)


def test_anneal_of_a_stream_sees_the_epochs(x):
    seen = []
    aebook.fit(make(), Stream(x), epochs=2, batch_size=25, anneal=lambda _, t: seen.append(t))
    assert seen == [0.0, 0.0, 0.5, 0.5]


def test_clipping_bounds_the_length_of_a_step(x):
    objective = make()
    before = copy.deepcopy(objective)
    options = {"epochs": 1, "batch_size": N, "lr": 1.0, "schedule": constant}
    options["optimizer"] = torch.optim.SGD
    aebook.fit(objective, x, clip=1e-3, **options)

    def step(a, b):
        moves = [p - q for p, q in zip(a.parameters(), b.parameters(), strict=True)]
        return torch.cat([m.flatten() for m in moves])

    clipped = step(objective, before)
    assert clipped.norm().item() == pytest.approx(1e-3, rel=1e-3)
    free = copy.deepcopy(before)
    aebook.fit(free, x, **options)
    assert step(free, before).norm() > 1e-2
    assert torch.cosine_similarity(clipped, step(free, before), dim=0) > 0.999
    # gradients that are short enough are left alone
    bounded = copy.deepcopy(before)
    aebook.fit(bounded, x, clip=1e6, **options)
    assert same(bounded, free)


def test_gradients_that_float16_scales_up_are_scaled_down_before_they_are_clipped(x):
    objective = make()
    before = copy.deepcopy(objective)
    options = {"epochs": 1, "batch_size": N, "lr": 1.0, "schedule": constant}
    options["optimizer"] = torch.optim.SGD
    aebook.fit(objective, x, clip=1e-3, precision=torch.float16, **options)
    moves = [p - q for p, q in zip(objective.parameters(), before.parameters(), strict=True)]
    length = torch.cat([m.flatten() for m in moves]).norm().item()
    assert length == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    "optimizer",
    [torch.optim.SGD, partial(torch.optim.AdamW, weight_decay=0.1), torch.optim.RMSprop],
)
def test_any_optimiser_will_do(x, optimizer):
    history = aebook.fit(make(), x, epochs=5, lr=1e-3, optimizer=optimizer)
    assert history.loss[-1] < history.loss[0]


# Early stopping


def worsening(t):
    """A rate that is sound for three of ten epochs and ruinous after them."""
    return 1.0 if t < 0.3 else -1.0


@pytest.mark.parametrize(("patience", "epochs"), [(1, 4), (2, 5), (100, 10)])
def test_patience_stops_in_time_and_restores_the_best_epoch(x, patience, epochs):
    snapshots = []

    def record(objective, history):
        snapshots.append(copy.deepcopy(objective))

    objective = make()
    history = aebook.fit(
        objective,
        x,
        epochs=10,
        batch_size=N,
        validation=x,
        lr=1e-3,
        optimizer=torch.optim.SGD,
        schedule=worsening,
        callback=record,
        patience=patience,
    )
    # up the gradient the loss rises, down it falls
    assert history.best_epoch == 3
    assert history.validation_loss[2] == min(history.validation_loss)
    assert len(history) == epochs
    assert same(objective, snapshots[2])
    assert aebook.evaluate(objective, x)["loss"] == min(history.validation_loss)


def test_without_patience_the_last_weights_stay(x):
    objective = make()
    options = {"optimizer": torch.optim.SGD, "schedule": worsening}
    history = aebook.fit(objective, x, epochs=10, batch_size=N, validation=x, lr=1e-3, **options)
    assert history.best_epoch == 3
    assert aebook.evaluate(objective, x)["loss"] == history.validation_loss[-1]


def test_a_loss_that_does_not_change_has_its_best_in_the_first_epoch(x):
    history = aebook.fit(make(), x, epochs=9, validation=x, lr=1e-30, patience=3)
    assert history.best_epoch == 1
    assert len(history) == 4


# Precision and compilation


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_mixed_precision_computes_in_half_and_keeps_the_weights_whole(x, precision, clip):
    kinds = set()
    objective = make(
        penalties={"spy": (1.0, lambda seen: kinds.add(seen.code.dtype) or seen.x.sum(1))}
    )
    reference = copy.deepcopy(objective)
    history = aebook.fit(
        objective, x, epochs=5, validation=x, precision=precision, clip=clip, lr=1e-2
    )
    assert kinds == {precision}
    assert {p.dtype for p in objective.parameters()} == {torch.float32}
    expected = aebook.fit(reference, x, epochs=5, validation=x, clip=clip, lr=1e-2)
    # eight binary digits leave an error of half a percent an operation
    assert history.loss == pytest.approx(expected.loss, rel=0.03)
    assert history.loss != expected.loss


def test_bernoulli_and_gaussian_distances_work_in_mixed_precision(x):
    for distance in (bernoulli, Gaussian(kind="optimal")):
        history = aebook.fit(make(distance=distance), x, epochs=2, precision=torch.bfloat16)
        assert all(map(math.isfinite, history.loss))


@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
def test_compiling_changes_nothing_but_rounding(x, tmp_path, monkeypatch):
    # PyTorch keeps what it compiled beyond a process, and takes it up where it is no longer right:
    # kernels of other instructions, with a penalty counted twice
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    ours = make(corruption=noise, penalties={"code": (0.0, lambda seen: seen.code.square().sum(1))})
    theirs = copy.deepcopy(ours)
    anneal = lambda objective, t: objective.set_weight("code", t)  # noqa: E731
    options = {"epochs": 2, "batch_size": 25, "anneal": anneal, "validation": x}
    with warnings.catch_warnings():
        # PyTorch's own, of deprecations inside it
        warnings.simplefilter("ignore")
        compiled = aebook.fit(ours, x, compile=True, **options)
    expected = aebook.fit(theirs, x, **options)
    assert compiled.loss == pytest.approx(expected.loss, rel=1e-5)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("make_one", "options"),
    [
        (aebook.variants.variational, {"distance": Gaussian(kind="optimal")}),
        (aebook.variants.variational, {"distance": Gaussian(kind="learned")}),
        (aebook.variants.binary, {"kind": "bernoulli"}),
        (aebook.variants.binary, {"kind": "noise"}),
        (aebook.variants.concrete, {}),
        (aebook.variants.denoising, {"corruption": aebook.corruptions.masking(0.3)}),
        (aebook.variants.denoising, {"corruption": aebook.corruptions.salt_and_pepper(0.3)}),
    ],
)
def test_what_the_compiler_rewrites_draws_and_keeps_the_same(
    make_one, options, dtype, x, monkeypatch
):
    # what the compiler makes of a program, without C++
    backend = partial(torch.compile, backend="aot_eager_decomp_partition")
    monkeypatch.setattr(torch, "compile", lambda run, **_: backend(run))
    torch.compiler.reset()
    ours = make_one((x.shape[1], 4), output=None, **copy.deepcopy(options)).to(dtype)
    theirs = copy.deepcopy(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = aebook.fit(ours, x, epochs=1, batch_size=25, compile=True)
    expected = aebook.fit(theirs, x, epochs=1, batch_size=25)
    assert compiled.loss == pytest.approx(expected.loss, rel=1e-4)
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        # a bias before standardisation moves by rounding alone
        if "map.bias" not in name and "running_mean" not in name:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=name)


def test_any_number_of_networks_is_compiled(x, monkeypatch):
    if "recompile_limit" not in inspect.signature(torch.compile).parameters:
        pytest.skip("this PyTorch has one limit for the whole process")
    # dynamo alone, which needs no compiler; what it is asked for is what fit asks for
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch.compiler.reset()
    with torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for activation in (nn.ReLU, nn.SiLU, nn.Tanh):
            objective = aebook.variants.plain((x.shape[1], 3), code=activation)
            aebook.fit(objective, x, epochs=1, batch_size=25, compile=True)


# Seeds and state


def test_the_seed_decides_the_weights(x):
    runs = [make(corruption=noise) for _ in range(3)]
    for objective, seed in zip(runs, (0, 0, 1), strict=True):
        torch.rand(len(runs))
        aebook.fit(objective, x, epochs=2, batch_size=16, seed=seed)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("form", [lambda x: x, lambda x: DataLoader(Rows(x), 16, shuffle=True)])
def test_the_callers_random_state_is_left_as_it_was(x, form, fails):
    def anneal(objective, t):
        if fails and t >= 0.5:
            raise KeyboardInterrupt

    data = form(x)
    before = torch.get_rng_state(), numpy_state(), random.getstate()
    try:
        aebook.fit(make_without_drawing(), data, epochs=2, validation=x, anneal=anneal)
    except KeyboardInterrupt:
        assert fails
    else:
        assert not fails
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(numpy_state(), before[1])
    assert random.getstate() == before[2]


def numpy_state():
    # the old global generator is what a data set of the user's may draw from
    return np.random.get_state()[1].copy()  # noqa: NPY002


def make_without_drawing():
    state = torch.get_rng_state()
    objective = make(corruption=noise)
    torch.set_rng_state(state)
    return objective


@pytest.mark.parametrize("fails", [False, True])
def test_the_objective_comes_back_to_its_device_in_evaluation_mode(x, fails, monkeypatch):
    moves = []
    monkeypatch.setattr(
        Objective, "to", lambda self, device: moves.append(torch.device(device)) or self
    )

    def anneal(objective, t):
        assert objective.training
        if fails:
            raise RuntimeError("on purpose")

    objective = make()
    if fails:
        with pytest.raises(RuntimeError, match="on purpose"):
            aebook.fit(objective, x, epochs=1, anneal=anneal, device="cpu")
    else:
        aebook.fit(objective, x, epochs=1, anneal=anneal, device="cpu")
    assert not objective.training
    assert moves == [torch.device("cpu"), next(objective.parameters()).device]


# The progress bar


def test_the_bar_is_silent_where_nobody_looks(x, capsys):
    aebook.fit(make(), x, epochs=2)
    assert capsys.readouterr() == ("", "")


def test_the_bar_is_shown_when_asked_and_at_a_terminal(x, capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    aebook.fit(make(), x, epochs=2, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "0/2" in err
    assert "loss=" in err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    aebook.fit(make(), x, epochs=2)
    assert "0/2" in capsys.readouterr().err
    aebook.fit(make(), x, epochs=2, progress=False)
    assert capsys.readouterr().err == ""


# Losses that are not finite


def test_a_term_that_is_not_finite_is_named_with_its_epoch(x):
    broken = {"now": False}

    def anneal(objective, t):
        broken["now"] = t >= 0.5

    def penalty(seen):
        return seen.code.sum(1) * (math.inf if broken["now"] else 0.0)

    objective = make(penalties={"spiky": (1.0, penalty)})
    with pytest.raises(
        FloatingPointError, match=r"'spiky' is no longer finite in epoch 3: lower lr"
    ):
        aebook.fit(objective, x, epochs=4, anneal=anneal)
    assert not objective.training


@pytest.mark.parametrize("distance", [aebook.distances.squared_error, bernoulli, Gaussian(0.1)])
def test_a_run_that_explodes_says_so(x, distance):
    objective = make(distance=distance)
    with pytest.raises(FloatingPointError, match=r"no longer finite.*lower lr"):
        aebook.fit(objective, x, epochs=20, batch_size=5, lr=1e20, optimizer=torch.optim.SGD)


@pytest.mark.filterwarnings("ignore:got targets from")
def test_weights_that_explode_in_the_last_step_are_noticed(x):
    objective = make()
    with pytest.raises(
        FloatingPointError, match="weights are no longer finite after the last step"
    ):
        aebook.fit(objective, x * 1e3, epochs=1, batch_size=N, lr=1e38, optimizer=torch.optim.SGD)


def test_a_validation_loss_that_is_not_finite_is_named(x):
    with pytest.raises(FloatingPointError, match=r"'distance' is no longer finite in epoch 1"):
        aebook.fit(make(), x, epochs=2, validation=x.new_full((3, 6), 1e30))


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "got epochs=-1, expected a whole number, 0 or more"),
        ({"epochs": 1.5}, r"got epochs=1\.5, expected a whole number"),
        ({"epochs": math.nan}, "got epochs=nan, expected a whole number"),
        ({"epochs": math.inf}, "got epochs=inf, expected a whole number"),
        ({"epochs": "3"}, "got epochs='3', expected a whole number"),
        ({"lr": 0.0}, r"got lr=0\.0, expected a finite number above 0"),
        ({"lr": -1e-3}, r"got lr=-0\.001, expected"),
        ({"lr": math.nan}, "got lr=nan"),
        ({"lr": "fast"}, "got lr='fast', expected a finite number"),
        ({"clip": 0.0}, r"got clip=0\.0, expected a finite number above 0"),
        ({"clip": math.inf}, "got clip=inf"),
        ({"patience": 0, "validation": torch.rand(3, 6)}, "got patience=0, expected .* 1 or more"),
        ({"patience": 2}, "got patience alone, expected validation data too"),
        ({"precision": torch.float32}, r"got precision=.*, expected torch\.bfloat16"),
        ({"precision": "half"}, "got precision='half', expected"),
        ({"seed": 1.5}, r"got seed=1\.5, expected a whole number"),
        ({"seed": "a"}, "got seed='a', expected a whole number"),
        ({"seed": -1}, "got seed=-1, expected a whole number, 0 or more"),
        ({"batch_size": 0}, "got batch_size=0, expected a whole number, 1 or more"),
        ({"batch_size": 2.5}, r"got batch_size=2\.5, expected a whole number"),
    ],
)
def test_bad_arguments_are_refused(x, options, message):
    objective = make()
    with pytest.raises(ValueError, match=message):
        aebook.fit(objective, x, **{"epochs": 1, **options})
    assert same(objective, make())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.rand(10, 5), r"got a batch of shape \(10, 5\), expected \(batch, 6\)"),
        (torch.zeros(10, 6, dtype=torch.uint8), r"dtype torch\.uint8.*divide bytes by 255"),
        (torch.rand(10), r"got data of shape \(10,\), expected \(samples, \.\.\.\).*x\[None\]"),
        (torch.rand(0, 6), "got no data: expected at least one sample"),
        (torch.tensor([[0.0] * 6, [math.nan] * 6]), "1 of 2 samples have NaN.*number 1.*clean"),
        ((torch.rand(10, 6), torch.rand(9, 6)), "got 10 messages and 9 targets"),
        ((torch.rand(10, 6), torch.rand(10, 5)), r"target of shape \(10, 5\) for a reconstruction"),
        ((torch.rand(10, 6),) * 3, "got 3 parts, expected messages, or a pair"),
        ("images.npy", "got str as data, expected numbers in a tensor, an array"),
        ({"x": torch.rand(3, 6)}, "got a dict with the keys 'x', expected messages"),
        ([torch.rand(3, 6)] * 2, "got a list of 2 as data.*a pair, which is a tuple"),
        (TensorDataset(torch.rand(4, 6), torch.arange(4)), "leave class labels out"),
        (
            DataLoader(TensorDataset(torch.rand(4, 6), torch.arange(4))),
            r"target of shape \(1,\).*leave class labels out",
        ),
        (Stream([]), "the loader ended before its first batch"),
    ],
)
def test_data_that_does_not_fit_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        aebook.fit(make(), data, epochs=1)


def test_validation_data_is_checked_before_training(x):
    objective, bad = make(), torch.rand(3, 6)
    bad[1, 2] = math.nan
    with pytest.raises(ValueError, match="1 of 3 samples have NaN"):
        aebook.fit(objective, x, epochs=1, validation=bad)
    assert same(objective, make())


def test_a_batch_size_beside_a_loader_is_refused(x):
    with pytest.raises(ValueError, match="got batch_size=5 and a DataLoader, which brings its own"):
        aebook.fit(make(), DataLoader(Rows(x)), epochs=1, batch_size=5)


def test_an_objective_without_parameters_is_refused(x):
    objective = Objective(Autoencoder(nn.Identity(), nn.Identity()))
    with pytest.raises(ValueError, match="no parameter to train"):
        aebook.fit(objective, x, epochs=1)
