r"""Chinese characters in parts: each replaced by its description, and back.

A description is an ideographic description sequence: a composition, ``⿰`` for side by side,
and its two parts (three after ``⿲`` and ``⿳``), each a character or a description itself.
Compositions come first and have a fixed number of parts, so a text of descriptions can be read in
one way only, and as all descriptions are different, nothing is lost:

>>> decompose("好想")
'⿰女子⿱⿰木目心'
>>> compose("⿰女子⿱⿰木目心")
'好想'

Or a network may know the character and its parts: :func:`share_parts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from aebook._internal.contract import checked
from aebook.applications.translation.model import Vocabulary
from aebook.datasets import hanzi

__all__ = ["UNKNOWN", "compose", "decompose", "share_parts"]

#: The geta mark. Printers of Chinese and Japanese put it where they lacked a character.
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


@checked
def share_parts(layer: nn.Embedding | nn.Linear, vocabulary: Vocabulary) -> None:
    r"""Let symbols that have a part in common share in their rows of a table, in place.

    .. math::

        W_s = U_s + \frac1{|P_s|} \sum_{r \in P_s} V_r

    What is trained is a row of its own for each symbol s, :math:`U_s`, and one for each part r,
    :math:`V_r`, so that a network knows characters and parts (Han & Kuang 2018 set the two side by
    side where we add). :math:`P_s` are the parts of all characters of the symbol, compositions left
    out. After training ``torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")``
    leaves W, and the layer is what it was before.

    Parameters
    ----------
    layer
        Embeddings, or the linear map to logits, with a row a symbol.
    vocabulary
        The symbols.

    Examples
    --------
    >>> from aebook.applications.translation import Vocabulary, hanzi
    >>> vocabulary = Vocabulary(["林 森 木 好"], size=10)
    >>> embedding = torch.nn.Embedding(len(vocabulary), 4)
    >>> hanzi.share_parts(embedding, vocabulary)
    >>> [tuple(p.shape) for p in embedding.parameters()]  # of symbols; of 木, 女 and 子
    [(10, 4), (3, 4)]
    """
    rows, size = layer.weight.shape[0], len(vocabulary)
    if rows != size:
        raise ValueError(f"got a table of {rows} rows, expected one a symbol, {size}")
    descriptions = _shipped()[0]
    texts = vocabulary.decode(torch.arange(size).unsqueeze(1))
    found = [
        {sign for c in text if c in descriptions for sign in descriptions[c]} - _PARTS.keys()
        for text in texts
    ]
    known = sorted(set().union(*found))
    if not known:
        raise ValueError("got a vocabulary without a Chinese character, expected one or more")
    shares = torch.zeros(size, len(known))
    for row, parts in zip(shares, found, strict=True):
        row[[known.index(part) for part in parts]] = 1 / max(len(parts), 1)
    parametrize.register_parametrization(layer, "weight", _Shared(shares.to(layer.weight)))


class _Shared(nn.Module):
    """The map U ↦ U + S V, with the shares S of parts in symbols."""

    shares: Tensor

    def __init__(self, shares: Tensor) -> None:
        super().__init__()
        self.register_buffer("shares", shares)
        self.parts = nn.Parameter(shares.new_empty(0))

    def forward(self, own: Tensor) -> Tensor:
        return own + self.shares @ self.parts

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Rows of parts are drawn to be as large as those of symbols; at first they add to them."""
        drawn = torch.randn(self.shares.shape[1], weight.shape[1]).to(weight)
        self.parts = nn.Parameter(drawn * weight.detach().std())
        return weight


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
