"""Definitions of nouns, each with its topic, from WordNet."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aebook.datasets.verified import check_split, lines, shipped_arrays

__all__ = [
    "GLOSS_TOPICS",
    "Glosses",
    "glosses",
]

#: Names of the topics of `glosses`; the topic is the index.
GLOSS_TOPICS = (
    "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "food",
    "group", "location", "person", "plant", "state", "substance",
)  # fmt: skip


class Glosses(NamedTuple):
    """Definitions and their topics; unpacks as ``words, texts, topics = glosses()``.

    Attributes
    ----------
    words
        The N words that are defined, or names, or compounds of several words.
    texts
        The N definitions, of at least six words each; all different.
    topics
        int64 in 0..13, of shape (N,), the index in `GLOSS_TOPICS`.
    """

    words: list[str]
    texts: list[str]
    topics: Tensor


def glosses(split: str = "train") -> Glosses:
    """Load definitions of English nouns from WordNet, each with one of 14 topics.

    The topics are the lexicographer files in which WordNet's authors filed the nouns: all 14 that
    hold at least 2,000 of them. Shipped are 1,150 training and 200 test definitions of each, in a
    mixed order: every 14 consecutive ones hold each topic once. Examples of use are cut off. No
    definition occurs twice, within a split or across the two: definitions that WordNet gives to
    more than one meaning are left out. So are words with a meaning that is a slur, obscene or
    disparaging, and definitions about sex. A word may come again with another meaning, in either
    split.

    The topics describe the thing, not the sentence: "act", "attribute", "cognition" and "state"
    are told apart with difficulty. Neighbours in WordNet's hierarchy have similar definitions, and
    some are in each split: "tropical genus of small trees or shrubs" in test, "small genus of
    tropical shrubs or trees" in training.

    Parameters
    ----------
    split
        ``"train"`` (16,100 definitions) or ``"test"`` (2,800).

    Returns
    -------
    Glosses
        ``words`` and ``texts``, lists of N strings in ASCII, and ``topics``, int64 of shape (N,),
        the index in `GLOSS_TOPICS`. New objects at every call.

    Raises
    ------
    ValueError
        If `split` is neither of the two.
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
    >>> words, texts, topics = glosses()
    >>> len(texts), f"{words[0]}: {texts[0]}", GLOSS_TOPICS[topics[0]]
    (16100, 'lake trout: flesh of large trout of northern lakes', 'food')
    """
    check_split(split)
    arrays = shipped_arrays("glosses.npz")
    words, texts = (lines(arrays[f"{split}_{part}"]) for part in ("words", "texts"))
    topics = torch.from_numpy(arrays[f"{split}_topics"].astype(np.int64))
    return Glosses(words, texts, topics)
