"""Words of any alphabet: letters, with the marks that belong to them."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["composed", "run"]

#: Sewn between two letters they change how these are written, and part no words.
_JOINERS = "\u200c\u200d"


def composed(text: str, *, fold: bool = False) -> str:
    """A text in small letters, the same however its marks were typed (NFC)."""
    text = unicodedata.normalize("NFC", text)
    # small letters may come apart again: that of İ is i with a dot
    return unicodedata.normalize("NFC", text.casefold() if fold else text.lower())


def run(letter: str, text: str) -> str:
    """The pattern of a run of letters; `re` knows no marks, so those of the text are listed."""
    marks = sorted(c for c in set(text) if unicodedata.category(c).startswith("M"))
    return rf"{letter}(?:[{re.escape(''.join(marks))}\u0300]|[{_JOINERS}]*{letter})*"
