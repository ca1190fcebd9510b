import contextlib
import copy

import pytest
import torch
from torch import nn

import aebook
from aebook import bottlenecks, corruptions, distances, penalties, variants
from aebook._internal import verdicts
from aebook._internal.verdicts import deferred, judge
from aebook.training import captured, loop, schedules

CPU = torch.device("cpu")

VARIANTS = {
    "plain": lambda: variants.plain((12, 8, 4)),
    "tied": lambda: variants.plain((12, 8, 4), tied=True),
    "sparse": lambda: variants.sparse((12, 8), weight=0.1),
    "k-sparse": lambda: variants.k_sparse((12, 8), k=3),
    "denoising": lambda: variants.denoising((12, 8), corruptions.gaussian(0.1)),
    "contractive": lambda: variants.contractive((12, 8), weight=0.1),
    "variational": lambda: variants.variational((12, 8, 2)),
    "binary": lambda: variants.binary((12, 8), kind="bernoulli"),
    "concrete": lambda: variants.concrete((12, 3, 8)),
    "optimal sigma": lambda: variants.variational(
        (12, 8, 2), distance=distances.Gaussian(kind="optimal")
    ),
}


def data():
    return torch.rand(41, 12, generator=torch.Generator().manual_seed(0)).round()


def lower_k(objective, t):
    objective.model.bottleneck.set_k(5 - int(3 * t))


def lower_weight(objective, t):
    for name in objective.penalties:
        objective.set_weight(name, 1 - t)


@pytest.fixture
def graphs(monkeypatch):
    """Captured steps with a stand-in: a graph that does what the step does, on its own batch."""
    made = []

    def capture(step, objective, batch):
        held = [None if part is None else part.clone() for part in batch]
        kind = captured._kind(objective)
        made[-1]["graphs"] += 1

        def replay(*parts):
            # a graph would not see that they changed
            assert captured._kind(objective) == kind
            for place, part in zip(held, parts, strict=True):
                if place is not None:
                    place.copy_(part)
            made[-1]["replays"] += 1
            return step(*held)

        return replay

    def possible(objective, optimiser, device, compile):
        made.append({"objective": objective, "graphs": 0, "replays": 0})
        return True

    monkeypatch.setattr(captured, "_capture", capture)
    monkeypatch.setattr(captured, "_watched", lambda: contextlib.nullcontext([]))
    monkeypatch.setattr(loop, "possible", possible)
    monkeypatch.setattr(loop, "prepare", lambda optimiser: None)
    return made


def trained(make, **options):
    torch.manual_seed(0)
    objective = make()
    history = aebook.fit(
        objective, options.pop("data", data()), seed=0, device="cpu", **{"batch_size": 8, **options}
    )
    return objective.state_dict(), history


def same(first, second):
    (weights, history), (others, other) = first, second
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], rtol=0, atol=0)
    assert history.terms == other.terms
    assert history.validation_terms == other.validation_terms
    assert history.learning_rate == other.learning_rate


@pytest.mark.parametrize("name", VARIANTS)
def test_captured_steps_train_as_steps_do(name, graphs, monkeypatch):
    options = {"epochs": 3, "clip": 1.0, "validation": data(), "patience": 1}
    found = trained(VARIANTS[name], anneal=lower_weight, **options)
    # five whole batches an epoch and a smaller one; of each the first two are not captured
    epochs = len(found[1])
    assert epochs >= 2
    assert graphs[0]["graphs"] == (1 if epochs == 2 else 2)
    assert graphs[0]["replays"] == 5 * epochs - 2 + epochs - 2
    monkeypatch.undo()
    same(found, trained(VARIANTS[name], anneal=lower_weight, **options))


@pytest.mark.parametrize("kind", ["pair", "weights", "loader", "batch norm", "stream"])
def test_captured_steps_take_all_data(kind, graphs, monkeypatch):
    make, options = VARIANTS["plain"], {}
    if kind == "pair":
        options["data"] = data(), data().flip(0)
    elif kind == "weights":
        options["sample_weight"] = torch.arange(41.0)
    elif kind == "loader":
        options = {"data": torch.utils.data.DataLoader(data(), batch_size=8), "batch_size": None}
    elif kind == "stream":
        options = {"data": torch.utils.data.DataLoader(Stream(), batch_size=8), "batch_size": None}
    else:
        make = normalised
    found = trained(make, epochs=2, **options)
    assert graphs[0]["replays"] >= 6
    monkeypatch.undo()
    same(found, trained(make, epochs=2, **options))


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(data())


def normalised():
    encoder = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU())
    return variants.plain((encoder, nn.Linear(8, 12)))


def test_another_k_is_another_graph(graphs, monkeypatch):
    found = trained(VARIANTS["k-sparse"], epochs=6, anneal=lower_k)
    # of each k, 5, 4 and 3, for whole batches; of smaller ones there are too few
    assert graphs[0]["graphs"] == 3
    monkeypatch.undo()
    same(found, trained(VARIANTS["k-sparse"], epochs=6, anneal=lower_k))


def test_settings_that_change_at_every_step_are_not_captured(graphs):
    def change(objective, t):
        objective.model.bottleneck.alpha = 1 + t

    trained(VARIANTS["k-sparse"], epochs=6, anneal=change)
    assert graphs[0]["replays"] == 0


def test_a_callback_may_freeze_a_part(graphs, monkeypatch):
    def freeze(objective, history):
        objective.model.encoder.requires_grad_(False)

    found = trained(VARIANTS["plain"], epochs=3, callback=freeze)
    assert graphs[0]["graphs"] == 2
    monkeypatch.undo()
    same(found, trained(VARIANTS["plain"], epochs=3, callback=freeze))


def test_captured_runs_go_on_from_a_checkpoint(graphs, tmp_path):
    options = {"anneal": lower_weight, "schedule": schedules.constant}
    whole = trained(VARIANTS["variational"], epochs=4, **options)
    path = tmp_path / "run"

    def stop(objective, history):
        return len(history) == 2

    trained(VARIANTS["variational"], epochs=4, checkpoint=path, callback=stop, **options)
    same(whole, trained(VARIANTS["variational"], epochs=4, checkpoint=path, **options))


def test_a_step_that_waits_is_not_captured(graphs, monkeypatch):
    monkeypatch.setattr(captured, "_watched", lambda: contextlib.nullcontext(["it waited"]))
    trained(VARIANTS["plain"], epochs=2)
    assert graphs[0]["graphs"] == graphs[0]["replays"] == 0


def test_a_capture_that_fails_leaves_the_step(graphs, monkeypatch):
    monkeypatch.setattr(captured, "_capture", lambda *_: None)
    found = trained(VARIANTS["plain"], epochs=2)
    monkeypatch.undo()
    same(found, trained(VARIANTS["plain"], epochs=2))


class Mine(nn.Module):
    def forward(self, x):
        return x


HOOKED = nn.Linear(12, 12)
HOOKED.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize(
    ("known", "make"),
    [
        *((True, make) for make in VARIANTS.values()),
        (True, normalised),
        (True, lambda: variants.plain((12, 4), penalties={"a": (1.0, penalties.activity())})),
        (False, lambda: variants.plain((Mine(), nn.Linear(12, 12)))),
        (False, lambda: variants.plain((HOOKED, nn.Linear(12, 12)))),
        (False, lambda: variants.plain((12, 4), corruption=lambda x: x)),
        (False, lambda: variants.plain((12, 4), distance=lambda x, y: (x - y).square().sum(1))),
        (False, lambda: variants.plain((12, 4), penalties={"a": (1.0, lambda seen: seen.code)})),
    ],
)
def test_code_that_may_do_anything_is_not_captured(known, make):
    objective = make()
    optimiser = torch.optim.Adam(objective.parameters())
    cuda = torch.device("cuda", 0)
    assert captured.possible(objective, optimiser, cuda, compile=False) == known
    assert captured.possible(objective, optimiser, cuda, compile=True)
    assert not captured.possible(objective, optimiser, CPU, compile=True)
    plain = torch.optim.SGD(objective.parameters())
    assert not captured.possible(objective, plain, cuda, compile=True)


def test_rates_become_tensors():
    optimiser = torch.optim.AdamW(nn.Linear(2, 2).parameters(), lr=0.25)
    captured.prepare(optimiser)
    captured.prepare(optimiser)
    group = optimiser.param_groups[0]
    assert group["capturable"]
    assert isinstance(group["lr"], torch.Tensor)
    assert float(group["lr"]) == 0.25


@pytest.fixture
def waiting(monkeypatch):
    """Verdicts wait, as they do on a GPU."""

    @contextlib.contextmanager
    def elsewhere(device):
        with deferred(torch.device("meta")) as judged:
            yield judged

    class Elsewhere(loop.Mean):
        def add(self, loss, samples, judged=()):
            terms = {name: term.detach() for name, term in loss.terms.items()}
            self.waiting.append((samples, terms, judged))

    monkeypatch.setattr(loop, "deferred", elsewhere)
    monkeypatch.setattr(loop, "Mean", Elsewhere)


@pytest.mark.parametrize("name", VARIANTS)
def test_verdicts_that_wait_change_nothing(name, waiting, monkeypatch):
    found = trained(VARIANTS[name], epochs=2, validation=data())
    monkeypatch.undo()
    same(found, trained(VARIANTS[name], epochs=2, validation=data()))


def classes():
    target = torch.zeros(41, 12, dtype=torch.long)
    target[30, 3] = 12
    decoder = nn.Sequential(nn.Linear(4, 144), nn.Unflatten(1, (12, 12)))
    parts = nn.Linear(12, 4), decoder
    return variants.plain(parts, distance=distances.categorical), (data(), target)


def shares():
    x = torch.full((41, 12), 1 / 12)
    x[30] *= 2
    return variants.plain((12, 4), output=None, distance=distances.categorical), x


def grey():
    x = data()
    x[30, 3] = 0.3
    parts = nn.Linear(12, 4), nn.Linear(4, 24)
    return variants.plain(parts, distance=distances.DiscretisedLogistic(2)), x


def outside():
    x = data()
    x[30, 3] = 2.0
    return variants.variational((12, 8, 2)), x


def means():
    return variants.plain((12, 4), output=None, distance=distances.bernoulli), data()


def activities():
    objective = variants.plain((12, 4), penalties={"kl": (1.0, penalties.sparsity(0.1, "kl"))})
    return objective, data() * 9


@pytest.mark.filterwarnings("ignore:got targets")
@pytest.mark.parametrize("make", [classes, shares, grey, outside, means, activities])
def test_a_verdict_that_waits_is_the_one_given_at_once(make, waiting, monkeypatch):
    def said():
        torch.manual_seed(0)
        objective, x = make()
        with pytest.raises(ValueError, match=r"expect|made of") as caught:
            aebook.fit(objective, x, epochs=2, batch_size=41, seed=0, device="cpu")
        return str(caught.value)

    late = said()
    monkeypatch.undo()
    assert said() == late


def test_weights_that_explode_say_so_when_verdicts_wait(waiting):
    objective = variants.plain((12, 4), distance=distances.bernoulli)
    with torch.no_grad():
        next(objective.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="no longer finite"):
        aebook.fit(objective, data(), epochs=1, device="cpu")


def test_verdicts_are_given_where_nothing_waits():
    seen = []
    assert judge(torch.tensor([1.0, 2.0]), seen.append) == [1.0, 2.0]
    with deferred(CPU) as judged:
        judge(torch.tensor([3.0]), seen.append)
    assert seen == [[1.0, 2.0], [3.0]]
    assert not judged
    with deferred(torch.device("meta")) as judged:
        assert verdicts.is_deferred()
        assert judge(torch.tensor([4.0]), seen.append) == []
    assert not verdicts.is_deferred()
    assert len(seen) == 2
    assert judged[0].values.tolist() == [4.0]


def test_k_is_read_again_when_it_was_set(monkeypatch):
    top = bottlenecks.TopK(3)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    assert top.now() == 3
    top.set_k(2)
    assert top.now() == 2
    top.load_state_dict({"k": torch.tensor(4)})
    assert top.now() == 4
    other = copy.deepcopy(top)
    other.set_k(1)
    assert (top.now(), other.now()) == (4, 1)
