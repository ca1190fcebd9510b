import contextlib
import io
import re

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aebook.claims import verify

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-6)


def said(capsys):
    return capsys.readouterr().out.rstrip("\n")


@pytest.mark.parametrize(
    ("value", "bounds", "text"),
    [
        (0.314, {"below": 0.5}, "x: 0.31 < 0.5"),
        (0.4996, {"below": 0.5}, "x: 0.4996 < 0.5"),
        ([1.35, 1.41, 1.32], {"above": 1, "below": 1.7}, "x: 1 < 1.4, 1.4, 1.3 < 1.7"),
        ([0.61, 0.63], {"above": [0.55, 0.562]}, "x: 0.61 > 0.55, 0.63 > 0.562"),
        (3, {"equal": 3}, "x: 3 = 3"),
        (0.01003, {"equal": 0.01, "within": 1e-4}, "x: 0.010 = 0.01 ± 0.0001"),
        (3.1e-12, {"below": 1e-10}, "x: 3e-12 < 1e-10"),
        (0.0, {"at_most": 0}, "x: 0 <= 0"),
        (12_345, {"at_least": 12_000}, "x: 12,345 >= 12000"),
        (12_345.6, {"above": 10_000}, "x: 12,000 > 10000"),
        (0.2031, {"below": 0.25, "digits": 1}, "x: 0.2 < 0.25"),
        (0.0312, {"below": 0.1, "digits": 1}, "x: 0.03 < 0.1"),
        # to one digit it would be 0.2, which says nothing of the bound
        (0.2031, {"above": 0.2, "digits": 1}, "x: 0.203 > 0.2"),
        ([0.123, 0.1456], {"below": 0.5, "digits": 3}, "x: 0.123, 0.146 < 0.5"),
        (round(0.2031, 1), {"below": 0.25}, "x: 0.2 < 0.25"),
        # 1.0 would be 1, and 1.1 as far again from it
        (1.06, {"above": 1}, "x: 1.06 > 1"),
        (1.12, {"above": 1}, "x: 1.1 > 1"),
        (0.6421, {"above": np.array([0.6398])}, "x: 0.642 > 0.6398"),
        (torch.tensor(0.25), {"above": torch.tensor(1 / 8)}, "x: 0.25 > 0.125"),
        ([9.998, 10.02], {"above": 9}, "x: 10, 10 > 9"),
        (0.99997, {"equal": 1, "within": 0.001}, "x: 1.0 = 1 ± 0.001"),
        (np.linspace(0.2, 0.4, 11), {"below": 0.5}, "x: 0.4 < 0.5 (the nearest of 11)"),
    ],
)
def test_the_number_stands_beside_its_bound(capsys, value, bounds, text):
    verify("x", value, **bounds)
    assert said(capsys) == text


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (0.5, {"below": 0.5}),
        (0.5, {"above": 0.5}),
        (0.51, {"at_most": 0.5}),
        (0.49, {"at_least": 0.5}),
        (0.52, {"equal": 0.5, "within": 0.01}),
        ([0.1, 0.9], {"below": 0.5}),
        ([0.1, 0.2], {"below": [0.2, 0.1]}),
        (float("nan"), {"below": 1}),
        (float("nan"), {"equal": float("nan")}),
        (float("inf"), {"below": 1}),
    ],
)
def test_a_broken_bound_fails_and_prints_nothing(capsys, value, bounds):
    with pytest.raises(AssertionError, match=r"^x: .* does not hold"):
        verify("x", value, **bounds)
    assert said(capsys) == ""


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (1.0, {}, "no bound"),
        ([], {"below": 1}, "got 0 values of 'x', expected 1 or more"),
        ([1, 2, 3], {"below": [4, 5]}, "2 bounds .* for 3 values"),
        (np.True_, {"equal": 1}, "truth value"),
        (torch.tensor([True, False]), {"equal": 1}, "truth value"),
        (True, {"at_least": 1}, "truth value"),
        (1.0, {"below": float("inf")}, "expected a finite number"),
        ([1.0, 2.0], {"above": [0.0, -np.inf]}, "expected a finite number"),
        (1.0, {"equal": True}, "expected a finite number"),
    ],
)
def test_what_is_no_claim_is_refused(value, bounds, message):
    with pytest.raises(ValueError, match=message):
        verify("x", value, **bounds)


@given(values=st.lists(NUMBERS, min_size=2, max_size=4), low=NUMBERS, high=NUMBERS)
@example(values=[9.981, 20.0], low=9.9712345, high=30.0)
@example(values=[0.6399, 0.65], low=0.63981234, high=0.7)
def test_what_is_shown_for_several_is_on_the_side_that_was_measured(values, low, high):
    low, high = min(low, *values) - abs(low) - 1e-9, max(high, *values) + abs(high) + 1e-9
    assume(low < min(values) and max(values) < high)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        verify("x", values, above=low, below=high)
    left, middle, right = shown.getvalue().removeprefix("x: ").split(" < ")
    left, right, *among = (
        float(text.replace(",", "")) for text in (left, right, *middle.split(", "))
    )
    assert all(left <= value <= right for value in among)


@given(value=NUMBERS, bound=NUMBERS)
@example(value=0.875, bound=0.875)
def test_what_is_shown_is_on_the_side_that_was_measured(value, bound):
    side = {"above": bound} if value > bound else {"at_most": bound}
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        verify("x", value, **side)
    left, sign, right = re.fullmatch(r"x: (\S+) (>|<=) (\S+)\n", shown.getvalue()).groups()
    left, right = (float(text.replace(",", "")) for text in (left, right))
    # six digits at most: what is nearer than that may look equal
    assert left >= right if sign == ">" else left <= right
    assert left == pytest.approx(value, rel=0.06)
