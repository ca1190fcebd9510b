r"""Chinese characters in parts: each replaced by its description, and back.

A description is an ideographic description sequence: a composition, ``⿰`` for side by side,
and its two parts (three after ``⿲`` and ``⿳``), each a character or a description itself.
Compositions come first and have a fixed number of parts, so a text of descriptions can be read in
one way only, and as all descriptions are different, nothing is lost:

>>> decompose("好想")
'⿰女子⿱⿰木目心'
>>> compose("⿰女子⿱⿰木目心")
'好想'
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from aebook._internal.contract import checked
from aebook.datasets import hanzi

__all__ = ["UNKNOWN", "compose", "decompose"]

#: The geta mark: printers of Chinese and Japanese put it where they lacked a character.
UNKNOWN = "〓"

_PARTS = {composition: 2 for composition in "⿰⿱⿴⿵⿶⿷⿸⿹⿺"} | {"⿲": 3, "⿳": 3}


@checked
def decompose(text: str, descriptions: Mapping[str, str] | None = None) -> str:
    """Replace each character by its description; what has none stays.

    Parameters
    ----------
    text
        Any text.
    descriptions
        From characters to ideographic description sequences; the default is
        :func:`aebook.datasets.hanzi`.

    Examples
    --------
    >>> from aebook.applications.translation import hanzi
    >>> hanzi.decompose("好想")
    '⿰女子⿱⿰木目心'
    """
    descriptions = _shipped()[0] if descriptions is None else descriptions
    return "".join(descriptions.get(character, character) for character in text)


@checked
def compose(text: str, descriptions: Mapping[str, str] | None = None) -> str:
    """Replace each description by its character: the inverse of :func:`decompose`.

    A description that is of no character, or breaks off, becomes :data:`UNKNOWN`: a network may
    write such things.

    Parameters
    ----------
    text
        Text as :func:`decompose` gives it.
    descriptions
        As there.

    Examples
    --------
    >>> from aebook.applications.translation import hanzi
    >>> hanzi.compose("⿰女子⿱⿰木目心")
    '好想'
    """
    if descriptions is None:
        characters = _shipped()[1]
    else:
        characters = {description: character for character, description in descriptions.items()}
    composed, start = [], 0
    while start < len(text):
        end = _end(text, start)
        found = text[start:end]
        whole = found if end == start + 1 and found not in _PARTS else UNKNOWN
        composed.append(characters.get(found, whole))
        start = end
    return "".join(composed)


def _end(text: str, start: int) -> int:
    """Where the description ends that starts there; at the end of the text if it breaks off."""
    missing = 1
    while missing and start < len(text):
        missing += _PARTS.get(text[start], 0) - 1
        start += 1
    return start


@cache
def _shipped() -> tuple[dict[str, str], dict[str, str]]:
    descriptions = hanzi()
    return descriptions, {description: character for character, description in descriptions.items()}
