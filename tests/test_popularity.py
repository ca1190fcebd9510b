import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, roc_auc_score

from aebook.applications.popularity import (
    block_bootstrap,
    running_median,
    stacked_features,
    time_split,
)
from aebook.corruptions import masking

# Splitting in time ---------------------------------------------------------------------------


@given(
    times=st.lists(st.integers(0, 300), min_size=30, max_size=80),
    gap=st.integers(0, 10),
)
def test_every_part_is_later_than_the_one_before(times, gap):
    times = np.array(times)
    try:
        parts = time_split(times, (0.5, 0.3, 0.2), gap=gap)
    except ValueError:
        # too many of the same moment: then some part is empty
        assert len(np.unique(times)) < len(times)
        return
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)
    for before, after in itertools.pairwise(parts):
        assert times[before].max() <= times[after].min() - gap
        assert times[before].max() < times[after].min()
        assert (np.diff(times[before]) >= 0).all()
    # what is left out lies in a gap
    left_out = np.setdiff1d(np.arange(len(times)), together)
    starts = [times[part].min() for part in parts[1:]]
    assert all(any(start - gap < times[n] < start for start in starts) for n in left_out)


def test_the_shares_are_those_asked_for():
    times = np.random.default_rng(0).permutation(1000)
    first, second, third = time_split(times)
    assert [len(part) for part in (first, second, third)] == [600, 200, 200]
    assert np.array_equal(times[np.concatenate([first, second, third])], np.arange(1000))
    # rounding of 0.1 + 0.2 must not cost a post
    assert [len(part) for part in time_split(np.arange(10), (0.1, 0.2, 0.7))] == [1, 2, 7]
    assert [len(part) for part in time_split(torch.arange(10), (0.5, 0.5), gap=2)] == [4, 5]


def test_posts_of_the_same_moment_stay_together():
    early, late = time_split([0, 1, 2, 2, 2, 3], (0.5, 0.5))
    assert early.tolist() == [0, 1]
    assert late.tolist() == [2, 3, 4, 5]


def test_splits_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="positive numbers with sum 1"):
        time_split(range(10), (0.5, 0.4))
    with pytest.raises(ValueError, match="positive numbers with sum 1"):
        time_split(range(10), (1.5, -0.5))
    with pytest.raises(ValueError, match="got gap=-1"):
        time_split(range(10), gap=-1)
    with pytest.raises(ValueError, match=r"leaves parts of \[0, 5\]"):
        time_split(range(10), (0.5, 0.5), gap=20)
    with pytest.raises(ValueError, match="of finite numbers: one a post"):
        time_split([0.0, float("nan")])
    with pytest.raises(ValueError, match="of finite numbers: one a post"):
        time_split([[0, 1]])


# What is usual -------------------------------------------------------------------------------


@given(
    pairs=st.lists(st.tuples(st.integers(0, 40), st.integers(-9, 9)), min_size=1, max_size=30),
    n=st.integers(1, 6),
    delay=st.integers(0, 10),
)
def test_the_running_median_is_that_of_the_last_old_ones(pairs, n, delay):
    times, values = np.array(pairs).T
    found = running_median(values, times, n, delay=delay)
    order = np.argsort(times, kind="stable")
    for i in range(len(values)):
        old = [values[j] for j in order if times[j] < times[i] - delay][-n:]
        assert np.isnan(found[i]) if not old else found[i] == np.median(old)


def test_the_future_changes_nothing():
    rng = np.random.default_rng(0)
    times, values = np.arange(50), rng.random(50)
    before = running_median(values, times, 5, delay=3)
    changed = values.copy()
    changed[30:] = 99
    after = running_median(changed, times, 5, delay=3)
    # the post at time 33 is the last that cannot see the one at time 30
    assert np.array_equal(before[:34], after[:34], equal_nan=True)
    assert after[38] == 99


def test_medians_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="got 3 values and 2 times"):
        running_median([1, 2, 3], [1, 2], 1)
    with pytest.raises(ValueError, match="got n=0"):
        running_median([1, 2], [1, 2], 0)
    with pytest.raises(ValueError, match="got delay=-1"):
        running_median([1, 2], [1, 2], 1, delay=-1)
    with pytest.raises(ValueError, match="of finite numbers: one a post"):
        running_median([1, float("inf")], [1, 2], 1)


# Features ------------------------------------------------------------------------------------


def two_factors(n=600, seed=0):
    """Twelve features that two hidden numbers explain, but for noise."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n, 2))
    loadings = np.random.default_rng(9).standard_normal((2, 12))
    x = 50 + 7 * (hidden @ loadings + 0.3 * rng.standard_normal((n, 12)))
    return x, hidden


def test_codes_tell_the_hidden_factors_of_new_posts():
    (x, hidden), (new, new_hidden) = two_factors(), two_factors(seed=1)
    encode = stacked_features(x, (16, 4), activation=torch.nn.Tanh, epochs=30, fine_tune=30)
    z, new_z = encode(x), encode(new)
    assert z.shape == (600, 4)
    assert z.dtype == np.float64
    model = LinearRegression().fit(z, hidden)
    assert r2_score(new_hidden, model.predict(new_z)) > 0.8


def test_the_code_is_that_of_the_layers_and_knows_nothing_of_new_posts():
    x, _ = two_factors(100)
    encode = stacked_features(x, (8, 3), epochs=1, fine_tune=1)
    # a post's code does not depend on its company
    assert np.allclose(encode(x[:5]), encode(x)[:5], atol=1e-6)
    # scales do not matter: a feature in other units gives the same code
    scaled = stacked_features(x * 1000 - 3, (8, 3), epochs=1, fine_tune=1)
    assert np.allclose(scaled(x * 1000 - 3), encode(x), atol=1e-4)


def test_a_feature_that_runs_away_is_cut_off():
    x, _ = two_factors(100)
    encode = stacked_features(x, (8, 3), epochs=1, fine_tune=0)
    far, further = x[:1].copy(), x[:1].copy()
    far[0, 0], further[0, 0] = 1e4, 1e9
    assert np.array_equal(encode(far), encode(further))


def test_the_same_seed_gives_the_same_codes_and_leaves_the_random_state_alone():
    x, _ = two_factors(100)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = stacked_features(x, (8,), epochs=1, fine_tune=1, seed=3)(x)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(6)
    assert np.array_equal(stacked_features(x, (8,), epochs=1, fine_tune=1, seed=3)(x), first)
    other = stacked_features(x, (8,), epochs=1, fine_tune=1, seed=4)(x)
    assert not np.allclose(other, first)


def test_constant_features_tensors_and_other_corruptions_will_do():
    x, _ = two_factors(100)
    x[:, 3] = 7
    encode = stacked_features(
        torch.from_numpy(x), (8,), corruption=masking(0.5), epochs=1, fine_tune=0
    )
    assert encode(torch.from_numpy(x)).isfinite().all()


def test_features_that_cannot_be_taken_are_refused():
    x, _ = two_factors(100)
    encode = stacked_features(x, (8,), epochs=0, fine_tune=0)
    with pytest.raises(ValueError, match="11 features"):
        encode(x[:, 1:])
    with pytest.raises(ValueError, match="100 samples have NaN"):
        stacked_features(np.where(x == x[0, 0], np.nan, x))
    with pytest.raises(ValueError, match="got 1 posts, expected 2 or more"):
        stacked_features(x[:1])
    with pytest.raises(ValueError, match="got seed=-1"):
        stacked_features(x, seed=-1)
    with pytest.raises(ValueError, match="got epochs=-1"):
        stacked_features(x, epochs=-1)


# Intervals -----------------------------------------------------------------------------------


def test_blocks_of_one_are_the_ordinary_bootstrap():
    x = np.random.default_rng(0).standard_normal(400)
    value, low, high = block_bootstrap(np.mean, x, block=1, samples=4000)
    assert value == x.mean()
    # of a mean the bootstrap's deviation is known
    expected = 1.96 * x.std() / 20
    assert high - value == pytest.approx(expected, rel=0.1)
    assert value - low == pytest.approx(expected, rel=0.1)


def test_blocks_see_what_single_posts_do_not():
    # a hundred blocks of twenty posts that are all alike
    x = np.repeat(np.random.default_rng(0).standard_normal(100), 20)
    single = block_bootstrap(np.mean, x, block=1, samples=1000)
    blocks = block_bootstrap(np.mean, x, block=100, samples=1000)
    width = (blocks.high - blocks.low) / (single.high - single.low)
    assert width == pytest.approx(20**0.5, rel=0.25)


def test_samples_are_consecutive_and_of_the_same_length():
    seen = []

    def note(a, b):
        seen.append((a.copy(), b.copy()))
        return 0.0

    block_bootstrap(note, np.arange(25), torch.arange(25) * 2, block=10, samples=20)
    for a, b in seen[1:]:
        assert len(a) == 25
        assert np.array_equal(b, 2 * a)
        for start in (0, 10, 20):
            block = a[start : start + 10]
            assert ((np.diff(block) == 1) | (np.diff(block) == -24)).all()
    assert np.array_equal(seen[0][0], np.arange(25))


def test_a_difference_of_what_is_the_same_is_zero():
    rng = np.random.default_rng(0)
    y, a = rng.random(50), rng.random(50)
    zero = block_bootstrap(
        lambda y, a, b: r2_score(y, a) - r2_score(y, b), y, a, a, block=5, samples=10
    )
    assert zero == (0, 0, 0)


def test_intervals_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"got 3 entries of array 0 and 2 entries of array 1, e"):
        block_bootstrap(np.mean, [1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match=r"got 0 arrays, expected 1 or more"):
        block_bootstrap(np.mean)
    with pytest.raises(ValueError, match="got block=100, expected a whole number from 1 to 3"):
        block_bootstrap(np.mean, [1, 2, 3])
    with pytest.raises(ValueError, match="got block=0"):
        block_bootstrap(np.mean, [1, 2, 3], block=0)
    with pytest.raises(ValueError, match="got level=95"):
        block_bootstrap(np.mean, [1, 2, 3], block=1, level=95)


@pytest.mark.parametrize("block", [1, 5, 20])
def test_a_sample_that_lacks_a_class_is_drawn_again(block):
    rng = np.random.default_rng(0)
    classes = np.zeros(60, int)
    classes[30:33] = 1
    scores = rng.random(60) + 0.3 * classes
    value, low, high = block_bootstrap(
        roc_auc_score, classes, scores, block=block, samples=200, seed=1
    )
    assert value == roc_auc_score(classes, scores)
    # the same draws, those with both classes
    draws, areas = np.random.default_rng(1), []
    while len(areas) < 200:
        starts = draws.integers(60, size=-(-60 // block))
        rows = ((starts[:, None] + np.arange(block)) % 60).ravel()[:60]
        if 0 < classes[rows].sum() < 60:
            areas.append(roc_auc_score(classes[rows], scores[rows]))
    np.testing.assert_allclose((low, high), np.quantile(areas, [0.025, 0.975]), rtol=1e-12)


def test_a_metric_that_has_hardly_ever_a_value_is_refused():
    # none but all posts together have all of ten classes
    for nothing in (lambda: math.nan, lambda: int("none")):
        metric = lambda x, say=nothing: 1.0 if len(set(x)) == 10 else say()  # noqa: E731
        with pytest.raises(ValueError, match=r"has no value for 21 of 21 samples.*smaller block"):
            block_bootstrap(metric, np.arange(10), block=1, samples=20)
    with pytest.raises(ValueError, match="got metric of the arrays themselves=nan"):
        block_bootstrap(lambda x: math.nan, [1, 2], block=1)
    # what is wrong with the arguments is no lack of a class
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        block_bootstrap(lambda x: roc_auc_score(x, x[:-1]), [0, 1], block=1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1, "3", None, [1], True])
def test_numbers_that_are_none_are_refused(bad):
    for name, call in {
        "gap": lambda: time_split(range(10), gap=bad),
        "delay": lambda: running_median([1, 2], [1, 2], 1, delay=bad),
        "level": lambda: block_bootstrap(np.mean, [1, 2, 3], block=1, level=bad),
    }.items():
        with pytest.raises(ValueError, match=f"^got {name}="):
            call()
