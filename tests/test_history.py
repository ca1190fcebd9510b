import json
import math
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aebook.core import Loss
from aebook.training.history import History, Mean


def loss(**terms):
    terms = {name: torch.tensor(value) for name, value in terms.items()}
    return Loss(sum(terms.values()), terms)


def test_an_empty_history_says_so():
    history = History()
    assert len(history) == 0
    assert history.loss == []
    assert history.best_epoch is None
    assert repr(history) == "History(no epochs)"


def test_a_history_of_epochs_reads_well_and_is_plain_data():
    history = History()
    for epoch, (a, b) in enumerate([(3.0, 2.5), (2.0, 2.25), (1.0, 2.75)]):
        history.append({"loss": a, "distance": a}, {"loss": b, "distance": b}, 0.1**epoch, 0.5)
    assert len(history) == 3
    assert history.loss == [3.0, 2.0, 1.0]
    assert history.validation_loss == [2.5, 2.25, 2.75]
    assert history.best_epoch == 2
    assert repr(history) == (
        "History(3 epochs, loss 3 → 1, validation 2.75 (best 2.25 in epoch 2))"
    )
    assert History(**json.loads(json.dumps(asdict(history)))) == history


def test_one_epoch_is_singular_and_without_validation_there_is_no_best():
    history = History()
    history.append({"loss": 1.25}, {}, 0.1, 0.5)
    assert repr(history) == "History(1 epoch, loss 1.25 → 1.25)"
    assert history.best_epoch is None
    assert history.validation_loss == []


def test_of_equal_epochs_the_earliest_is_best():
    history = History()
    for value in (2.0, 1.0, 1.0):
        history.append({"loss": 0.0}, {"loss": value}, 0.1, 0.5)
    assert history.best_epoch == 2


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(-5, 5)), min_size=1, max_size=600))
def test_a_mean_weighs_batches_by_their_samples(batches):
    mean = Mean(0)
    for samples, value in batches:
        mean.add(loss(distance=value, twice=2 * value), samples)
    counts, values = zip(*batches, strict=True)
    expected = np.average(np.float32(values).astype(np.float64), weights=counts)
    terms = mean.value()
    assert list(terms) == ["loss", "distance", "twice"]
    assert terms["distance"] == pytest.approx(expected, abs=1e-6)
    assert terms["loss"] == pytest.approx(3 * expected, abs=1e-5)


@pytest.mark.parametrize(("epoch", "where"), [(None, "finite:"), (0, "in epoch 1:")])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_mean_names_the_term_that_is_not_finite(bad, epoch, where):
    mean = Mean(epoch)
    with pytest.raises(FloatingPointError, match=r"'kl' is no longer finite.*") as caught:
        mean.add(loss(distance=1.0, kl=bad), 3)
    assert where in str(caught.value)


def test_a_mean_notices_early_in_a_long_epoch():
    mean = Mean(0)

    def add_many():
        for _ in range(1000):
            mean.add(loss(distance=math.nan), 1)

    with pytest.raises(FloatingPointError):
        add_many()


def test_means_that_wait_for_a_device_are_those_read_at_once():
    rng = np.random.default_rng(0)
    at_once, waiting = Mean(None), Mean(None)
    for samples in rng.integers(1, 9, 600).tolist():
        values = torch.from_numpy(rng.standard_normal(2).astype(np.float32))
        terms = dict(zip(("distance", "kl"), values, strict=True))
        at_once.add(Loss(values.sum(), terms), samples)
        # a total that says it is elsewhere
        waiting.add(Loss(SimpleNamespace(is_cpu=False), terms), samples)
    assert waiting.count < at_once.count
    assert waiting.value() == at_once.value()
    waiting.add(Loss(SimpleNamespace(is_cpu=False), {"distance": torch.tensor(math.nan)}), 1)
    with pytest.raises(FloatingPointError, match="distance"):
        waiting.value()
