"""How far the text of a chapter's output is from the stored one, as a share of what is allowed.

Words have to be the same. Numbers too, but where a cell shows what was trained. By the
instructions with which outputs are stored (``same``) such a number may differ by one unit of its
last decimal, which printing can flip; whole numbers may not. By others it may differ by one unit of
its last digit, by ``SHARE`` of itself, or by ``SHARE`` of the bound that its line holds it to,
whichever is most: what is far from a bound may be near zero. A residue of rounding, below
``RESIDUE`` in both, may be another where the line holds it to a bound; the bound may not.
"""

import json
import re
from typing import Any

# with commas between thousands, and not with one after it
NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[+-]?\d+)?")
SIGN = re.compile(r"[<>=±]\s*$")
RESIDUE = 1e-5
# of the last digit that is stored, and of the number: measured, see CONTRIBUTING
UNITS, SHARE = 1, 0.1


def deviation(found: str, stored: str, trained: bool = True, same: bool = False) -> float:
    """How far two texts are apart, as a share of what is allowed: up to 1 they are alike."""
    found, stored = _without_payload(found), _without_payload(stored)
    words = [NUMBER.sub("#", text).split() for text in (found, stored)]
    numbers = [list(NUMBER.finditer(text)) for text in (found, stored)]
    if words[0] != words[1] or len(numbers[0]) != len(numbers[1]):
        return float("inf")
    return max((_apart(a, b, trained, same) for a, b in zip(*numbers, strict=True)), default=0.0)


def _without_payload(text: str) -> str:
    """A live figure has trained weights and a picture in it: of its data the structure is left."""
    if 'class="aebook-live"' not in text:
        return text
    text = re.sub(r'src="data:image/png;base64,[^"]*"', 'src=""', text)
    data = re.compile(r'(?<=<script type="application/json">).*?(?=</script>)', re.DOTALL)
    return data.sub(lambda match: json.dumps(_structure(json.loads(match.group()))), text)


def _structure(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _structure(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [f"{len(value)} entries", *(_structure(entry) for entry in value[:1])]
    return type(value).__name__ if isinstance(value, float) or len(str(value)) > 40 else value


def _apart(found: re.Match, stored: re.Match, trained: bool, same: bool) -> float:
    a, b = (float(match.group().replace(",", "")) for match in (found, stored))
    if a == b or (max(abs(a), abs(b)) < RESIDUE and _is_held(stored)):
        return 0.0
    mantissa, _, exponent = stored.group().partition("e")
    decimals = len(mantissa.partition(".")[2])
    if not trained or (same and not decimals):
        return float("inf")
    unit = UNITS * 10.0 ** (int(exponent or 0) - decimals)
    size = max(map(abs, [b, *_bounds(stored)]))
    return round(abs(a - b) / (unit if same else max(unit, SHARE * size)), 6)


def _line(number: re.Match) -> str:
    text = number.string
    return text[text.rfind("\n", 0, number.start()) + 1 :].partition("\n")[0]


def _is_held(number: re.Match) -> bool:
    """Whether its line holds a number to a bound, and is no bound itself."""
    before = number.string[: number.start()]
    return bool(re.search("[<>=]", _line(number))) and not SIGN.search(before)


def _bounds(number: re.Match) -> list[float]:
    """What its line holds a number to."""
    if not _is_held(number):
        return []
    line = _line(number)
    found = (m for m in NUMBER.finditer(line) if re.search(r"[<>=]\s*$", line[: m.start()]))
    return [float(m.group().replace(",", "")) for m in found]
