"""How far the text of a chapter's output is from the stored one, as a share of what is allowed.

Words have to be the same. Numbers too, but where a cell shows what was trained: there they may
differ by one unit of the last digit that is stored, which printing can flip, or by ``SHARE`` of the
number, if that is more. What is below ``RESIDUE`` in both is a residue of rounding itself; the cell
checks its bound.
"""

import re
from itertools import zip_longest

# with commas between thousands, and not with one after it
NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[+-]?\d+)?")
RESIDUE = 1e-5
# of the last digit that is stored, and of the number: measured, see CONTRIBUTING
UNITS, SHARE = 1, 0.1


def deviation(found: str, stored: str, trained: bool = True) -> float:
    """How far two texts are apart, as a share of what is allowed: up to 1 they are alike."""
    words = [NUMBER.sub("#", text).split() for text in (found, stored)]
    pairs = list(zip_longest(NUMBER.findall(found), NUMBER.findall(stored)))
    if words[0] != words[1] or any(None in pair for pair in pairs):
        return float("inf")
    return max((_apart(*pair, trained) for pair in pairs), default=0.0)


def _apart(found: str, stored: str, trained: bool) -> float:
    a, b = (float(text.replace(",", "")) for text in (found, stored))
    if a == b or max(abs(a), abs(b)) < RESIDUE:
        return 0.0
    if not trained:
        return float("inf")
    mantissa, _, exponent = stored.partition("e")
    decimals = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - decimals)
    return round(abs(a - b) / max(UNITS * unit, SHARE * abs(b)), 6)
