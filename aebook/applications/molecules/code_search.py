r"""Search for what scores best, in the space of codes or anywhere else where one can take a step.

>>> found = search(
...     torch.randn(100, p),
...     vary=lambda z: z + 0.3 * torch.randn_like(z),
...     read=lambda z: alphabet.decode(model.decode(z)),
...     score=lambda texts: properties(texts).qed,
... )
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from aebook._internal.checks import array, as_array, as_many, whole
from aebook._internal.contract import Numbers, checked, taken

__all__ = ["Found", "search"]


class Found(NamedTuple):
    """What a search found, best first."""

    texts: list[str]
    """All different texts that were read and have a value."""
    values: NDArray[np.float64]
    """The score of each, falling."""
    parents: Any
    """The best n of what was varied, a tensor if the start was one, else a list."""
    best: list[float]
    """The best score so far, before the first round and after each."""


@checked
def search(
    start: Tensor | Sequence[Any],
    vary: Callable[[Any], Tensor | Sequence[Any]] | None,
    read: Callable[[Any], Sequence[str]],
    score: Callable[[list[str]], ArrayLike],
    *,
    rounds: int = 10,
) -> Found:
    r"""Climb :math:`\max_z f(D(z))` with the decoder in the loop: the best of each round go on.

    A round makes n children of the n parents, reads them, and scores the texts that are new. The
    best n different texts of all so far are the next parents; where there are fewer, they take
    turns. Neither f nor D needs a derivative. With codes and :math:`z + s ε` as the step this is
    a local search in latent space; with texts and edits it is the plain genetic algorithm that a
    search in latent space has to beat.

    Parameters
    ----------
    start
        The first n parents: codes (n, p), or any list.
    vary
        From n parents to n children, of the same type; None for no round but the start.
    read
        The n texts of what was varied: the decoder, or the identity.
    score
        f of a list of texts, higher is better. NaN is for what has no value; it never goes on.
    rounds
        How many, 0 or more. With the start, (rounds + 1) n texts are read.

    Returns
    -------
    Found
        Texts and values, best first.

    Raises
    ------
    ValueError
        If the start is empty or has no text with a value, or a function returns too many or few.

    Examples
    --------
    >>> from aebook.applications.molecules import search
    >>> def length(texts):
    ...     return [len(text) for text in texts]
    >>> found = search(["C"], lambda parents: [p + "C" for p in parents], list, length, rounds=3)
    >>> found.texts, found.best
    (['CCCC', 'CCC', 'CC', 'C'], [1.0, 2.0, 3.0, 4.0])
    """
    rounds = whole("rounds", rounds, least=0)
    if vary is None and rounds:
        raise ValueError(f"got vary=None for {rounds} rounds, expected a function, or rounds=0")
    if (isinstance(start, Tensor) and start.dim() == 0) or len(start) == 0:
        raise ValueError("got nothing to start from, expected one or more")
    found: dict[str, tuple[float, Any]] = {}
    worthless: set[str] = set()
    ranked: list[tuple[str, tuple[float, Any]]] = []
    best: list[float] = []
    parents = start
    for done in range(rounds + 1):
        children = vary(parents) if vary is not None and done else start
        taken("what vary gave", children, Sequence[Any] | Tensor)
        texts = list(taken("what read gave", read(children), Sequence[str]))
        as_many(texts=len(texts), children=len(children), parents=len(start))
        fresh: dict[str, Any] = {}
        for text, child in zip(texts, children, strict=True):
            if text not in found and text not in worthless:
                fresh.setdefault(text, child)
        values = taken(
            "what score gave", score(list(fresh)) if fresh else [], Sequence[Any] | Numbers
        )
        values = as_array(values)
        array("scores", values, f"({len(fresh)},)", finite=False, empty=True, advice="one a text")
        for (text, child), value in zip(fresh.items(), values, strict=True):
            if np.isnan(value):
                worthless.add(text)
            else:
                found[text] = (float(value), child)
        if not found:
            raise ValueError("got no text with a value from the start, expected one or more")
        ranked = sorted(found.items(), key=lambda entry: -entry[1][0])
        best.append(ranked[0][1][0])
        chosen = [ranked[k % len(ranked)][1][1] for k in range(len(start))]
        parents = torch.stack(chosen) if isinstance(start, Tensor) else chosen
    values = np.array([value for _, (value, _) in ranked])
    return Found([text for text, _ in ranked], values, parents, best)
