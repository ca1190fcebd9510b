import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aebook.applications.molecules import NGram


def messages_of(seed, n=20, length=7, vocabulary=5):
    g = np.random.default_rng(seed)
    x = np.zeros((n, length), np.int64)
    for row in x:
        k = g.integers(1, length)
        row[:k] = g.integers(2, vocabulary, k)
        row[k] = 1
    return torch.from_numpy(x)


def by_hand(x, order, vocabulary, context, symbol):
    """Witten and Bell's recursion with dictionaries, from the formula in the docstring."""
    if not len(context) and order == 0:
        return 1 / (vocabulary - 1)
    follow = []
    for row in x.tolist():
        padded = [0] * (order - 1) + [s for s in row if s]
        for t in range(order - 1, len(padded)):
            if tuple(padded[t - order + 1 : t]) == tuple(context):
                follow.append(padded[t])
    shorter = by_hand(x, order - 1, vocabulary, context[1:], symbol)
    if not follow:
        return shorter
    kinds = len(set(follow))
    return (follow.count(symbol) + kinds * shorter) / (len(follow) + kinds)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_likelihood_is_that_of_the_recursion(order):
    x, new = messages_of(0), messages_of(1, n=5)
    found = NGram(x, order, 5).log_likelihood(new)
    assert found.dtype == torch.float64
    for row, value in zip(new.tolist(), found.tolist(), strict=True):
        symbols = [0] * (order - 1) + [s for s in row if s]
        p = [
            by_hand(x, order, 5, symbols[t - order + 1 : t], symbols[t])
            for t in range(order - 1, len(symbols))
        ]
        assert value == pytest.approx(np.log(p).sum(), rel=1e-12)


@given(st.integers(0, 99), st.integers(1, 5))
def test_the_probabilities_of_all_short_messages_and_of_longer_ones_are_one(seed, order):
    model = NGram(messages_of(seed, n=6, vocabulary=4), order, 4)
    ended, going_on = [], []
    for k in range(4):
        for symbols in itertools.product((2, 3), repeat=k):
            ended.append([*symbols, 1] + [0] * (3 - k))
    for symbols in itertools.product((2, 3), repeat=4):
        going_on.append([*symbols])
    p = model.log_likelihood(torch.tensor(ended)).exp().sum()
    p += model.log_likelihood(torch.tensor(going_on)).exp().sum()
    assert float(p) == pytest.approx(1, abs=1e-12)


def test_samples_are_as_frequent_as_likely():
    model = NGram(messages_of(3), 2, 5)
    x = model.sample(20_000, generator=torch.Generator().manual_seed(1))
    rows, counts = np.unique(x.numpy(), axis=0, return_counts=True)
    p = model.log_likelihood(torch.from_numpy(rows)).exp().numpy()
    often = counts > 200
    assert often.sum() > 5
    # five standard deviations of a count
    assert (np.abs(counts - 20_000 * p)[often] < 5 * (20_000 * p[often]) ** 0.5).all()
    there = x != 0
    assert (there[:, :-1] | ~there[:, 1:]).all()
    again = model.sample(20_000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(x, again)
    assert model.sample(3, length=2).shape == (3, 2)


def test_a_long_memory_repeats_what_it_was_made_from():
    x = messages_of(0, n=3, length=9, vocabulary=12)
    longer = NGram(x, 8, 12).log_likelihood(x)
    assert (longer > NGram(x, 1, 12).log_likelihood(x)).all()
    # unknown messages are possible
    assert NGram(x, 8, 12).log_likelihood(messages_of(5, vocabulary=12)).isfinite().all()


def test_it_refuses_what_is_no_message():
    x = messages_of(0)
    for bad in (x.float(), x[0], x.numpy()):
        with pytest.raises(ValueError, match=r"got messages.* expected (a tensor|.*int64)"):
            NGram(bad, 2)
    with pytest.raises(ValueError, match=r"int64 from -1 to .*, 0 or more"):
        NGram(x - 1, 2)
    with pytest.raises(ValueError, match="got order=0"):
        NGram(x, 0)
    with pytest.raises(ValueError, match="expected a lower one"):
        NGram(x, 40)
    with pytest.raises(ValueError, match="from 0 to 2"):
        NGram(x, 2, 3)
    with pytest.raises(ValueError, match=r"int64 from 1 to 9, expected .*, from 0 to 4"):
        NGram(x, 2).log_likelihood(torch.tensor([[9, 1]]))
