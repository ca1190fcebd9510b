import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aebook._internal.checks import check_image, need, number, one_of, whole, whole_numbers

NONSENSE = [None, "3", "lots", [3], (3,), True, np.True_, math.nan, math.inf, 3j, object()]


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_whole_numbers_of_every_kind_are_the_same_number(value, least):
    for given_ in (value, float(value), np.int16(value), np.float32(value), np.uint8(abs(value))):
        if given_ >= least:
            found = whole("n", given_, least)
            assert type(found) is int
            assert found == given_
        else:
            with pytest.raises(ValueError, match=f"^got n=.*, expected a whole number, {least} or"):
                whole("n", given_, least)


@pytest.mark.parametrize("value", [*NONSENSE, 2.5, 0, -1])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ValueError, match=r"^got n=.*, expected a whole number, 1 or more$"):
        whole("n", value)
    with pytest.raises(
        ValueError, match=r"^got n=.*, expected at least 1 whole numbers, each 1 or"
    ):
        whole_numbers("n", [value], 1)


def test_a_whole_number_may_have_a_largest():
    assert whole("n", 7, 0, 7) == 7
    with pytest.raises(ValueError, match=r"^got n=8, expected a whole number from 0 to 7$"):
        whole("n", 8, 0, 7)


@pytest.mark.parametrize("value", [*NONSENSE, -0.1, 1, 1.5])
def test_a_share_is_less_than_one(value):
    assert number("n", 0, 0, below=1) == 0
    assert number("n", np.float32(0.5), below=1) == 0.5
    with pytest.raises(ValueError, match=r"^got n=.*, 0 or more and less than 1$"):
        number("n", value, 0, below=1)
    with pytest.raises(ValueError, match=r"^got n=.* above 0 and less than 1$"):
        number("n", value, below=1)


def test_too_few_whole_numbers_are_refused():
    assert whole_numbers("widths", np.array([3, 2]), 2) == (3, 2)
    for widths in ([3], [], 3, None, "32"):
        with pytest.raises(ValueError, match=r"^got widths=.*, expected at least 2 whole numbers"):
            whole_numbers("widths", widths, 2)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_above_0_or_as_large_as_is_asked(value):
    for least in (None, 0, -1.5):
        if value > 0 if least is None else value >= least:
            assert number("x", value, least) == value
        else:
            with pytest.raises(ValueError, match=r"^got x=.*, expected a finite number"):
                number("x", value, least)


@pytest.mark.parametrize("value", NONSENSE)
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match=r"^got x=.*, expected a finite number above 0$"):
        number("x", value)
    with pytest.raises(ValueError, match=r"^got x=.*, expected a finite number, 0 or more$"):
        number("x", value, least=0)


@pytest.mark.parametrize("value", [None, "kl ", 3, ["kl"], torch.bfloat16])
def test_what_is_none_of_the_choices_is_refused(value):
    one_of("kind", "l1", ("kl", "l1", "l2"))
    with pytest.raises(ValueError, match=r"^got kind=.*, expected 'kl', 'l1' or 'l2'$"):
        one_of("kind", value, ("kl", "l1", "l2"))


def test_a_package_that_is_not_there_is_named_with_its_extra():
    assert need("math", "math", "none") is math
    with pytest.raises(ImportError, match=r'^this needs Foo, .*: pip install "aebook\[bar\]"$'):
        need("foo_that_is_not_there", "Foo", "bar")


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_channels_are_last_and_few(height, width, channels):
    check_image("x", (height, width))
    if channels <= 4 or channels < min(height, width):
        check_image("x", (height, width, channels))
    else:
        with pytest.raises(ValueError, match=r"^got x of shape .* with the channels last: for"):
            check_image("x", (height, width, channels))
    # channels first are taken for none of it
    if width > 4:
        with pytest.raises(ValueError, match="channels first"):
            check_image("x", (min(channels, 4), height, width))
    for wrong in ((), (height,), (0, width), (height, width, 0), (1, channels, height, width)):
        with pytest.raises(ValueError, match="expected one image"):
            check_image("x", wrong)
