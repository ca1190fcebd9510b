"""English nouns and what they are kinds of: a part of WordNet's hierarchy."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aebook.datasets.verified import lines, shipped_arrays

__all__ = ["NOUN_TOPICS", "Nouns", "nouns"]

#: Names of the topics of `nouns`, all of WordNet's for nouns; the topic is the index.
NOUN_TOPICS = (
    "Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication",
    "event", "feeling", "food", "group", "location", "motive", "object", "person", "phenomenon",
    "plant", "possession", "process", "quantity", "relation", "shape", "state", "substance",
    "time",
)  # fmt: skip


class Nouns(NamedTuple):
    """Words, their meanings, and the hierarchy of these.

    Attributes
    ----------
    words
        N nouns in lower case, those most frequent in `glosses` first.
    topics
        int64 of shape (N,), the index in `NOUN_TOPICS`, or -1 where no topic is clear.
    senses
        For each word the numbers of its meanings (synsets), the most frequent first.
    names
        A name for each of the S synsets, of one or more words; "-" for some.
    parents
        For each synset the numbers of those that it is a kind or an instance of; none for the root,
        "entity", which is number 0.
    """

    words: list[str]
    topics: Tensor
    senses: list[tuple[int, ...]]
    names: list[str]
    parents: list[tuple[int, ...]]


def nouns() -> Nouns:
    """Load the nouns that are frequent in `glosses`, and WordNet's hierarchy above them.

    These are the words of three letters or more that occur at least five times in the 18,900
    definitions and that WordNet lists as nouns, as they are spelled there, with all their meanings
    as nouns and everything that these fall under. Above a meaning the hierarchy is complete; below
    it there is only what leads to another of the words. A meaning can have several parents.

    A word's topic is clear if at least three quarters of its uses in the texts that WordNet's
    authors tagged are of one topic; of a word that occurs in none of them, if all its meanings are
    and it is no verb, adjective or adverb as well. What may be the plural of another noun or a form
    of a verb ("roots", "eating") has no topic unless it was tagged at least five times, and neither
    have "may" and "while".

    Returns
    -------
    Nouns
        New objects at every call.

    Raises
    ------
    OSError
        If the shipped file is missing or damaged.

    Notes
    -----
    Source: WordNet 3.0, Princeton University, https://wordnet.princeton.edu. Licence: WordNet's,
    copyright 2006 by Princeton University; its text is in ``aebook/datasets/README.md``.

    References
    ----------
    G. A. Miller, "WordNet: a Lexical Database for English", Communications of the ACM 38(11),
    39-41, 1995.

    Examples
    --------
    >>> words, topics, senses, names, parents = nouns()
    >>> trout = senses[words.index("trout")]
    >>> [(names[s], [names[p] for p in parents[s]]) for s in trout]
    [('trout', ['fish']), ('trout', ['salmonid', 'food fish'])]
    """
    arrays = shipped_arrays("nouns.npz")
    words, names = (lines(arrays[part]) for part in ("words", "names"))
    topics = torch.from_numpy(arrays["topics"].astype(np.int64))
    topics[topics == 255] = -1
    senses, parents = (
        [
            tuple(row.tolist())
            for row in np.split(arrays[f"{part}s"], arrays[f"{part}_counts"].cumsum()[:-1])
        ]
        for part in ("sense", "parent")
    )
    return Nouns(words, topics, senses, names, parents)
