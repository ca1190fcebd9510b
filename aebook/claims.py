"""Claims that are checked where they are made: the number that was measured, beside its bound.

>>> from aebook.claims import verify
>>> verify("error, contractive / plain", [1.35, 1.41, 1.32], above=1, below=1.7)
error, contractive / plain: 1 < 1.4, 1.4, 1.3 < 1.7
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aebook._internal.checks import as_array, counted, number, whole
from aebook._internal.contract import taken

__all__ = ["verify"]

#: Values that are printed one by one; of more, the nearest to the bounds stands for all.
SHOWN = 5


def verify(
    what: str,
    value: ArrayLike,
    *,
    above: ArrayLike | None = None,
    below: ArrayLike | None = None,
    at_least: ArrayLike | None = None,
    at_most: ArrayLike | None = None,
    equal: ArrayLike | None = None,
    within: float = 0.0,
    digits: int = 2,
) -> None:
    r"""Print a measured number beside its bound, and fail if the bound is broken.

    Each value has to keep each bound. Several values are one thing measured several times, with
    one seed each, say: they hold all or it is no claim. A bound may be measured too, once or as
    often as the value.

    Parameters
    ----------
    what
        What was measured.
    value
        The number, or several; a tensor or array of any shape.
    above, below
        Strict bounds: above < value < below.
    at_least, at_most
        Bounds that may be reached: at_least ≤ value ≤ at_most.
    equal, within
        What the value has to be, up to a difference of ``within``.
    digits
        Significant digits that are printed, 1 to 5; more where they are needed to leave no doubt.
        What is checked is the value itself, whatever is printed.

    Raises
    ------
    AssertionError
        If a value breaks a bound; NaN breaks every bound.
    ValueError
        If there is no bound or no value, if their shapes differ, or if a value is a truth value,
        which says nothing of how nearly a claim holds.

    Examples
    --------
    >>> verify("rank", 3, equal=3)
    rank: 3 = 3
    >>> verify("largest difference", 3.1e-12, below=1e-10)
    largest difference: 3e-12 < 1e-10
    >>> verify("AE over PCA, three seeds", [0.61, 0.63, 0.62], above=[0.55, 0.56, 0.54])
    AE over PCA, three seeds: 0.61 > 0.55, 0.63 > 0.56, 0.62 > 0.54
    """
    taken("what", what, str)
    within, digits = number("within", within, least=0), whole("digits", digits, most=5)
    given = {">": above, "<": below, ">=": at_least, "<=": at_most, "=": equal}
    bounds = {sign: _numbers(bound) for sign, bound in given.items() if bound is not None}
    values = _numbers(value)
    for numbers in (values, *bounds.values()):
        if numbers.dtype.kind not in "biuf":
            raise ValueError(f"got {numbers.dtype} for {what!r}, expected numbers")
    if not bounds:
        raise ValueError(
            f"got no bound for {what!r}: give above, below, at_least, at_most or equal"
        )
    counted(f"values of {what!r}", values.size)
    if values.dtype == bool:
        raise ValueError(f"got a truth value for {what!r}, expected the number that was measured")
    for sign, bound in bounds.items():
        if bound.dtype == bool or np.isinf(bound).any():
            raise ValueError(f"got the bound {sign} {bound} for {what!r}, expected a finite number")
        if bound.size not in (1, values.size):
            raise ValueError(
                f"got {bound.size} bounds ({sign}) for {values.size} values of {what!r}, "
                "expected one, or one for each"
            )
    rows = [
        (v, {sign: b[i] if b.size > 1 else b[0] for sign, b in bounds.items()})
        for i, v in enumerate(values)
    ]
    broken = [
        (v, b)
        for v, b in rows
        if not all(_holds(v.item(), sign, bound.item(), within) for sign, bound in b.items())
    ]
    if broken:
        said = "; ".join(_row(v, b, within, 6) for v, b in broken[:SHOWN])
        raise AssertionError(f"{what}: {said} does not hold ({len(broken)} of {len(rows)})")
    print(f"{what}: {_sentence(rows, within, digits)}")


def _numbers(values: Any) -> np.ndarray:
    """A flat array: tensors and lists of them too."""
    if isinstance(values, list | tuple):
        return np.concatenate([_numbers(v) for v in values]) if values else np.empty(0)
    return np.atleast_1d(as_array(values)).ravel()


def _holds(value: Any, sign: str, bound: Any, within: float) -> bool:
    if sign == "=":
        return value == bound or abs(value - bound) <= within
    return {">": value > bound, "<": value < bound, ">=": value >= bound, "<=": value <= bound}[
        sign
    ]


def _sentence(rows: list, within: float, least: int) -> str:
    if len(rows) > SHOWN:
        value, near = min(rows, key=lambda row: min(abs(row[0] - b) for b in row[1].values()))
        return f"{_readable(value, near, within, least)} (the nearest of {len(rows)})"
    if len(rows) > 1 and all(row[1] == rows[0][1] for row in rows):
        # one bound for all: said once, so finely that what is printed holds for each
        texts, bounds = [_number(v, _digits(v, b, within, least)) for v, b in rows], rows[0][1]
        digits = next(d for d in (2, 3, 4, 5, 6) if d == 6 or _is_so(texts, bounds, d))
        return _join(", ".join(texts), bounds, within, digits)
    return ", ".join(_readable(v, b, within, least) for v, b in rows)


def _readable(value: Any, bounds: dict, within: float, least: int) -> str:
    return _row(value, bounds, within, _digits(value, bounds, within, least))


def _row(value: Any, bounds: dict, within: float, digits: int) -> str:
    return _join(_number(value, digits), bounds, within, digits)


def _join(said: str, bounds: dict, within: float, digits: int = 2) -> str:
    """``low < value < high``, with the sign of one bound after the value."""
    texts = {sign: _bound(bound, digits) for sign, bound in bounds.items()}
    for lower, flipped in ((">", "<"), (">=", "<=")):
        if lower in texts and len(texts) > 1:
            said = f"{texts.pop(lower)} {flipped} {said}"
    for sign, text in texts.items():
        said += f" {sign} {text}"
        if sign == "=" and within:
            said += f" ± {_bound(within, digits)}"
    return said


def _digits(value: Any, bounds: dict, within: float, least: int) -> int:
    """As many as leave no doubt: rounding takes at most half of what is left to a bound."""
    left = min(_left(value, sign, bound, within) for sign, bound in bounds.items())
    for digits in range(least, 6):
        lost = abs(_read(_number(value, digits)) - value)
        lost += max(abs(_read(_bound(bound, digits)) - bound) for bound in bounds.values())
        near = left == 0 or lost <= left / 2
        if near and _is_so([_number(value, digits)], bounds, digits):
            return digits
    return 6


def _is_so(texts: list[str], bounds: dict, digits: int) -> bool:
    """Whether printed values hold printed bounds; equality is not asked of what was rounded."""
    said = {s: _read(_bound(b, digits)) for s, b in bounds.items() if s != "="}
    return all(_holds(_read(text), s, b, 0) for text in texts for s, b in said.items())


def _read(text: str) -> float:
    return float(text.replace(",", ""))


def _left(value: Any, sign: str, bound: Any, within: float) -> float:
    """How far a value is from breaking its bound."""
    apart = abs(value - bound)
    return float(within - apart if sign == "=" and within else apart)


def _bound(bound: Any, digits: int) -> str:
    """A bound that somebody wrote as it was written, one that was measured like a value."""
    short = f"{bound:.5g}"
    return _number(bound, digits) if float(short) != bound or "e+" in short else short


def _number(value: Any, digits: int) -> str:
    """Whole numbers whole, others rounded to so many significant digits."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, int) or not math.isfinite(value) or value == 0:
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    # what was rounded before is shown as it is: 0.2 and not 0.20
    own = len(f"{value:.10f}".rstrip("0").partition(".")[2])
    value = float(f"{value:.{digits - 1}e}")  # 9.97 and 10.03 are both 10
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -3:
        return f"{value:.{max(digits - 2, 0)}e}"
    return f"{value:,.{min(max(digits - 1 - magnitude, 0), own)}f}"
