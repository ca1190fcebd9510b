import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aebook
from aebook.bottlenecks import TopK


def slow(h, k, by):
    """Sort each row in Python, and keep the first k."""
    out = torch.zeros_like(h)
    for row, values in enumerate(h.tolist()):
        size = abs if by == "magnitude" else float
        for unit in sorted(range(len(values)), key=lambda j: size(values[j]), reverse=True)[:k]:
            out[row, unit] = values[unit]
    return out


@pytest.mark.parametrize("by", ["value", "magnitude"])
@given(rows=st.integers(1, 5), units=st.integers(1, 12), data=st.data())
def test_keeps_what_sorting_keeps(by, rows, units, data):
    k = data.draw(st.integers(1, units))
    h = torch.randn(rows, units, generator=torch.Generator().manual_seed(rows + 7 * units))
    assert torch.equal(TopK(k, by)(h), slow(h, k, by))


def test_value_and_magnitude_differ_where_a_large_activity_is_negative():
    h = torch.tensor([[3.0, -5.0, 1.0, 2.0]])
    assert TopK(2)(h).tolist() == [[3, 0, 0, 2]]
    assert TopK(2, "magnitude")(h).tolist() == [[3, -5, 0, 0]]


def test_the_highest_k_may_be_negative_and_stay_so():
    assert TopK(2)(torch.tensor([[-3.0, -1.0, -2.0]])).tolist() == [[0, -1, -2]]


def test_ties_still_keep_exactly_k():
    for by in ("value", "magnitude"):
        assert (TopK(3, by)(torch.ones(4, 9)) != 0).sum(1).tolist() == [3] * 4


@pytest.mark.parametrize("by", ["value", "magnitude"])
def test_the_gradient_passes_through_kept_units_only(by):
    h = torch.randn(5, 9, dtype=torch.float64, requires_grad=True)
    top, upstream = TopK(4, by), torch.randn(5, 9, dtype=torch.float64)
    code = top(h)
    (code * upstream).sum().backward()
    torch.testing.assert_close(h.grad, torch.where(code != 0, upstream, 0.0))
    torch.autograd.gradcheck(top, h)


def test_k_of_all_is_the_identity():
    h = torch.randn(3, 6)
    assert torch.equal(TopK(6)(h), h)


def test_evaluation_keeps_alpha_k_rounded_at_least_one_and_at_most_all():
    h = torch.randn(3, 8)
    for k, alpha, kept in ((2, 1, 2), (2, 1.5, 3), (2, 2, 4), (3, 1.6, 5), (2, 9, 8), (2, 0.1, 1)):
        top = TopK(k, alpha=alpha)
        assert (top(h) != 0).sum(1).tolist() == [k] * 3
        assert (top.eval()(h) != 0).sum(1).tolist() == [kept] * 3


def test_set_k_is_seen_by_training_evaluation_copies_and_state_dicts():
    top, h = TopK(6), torch.randn(3, 8)
    top.set_k(2)
    assert (top(h) != 0).sum(1).tolist() == (top.eval()(h) != 0).sum(1).tolist() == [2] * 3
    other = TopK(5)
    other.load_state_dict(top.state_dict())
    for twin in (other, copy.deepcopy(top)):
        assert int(twin.k) == 2
    assert repr(top) == "TopK(k=2, by='value', alpha=1.0)"


def test_k_annealed_by_fit_follows_the_schedule_and_ends_at_the_last_k():
    objective, seen = aebook.variants.k_sparse((6, 12), 2), []

    def anneal(o, t):
        o.model.bottleneck.set_k(max(2, round(10 - 16 * t)))
        seen.append(int(o.model.bottleneck.k))

    aebook.fit(objective, torch.rand(40, 6), epochs=4, batch_size=10, anneal=anneal)
    assert seen == [10, 9, 8, 7, 6, 5, 4, 3, 2, 2, 2, 2, 2, 2, 2, 2]
    assert aebook.metrics.l0(objective.model.encode(torch.rand(7, 6))) == 2


def test_any_leading_dimensions():
    h = torch.randn(2, 3, 7)
    expected = torch.stack([TopK(2)(part) for part in h])
    assert torch.equal(TopK(2)(h), expected)


@pytest.mark.parametrize("k", [0, -1, 2.5, float("nan"), float("inf")])
def test_k_must_be_a_whole_number(k):
    with pytest.raises(ValueError, match="expected a whole number"):
        TopK(k)
    with pytest.raises(ValueError, match="expected a whole number"):
        TopK(2).set_k(k)


def test_other_misuse_is_refused():
    with pytest.raises(ValueError, match="expected 'value' or 'magnitude'"):
        TopK(2, "size")
    for alpha in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected a finite number"):
            TopK(2, alpha=alpha)
    with pytest.raises(ValueError, match="got k=9 for a code of 8 units"):
        TopK(9)(torch.randn(3, 8))
    with pytest.raises(ValueError, match="got k=9, expected a whole number from 1 to 8"):
        aebook.variants.k_sparse((6, 8), 9)
