r"""How alike words are on a graph of meanings, such as WordNet's hierarchy of nouns.

Each meaning has parents: what it is a kind of. Two meanings are alike if they meet soon on the way
up. A word may have several meanings; two words are as alike as those of their meanings that are
most alike.

>>> words, topics, senses, names, parents = aebook.datasets.nouns()
>>> pair = [senses[words.index(word)] for word in ("trout", "salmon")]
>>> wu_palmer(pair, parents)[0, 1]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from graphlib import CycleError, TopologicalSorter

import numpy as np

from aebook._internal.checks import counted
from aebook._internal.contract import checked

__all__ = ["common_ancestor", "depths", "path_similarity", "wu_palmer"]

Senses = Sequence[int]


@checked
def depths(parents: Sequence[Senses]) -> np.ndarray:
    """Number of meanings on the longest way from a root down to each, itself included.

    Parameters
    ----------
    parents
        For each of the S meanings the numbers of its parents, from 0 to S - 1; none for a root.

    Returns
    -------
    ndarray
        int64, (S,), 1 for a root.

    Raises
    ------
    ValueError
        If a number is out of range, or a meaning is above itself.

    Examples
    --------
    >>> from aebook.applications.words import depths
    >>> depths([(), (0,), (1,), (1,), (0,)])
    array([1, 2, 3, 3, 2])
    """
    for child, above in enumerate(parents):
        _check(above, len(parents), f"a parent of {child}")
    depth = np.zeros(len(parents), np.int64)
    try:
        for child in TopologicalSorter(dict(enumerate(parents))).static_order():
            depth[child] = 1 + max((depth[parent] for parent in parents[child]), default=0)
    except CycleError as error:
        raise ValueError(
            f"got meanings that are above themselves, {error.args[1]}; expected parents without "
            "circles"
        ) from None
    return depth


@checked
def wu_palmer(senses: Sequence[Senses], parents: Sequence[Senses]) -> np.ndarray:
    r"""Similarity of Wu & Palmer 1994 of every two words.

    .. math::

        \max_{s, s', a} \frac{2 N(a)}{n(s, a) + n(s', a) + 2 N(a)}

    over the meanings s, s' of the two words and what is above both, a; with :math:`n(s, a)` the
    steps on the shortest way up from s to a, and :math:`N(a)` the depth of a (:func:`depths`).

    Parameters
    ----------
    senses
        For each of the N words the numbers of its meanings, one or more.
    parents
        For each of the S meanings the numbers of its parents.

    Returns
    -------
    ndarray
        (N, N), float64 from 0 to 1: 1 for words that share a meaning, 0 for those of which nothing
        is above both.

    Examples
    --------
    >>> from aebook.applications.words import wu_palmer
    >>> parents = [(), (0,), (1,), (1,), (0,)]  # 2 and 3 are kinds of 1; 1 and 4 are kinds of 0
    >>> wu_palmer([[2], [3], [4]], parents).round(2)  # 4 / (2 + 4), and 2 / (3 + 2)
    array([[1.  , 0.67, 0.4 ],
           [0.67, 1.  , 0.4 ],
           [0.4 , 0.4 , 1.  ]])
    """
    depth = depths(parents)
    return _best(
        senses, parents, lambda steps, above: 2 * depth[above] / (steps + 2 * depth[above])
    )


@checked
def path_similarity(senses: Sequence[Senses], parents: Sequence[Senses]) -> np.ndarray:
    r"""Similarity by the shortest way from word to word, up and down again.

    .. math::

        \max_{s, s', a} \frac{1}{1 + n(s, a) + n(s', a)}

    Parameters
    ----------
    senses, parents
        As in :func:`wu_palmer`.

    Returns
    -------
    ndarray
        (N, N), float64 from 0 to 1: 1 for words that share a meaning, 0 for those of which nothing
        is above both.

    Examples
    --------
    >>> from aebook.applications.words import path_similarity
    >>> parents = [(), (0,), (1,), (1,), (0,)]  # 2 and 3 are kinds of 1; 1 and 4 are kinds of 0
    >>> path_similarity([[2], [3], [4]], parents).round(2)  # two steps apart, and three
    array([[1.  , 0.33, 0.25],
           [0.33, 1.  , 0.25],
           [0.25, 0.25, 1.  ]])
    """
    depths(parents)
    return _best(senses, parents, lambda steps, above: 1 / (1 + steps))


@checked
def common_ancestor(first: Senses, second: Senses, parents: Sequence[Senses]) -> int:
    """Where two words meet: the meaning a that gives their similarity in :func:`wu_palmer`.

    Parameters
    ----------
    first, second
        The numbers of each word's meanings.
    parents
        For each of the S meanings the numbers of its parents.

    Returns
    -------
    int
        Of several that give the same, the one with the smallest number.

    Raises
    ------
    ValueError
        If nothing is above both, or the arguments are not as described.

    Examples
    --------
    >>> from aebook.applications.words import common_ancestor
    >>> parents = [(), (0,), (1,), (1,), (0,)]  # 2 and 3 are kinds of 1; 1 and 4 are kinds of 0
    >>> common_ancestor([2], [3], parents), common_ancestor([2], [4], parents)
    (1, 0)
    """
    depth = depths(parents)
    up, other = _upward([first, second], parents)
    both = sorted(up.keys() & other.keys())
    if not both:
        raise ValueError("got two words that do not meet, expected something above both")
    return max(both, key=lambda a: 2 * depth[a] / (up[a] + other[a] + 2 * depth[a]))


def _best(
    senses: Sequence[Senses],
    parents: Sequence[Senses],
    similarity: Callable[[np.ndarray, int], np.ndarray],
) -> np.ndarray:
    """The largest similarity over all that is above both; it must fall with the steps."""
    below: dict[int, list[tuple[int, int]]] = {}
    for word, up in enumerate(_upward(senses, parents)):
        for above, steps in up.items():
            below.setdefault(above, []).append((word, steps))
    best = np.zeros((len(senses), len(senses)))
    for above, members in below.items():
        words, steps = np.array(members).T
        block = np.ix_(words, words)
        best[block] = np.maximum(best[block], similarity(steps[:, None] + steps, above))
    return best


def _upward(senses: Sequence[Senses], parents: Sequence[Senses]) -> list[dict[int, int]]:
    """For each word all that is above one of its meanings, with the steps of the shortest way."""
    found = []
    for word, own in enumerate(senses):
        _check(own, len(parents), f"a meaning of word {word}")
        counted(f"meanings of word {word}", len(own))
        steps, level, distance = {}, {int(sense) for sense in own}, 0
        while level:
            steps.update(dict.fromkeys(level, distance))
            level = {parent for child in level for parent in parents[child]} - steps.keys()
            distance += 1
        found.append(steps)
    return found


def _check(numbers: Senses, size: int, what: str) -> None:
    for number in numbers:
        if not 0 <= number < size:
            raise ValueError(f"got {number} as {what}, expected 0 to {size - 1}")
